//! The load bench: signed unique webhooks at the built programs, beside the limits of the same machine and a plain
//! handler on it.
//!
//! Invariant: what is compared takes its windows in turn, round by round, so that a busy moment of the machine falls on
//! all of it alike; ratios are taken within a round. A wrong answer ends the run: nothing that failed is timed.

pub mod body;
pub mod closed;
pub mod comparison;
pub mod disk;
pub mod endurance;
pub mod goals;
pub mod ground;
pub mod growth;
pub mod latency;
pub mod limits;
pub mod log;
pub mod meter;
pub mod open;
pub mod plain;
pub mod report;
pub mod results;
pub mod rig;
pub mod sample;
pub mod seed;
pub mod sink;
pub mod spool;
pub mod target;
pub mod wire;
