//! Cal.com's webhook bytes, typed: both envelopes, every trigger, every version of the sender.
//!
//! Pure: no I/O, no clock, and a result that depends on the bytes alone, so the adapter's typing of a body and the
//! service's of the same body on replay agree. [`type_body`] takes anything at all and neither fails nor panics.
//! Where Cal.com puts a field is written once, in the `match` over keys of its message in `payload/`.

mod envelope;
mod freeform;
pub mod golden;
mod lenient;
mod payload;
mod surrogate;
mod typed;

pub use envelope::{created_at, first_trigger};
pub use typed::{Typed, type_body};
