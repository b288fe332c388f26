//! The log, read forward: transitions, and deliveries that change no booking.

use std::sync::Arc;

use calbridge_proto::v1::SubmitOutcome;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{deliveries, lineage::origin};
use crate::store::{
    LOG_LOOKS_MAX, LogEntry, LogPage, LogQuery, Position, StoreError,
    found::{FoundChange, FoundTransition},
    lineage::Origin,
    log::{self, LogPart, LogReading},
    sqlite::{reader::Snapshot, retention},
};

const TRANSITIONS: &str = "SELECT t.position, t.tenant, t.uid, t.kind, t.from_status, t.to_status, t.rule, t.source,
        t.commit_time, t.booking, d.delivery_id, coalesce(d.trigger, 0), d.event_time,
        coalesce(nullif(t.trace_id, ''), d.trace_id, '')
    FROM transitions t LEFT JOIN deliveries d ON d.position = t.delivery";

/// The page behind a position, no further than `through`.
pub(in crate::store::sqlite) fn page(
    snapshot: &Snapshot<'_>,
    query: &LogQuery,
    through: Position,
) -> Result<LogPage, StoreError> {
    let purged = retention::watermarks(snapshot, &query.tenant)?.of_log(query.means_recorded());
    let end = through.min(snapshot.head).max(query.after);
    let transitions = transitions(snapshot, query, end)?;
    let recorded =
        query.means_recorded().then(|| recorded_deliveries(snapshot, query, transitions.through)).transpose()?;
    Ok(log::page(end, transitions, recorded, purged))
}

/// What stands at a position of a tenant's log, if it is kept.
pub(in crate::store::sqlite) fn at(
    snapshot: &Snapshot<'_>,
    tenant: &Arc<str>,
    position: Position,
) -> Result<Option<LogEntry>, StoreError> {
    const DELIVERY: &str = "SELECT 1 FROM deliveries WHERE position = ?1 AND outcome = ?2";
    let all = LogQuery { tenant: Arc::clone(tenant), after: position, filter: Arc::default(), recorded: true };
    let mut select = snapshot.prepare_cached(&format!("{TRANSITIONS} WHERE t.position = ?1"))?;
    let mut rows = select.query([position.0])?;
    if let Some(row) = rows.next()? {
        return meant(snapshot, &all, position, row);
    }
    let values = params![position.0, i32::from(SubmitOutcome::Recorded)];
    if !snapshot.prepare_cached(DELIVERY)?.exists(values)? {
        return Ok(None);
    }
    Ok(Some(LogEntry::Recorded(Box::new(deliveries::at(snapshot, position)?))))
}

/// Whosesoever: a log has no index but its order, and most of it is one tenant's.
fn transitions(snapshot: &Snapshot<'_>, query: &LogQuery, end: Position) -> Result<LogPart, StoreError> {
    let statement = format!("{TRANSITIONS} WHERE t.position > ?1 AND t.position <= ?2 ORDER BY t.position LIMIT ?3");
    let mut select = snapshot.prepare_cached(&statement)?;
    let mut rows = select.query(params![query.after.0, end.0, super::limit(LOG_LOOKS_MAX)])?;
    let mut reading = LogReading::default();
    while let Some(row) = rows.next()? {
        let position = Position(row.get(0)?);
        if !reading.take(position, meant(snapshot, query, position, row)?) {
            return Ok(reading.cut());
        }
    }
    Ok(reading.whole(end))
}

fn meant(
    snapshot: &Snapshot<'_>,
    query: &LogQuery,
    position: Position,
    row: &Row<'_>,
) -> Result<Option<LogEntry>, StoreError> {
    let (tenant, uid) = (row.get_ref(1)?.as_str(), row.get_ref(2)?.as_str());
    let (Ok(tenant), Ok(uid)) = (tenant, uid) else {
        return Err(StoreError::Damaged { what: "transition", why: "its tenant or uid is no text".to_owned() });
    };
    if *tenant != *query.tenant || !query.filter.may_mean(uid, row.get(3)?, row.get(5)?) {
        return Ok(None);
    }
    // A change says what link was heard of, though it may be void by now.
    let origin = Origin { void: false, ..origin(snapshot, tenant, uid)? };
    let transition = read(row, position)?.show(tenant, &origin)?;
    let is_meant = query.filter.means(transition.booking.as_ref());
    Ok(is_meant.then(|| LogEntry::Transition(Box::new(transition))))
}

fn read(row: &Row<'_>, position: Position) -> rusqlite::Result<FoundTransition> {
    Ok(FoundTransition {
        position,
        uid: row.get(2)?,
        delivery_id: row.get::<_, Option<[u8; 16]>>(10)?.map(Uuid::from_bytes),
        trigger: row.get(11)?,
        event_time: row.get(12)?,
        trace_id: row.get(13)?,
        changed: FoundChange {
            kind: row.get(3)?,
            from_status: row.get(4)?,
            to_status: row.get(5)?,
            rule: row.get(6)?,
            source: row.get(7)?,
            commit_time: row.get(8)?,
            booking: row.get(9)?,
        },
    })
}

/// A tenant's own index leads to them.
fn recorded_deliveries(connection: &Connection, query: &LogQuery, end: Position) -> Result<LogPart, StoreError> {
    const SELECT: &str = "SELECT position, outcome, coalesce(booking_uid, '') FROM deliveries
        WHERE tenant = ?1 AND position > ?2 AND position <= ?3 ORDER BY position LIMIT ?4";
    let mut select = connection.prepare_cached(SELECT)?;
    let mut rows = select.query(params![query.tenant, query.after.0, end.0, super::limit(LOG_LOOKS_MAX)])?;
    let mut reading = LogReading::default();
    while let Some(row) = rows.next()? {
        let position = Position(row.get(0)?);
        let is_meant = row.get::<_, i32>(1)? == i32::from(SubmitOutcome::Recorded)
            && query.filter.means_delivery(&row.get::<_, String>(2)?);
        let delivery = is_meant.then(|| deliveries::at(connection, position)).transpose()?;
        if !reading.take(position, delivery.map(|delivery| LogEntry::Recorded(Box::new(delivery)))) {
            return Ok(reading.cut());
        }
    }
    Ok(reading.whole(end))
}
