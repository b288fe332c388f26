//! The promises of the domain, tried: the laws of the merge over random events, every order of the known lifecycles,
//! each surprising sequence that Cal.com can send, and the recorded ones.

mod codec;
mod corpus;
mod fields;
mod histories;
mod laws;
mod lifecycles;
mod oracle;
mod seats;
mod surprises;
mod transitions;
mod world;
