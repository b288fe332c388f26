//! What spoke of one booking: deliveries, copies and replays of them, the clock, and the transitions that they made.

use calbridge_proto::v1;
use deadpool_postgres::ClientWrapper;
use prost::Message;
use tokio_postgres::{Error, Row};

use super::lineage::origin;
use crate::store::{
    Position, StoreError,
    found::{FoundChange, FoundEntry, collect, notes},
    lineage::Origin,
    time::timestamp,
};

// A copy has its own receipt, secret and trace; the rest is the first's. A delivery without a change may stand at the
// position of another booking's transition, so the uid decides as well.
// A line of which neither delivery nor transition is kept any more has nothing to say.
const SELECT: &str = "SELECT m.position, m.outcome, d.delivery_id, coalesce(d.trigger, 0),
        coalesce(d.trigger_name, ''), d.event_time,
        coalesce(c.receive_time, d.receive_time), coalesce(c.secret_id, d.secret_id, ''),
        coalesce(nullif(t.trace_id, ''), c.trace_id, d.trace_id, ''),
        t.kind, t.from_status, t.to_status, t.rule, t.source, t.commit_time, t.booking,
        coalesce(d.booking_uid, ''), m.source, coalesce(d.siblings_silent AND d.booking_uid = m.uid, FALSE)
    FROM mentions m
    LEFT JOIN deliveries d ON d.position = m.delivery
    LEFT JOIN duplicates c ON c.position = m.position
    LEFT JOIN transitions t ON t.position = m.position AND t.uid = m.uid AND t.tenant = m.tenant
    WHERE m.tenant = $1 AND m.uid = $2 AND m.position > $3 AND (d.position IS NOT NULL OR t.position IS NOT NULL)
    ORDER BY m.position LIMIT $4";

/// Oldest first, behind `after`.
pub(in crate::store::postgres) async fn page(
    client: &ClientWrapper,
    tenant: &str,
    uid: &str,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::TimelineEntry)>, StoreError> {
    super::at_once(client, async {
        let origin = Origin { void: false, ..origin(client, tenant, uid).await? };
        let select = client.prepare_cached(SELECT).await?;
        let found = client.query(&select, &[&tenant, &uid, &after.0, &super::limit(limit)]).await?;
        let entries = found.iter().map(|row| read(row)?.show(tenant, uid, &origin));
        collect(entries, |(_, entry)| entry.encoded_len())
    })
    .await
}

fn read(row: &Row) -> Result<FoundEntry, Error> {
    let entry = v1::TimelineEntry {
        outcome: row.try_get(1)?,
        trigger: row.try_get(3)?,
        trigger_name: row.try_get(4)?,
        event_time: row.try_get::<_, Option<_>>(5)?.map(timestamp),
        receive_time: row.try_get::<_, Option<_>>(6)?.map(timestamp),
        secret_id: row.try_get(7)?,
        trace_id: row.try_get(8)?,
        booking_uid: row.try_get(16)?,
        source: row.try_get(17)?,
        notes: notes(row.try_get(18)?),
        ..v1::TimelineEntry::default()
    };
    let kind: Option<i32> = row.try_get(9)?;
    Ok(FoundEntry {
        position: Position(row.try_get(0)?),
        delivery_id: row.try_get(2)?,
        entry,
        changed: kind.map(|kind| read_change(row, kind)).transpose()?,
    })
}

fn read_change(row: &Row, kind: i32) -> Result<FoundChange, Error> {
    Ok(FoundChange {
        kind,
        from_status: row.try_get(10)?,
        to_status: row.try_get(11)?,
        rule: row.try_get(12)?,
        source: row.try_get(13)?,
        commit_time: row.try_get(14)?,
        booking: row.try_get(15)?,
    })
}
