//! Columns that a migration adds and that are read off the rows: filled from the rows that are there already.

use calbridge_booking::{Row, derive, link_back};
use rusqlite::{Transaction, params};
use tracing::info;

use crate::store::{
    Micros, Position, StoreError,
    fold::columns,
    postings::{Entry, Posting},
    sqlite::postings,
    terms,
    time::micros,
    view,
};

/// Rows between two words on how far it has come: some seconds of work.
const PROGRESS_ROWS: usize = 20_000;

/// Postings of one run that a migration writes: they are sorted in memory.
const RUN_POSTINGS: usize = 200_000;

/// A row as it is kept.
struct Kept {
    id: i64,
    tenant: String,
    uid: String,
    state: Vec<u8>,
    told: bool,
}

/// Fills the columns that bookings are found by.
pub(super) fn columns_of_bookings(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    each(transaction, |kept| fill(transaction, &kept))
}

/// Fills the postings that find bookings.
pub(super) fn postings_of_bookings(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut entries = Vec::new();
    each(transaction, |kept| {
        let row: Row = view::decode(&kept.state)?;
        let Some(derived) = derive(&kept.uid, &row, view::told(kept.told)) else { return Ok(()) };
        let booking = &derived.booking;
        let time = booking.start_time.as_ref().map_or(Micros::MIN, micros);
        let found_by = terms::of(&kept.tenant, booking).into_iter().chain(terms::of_columns(&kept.tenant, booking));
        let posting = |term| Entry { posting: Posting { term, time, uid: kept.uid.clone() }, finds: true };
        entries.extend(found_by.map(posting));
        if entries.len() < RUN_POSTINGS {
            return Ok(());
        }
        postings::fill(transaction, std::mem::take(&mut entries))
    })?;
    postings::fill(transaction, entries)
}

/// Every row that has a state, once.
fn each(transaction: &Transaction<'_>, mut with: impl FnMut(Kept) -> Result<(), StoreError>) -> Result<(), StoreError> {
    const SELECT: &str = "SELECT id, tenant, uid, state, clock_told FROM bookings WHERE id > ?1 AND length(state) > 0
        ORDER BY id LIMIT 1";
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
    Ok(())
}
