//! Postings in runs: the tail has a row for each round, and the round that fills it makes a run of it; a thread merges
//! runs.

mod merge;
mod source;
mod walk;
mod write;

#[cfg(test)]
pub(super) use self::source::FENCE;
pub(super) use self::{
    merge::{Merger, Step, take_up},
    walk::Walk,
    write::{append, fill},
};

/// Postings that the tail holds at the most, before a round adds its own: a reader sorts them for each list.
const TAIL_MAX: usize = 8_192;
