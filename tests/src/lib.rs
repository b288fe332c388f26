//! The bench on which calbridge is tested as a whole: its built programs as processes, a real redis-server, a receiver
//! of OTLP, clients for every door, and the recorded webhooks.
//!
//! Nothing here knows how calbridge works inside. Signatures, look-ups and expectations are written again from
//! Cal.com's side, so that a mistake in the product is not repeated by its test.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a bench that can't go on fails the test that stands on it; the panic is its message"
)]

pub mod api;
pub mod authority;
pub mod chance;
pub mod clock;
pub mod collector;
pub mod corpus;
pub mod disk;
pub mod fleet;
pub mod frames;
pub mod language;
pub mod machine;
pub mod metrics;
pub mod port;
pub mod postgres;
pub mod program;
pub mod reader;
pub mod redis_server;
pub mod relay;
pub mod siege;
pub mod socket;
pub mod stories;
pub mod system;
pub mod truth;
pub mod wait;
pub mod webhook;

pub use calbridge_proto::v1;
