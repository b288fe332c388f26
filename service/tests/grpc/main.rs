//! The service over real gRPC connections: every outcome and refusal, group commit, pages, health, the end, spans, and
//! a real Redis that dies, freezes, forgets and lies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on should say where")]

mod clock;
mod consume;
mod dedupe;
mod events;
mod failures;
mod fake_redis;
mod harness;
mod ingest;
mod limits;
mod outage;
mod query;
mod raw;
mod read;
mod reasons;
mod redis_server;
mod replay;
mod retention;
mod shutdown;
mod spans;
mod watch;
