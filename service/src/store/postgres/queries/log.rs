//! The log, read forward: transitions, and deliveries that change no booking.

use std::{collections::BTreeMap, sync::Arc};

use calbridge_proto::v1::SubmitOutcome;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Row};

use super::{deliveries, lineage::Origins};
use crate::store::{
    LOG_BYTES_MAX, LOG_ENTRIES_MAX, LOG_LOOKS_MAX, LogEntry, LogPage, LogQuery, Position, StoreError,
    found::{FoundChange, FoundTransition},
    lineage::Origin,
    log::{self, LogPart, LogReading},
    postgres::retention,
};

/// How far a look at so many transitions reaches, whosesoever: a log has no index but its order.
const REACH: &str = "SELECT max(position), count(*) FROM
    (SELECT position FROM transitions WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3) AS looked_at";
const TRANSITION: &str = "SELECT t.position, t.uid, t.kind, t.from_status, t.to_status, t.rule, t.source,
        t.commit_time, t.booking, d.delivery_id, coalesce(d.trigger, 0) AS trigger, d.event_time,
        coalesce(nullif(t.trace_id, ''), d.trace_id, '') AS trace_id
    FROM transitions t LEFT JOIN deliveries d ON d.position = t.delivery";
/// Those of a tenant up to there. The order is the log's.
const BEHIND: &str = "t.position > $1 AND t.position <= $2 AND t.tenant = $3 ORDER BY t.position LIMIT $4";
const AT: &str = "t.position = ANY($1::bigint[]) AND t.tenant = $2";
const RECORDED: &str = "SELECT position, outcome, coalesce(booking_uid, ''), body_size FROM deliveries
    WHERE tenant = $1 AND position > 0 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4";

/// Recorded deliveries that are read at a time with their bodies, which are small as a rule.
const CHUNK: usize = 64;

/// The page behind a position.
pub(in crate::store::postgres) async fn page(client: &ClientWrapper, query: &LogQuery) -> Result<LogPage, StoreError> {
    super::at_once(client, async {
        let purged = retention::watermarks(client, &query.tenant).await?.of_log(query.means_recorded());
        let end = super::head(client).await?;
        Ok(LogPage { purged, ..within(client, query, end).await? })
    })
    .await
}

/// The same of a log that goes to `end`, in a transaction of the caller's; how far it is purged is not asked. Each
/// statement may see a state of its own: up to where the head was read the log only loses what is purged.
pub(in crate::store::postgres) async fn within(
    client: &ClientWrapper,
    query: &LogQuery,
    end: Position,
) -> Result<LogPage, StoreError> {
    let end = end.max(query.after);
    let transitions = transitions(client, query, reach(client, query.after, end).await?).await?;
    let recorded =
        if query.means_recorded() { Some(recorded(client, query, transitions.through).await?) } else { None };
    Ok(log::page(end, transitions, recorded, Position::default()))
}

/// What stands at these places of a tenant's log, as far as it is kept.
pub(in crate::store::postgres) async fn at(
    client: &ClientWrapper,
    tenant: &Arc<str>,
    positions: &[Position],
) -> Result<BTreeMap<Position, LogEntry>, StoreError> {
    let all =
        LogQuery { tenant: Arc::clone(tenant), after: Position::default(), filter: Arc::default(), recorded: true };
    let select = client.prepare_cached(&format!("{TRANSITION} WHERE {AT}")).await?;
    let wanted: Vec<i64> = positions.iter().map(|position| position.0).collect();
    let rows = client.query(&select, &[&wanted, &tenant.as_ref()]).await?;
    let found: Vec<FoundTransition> = rows.iter().map(read).collect::<Result<_, _>>()?;
    let origins = Origins::read(client, tenant, found.iter().map(|found| found.uid.clone()).collect()).await?;
    let mut entries = BTreeMap::new();
    for found in found {
        let position = found.position;
        entries.extend(meant(&all, found, &origins)?.map(|entry| (position, entry)));
    }
    let others: Vec<i64> = wanted.into_iter().filter(|position| !entries.contains_key(&Position(*position))).collect();
    if !others.is_empty() {
        let recorded = deliveries::at(client, &others)
            .await?
            .into_iter()
            .filter(|(_, delivery)| delivery.outcome() == SubmitOutcome::Recorded && delivery.tenant == **tenant);
        entries.extend(recorded.map(|(position, delivery)| (position, LogEntry::Recorded(Box::new(delivery)))));
    }
    Ok(entries)
}

