//! A plain durable handler, in two processes: what a careful company would write for itself, and no more. The edge
//! verifies and types a webhook and sends it on over one stream; the keeper commits what waits in one transaction, and
//! asks and tells Redis once a round.
//!
//! It keeps deliveries, bodies, bookings with the last word that was heard of them, and a log of changes, and is as
//! durable as calbridge. It has no merge rules, no timelines, no search by person, no clock, no traces, no metrics and
//! no queries; and nothing that only a profile teaches: it does one thing after the other, and leaves the disk to its
//! database.

mod keeper;
mod link;
mod postgres;
mod row;
mod sqlite;

pub use keeper::{Keeps, serve};
pub use link::Link;

#[cfg(test)]
mod tests;
