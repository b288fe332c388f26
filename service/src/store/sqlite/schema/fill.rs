//! Columns that a migration adds and that are read off the rows: filled from the rows that are there already.

use calbridge_booking::{Row, derive, link_back};
use rusqlite::{Transaction, params};
use tracing::info;

use crate::store::{
    Position, StoreError,
    fold::{Terms, columns, terms_of},
    sqlite::write,
    view,
};

/// Rows between two words on how far it has come: some seconds of work.
const PROGRESS_ROWS: usize = 20_000;

/// A row as it is kept.
struct Kept {
    id: i64,
    tenant: String,
    uid: String,
    state: Vec<u8>,
    told: bool,
}

/// Fills what bookings are found by from their rows.
pub(super) fn bookings(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    const SELECT: &str = "SELECT id, tenant, uid, state, clock_told FROM bookings WHERE id > ?1 ORDER BY id LIMIT 1";
    let rows: i64 = transaction.query_row("SELECT count(*) FROM bookings", [], |row| row.get(0))?;
    if rows > 0 {
        info!(rows, "the store is brought up to date: bookings are read once");
    }
    let (mut id, mut done) = (0, 0);
    let mut select = transaction.prepare(SELECT)?;
    while let Some(kept) = select.query_map([id], read)?.next().transpose()? {
        id = kept.id;
        fill(transaction, &kept)?;
        done += 1;
        if done % PROGRESS_ROWS == 0 {
            info!(done, rows, "the store is brought up to date");
        }
    }
    Ok(())
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept { id: row.get(0)?, tenant: row.get(1)?, uid: row.get(2)?, state: row.get(3)?, told: row.get(4)? })
}

fn fill(transaction: &Transaction<'_>, kept: &Kept) -> Result<(), StoreError> {
    const SHOWN: &str = "UPDATE bookings SET link = ?2, seated = ?3, organizer = ?4, event_type_id = ?5, clock_end = ?6
        WHERE id = ?1";
    const HIDDEN: &str = "UPDATE bookings SET rescheduled_from = ?2, link = ?3 WHERE id = ?1";
    let row: Row = view::decode(&kept.state)?;
    let Some(derived) = derive(&kept.uid, &row, view::told(kept.told)) else {
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
    let terms: Terms = terms_of(&kept.tenant, &derived.booking).map(|term| (term, true)).collect();
    write::terms(transaction, &kept.uid, &terms)
}
