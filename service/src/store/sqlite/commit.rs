//! One round as one transaction: find out what is new, have it planned, write it. An error anywhere undoes all of it.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{queries, write};
use crate::store::{
    Batch, BookingKey, Committed, Position, StoreError,
    body::Packer,
    fold::LoadedRows,
    mentioned,
    round::{self, Copies},
    view::LoadedRow,
};

/// Commits a batch and says what became of each delivery.
pub(super) fn commit(
    connection: &mut Connection,
    packer: &mut Packer,
    batch: &Batch,
) -> Result<Vec<Committed>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let head = queries::head(&transaction)?;
    let sorted = round::sort_out(batch, |key| queries::first_result(&transaction, key))?;
    let rows = load(&transaction, sorted.touched())?;
    let copies = copies(&transaction, &sorted.repeated())?;
    let plan = sorted.plan(head, &rows, copies)?;
    write::deliveries(&transaction, packer, &plan.changes)?;
    write::transitions(&transaction, &plan.changes)?;
    write::mentions(&transaction, plan.mentions())?;
    write::copies(&transaction, &plan)?;
    write::bookings(&transaction, plan.changes.bookings())?;
    write::head(&transaction, head, plan.head)?;
    transaction.commit()?;
    Ok(plan.answers())
}

/// Writes one row and waits until it is on stable storage.
pub(super) fn probe(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.prepare_cached("UPDATE probe SET count = count + 1")?.execute([])?;
    Ok(transaction.commit()?)
}

/// The rows of these bookings, as far as they are kept.
pub(super) fn load(
    transaction: &Transaction<'_>,
    keys: impl IntoIterator<Item = BookingKey>,
) -> Result<LoadedRows, StoreError> {
    const SELECT: &str = "SELECT state, clock_told FROM bookings WHERE tenant = ?1 AND uid = ?2";
    let mut select = transaction.prepare_cached(SELECT)?;
    let mut rows = LoadedRows::new();
    for key in keys {
        let read = |row: &rusqlite::Row<'_>| Ok(LoadedRow { state: row.get(0)?, clock_told: row.get(1)? });
        if let Some(row) = select.query_row(params![key.0, key.1], read).optional()? {
            rows.insert(key, row);
        }
    }
    Ok(rows)
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
