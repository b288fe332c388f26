//! What bookings are found by: postings, each of which says that a booking has a term and stands at a time under it.
//!
//! New postings are appended to the *tail*, a row for each round. A full tail is sorted into a *run*; runs of one level
//! are merged into one of the next, aside from the rounds. So each posting is written a few times one behind the other,
//! where an index tree would dirty a page for it. What is newer holds: a posting that finds a booking no more hides the
//! older one that did.

mod block;
mod merge;
mod source;
mod walk;
mod write;

#[cfg(test)]
pub(super) use self::source::FENCE;
pub(super) use self::{
    merge::{Merger, Step, take_up},
    walk::{From, Met, Walk},
    write::{append, fill},
};
use crate::store::Micros;

/// Postings that the tail holds at the most, before a round adds its own: a reader sorts them for each list.
const TAIL_MAX: usize = 8_192;

/// Runs of one level that are merged into one of the next.
const FAN: usize = 8;

/// Under which term a booking stands at which time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Posting {
    pub(super) term: i64,
    pub(super) time: Micros,
    pub(super) uid: String,
}

/// What is said of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) posting: Posting,
    /// It finds the booking; else it does no more.
    pub(super) finds: bool,
}
