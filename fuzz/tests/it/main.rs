//! The short hunt: every target judges its kept corpus, and some thousand changes of it that a fixed seed makes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test is there to panic")]

mod hunt;
mod kept;
