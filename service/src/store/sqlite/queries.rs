//! Reading. Each function is one read of one state of the database.

pub(super) mod bookings;
mod candidates;
pub(super) mod deliveries;
mod found;
pub(super) mod lineage;
pub(super) mod rows;
pub(super) mod timeline;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::store::{DeliveryKey, FirstResult, PAGE_BYTES_MAX, Position, StoreError};

/// The newest position that was handed out.
pub(super) fn head(connection: &Connection) -> Result<Position, StoreError> {
    Ok(Position(connection.prepare_cached("SELECT position FROM head")?.query_row([], |row| row.get(0))?))
}

/// The first results of those keys that are kept, in order.
pub(super) fn confirm(connection: &Connection, keys: &[DeliveryKey]) -> Result<Vec<Option<FirstResult>>, StoreError> {
    keys.iter().map(|key| first_result(connection, key)).collect()
}

/// How the delivery with this key was first answered.
pub(super) fn first_result(connection: &Connection, key: &DeliveryKey) -> Result<Option<FirstResult>, StoreError> {
    const SELECT: &str = "SELECT delivery_id, position, booking_uid FROM deliveries
        WHERE tenant = ?1 AND key_time = ?2 AND identity = ?3";
    let found = connection
        .prepare_cached(SELECT)?
        .query_row(params![key.tenant, key.time, key.identity.as_bytes()], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    found
        .map(|(id, position, booking_uid)| {
            Ok(FirstResult { delivery_id: delivery_id(&id)?, position: Position(position), booking_uid })
        })
        .transpose()
}

/// The entries of a page, read one after the other, until they are too many bytes.
fn collect<T>(
    found: impl Iterator<Item = Result<T, StoreError>>,
    bytes: impl Fn(&T) -> usize,
) -> Result<Vec<T>, StoreError> {
    let mut page = Vec::new();
    let mut total = 0_usize;
    for entry in found {
        let entry = entry?;
        total = total.saturating_add(bytes(&entry));
        page.push(entry);
        if total > PAGE_BYTES_MAX && page.len() > 1 {
            break;
        }
    }
    Ok(page)
}

fn delivery_id(bytes: &[u8]) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes)
        .map_err(|_| StoreError::Damaged { what: "delivery", why: "its id is not 16 bytes".to_owned() })
}

/// `SQLite`'s limit is signed. More rows than this no page has.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
