//! What spoke of one booking: deliveries, copies and replays of them, the clock, and the transitions that they made.

use calbridge_proto::v1;
use prost::Message;
use rusqlite::{Row, params};

use super::lineage::origin;
use crate::store::{
    Position, StoreError,
    found::{FoundChange, FoundEntry, collect, notes},
    lineage::Origin,
    sqlite::reader::Snapshot,
    time::timestamp,
};

/// Oldest first, behind `after`.
pub(in crate::store::sqlite) fn page(
    snapshot: &Snapshot<'_>,
    tenant: &str,
    uid: &str,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::TimelineEntry)>, StoreError> {
    // A copy has its own receipt, secret and trace; the rest is the first's. A delivery without a change may stand at
    // the position of another booking's transition, so the uid decides as well.
    // A line of which neither delivery nor transition is kept any more has nothing to say.
    const SELECT: &str = "SELECT m.position, m.outcome, d.delivery_id, coalesce(d.trigger, 0),
            coalesce(d.trigger_name, ''), d.event_time,
            coalesce(c.receive_time, d.receive_time), coalesce(c.secret_id, d.secret_id, ''),
            coalesce(nullif(t.trace_id, ''), c.trace_id, d.trace_id, ''),
            t.kind, t.from_status, t.to_status, t.rule, t.source, t.commit_time, t.booking,
            coalesce(d.booking_uid, ''), m.source, coalesce(d.siblings_silent AND d.booking_uid = b.uid, 0)
        FROM bookings b
        JOIN mentions m ON m.booking = b.id
        LEFT JOIN deliveries d ON d.position = m.delivery
        LEFT JOIN duplicates c ON c.position = m.position
        LEFT JOIN transitions t ON t.position = m.position AND t.uid = b.uid AND t.tenant = b.tenant
        WHERE b.id = ?1 AND m.position > ?2 AND (d.position IS NOT NULL OR t.position IS NOT NULL)
        ORDER BY m.position LIMIT ?3";
    let Some(number) = snapshot.young.number(snapshot, tenant, uid)? else { return Ok(Vec::new()) };
    let origin = Origin { void: false, ..origin(snapshot, tenant, uid)? };
    let mut select = snapshot.prepare_cached(SELECT)?;
    let found = select.query_map(params![number, after.0, super::limit(limit)], read)?;
    collect(found.map(|found| found?.show(tenant, uid, &origin)), |(_, entry)| entry.encoded_len())
}

fn read(row: &Row<'_>) -> rusqlite::Result<FoundEntry> {
    let entry = v1::TimelineEntry {
        outcome: row.get(1)?,
        trigger: row.get(3)?,
        trigger_name: row.get(4)?,
        event_time: row.get::<_, Option<_>>(5)?.map(timestamp),
        receive_time: row.get::<_, Option<_>>(6)?.map(timestamp),
        secret_id: row.get(7)?,
        trace_id: row.get(8)?,
        booking_uid: row.get(16)?,
        source: row.get(17)?,
        notes: notes(row.get(18)?),
        ..v1::TimelineEntry::default()
    };
    let kind: Option<i32> = row.get(9)?;
    Ok(FoundEntry {
        position: Position(row.get(0)?),
        delivery_id: super::id(row, 2)?,
        entry,
        changed: kind.map(|kind| read_change(row, kind)).transpose()?,
    })
}

fn read_change(row: &Row<'_>, kind: i32) -> rusqlite::Result<FoundChange> {
    Ok(FoundChange {
        kind,
        from_status: row.get(10)?,
        to_status: row.get(11)?,
        rule: row.get(12)?,
        source: row.get(13)?,
        commit_time: row.get(14)?,
        booking: row.get(15)?,
    })
}
