//! The log, read forward: transitions, and deliveries that change no booking.

use calbridge_proto::v1::SubmitOutcome;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Row};

use super::{deliveries, lineage::Origins};
use crate::store::{
    LOG_ENTRIES_MAX, LOG_LOOKS_MAX, LogEntry, LogPage, LogQuery, Position, StoreError,
    found::{FoundChange, FoundTransition},
    lineage::Origin,
    log::{self, LogPart, LogReading},
    postgres::retention,
};

/// How far a look at so many transitions reaches, whosesoever: a log has no index but its order.
const REACH: &str = "SELECT max(position), count(*) FROM
    (SELECT position FROM transitions WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3) AS looked_at";
/// Those of a tenant up to there. The order is the log's.
const TRANSITIONS: &str = "SELECT t.position, t.uid, t.kind, t.from_status, t.to_status, t.rule, t.source,
        t.commit_time, t.booking, d.delivery_id, coalesce(d.trigger, 0), d.event_time,
        coalesce(nullif(t.trace_id, ''), d.trace_id, '')
    FROM transitions t LEFT JOIN deliveries d ON d.position = t.delivery
    WHERE t.position > $1 AND t.position <= $2 AND t.tenant = $3 ORDER BY t.position LIMIT $4";
const RECORDED: &str = "SELECT position, outcome, coalesce(booking_uid, '') FROM deliveries
    WHERE tenant = $1 AND position > 0 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4";

/// The page behind a position.
pub(in crate::store::postgres) async fn page(client: &ClientWrapper, query: &LogQuery) -> Result<LogPage, StoreError> {
    super::at_once(client, async {
        let purged = retention::watermarks(client, &query.tenant).await?.transitions;
        let end = super::head(client).await?.max(query.after);
        let transitions = transitions(client, query, reach(client, query.after, end).await?).await?;
        let recorded = if query.recorded && query.filter.means_recorded() {
            Some(recorded(client, query, transitions.through).await?)
        } else {
            None
        };
        Ok(log::page(end, transitions, recorded, purged))
    })
    .await
}

async fn reach(client: &ClientWrapper, after: Position, end: Position) -> Result<Position, StoreError> {
    let select = client.prepare_cached(REACH).await?;
    let row = client.query_one(&select, &[&after.0, &end.0, &super::limit(LOG_LOOKS_MAX)]).await?;
    let (last, looks): (Option<i64>, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(last.filter(|_| looks >= super::limit(LOG_LOOKS_MAX)).map_or(end, Position))
}

async fn transitions(client: &ClientWrapper, query: &LogQuery, end: Position) -> Result<LogPart, StoreError> {
    let select = client.prepare_cached(TRANSITIONS).await?;
    let (tenant, most) = (&*query.tenant, super::limit(LOG_ENTRIES_MAX));
    let rows = client.query(&select, &[&query.after.0, &end.0, &tenant, &most]).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        found.push(read(row)?);
    }
    let may_mean =
        |found: &FoundTransition| query.filter.may_mean(&found.uid, found.changed.kind, found.changed.to_status);
    let uids = found.iter().filter(|found| may_mean(found)).map(|found| found.uid.clone()).collect();
    let origins = Origins::read(client, tenant, uids).await?;
    let mut reading = LogReading::default();
    for found in found {
        let position = found.position;
        let entry = if may_mean(&found) { meant(query, found, &origins)? } else { None };
        if !reading.take(position, entry) {
            return Ok(reading.cut());
        }
    }
    Ok(if rows.len() < LOG_ENTRIES_MAX { reading.whole(end) } else { reading.cut() })
}

fn meant(query: &LogQuery, found: FoundTransition, origins: &Origins) -> Result<Option<LogEntry>, StoreError> {
    // A change says what link was heard of, though it may be void by now.
    let origin = Origin { void: false, ..origins.of(&found.uid)? };
    let transition = found.show(&query.tenant, &origin)?;
    let is_meant = query.filter.means(transition.booking.as_ref());
    Ok(is_meant.then(|| LogEntry::Transition(Box::new(transition))))
}

fn read(row: &Row) -> Result<FoundTransition, Error> {
    Ok(FoundTransition {
        position: Position(row.try_get(0)?),
        uid: row.try_get(1)?,
        delivery_id: row.try_get(9)?,
        trigger: row.try_get(10)?,
        event_time: row.try_get(11)?,
        trace_id: row.try_get(12)?,
        changed: FoundChange {
            kind: row.try_get(2)?,
            from_status: row.try_get(3)?,
            to_status: row.try_get(4)?,
            rule: row.try_get(5)?,
            source: row.try_get(6)?,
            commit_time: row.try_get(7)?,
            booking: row.try_get(8)?,
        },
    })
}

async fn recorded(client: &ClientWrapper, query: &LogQuery, end: Position) -> Result<LogPart, StoreError> {
    let select = client.prepare_cached(RECORDED).await?;
    let (tenant, most) = (&*query.tenant, super::limit(LOG_LOOKS_MAX));
    let mut reading = LogReading::default();
    for row in client.query(&select, &[&tenant, &query.after.0, &end.0, &most]).await? {
        let position = Position(row.try_get(0)?);
        let is_meant = row.try_get::<_, i32>(1)? == i32::from(SubmitOutcome::Recorded)
            && query.filter.means_delivery(row.try_get(2)?);
        let entry =
            if is_meant { Some(LogEntry::Recorded(Box::new(deliveries::at(client, position).await?))) } else { None };
        if !reading.take(position, entry) {
            return Ok(reading.cut());
        }
    }
    Ok(reading.whole(end))
}
