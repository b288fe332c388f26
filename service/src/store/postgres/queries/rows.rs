//! Everything that is kept, as it is kept: for a check that folds it again.

use std::sync::Arc;

use calbridge_proto::v1;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Row};

use super::{ROWS_BYTES, deliveries};
use crate::store::{BookingKey, PAGE_BYTES_MAX, Position, RowPage, StoreError, StoredRow, pack};

/// A row, with the place of the newest line in its booking's timeline.
const COLUMNS: &str = "b.tenant, b.uid, b.state, b.first_position,
    (SELECT coalesce(max(m.position), 0) FROM mentions m WHERE m.tenant = b.tenant AND m.uid = b.uid) mentioned";

/// Rows that are read at a time, the large ones as far as [`ROWS_BYTES`] go: a page ends early where they are.
const CHUNK: usize = 64;

/// One row.
pub(in crate::store::postgres) async fn one(
    client: &ClientWrapper,
    (tenant, uid): &BookingKey,
) -> Result<Option<StoredRow>, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM bookings b WHERE b.tenant = $1 AND b.uid = $2");
    let select = client.prepare_cached(&statement).await?;
    let found = client.query_opt(&select, &[&tenant.as_ref(), uid]).await?;
    Ok(found.as_ref().map(read).transpose()?.flatten())
}

/// Rows behind `after`, by tenant and uid.
pub(in crate::store::postgres) async fn page(
    client: &ClientWrapper,
    tenant: Option<&str>,
    after: Option<&BookingKey>,
    limit: usize,
) -> Result<RowPage, StoreError> {
    let own = if tenant.is_some() { "AND b.tenant = $1" } else { "" };
    let state = super::within(ROWS_BYTES, "state", "tenant, uid");
    let statement = format!(
        "SELECT tenant, uid, {state}, first_position, mentioned FROM
            (SELECT {COLUMNS} FROM bookings b WHERE (b.tenant, b.uid) > ($1, $2) {own} ORDER BY b.tenant, b.uid
            LIMIT $3) found
        ORDER BY tenant, uid"
    );
    let select = client.prepare_cached(&statement).await?;
    let (mut page, mut bytes) = (RowPage::default(), 0);
    let (mut behind, mut uid) = match (tenant, after) {
        (_, Some((tenant, uid))) => (tenant.to_string(), uid.clone()),
        (tenant, None) => (tenant.unwrap_or_default().to_owned(), String::new()),
    };
    loop {
        let wanted = CHUNK.min(limit - page.rows.len());
        let found = client.query(&select, &[&behind, &uid, &super::limit(wanted)]).await?;
        let mut last = found.len() < wanted;
        for row in &found {
            let Some(row) = read(row)? else {
                last = false;
                break;
            };
            bytes += row.state.len();
            page.rows.push(row);
            if page.rows.len() == limit || bytes > PAGE_BYTES_MAX {
                page.more = true;
                return Ok(page);
            }
        }
        let Some(StoredRow { key, .. }) = page.rows.last().filter(|_| !last) else { return Ok(page) };
        (behind, uid) = (key.0.to_string(), key.1.clone());
    }
}

/// Deliveries behind `after` with their bodies, oldest first.
pub(in crate::store::postgres) async fn journal(
    client: &ClientWrapper,
    tenant: Option<&str>,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    super::at_once(client, async {
        let mut bytes = 0;
        let mut whole = Vec::new();
        for (position, mut delivery) in behind(client, tenant, after, limit).await? {
            if delivery.raw_body_purged {
                continue;
            }
            delivery.raw_body = deliveries::raw_body(client, position, &delivery).await?;
            bytes += delivery.raw_body.len();
            whole.push((position, delivery));
            if bytes > PAGE_BYTES_MAX {
                break;
            }
        }
        Ok(whole)
    })
    .await
}

/// A page of deliveries of which one has its body at least, or none where there is no more. Where a whole page has none
/// it goes on at the next body that is kept.
async fn behind(
    client: &ClientWrapper,
    tenant: Option<&str>,
    mut after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    loop {
        let page = deliveries::behind(client, tenant, after, limit).await?;
        let Some((last, _)) = page.last().filter(|_| page.iter().all(|(_, delivery)| delivery.raw_body_purged)) else {
            return Ok(page);
        };
        let Some(next) = deliveries::next_body(client, *last).await? else { return Ok(Vec::new()) };
        after = Position(next.0 - 1).max(*last);
    }
}

/// Nothing where the state did not come.
fn read(row: &Row) -> Result<Option<StoredRow>, Error> {
    let Some(state) = row.try_get(2)? else { return Ok(None) };
    Ok(Some(StoredRow {
        key: (Arc::from(row.try_get::<_, &str>(0)?), row.try_get(1)?),
        state: pack::row_or_rest(state),
        first: Position(row.try_get(3)?),
        mentioned: Position(row.try_get(4)?),
    }))
}
