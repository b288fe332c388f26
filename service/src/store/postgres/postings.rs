//! Postings in runs: the tail has a few rows for each round, and the round that fills it makes a run of it. A task of
//! one of the services merges runs. What shares a state of the database shares all lists as they were then.

mod merge;
mod source;
mod walk;
mod write;

use tokio_postgres::{Error, Row};

pub(super) use self::{
    merge::Merger,
    walk::Lists,
    write::{Postings, SORTED, TAIL, fill},
};
use crate::store::Position;

/// Postings that the tail holds at the most, before a round adds its own: a reader fetches all of them for each list.
const TAIL_MAX: usize = 4_096;

/// Of a run that is being made.
const MAKING: i32 = -1;
/// Of a run that is replaced, or whose maker is gone.
const GONE: i32 = -2;

/// What whoever writes locks first.
pub(super) const LOCK_HEAD: &str = "SELECT position, tail_start, tail_end, tail_entries, run FROM head FOR UPDATE";

/// The head, as it was locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The newest position that was handed out.
    pub(super) position: Position,
    pub(super) marks: Marks,
}

/// How far the lists go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// Rows of the tail up to here stand in runs.
    pub(super) start: i64,
    /// The last row of the tail.
    pub(super) end: i64,
    /// Postings in the rows between.
    pub(super) entries: i64,
    /// The last number that a run was given.
    pub(super) run: i64,
}

impl Head {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        let marks =
            Marks { start: row.try_get(1)?, end: row.try_get(2)?, entries: row.try_get(3)?, run: row.try_get(4)? };
        Ok(Self { position: Position(row.try_get(0)?), marks })
    }
}

#[cfg(test)]
mod tests;
