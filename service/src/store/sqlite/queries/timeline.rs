//! What spoke of one booking: deliveries, copies and replays of them, the clock, and the transitions that they made.

use calbridge_proto::v1;
use prost::Message;
use rusqlite::{Connection, Row, params};

use super::lineage::origin;
use crate::store::{Micros, Position, StoreError, lineage::Origin, time::timestamp, view};

/// Oldest first, behind `after`.
pub(in crate::store::sqlite) fn page(
    connection: &Connection,
    tenant: &str,
    uid: &str,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, v1::TimelineEntry)>, StoreError> {
    // A copy has its own receipt, secret and trace; the rest is the first's. A delivery without a change may stand at
    // the position of another booking's transition, so the uid decides as well.
    const SELECT: &str = "SELECT m.position, m.outcome, d.delivery_id, coalesce(d.trigger, 0),
            coalesce(d.trigger_name, ''), d.event_time,
            coalesce(c.receive_time, d.receive_time), coalesce(c.secret_id, d.secret_id, ''),
            coalesce(nullif(t.trace_id, ''), c.trace_id, d.trace_id, ''),
            t.kind, t.from_status, t.to_status, t.rule, t.source, t.commit_time, t.booking,
            coalesce(d.booking_uid, ''), m.source, coalesce(d.siblings_silent, 0) AND d.booking_uid = m.uid
        FROM mentions m
        LEFT JOIN deliveries d ON d.position = m.delivery
        LEFT JOIN duplicates c ON c.position = m.position
        LEFT JOIN transitions t ON t.position = m.position AND t.uid = m.uid AND t.tenant = m.tenant
        WHERE m.tenant = ?1 AND m.uid = ?2 AND m.position > ?3
        ORDER BY m.position LIMIT ?4";
    let origin = Origin { void: false, ..origin(connection, tenant, uid)? };
    let mut select = connection.prepare_cached(SELECT)?;
    let found = select.query_map(params![tenant, uid, after.0, super::limit(limit)], Found::read)?;
    super::collect(found.map(|found| found?.show(tenant, uid, &origin)), |(_, entry)| entry.encoded_len())
}

struct Found {
    position: Position,
    /// The clock has none.
    delivery_id: Option<Vec<u8>>,
    /// All but the delivery's id and the transition.
    entry: v1::TimelineEntry,
    changed: Option<Changed>,
}

/// The columns of a transition.
struct Changed {
    kind: i32,
    from_status: i32,
    to_status: i32,
    rule: String,
    source: i32,
    commit_time: Micros,
    booking: Vec<u8>,
}

impl Found {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let position = Position(row.get(0)?);
        let entry = v1::TimelineEntry {
            position: position.to_token(),
            outcome: row.get(1)?,
            delivery_id: String::new(),
            trigger: row.get(3)?,
            trigger_name: row.get(4)?,
            event_time: row.get::<_, Option<_>>(5)?.map(timestamp),
            receive_time: row.get::<_, Option<_>>(6)?.map(timestamp),
            secret_id: row.get(7)?,
            trace_id: row.get(8)?,
            transition: None,
            booking_uid: row.get(16)?,
            source: row.get(17)?,
            notes: if row.get(18)? { vec![v1::TimelineNote::SiblingsMayHaveChanged.into()] } else { Vec::new() },
        };
        let kind: Option<i32> = row.get(9)?;
        let changed = kind.map(|kind| Changed::read(row, kind)).transpose()?;
        Ok(Self { position, delivery_id: row.get(2)?, entry, changed })
    }

    fn show(self, tenant: &str, uid: &str, origin: &Origin) -> Result<(Position, v1::TimelineEntry), StoreError> {
        let Self { position, delivery_id, mut entry, changed } = self;
        if let Some(id) = delivery_id {
            entry.delivery_id = super::delivery_id(&id)?.to_string();
        }
        entry.transition = changed.map(|changed| changed.show(&entry, tenant, uid, origin)).transpose()?;
        Ok((position, entry))
    }
}

impl Changed {
    fn read(row: &Row<'_>, kind: i32) -> rusqlite::Result<Self> {
        Ok(Self {
            kind,
            from_status: row.get(10)?,
            to_status: row.get(11)?,
            rule: row.get(12)?,
            source: row.get(13)?,
            commit_time: row.get(14)?,
            booking: row.get(15)?,
        })
    }

    fn show(
        self,
        entry: &v1::TimelineEntry,
        tenant: &str,
        uid: &str,
        origin: &Origin,
    ) -> Result<v1::Transition, StoreError> {
        let damaged = |_| StoreError::Damaged { what: "transition", why: "its booking can't be read".to_owned() };
        let mut booking = v1::Booking::decode(&self.booking[..]).map_err(damaged)?;
        view::seal(&mut booking, origin.clone());
        Ok(v1::Transition {
            position: entry.position.clone(),
            tenant: tenant.to_owned(),
            uid: uid.to_owned(),
            kind: self.kind,
            from_status: self.from_status,
            to_status: self.to_status,
            booking: Some(booking),
            delivery_id: entry.delivery_id.clone(),
            trigger: entry.trigger,
            commit_time: Some(timestamp(self.commit_time)),
            event_time: entry.event_time,
            trace_id: entry.trace_id.clone(),
            rule: self.rule,
            source: self.source,
        })
    }
}
