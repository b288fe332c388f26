//! One round as one transaction: find out what is new, have it planned, write it. An error anywhere undoes all of it.

use std::collections::HashMap;

use calbridge_process::crash::{self, Point};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{
    desk::Desk,
    names::Names,
    queries,
    write::{self, Head},
};
use crate::store::{
    Batch, Committed, Position, StoreError,
    changes::Changes,
    mentioned,
    pack::Packer,
    round::{self, Copies},
};

/// What a transaction brought.
pub(super) struct Done<T> {
    pub(super) answer: T,
    /// Where the log stands behind it.
    pub(super) head: Position,
    /// A run of postings was made of the tail.
    pub(super) has_sorted: bool,
}

/// Commits a batch and says what became of each delivery.
pub(super) fn commit(
    Desk { connection, settler, .. }: &mut Desk,
    packer: &mut Packer,
    batch: &Batch,
) -> Result<Done<Vec<Committed>>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = Head::read(&transaction)?;
    let mut names = Names::new(settler);
    let sorted = round::sort_out(batch, |key| queries::first_result(&transaction, key))?;
    let rows = names.load(&transaction, sorted.touched())?;
    let copies = copies(&transaction, &sorted.repeated())?;
    let plan = sorted.plan(before.position, &rows, copies)?;
    write::deliveries(&transaction, packer, &plan.changes)?;
    write::transitions(&transaction, packer, &plan.changes)?;
    let tail = write::bookings(&transaction, (&mut names, packer), &plan.changes, before.tail)?;
    write::mentions(&transaction, &mut names, plan.mentions())?;
    write::copies(&transaction, &plan)?;
    Head { position: plan.head, tail }.write(&transaction, before)?;
    crash::at(Point::StoreCommit);
    names.commit(transaction)?;
    crash::at(Point::StoreCommitted);
    let head = plan.head;
    Ok(Done { answer: plan.answers(), head, has_sorted: tail < before.tail })
}

/// Writes what the clock or a replay changed, as a part of its transaction; true where a run was made of the tail.
pub(super) fn write_changes(
    transaction: &Transaction<'_>,
    (names, packer): (&mut Names<'_>, &mut Packer),
    changes: &Changes<'_>,
    before: Head,
) -> Result<bool, StoreError> {
    write::transitions(transaction, packer, changes)?;
    let tail = write::bookings(transaction, (names, packer), changes, before.tail)?;
    write::mentions(transaction, names, changes.mentions())?;
    Head { position: changes.folded.head, tail }.write(transaction, before)?;
    Ok(tail < before.tail)
}

/// Writes one row.
pub(super) fn probe(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.prepare_cached("UPDATE probe SET count = count + 1")?.execute([])?;
    Ok(transaction.commit()?)
}

/// What is known of the copies of those deliveries that are kept.
fn copies(transaction: &Transaction<'_>, firsts: &[Position]) -> Result<HashMap<Position, Copies>, StoreError> {
    const SELECT: &str = "SELECT duplicate_count, booking_uid, mentioned FROM deliveries WHERE position = ?1";
    let mut select = transaction.prepare_cached(SELECT)?;
    let mut copies = HashMap::with_capacity(firsts.len());
    for first in firsts {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        if let Some((count, about, mentioned)) = select.query_row([first.0], read).optional()? {
            copies.insert(*first, Copies { count, uids: mentioned::decode(about, mentioned)? });
        }
    }
    Ok(copies)
}
