//! What spoke of one booking: deliveries, copies and replays of them, the clock, and the transitions that they made.

use calbridge_proto::v1;
use deadpool_postgres::ClientWrapper;
use prost::Message;
use tokio_postgres::{Error, Row};

use super::{ROWS_BYTES, lineage::origin};
use crate::store::{
    PAGE_BYTES_MAX, Position, StoreError,
    found::{FoundChange, FoundEntry, notes},
    lineage::Origin,
    time::timestamp,
};

// A copy has its own receipt, secret and trace; the rest is the first's. A delivery without a change may stand at the
// position of another booking's transition, so the uid decides as well.
// A line of which neither delivery nor transition is kept any more has nothing to say.
const LINES: &str = "SELECT m.position, m.outcome, d.delivery_id, coalesce(d.trigger, 0) AS trigger,
        coalesce(d.trigger_name, '') AS trigger_name, d.event_time,
        coalesce(c.receive_time, d.receive_time) AS receive_time,
        coalesce(c.secret_id, d.secret_id, '') AS secret_id,
        coalesce(nullif(t.trace_id, ''), c.trace_id, d.trace_id, '') AS trace_id,
        t.kind, t.from_status, t.to_status, t.rule, t.source AS told_by, t.commit_time, t.booking,
        coalesce(d.booking_uid, '') AS booking_uid, m.source,
        coalesce(d.siblings_silent AND d.booking_uid = m.uid, FALSE) AS siblings_silent
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
        let select = client.prepare_cached(&select()).await?;
        let (mut page, mut bytes, mut after) = (Vec::new(), 0, after);
        loop {
            let wanted = limit - page.len();
            let rows = client.query(&select, &[&tenant, &uid, &after.0, &super::limit(wanted)]).await?;
            let mut is_cut = false;
            for row in &rows {
                let Some(found) = read(row)? else {
                    is_cut = true;
                    break;
                };
                let (position, entry) = found.show(tenant, uid, &origin)?;
                bytes += entry.encoded_len();
                page.push((position, entry));
                super::give_way(page.len()).await;
                after = position;
                if bytes > PAGE_BYTES_MAX && page.len() > 1 {
                    return Ok(page);
                }
            }
            if !is_cut {
                return Ok(page);
            }
        }
    })
    .await
}

fn select() -> String {
    let booking = super::within(ROWS_BYTES, "booking", "position");
    format!(
        "SELECT position, outcome, delivery_id, trigger, trigger_name, event_time, receive_time, secret_id, trace_id,
            kind, from_status, to_status, rule, told_by, commit_time, {booking}, booking_uid, source, siblings_silent
        FROM ({LINES}) lines ORDER BY position"
    )
}

/// Nothing where the booking of its transition did not come.
fn read(row: &Row) -> Result<Option<FoundEntry>, Error> {
    let changed = match (row.try_get(9)?, row.try_get(15)?) {
        (Some(_), None) => return Ok(None),
        (Some(kind), Some(booking)) => Some(read_change(row, kind, booking)?),
        (None, _) => None,
    };
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
    Ok(Some(FoundEntry { position: Position(row.try_get(0)?), delivery_id: row.try_get(2)?, entry, changed }))
}

fn read_change(row: &Row, kind: i32, booking: Vec<u8>) -> Result<FoundChange, Error> {
    Ok(FoundChange {
        kind,
        from_status: row.try_get(10)?,
        to_status: row.try_get(11)?,
        rule: row.try_get(12)?,
        source: row.try_get(13)?,
        commit_time: row.try_get(14)?,
        booking,
    })
}