async fn reach(client: &ClientWrapper, after: Position, end: Position) -> Result<Position, StoreError> {
    // No more transitions than positions.
    if end.0 - after.0 < super::limit(LOG_LOOKS_MAX) {
        return Ok(end);
    }
    let select = client.prepare_cached(REACH).await?;
    let row = client.query_one(&select, &[&after.0, &end.0, &super::limit(LOG_LOOKS_MAX)]).await?;
    let (last, looks): (Option<i64>, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(last.filter(|_| looks >= super::limit(LOG_LOOKS_MAX)).map_or(end, Position))
}

async fn transitions(client: &ClientWrapper, query: &LogQuery, end: Position) -> Result<LogPart, StoreError> {
    if end == query.after {
        return Ok(LogReading::default().whole(end));
    }
    let select = client.prepare_cached(&behind()).await?;
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
    for (decoded, (row, found)) in (1..).zip(rows.iter().zip(found)) {
        super::give_way(decoded).await;
        let position = found.position;
        let is_wanted = may_mean(&found);
        if is_wanted && !has_booking(row)? {
            return Ok(reading.cut());
        }
        let entry = if is_wanted { meant(query, found, &origins)? } else { None };
        if !reading.take(position, entry) {
            return Ok(reading.cut());
        }
    }
    Ok(if rows.len() < LOG_ENTRIES_MAX { reading.whole(end) } else { reading.cut() })
}

/// Those behind a position, whose bookings are as many bytes as a page holds; the others come without theirs.
fn behind() -> String {
    let booking = super::within(LOG_BYTES_MAX, "booking", "position");
    format!(
        "SELECT position, uid, kind, from_status, to_status, rule, source, commit_time, {booking}, delivery_id, trigger,
            event_time, trace_id
        FROM ({TRANSITION} WHERE {BEHIND}) found ORDER BY position"
    )
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
            booking: row.try_get::<_, Option<_>>(8)?.unwrap_or_default(),
        },
    })
}

fn has_booking(row: &Row) -> Result<bool, Error> {
    Ok(row.try_get::<_, Option<&[u8]>>(8)?.is_some())
}

async fn recorded(client: &ClientWrapper, query: &LogQuery, end: Position) -> Result<LogPart, StoreError> {
    let select = client.prepare_cached(RECORDED).await?;
    let (tenant, most) = (&*query.tenant, super::limit(LOG_LOOKS_MAX));
    let mut looked_at: Vec<(Position, Option<i64>)> = Vec::new();
    for row in client.query(&select, &[&tenant, &query.after.0, &end.0, &most]).await? {
        let is_meant = row.try_get::<_, i32>(1)? == i32::from(SubmitOutcome::Recorded)
            && query.filter.means_delivery(row.try_get(2)?);
        let bytes: i64 = row.try_get(3)?;
        looked_at.push((Position(row.try_get(0)?), is_meant.then_some(bytes)));
    }
    let mut reading = LogReading::default();
    let mut rest = &looked_at[..];
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(chunk(rest));
        let meant: Vec<i64> =
            chunk.iter().filter(|(_, bytes)| bytes.is_some()).map(|(position, _)| position.0).collect();
        let mut found = if meant.is_empty() { BTreeMap::new() } else { deliveries::at(client, &meant).await? };
        for (position, _) in chunk {
            let entry = found.remove(position).map(|delivery| LogEntry::Recorded(Box::new(delivery)));
            if !reading.take(*position, entry) {
                return Ok(reading.cut());
            }
        }
        rest = behind;
    }
    Ok(reading.whole(end))
}

/// How many of these rows are read at once: about as many as a page has room for, and one at the least. Of those that
/// are meant it is told how large their bodies are.
fn chunk(rows: &[(Position, Option<i64>)]) -> usize {
    let (mut bytes, mut meant) = (0, 0);
    let is_past = |(_, size): &(Position, Option<i64>)| {
        bytes += size.unwrap_or(0);
        meant += usize::from(size.is_some());
        meant > CHUNK || bytes > super::limit(LOG_BYTES_MAX)
    };
    rows.iter().position(is_past).map_or(rows.len(), |end| end.max(1))
}
