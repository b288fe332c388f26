//! Writing postings: into the tail by each round, and a full tail into a run. Each is part of its caller's transaction.

use rusqlite::{Transaction, params};

use super::{TAIL_MAX, source::id, walk::tail};
use crate::store::{
    StoreError,
    postings::{
        Entry,
        block::{self, Block},
    },
};

/// Appends what a round says, in order. `held` is how many entries the tail holds; answers how many it does then.
pub(in crate::store::sqlite) fn append(
    transaction: &Transaction<'_>,
    entries: &[Entry],
    held: usize,
) -> Result<usize, StoreError> {
    if entries.is_empty() {
        return Ok(held);
    }
    let insert = "INSERT INTO tail (entries) VALUES (?1)";
    transaction.prepare_cached(insert)?.execute([block::encode(entries)])?;
    let held = held + entries.len();
    if held < TAIL_MAX {
        return Ok(held);
    }
    let run = make_run(transaction)?;
    let mut all = tail(transaction, None)?;
    all.retain(|entry| !entry.is_over());
    let blocks = write_run(transaction, run, &all)?;
    show_run(transaction, run, 0, blocks)?;
    transaction.prepare_cached("DELETE FROM tail")?.execute([])?;
    Ok(0)
}

/// Writes a run of its own of what a migration found.
pub(in crate::store::sqlite) fn fill(transaction: &Transaction<'_>, mut entries: Vec<Entry>) -> Result<(), StoreError> {
    entries.sort_by(|one, other| one.posting.cmp(&other.posting));
    let run = make_run(transaction)?;
    let blocks = write_run(transaction, run, &entries)?;
    show_run(transaction, run, 0, blocks)
}

/// A run that is not shown yet.
pub(super) fn make_run(transaction: &Transaction<'_>) -> Result<i64, StoreError> {
    transaction.prepare_cached("INSERT INTO runs (level, blocks) VALUES (-1, 0)")?.execute([])?;
    Ok(transaction.last_insert_rowid())
}

/// From here on it is read.
pub(super) fn show_run(transaction: &Transaction<'_>, run: i64, level: i64, blocks: i64) -> Result<(), StoreError> {
    let update = "UPDATE runs SET level = ?2, blocks = ?3 WHERE run = ?1";
    transaction.prepare_cached(update)?.execute([run, level, blocks])?;
    Ok(())
}

/// One block of a run.
pub(super) fn write_block(
    transaction: &Transaction<'_>,
    run: i64,
    number: i64,
    block: Block,
) -> Result<(), StoreError> {
    const FENCE: &str = "INSERT INTO fences (run, term, time, uid, block) VALUES (?1, ?2, ?3, ?4, ?5)";
    let Some((first, bytes)) = block.finish() else { return Ok(()) };
    let insert = "INSERT INTO blocks (id, entries) VALUES (?1, ?2)";
    transaction.prepare_cached(insert)?.execute(params![id(run, number), bytes])?;
    let values = params![run, first.term, first.time, first.uid, number];
    transaction.prepare_cached(FENCE)?.execute(values)?;
    Ok(())
}

/// Sorted entries as blocks; answers how many.
fn write_run(transaction: &Transaction<'_>, run: i64, entries: &[Entry]) -> Result<i64, StoreError> {
    let mut number = 0;
    for block in block::cut(entries) {
        write_block(transaction, run, number, block)?;
        number += 1;
    }
    Ok(number)
}
