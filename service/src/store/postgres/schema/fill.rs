//! Postings, filled from the rows that are there already when a migration makes their tables.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Row};
use tracing::info;

use crate::store::{
    StoreError,
    candidates::Columns,
    postgres::{
        postings,
        queries::{self, ROWS_BYTES},
    },
    postings::{Entry, FILLED_RUN, of_row},
    view::LoadedRow,
};

/// Rows that are read at a time, the large ones as far as [`ROWS_BYTES`] go.
const ROWS_AT_A_TIME: usize = 64;
/// Rows between two words on how far it has come: some seconds of work.
const PROGRESS_ROWS: usize = 20_000;

/// Every booking that is shown, once.
pub(super) async fn postings_of_bookings(client: &ClientWrapper) -> Result<(), StoreError> {
    let state = queries::within(ROWS_BYTES, "state", "tenant, uid");
    let select = client
        .prepare(&format!(
            "SELECT tenant, uid, {state}, clock_told, update_time, status, start_time, organizer, event_type_id FROM
                (SELECT * FROM bookings WHERE (tenant, uid) > ($1, $2) AND visible + 0 = 1 ORDER BY tenant, uid
                LIMIT $3) found
            ORDER BY tenant, uid"
        ))
        .await?;
    let (mut tenant, mut uid) = (String::new(), String::new());
    let (mut entries, mut done) = (Vec::new(), 0);
    loop {
        let rows = client.query(&select, &[&tenant, &uid, &queries::limit(ROWS_AT_A_TIME)]).await?;
        let mut is_last = rows.len() < ROWS_AT_A_TIME;
        for row in &rows {
            let Some(found_by) = found_by(row)? else {
                is_last = false;
                break;
            };
            entries.extend(found_by);
            (tenant, uid) = (row.try_get(0)?, row.try_get(1)?);
            done += 1;
            if done % PROGRESS_ROWS == 0 {
                info!(done, "the store is brought up to date: bookings are read once");
            }
        }
        if entries.len() >= FILLED_RUN || (is_last && !entries.is_empty()) {
            postings::fill(client, std::mem::take(&mut entries)).await?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Nothing where the state did not come.
fn found_by(row: &Row) -> Result<Option<Vec<Entry>>, Error> {
    let Some(state) = row.try_get(2)? else { return Ok(None) };
    let kept = LoadedRow { state, clock_told: row.try_get(3)? };
    let columns = Columns {
        update_time: row.try_get(4)?,
        status: row.try_get(5)?,
        start_time: row.try_get(6)?,
        organizer: row.try_get(7)?,
        event_type_id: row.try_get(8)?,
    };
    Ok(Some(of_row(row.try_get(0)?, row.try_get(1)?, &kept, columns)))
}
