//! The promises of the domain, tried: the laws of the merge over random events and over the histories of a small
//! Cal.com, every action on a booking in every order, each surprising sequence that Cal.com can send, and the recorded
//! ones.

mod actions;
mod bounds;
mod cal_com;
mod clock;
mod codec;
mod corpus;
mod fields;
mod histories;
mod laws;
mod lifecycles;
mod lineage;
mod model;
mod oracle;
mod seat_actions;
mod seats;
mod seen;
mod subjects;
mod surprises;
mod transitions;
mod world;
