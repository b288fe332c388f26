//! Columns that a migration adds and that are read off the rows: filled from the rows that are there already.

use calbridge_booking::{derive, link_back};
use rusqlite::{Transaction, params};
use tracing::info;

use crate::store::{
    Position, StoreError,
    candidates::Columns,
    fold::columns,
    postings::{FILLED_RUN, of_row},
    sqlite::postings,
    view::{self, LoadedRow},
};

/// Rows between two words on how far it has come: some seconds of work.
const PROGRESS_ROWS: usize = 20_000;

/// A row as it is kept.
struct Kept {
    id: i64,
    tenant: String,
    uid: String,
    row: LoadedRow,
    is_shown: bool,
    columns: Columns,
}

/// Fills the columns that bookings are found by.
pub(super) fn columns_of_bookings(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    each(transaction, |kept| fill(transaction, &kept))
}

/// Fills the postings that find bookings.
pub(super) fn postings_of_bookings(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut entries = Vec::new();
    each(transaction, |kept| {
        if !kept.is_shown {
            return Ok(());
        }
        entries.extend(of_row(&kept.tenant, &kept.uid, &kept.row, kept.columns));
        if entries.len() < FILLED_RUN {
            return Ok(());
        }
        postings::fill(transaction, std::mem::take(&mut entries))
    })?;
    postings::fill(transaction, entries)
}

/// Every row that has a state, once.
fn each(transaction: &Transaction<'_>, mut with: impl FnMut(Kept) -> Result<(), StoreError>) -> Result<(), StoreError> {
    const SELECT: &str =
        "SELECT id, tenant, uid, state, clock_told, visible, update_time, status, start_time, organizer,
            event_type_id
        FROM bookings WHERE id > ?1 AND length(state) > 0 ORDER BY id LIMIT 1";
    let rows: i64 = transaction.query_row("SELECT count(*) FROM bookings", [], |row| row.get(0))?;
    if rows > 0 {
        info!(rows, "the store is brought up to date: bookings are read once");
    }
    let (mut id, mut done) = (0, 0);
    let mut select = transaction.prepare(SELECT)?;
    while let Some(kept) = select.query_map([id], read)?.next().transpose()? {
        id = kept.id;
        with(kept)?;
        done += 1;
        if done % PROGRESS_ROWS == 0 {
            info!(done, rows, "the store is brought up to date");
        }
    }
    Ok(())
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        id: row.get(0)?,
        tenant: row.get(1)?,
        uid: row.get(2)?,
        row: LoadedRow { state: row.get(3)?, clock_told: row.get(4)? },
        is_shown: row.get(5)?,
        columns: Columns {
            update_time: row.get(6)?,
            status: row.get(7)?,
            start_time: row.get(8)?,
            organizer: row.get(9)?,
            event_type_id: row.get(10)?,
        },
    })
}

fn fill(transaction: &Transaction<'_>, kept: &Kept) -> Result<(), StoreError> {
    const SHOWN: &str = "UPDATE bookings SET link = ?2, seated = ?3, organizer = ?4, event_type_id = ?5, clock_end = ?6
        WHERE id = ?1";
    const HIDDEN: &str = "UPDATE bookings SET rescheduled_from = ?2, link = ?3 WHERE id = ?1";
    // Of one that can't be read nothing is known; lists count it.
    let Ok(row) = view::decode(&kept.row.state) else { return Ok(()) };
    let Some(derived) = derive(&kept.uid, &row, view::told(kept.row.clock_told)) else {
        let link = link_back(&row);
        let values = params![kept.id, link.map(|(from, _)| from), link.map_or(0, |(_, evidence)| i32::from(evidence))];
        transaction.prepare_cached(HIDDEN)?.execute(values)?;
        return Ok(());
    };
    // When it changed stays what it was.
    let columns = columns(&derived, Position::default(), 0);
    let values =
        params![kept.id, columns.link, columns.seated, columns.organizer, columns.event_type_id, derived.clock_end];
    transaction.prepare_cached(SHOWN)?.execute(values)?;
    Ok(())
}
