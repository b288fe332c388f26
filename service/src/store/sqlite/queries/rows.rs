//! Everything that is kept, as it is kept: for a check that folds it again.

use std::sync::Arc;

use calbridge_proto::v1;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::deliveries;
use crate::store::{BookingKey, PAGE_BYTES_MAX, Position, RowPage, StoreError, StoredRow, pack};

/// A row, with the place of the newest line in its booking's timeline.
const COLUMNS: &str = "b.tenant, b.uid, b.state, b.first_position,
    (SELECT coalesce(max(m.position), 0) FROM mentions m WHERE m.booking = b.id)";

/// One that was mentioned and of which no fact was heard has no state.
const HEARD: &str = "length(b.state) > 0";

/// One row.
pub(in crate::store::sqlite) fn one(
    connection: &Connection,
    (tenant, uid): &BookingKey,
) -> Result<Option<StoredRow>, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM bookings b WHERE b.tenant = ?1 AND b.uid = ?2 AND {HEARD}");
    let found = connection.prepare_cached(&statement)?.query_row(params![tenant, uid], read).optional()?;
    found.map(unpacked).transpose()
}

/// Rows behind `after`, by tenant and uid.
pub(in crate::store::sqlite) fn page(
    connection: &Connection,
    tenant: Option<&str>,
    after: Option<&BookingKey>,
    limit: usize,
) -> Result<RowPage, StoreError> {
    // One tenant's stand side by side in the index; all of them are the index itself.
    let (of, tenant) = match tenant {
        Some(tenant) => ("b.tenant = ?1 AND b.uid > ?3 AND ?2 IS NOT NULL", tenant),
        None => ("(b.tenant, b.uid) > (?2, ?3) AND ?1 IS NOT NULL", ""),
    };
    let statement =
        format!("SELECT {COLUMNS} FROM bookings b WHERE {of} AND {HEARD} ORDER BY b.tenant, b.uid LIMIT ?4");
    let (behind, uid) = after.map_or(("", ""), |(tenant, uid)| (tenant.as_ref(), uid.as_str()));
    let mut select = connection.prepare_cached(&statement)?;
    let found = select.query_map(params![tenant, behind, uid, super::limit(limit)], read)?;
    let (mut page, mut bytes) = (RowPage::default(), 0);
    for found in found {
        let row = unpacked(found?)?;
        bytes += row.state.len();
        page.rows.push(row);
        if page.rows.len() == limit || bytes > PAGE_BYTES_MAX {
            page.more = true;
            break;
        }
    }
    Ok(page)
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
    Ok(StoredRow {
        key: (Arc::from(row.get::<_, String>(0)?), row.get(1)?),
        state: row.get(2)?,
        first: Position(row.get(3)?),
        mentioned: Position(row.get(4)?),
    })
}

fn unpacked(row: StoredRow) -> Result<StoredRow, StoreError> {
    Ok(StoredRow { state: pack::row(&row.state)?.into_owned(), ..row })
}

/// Deliveries behind `after` with their bodies, oldest first.
pub(in crate::store::sqlite) fn journal(
    connection: &Connection,
    tenant: Option<&str>,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    let mut bytes = 0;
    let mut whole = Vec::new();
    for (position, mut delivery) in behind(connection, tenant, after, limit)? {
        if delivery.raw_body_purged {
            continue;
        }
        delivery.raw_body = deliveries::raw_body(connection, position, &delivery)?;
        bytes += delivery.raw_body.len();
        whole.push((position, delivery));
        if bytes > PAGE_BYTES_MAX {
            break;
        }
    }
    Ok(whole)
}

/// A page of deliveries of which one has its body at least, or none where there is no more. Where a whole page has none
/// it goes on at the next body that is kept.
fn behind(
    connection: &Connection,
    tenant: Option<&str>,
    mut after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    loop {
        let page = deliveries::behind(connection, tenant, after, limit)?;
        let Some((last, _)) = page.last().filter(|_| page.iter().all(|(_, delivery)| delivery.raw_body_purged)) else {
            return Ok(page);
        };
        let Some(next) = deliveries::next_body(connection, *last)? else { return Ok(Vec::new()) };
        after = Position(next.0 - 1).max(*last);
    }
}
