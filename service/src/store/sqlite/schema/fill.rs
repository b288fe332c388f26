//! Columns that a migration adds and that are read off the rows: filled from the rows that are there already.

use std::sync::Arc;

use calbridge_booking::{Row, derive};
use rusqlite::{Transaction, params};
use tracing::info;

use crate::store::{
    BookingKey, Position, StoreError,
    fold::{FoldedBooking, Terms, columns, terms_of},
    sqlite::write,
    view::{self, LoadedRow},
};

/// Rows between two words on how far it has come.
const PROGRESS_ROWS: usize = 100_000;

/// A visible row, with what its columns keep of when it changed.
struct Visible {
    id: i64,
    key: BookingKey,
    row: LoadedRow,
    update_time: i64,
    position: Position,
}

/// Fills what bookings are found by from their rows.
pub(super) fn bookings(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    const SELECT: &str = "SELECT id, tenant, uid, state, clock_told, update_time, position FROM bookings
        WHERE visible = 1 AND id > ?1 ORDER BY id LIMIT 1";
    let (mut id, mut done) = (0, 0);
    let mut select = transaction.prepare(SELECT)?;
    while let Some(found) = select.query_map(params![id], read)?.next().transpose()? {
        id = found.id;
        fill(transaction, found)?;
        done += 1;
        if done % PROGRESS_ROWS == 0 {
            info!(rows = done, "the store is being brought up to date");
        }
    }
    Ok(())
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Visible> {
    Ok(Visible {
        id: row.get(0)?,
        key: (Arc::from(row.get::<_, String>(1)?), row.get(2)?),
        row: LoadedRow { state: row.get(3)?, clock_told: row.get(4)? },
        update_time: row.get(5)?,
        position: Position(row.get(6)?),
    })
}

fn fill(transaction: &Transaction<'_>, found: Visible) -> Result<(), StoreError> {
    let row: Row = view::decode(&found.row.state)?;
    let Some(derived) = derive(&found.key.1, &row, view::told(found.row.clock_told)) else { return Ok(()) };
    let terms: Terms = terms_of(&found.key.0, &derived.booking).map(|term| (term, true)).collect();
    write::terms(transaction, &found.key.1, &terms)?;
    let columns = columns(&derived, found.position, found.update_time);
    let booking = FoldedBooking {
        key: found.key,
        known: true,
        state: found.row.state,
        clock_end: derived.clock_end,
        clock_told: found.row.clock_told,
        columns: None,
        terms: Terms::new(),
    };
    write::shown(transaction, &booking, &columns)
}
