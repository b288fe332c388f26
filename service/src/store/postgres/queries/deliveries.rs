//! Deliveries, one or a page of them.

use std::collections::BTreeMap;

use calbridge_proto::v1;
use deadpool_postgres::ClientWrapper;
use prost::Message;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::store::{Position, StoreError, found::collect, pack, time::timestamp};

const COLUMNS: &str = "position, tenant, delivery_id, trigger, trigger_name, receive_time, event_time, disposition,
    outcome, secret_id, coalesce(body_sha256, identity), body_size, booking_uid, trace_id, duplicate_count,
    webhook_version, content_type,
    position <= coalesce((SELECT r.bodies FROM retention r WHERE r.tenant = deliveries.tenant), 0)";

/// Where the columns of a body stand behind them.
const BODY: usize = 18;

/// A tenant's deliveries, newest first.
pub(in crate::store::postgres) async fn page(
    client: &ClientWrapper,
    tenant: &str,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    let before = before.map_or(i64::MAX, |before| before.0);
    let statement = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE tenant = $1 AND position < $2 AND position > 0
        ORDER BY position DESC LIMIT $3"
    );
    let select = client.prepare_cached(&statement).await?;
    let found = client.query(&select, &[&tenant, &before, &super::limit(limit)]).await?;
    collect(found.iter().map(|row| Ok(read(row)?)), |(_, delivery)| delivery.encoded_len())
}

/// Deliveries behind a position, of one tenant or of all, oldest first.
pub(super) async fn behind(
    client: &ClientWrapper,
    tenant: Option<&str>,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
    // A tenant's own index, or the log itself.
    let statement =
        |own: &str| format!("SELECT {COLUMNS} FROM deliveries WHERE {own} position > $1 ORDER BY position LIMIT $2");
    let found = if let Some(tenant) = tenant {
        let select = client.prepare_cached(&statement("tenant = $3 AND position > 0 AND")).await?;
        client.query(&select, &[&after.0, &super::limit(limit), &tenant]).await?
    } else {
        let select = client.prepare_cached(&statement("")).await?;
        client.query(&select, &[&after.0, &super::limit(limit)]).await?
    };
    collect(found.iter().map(|row| Ok(read(row)?)), |(_, delivery)| delivery.encoded_len())
}

/// One delivery, with its body where asked for.
pub(in crate::store::postgres) async fn one(
    client: &ClientWrapper,
    tenant: &str,
    delivery_id: Uuid,
    with_body: bool,
) -> Result<Option<v1::Delivery>, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM deliveries WHERE delivery_id = $1 AND tenant = $2");
    let select = client.prepare_cached(&statement).await?;
    let found =
        async || Ok(client.query_opt(&select, &[&delivery_id, &tenant]).await?.as_ref().map(read).transpose()?);
    if !with_body {
        return found().await.map(|found| found.map(|(_, delivery)| delivery));
    }
    // A purge goes on beside it.
    super::at_once(client, async {
        let Some((position, mut delivery)) = found().await? else { return Ok(None) };
        if !delivery.raw_body_purged {
            delivery.raw_body = raw_body(client, position, &delivery).await?;
        }
        Ok(Some(delivery))
    })
    .await
}

/// The deliveries at these positions, as far as they are kept, each with its body where that is not purged. One
/// statement, so that a purge does not come in between.
pub(super) async fn at(
    client: &ClientWrapper,
    positions: &[i64],
) -> Result<BTreeMap<Position, v1::Delivery>, StoreError> {
    let statement = format!(
        "SELECT {COLUMNS}, encoding, body FROM deliveries LEFT JOIN bodies USING (position)
        WHERE position = ANY($1::bigint[])"
    );
    let select = client.prepare_cached(&statement).await?;
    let mut found = BTreeMap::new();
    for row in client.query(&select, &[&positions]).await? {
        let (position, mut delivery) = read(&row)?;
        if !delivery.raw_body_purged {
            let encoding = row.try_get::<_, Option<i16>>(BODY)?.ok_or_else(missing)?;
            let body = row.try_get::<_, Option<Vec<u8>>>(BODY + 1)?.ok_or_else(missing)?;
            delivery.raw_body = pack::body(encoding, body, delivery.body_size, &delivery.body_sha256)?;
        }
        found.insert(position, delivery);
    }
    Ok(found)
}

/// The body of a delivery, checked against its hash.
pub(super) async fn raw_body(
    client: &ClientWrapper,
    position: Position,
    delivery: &v1::Delivery,
) -> Result<Vec<u8>, StoreError> {
    let select = client.prepare_cached("SELECT encoding, body FROM bodies WHERE position = $1").await?;
    let row = client.query_opt(&select, &[&position.0]).await?.ok_or_else(missing)?;
    pack::body(row.try_get(0)?, row.try_get(1)?, delivery.body_size, &delivery.body_sha256)
}

fn missing() -> StoreError {
    StoreError::Damaged { what: "body", why: "it is missing".to_owned() }
}

/// Where the next body lies that is kept.
pub(super) async fn next_body(client: &ClientWrapper, after: Position) -> Result<Option<Position>, StoreError> {
    let select = client.prepare_cached("SELECT min(position) FROM bodies WHERE position > $1").await?;
    let next: Option<i64> = client.query_one(&select, &[&after.0]).await?.try_get(0)?;
    Ok(next.map(Position))
}

fn read(row: &Row) -> Result<(Position, v1::Delivery), Error> {
    let position = Position(row.try_get(0)?);
    let delivery = v1::Delivery {
        tenant: row.try_get(1)?,
        delivery_id: row.try_get::<_, Uuid>(2)?.to_string(),
        trigger: row.try_get(3)?,
        trigger_name: row.try_get(4)?,
        receive_time: Some(timestamp(row.try_get(5)?)),
        event_time: row.try_get::<_, Option<_>>(6)?.map(timestamp),
        disposition: row.try_get(7)?,
        outcome: row.try_get(8)?,
        secret_id: row.try_get(9)?,
        body_sha256: row.try_get(10)?,
        body_size: row.try_get(11)?,
        booking_uid: row.try_get::<_, Option<_>>(12)?.unwrap_or_default(),
        trace_id: row.try_get(13)?,
        raw_body: Vec::new(),
        duplicate_count: row.try_get(14)?,
        position: position.to_token(),
        webhook_version: row.try_get(15)?,
        content_type: row.try_get(16)?,
        raw_body_purged: row.try_get(17)?,
    };
    Ok((position, delivery))
}
