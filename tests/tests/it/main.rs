//! calbridge as a whole: its built programs, from the outside.
//!
//! One binary, so that it links once; a module for each area.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::large_futures,
    reason = "in a test a panic is the message; its futures are few"
)]

mod auth;
mod bad_disk;
mod checker;
mod corpus;
mod crash;
mod crash_points;
mod damage;
mod deploy;
mod examples;
mod golden;
mod hostile;
mod house;
mod languages;
mod overload;
mod postgres;
mod programs;
mod prove;
mod quarantine;
mod redis;
mod replicas;
mod rotation;
mod socket;
mod spool;
mod store_tool;
mod story;
mod trace;
