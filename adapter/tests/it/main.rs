//! The adapter as its callers meet it: a socket in front, a booking service (played by the tests) behind.

mod corpus;
mod forwarding;
mod http;
mod limits;
mod shutdown;
mod signature;
mod support;
mod telemetry;
