//! The head: the row that whoever writes locks first, and how such a transaction begins.

use tokio_postgres::{Error, Row};

use crate::store::Position;

/// As it is meant whatever the database's own default is.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
pub(super) const LOCK_HEAD: &str = "SELECT position, tail_start, tail_end, tail_entries, run FROM head FOR UPDATE";
/// As a reader has it.
pub(super) const HEAD: &str = "SELECT position, tail_start, tail_end, tail_entries, run FROM head";

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The newest position that was handed out.
    pub(super) position: Position,
    pub(super) marks: Marks,
}

/// How far the lists of postings go.
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
