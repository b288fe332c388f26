//! Deliveries, one or a page of them.

use calbridge_proto::v1;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::store::{Position, StoreError, found::collect, pack, time::timestamp};

const COLUMNS: &str = "position, tenant, delivery_id, trigger, trigger_name, receive_time, event_time, disposition,
    outcome, secret_id, coalesce(body_sha256, identity), body_size, booking_uid, trace_id, duplicate_count,
    webhook_version, content_type,
    position <= coalesce((SELECT r.bodies FROM retention r WHERE r.tenant = deliveries.tenant), 0)";

/// A tenant's deliveries, newest first.
pub(in crate::store::sqlite) fn page(
    connection: &Connection,
    tenant: &str,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    let before = before.map_or(i64::MAX, |before| before.0);
    let statement =
        format!("SELECT {COLUMNS} FROM deliveries WHERE tenant = ?1 AND position < ?2 ORDER BY position DESC LIMIT ?3");
    let mut select = connection.prepare_cached(&statement)?;
    let found = select.query_map(params![tenant, before, super::limit(limit)], read)?;
    collect(found.map(|found| Ok(found?)), |(_, delivery)| delivery.encoded_len())
}

/// Deliveries behind a position, of one tenant or of all, oldest first.
pub(super) fn behind(
    connection: &Connection,
    tenant: Option<&str>,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    // A tenant's own index, or the log itself.
    let (of, tenant) = match tenant {
        Some(tenant) => ("tenant = ?3 AND", Some(tenant)),
        None => ("?3 IS NULL AND", None),
    };
    let statement = format!("SELECT {COLUMNS} FROM deliveries WHERE {of} position > ?1 ORDER BY position LIMIT ?2");
    let mut select = connection.prepare_cached(&statement)?;
    let found = select.query_map(params![after.0, super::limit(limit), tenant], read)?;
    collect(found.map(|found| Ok(found?)), |(_, delivery)| delivery.encoded_len())
}

/// One delivery, with its body where asked for.
pub(in crate::store::sqlite) fn one(
    connection: &Connection,
    tenant: &str,
    delivery_id: Uuid,
    with_body: bool,
) -> Result<Option<v1::Delivery>, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM deliveries WHERE delivery_id = ?1 AND tenant = ?2");
    let found = connection
        .prepare_cached(&statement)?
        .query_row(params![&delivery_id.as_bytes()[..], tenant], read)
        .optional()?;
    let Some((position, mut delivery)) = found else { return Ok(None) };

    if with_body && !delivery.raw_body_purged {
        delivery.raw_body = raw_body(connection, position, &delivery)?;
    }
    Ok(Some(delivery))
}

/// The delivery at a position, with its body where that is not purged.
pub(super) fn at(connection: &Connection, position: Position) -> Result<v1::Delivery, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM deliveries WHERE position = ?1");
    let (_, mut delivery) = connection.prepare_cached(&statement)?.query_row([position.0], read)?;
    if !delivery.raw_body_purged {
        delivery.raw_body = raw_body(connection, position, &delivery)?;
    }
    Ok(delivery)
}

/// The body of a delivery, checked against its hash.
pub(super) fn raw_body(
    connection: &Connection,
    position: Position,
    delivery: &v1::Delivery,
) -> Result<Vec<u8>, StoreError> {
    let stored = connection
        .prepare_cached("SELECT encoding, body FROM bodies WHERE position = ?1")?
        .query_row([position.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let missing = || StoreError::Damaged { what: "body", why: "it is missing".to_owned() };
    let (encoding, bytes) = stored.ok_or_else(missing)?;
    pack::body(encoding, bytes, delivery.body_size, &delivery.body_sha256)
}

/// Where the next body lies that is kept.
pub(super) fn next_body(connection: &Connection, after: Position) -> Result<Option<Position>, StoreError> {
    const SELECT: &str = "SELECT min(position) FROM bodies WHERE position > ?1";
    let next: Option<i64> = connection.prepare_cached(SELECT)?.query_row([after.0], |row| row.get(0))?;
    Ok(next.map(Position))
}

fn read(row: &Row<'_>) -> rusqlite::Result<(Position, v1::Delivery)> {
    let position = Position(row.get(0)?);
    let delivery = v1::Delivery {
        tenant: row.get(1)?,
        delivery_id: super::id(row, 2)?.map(|id| id.to_string()).unwrap_or_default(),
        trigger: row.get(3)?,
        trigger_name: row.get(4)?,
        receive_time: Some(timestamp(row.get(5)?)),
        event_time: row.get::<_, Option<_>>(6)?.map(timestamp),
        disposition: row.get(7)?,
        outcome: row.get(8)?,
        secret_id: row.get(9)?,
        body_sha256: row.get(10)?,
        body_size: row.get(11)?,
        booking_uid: row.get::<_, Option<_>>(12)?.unwrap_or_default(),
        trace_id: row.get(13)?,
        raw_body: Vec::new(),
        duplicate_count: row.get(14)?,
        position: position.to_token(),
        webhook_version: row.get(15)?,
        content_type: row.get(16)?,
        raw_body_purged: row.get(17)?,
    };
    Ok((position, delivery))
}
