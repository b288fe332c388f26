//! The adapter as its callers meet it: a socket in front, a booking service (played by the tests) behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as a test does: loudly, where they stand")]

mod corpus;
mod forwarding;
mod http;
mod limits;
mod quarantine;
mod rates;
mod replicas;
mod rotation;
mod shutdown;
mod signature;
mod spool;
mod support;
mod telemetry;
