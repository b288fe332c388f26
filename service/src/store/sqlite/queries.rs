//! Reading. Each function is one read of one state of the database.

pub(super) mod bookings;
pub(super) mod deliveries;
mod found;
pub(super) mod lineage;
pub(super) mod log;
pub(super) mod rows;
pub(super) mod timeline;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::store::{DeliveryKey, FirstResult, Position, StoreError};

/// The newest position that was handed out.
pub(super) fn head(connection: &Connection) -> Result<Position, StoreError> {
    Ok(Position(connection.prepare_cached("SELECT position FROM head")?.query_row([], |row| row.get(0))?))
}

/// The first results of those keys that are kept up to a position, in order.
pub(super) fn confirm(
    connection: &Connection,
    keys: &[DeliveryKey],
    through: Position,
) -> Result<Vec<Option<FirstResult>>, StoreError> {
    let first = |key| Ok(first_result(connection, key)?.filter(|first| first.position <= through));
    keys.iter().map(first).collect()
}

/// How the delivery with this key was first answered.
pub(super) fn first_result(connection: &Connection, key: &DeliveryKey) -> Result<Option<FirstResult>, StoreError> {
    const SELECT: &str = "SELECT delivery_id, position, booking_uid, duplicate_count FROM deliveries
        WHERE tenant = ?1 AND key_time = ?2 AND identity = ?3";
    let read = |row: &Row<'_>| {
        Ok(FirstResult {
            delivery_id: Uuid::from_bytes(row.get(0)?),
            position: Position(row.get(1)?),
            booking_uid: row.get(2)?,
            copies: row.get(3)?,
        })
    };
    let values = params![key.tenant, key.time, key.identity.as_bytes()];
    Ok(connection.prepare_cached(SELECT)?.query_row(values, read).optional()?)
}

/// The id in a column, where there is one.
fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(Uuid::from_bytes))
}

/// `SQLite`'s limit is signed. More rows than this no page has.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
