//! Postings, filled from the rows that are there already when a migration makes their tables.

use calbridge_booking::{Row, derive};
use deadpool_postgres::ClientWrapper;
use tracing::info;

use crate::store::{
    Micros, StoreError,
    postgres::postings,
    postings::{Entry, Posting},
    terms,
    time::micros,
    view,
};

/// Rows that are read at a time: each may be a megabyte.
const ROWS_AT_A_TIME: usize = 64;
/// Rows between two words on how far it has come: some seconds of work.
const PROGRESS_ROWS: usize = 20_000;
/// Postings of one run: they are sorted in memory.
const RUN_POSTINGS: usize = 200_000;

/// Every booking that is shown, once.
pub(super) async fn postings_of_bookings(client: &ClientWrapper) -> Result<(), StoreError> {
    const SELECT: &str = "SELECT tenant, uid, state, clock_told FROM bookings
        WHERE (tenant, uid) > ($1, $2) AND visible + 0 = 1 ORDER BY tenant, uid LIMIT $3";
    let (mut tenant, mut uid) = (String::new(), String::new());
    let (mut entries, mut done) = (Vec::new(), 0);
    loop {
        let rows = client.query(SELECT, &[&tenant, &uid, &super::super::queries::limit(ROWS_AT_A_TIME)]).await?;
        for row in &rows {
            (tenant, uid) = (row.try_get(0)?, row.try_get(1)?);
            entries.extend(found_by(&tenant, &uid, row.try_get(2)?, row.try_get(3)?)?);
            done += 1;
            if done % PROGRESS_ROWS == 0 {
                info!(done, "the store is brought up to date: bookings are read once");
            }
        }
        let is_last = rows.len() < ROWS_AT_A_TIME;
        if entries.len() >= RUN_POSTINGS || (is_last && !entries.is_empty()) {
            postings::fill(client, std::mem::take(&mut entries)).await?;
        }
        if is_last {
            return Ok(());
        }
    }
}

fn found_by(tenant: &str, uid: &str, state: &[u8], told: bool) -> Result<Vec<Entry>, StoreError> {
    let row: Row = view::decode(state)?;
    let Some(derived) = derive(uid, &row, view::told(told)) else { return Ok(Vec::new()) };
    let booking = &derived.booking;
    let time = booking.start_time.as_ref().map_or(Micros::MIN, micros);
    let found_by = terms::of(tenant, booking).into_iter().chain(terms::of_columns(tenant, booking));
    let entry = |term| Entry { posting: Posting { term, time, uid: uid.to_owned() }, finds: true };
    Ok(found_by.map(entry).collect())
}
