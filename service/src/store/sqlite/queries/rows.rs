//! Everything that is kept, as it is kept: for a check that folds it again.

use std::sync::Arc;

use calbridge_proto::v1;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::deliveries;
use crate::store::{BookingKey, PAGE_BYTES_MAX, Position, StoreError, StoredRow};

/// A row, with the place of the newest line in its booking's timeline.
const COLUMNS: &str = "b.tenant, b.uid, b.state,
    (SELECT coalesce(max(m.position), 0) FROM mentions m WHERE m.tenant = b.tenant AND m.uid = b.uid)";

/// One row.
pub(in crate::store::sqlite) fn one(
    connection: &Connection,
    (tenant, uid): &BookingKey,
) -> Result<Option<StoredRow>, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM bookings b WHERE b.tenant = ?1 AND b.uid = ?2");
    Ok(connection.prepare_cached(&statement)?.query_row(params![tenant, uid], read).optional()?)
}

/// Rows behind `after`, by tenant and uid.
pub(in crate::store::sqlite) fn page(
    connection: &Connection,
    tenant: Option<&str>,
    after: Option<&BookingKey>,
    limit: usize,
) -> Result<Vec<StoredRow>, StoreError> {
    let statement = format!(
        "SELECT {COLUMNS} FROM bookings b WHERE (?1 IS NULL OR b.tenant = ?1) AND (b.tenant, b.uid) > (?2, ?3)
        ORDER BY b.tenant, b.uid LIMIT ?4"
    );
    let (behind, uid) = after.map_or((tenant.unwrap_or_default(), ""), |(tenant, uid)| (tenant.as_ref(), uid.as_str()));
    let mut select = connection.prepare_cached(&statement)?;
    let found = select.query_map(params![tenant, behind, uid, super::limit(limit)], read)?;
    super::collect(found.map(|found| Ok(found?)), |row| row.state.len())
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
    Ok(StoredRow {
        key: (Arc::from(row.get::<_, String>(0)?), row.get(1)?),
        state: row.get(2)?,
        mentioned: Position(row.get(3)?),
    })
}

/// Deliveries behind `after` with their bodies, oldest first.
pub(in crate::store::sqlite) fn journal(
    connection: &Connection,
    tenant: Option<&str>,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    let behind = deliveries::behind(connection, tenant, after, limit)?;
    let mut bytes = 0;
    let mut whole = Vec::with_capacity(behind.len());
    for (position, mut delivery) in behind {
        delivery.raw_body = deliveries::raw_body(connection, position, &delivery)?;
        bytes += delivery.raw_body.len();
        whole.push((position, delivery));
        if bytes > PAGE_BYTES_MAX {
            break;
        }
    }
    Ok(whole)
}
