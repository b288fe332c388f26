//! Postings in runs: the tail has a few rows for each round, and the round that fills it makes a run of it. A task of
//! one of the services merges runs. Whoever lists reads all of them in one state of the database.

mod merge;
mod source;
mod walk;
mod write;

pub(super) use self::{
    merge::Merger,
    walk::Lists,
    write::{Postings, SORTED, TAIL, fill},
};

/// Postings that the tail holds at the most, before a round adds its own: a reader fetches all of them for each list.
const TAIL_MAX: usize = 4_096;

/// Of a run that is being made.
const MAKING: i32 = -1;
/// Of a run that is replaced, or whose maker is gone.
const GONE: i32 = -2;

#[cfg(test)]
mod tests;
