//! Purging: a chunk is one transaction behind a lock of its own, so that of several services one purges at a time, and
//! the others pass by. The head is not locked: what is purged was committed long before, and takes no position.
//!
//! A round, which holds the head, meets a chunk only where it notes a copy of a delivery that goes, or a replay merges
//! one: those lock the delivery's row, in the order of positions as the chunk does. Whoever comes second waits, and
//! sees what came of it; a chunk waits for nothing else that a round has.

use calbridge_process::crash::{self, Point};
use calbridge_proto::v1;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Row};

use super::head::BEGIN;
use crate::store::{
    LogPurge, LogPurged, PURGE_ROWS_MAX, Position, Purge, Purgeable, Purged, StoreError, Watermarks,
    fold::FoldedBooking,
    retention::{
        Candidate,
        log::{self, LogCandidate},
        timelines,
    },
};

/// The row that is no tenant's.
const LOCK: &str = "SELECT 1 FROM retention WHERE tenant = '' FOR UPDATE SKIP LOCKED";
const WATERMARKS: &str = "SELECT bodies, deliveries, transitions FROM retention WHERE tenant = $1";
const ADVANCE: &str = "INSERT INTO retention (tenant, bodies, deliveries, transitions) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant) DO UPDATE SET bodies = greatest(retention.bodies, excluded.bodies),
        deliveries = greatest(retention.deliveries, excluded.deliveries),
        transitions = greatest(retention.transitions, excluded.transitions)";

// Positions are above zero: said as the index says it.
const BODIES: &str = "SELECT position, delivery_id, body_size FROM deliveries
    WHERE tenant = $1 AND position > $2 AND position > 0 ORDER BY position LIMIT $3";
const DELIVERIES: &str = "SELECT position, delivery_id, booking_uid, mentioned FROM deliveries
    WHERE tenant = $1 AND position > $2 AND position > 0 ORDER BY position LIMIT $3";
const TRANSITIONS: &str = "SELECT tenant, position, commit_time, octet_length(booking), uid FROM transitions
    WHERE position > $1 ORDER BY position LIMIT $2";

/// As a round locks them.
const LOCK_DELIVERIES: &str = "SELECT position FROM deliveries WHERE position = ANY($1::bigint[])
    ORDER BY position FOR UPDATE";
const DELETE_BODIES: &str = "DELETE FROM bodies WHERE position = ANY($1::bigint[])";
const DELETE_DELIVERIES: &str = "DELETE FROM deliveries WHERE position = ANY($1::bigint[])";
const DELETE_NOTES: &str = "DELETE FROM duplicates WHERE position = ANY($1::bigint[])";
const DELETE_TRANSITIONS: &str = "DELETE FROM transitions WHERE position = ANY($1::bigint[])";
/// Of deliveries that are gone. A line stays for as long as its transition is kept.
const DELETE_LINES: &str = "DELETE FROM mentions m USING UNNEST($2::text[]) AS k (uid)
    WHERE m.tenant = $1 AND m.uid = k.uid AND m.delivery BETWEEN 1 AND $3 AND NOT EXISTS
        (SELECT 1 FROM transitions t WHERE t.position = m.position AND t.tenant = m.tenant AND t.uid = m.uid)
    RETURNING m.position, m.outcome";
/// Of transitions that are gone. A line stays for as long as its delivery is kept; the clock's has none.
const DELETE_CHANGES: &str = "DELETE FROM mentions m
    USING UNNEST($1::text[], $2::text[], $3::bigint[]) AS k (tenant, uid, position)
    WHERE m.tenant = k.tenant AND m.uid = k.uid AND m.position = k.position
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.position = m.delivery)";

/// A delivery that is replayed may have been kept before anything spoke of the booking.
pub(super) const EARLIER: &str = "UPDATE bookings b SET first_position = $3
    FROM UNNEST($1::text[], $2::text[]) AS k (tenant, uid)
    WHERE b.tenant = k.tenant AND b.uid = k.uid AND b.first_position > $3";

/// The next tenant behind this name of whom anything is kept. Where there are transitions there is a booking.
pub(super) async fn next_tenant(client: &ClientWrapper, behind: &str) -> Result<Option<String>, StoreError> {
    const SELECT: &str = "SELECT min(tenant) FROM (SELECT min(tenant) AS tenant FROM deliveries WHERE tenant > $1
        UNION ALL SELECT min(tenant) FROM bookings WHERE tenant > $1) AS next";
    let select = client.prepare_cached(SELECT).await?;
    Ok(client.query_one(&select, &[&behind]).await?.try_get(0)?)
}

/// What is gone of a tenant's.
pub(super) async fn watermarks(client: &ClientWrapper, tenant: &str) -> Result<Watermarks, StoreError> {
    let select = client.prepare_cached(WATERMARKS).await?;
    let found = client.query_opt(&select, &[&tenant]).await?;
    Ok(found.as_ref().map(read).transpose()?.unwrap_or_default())
}

/// Takes one chunk away.
pub(super) async fn purge(client: &ClientWrapper, purge: &Purge) -> Result<Purged, StoreError> {
    // Looked at before anything is locked: nearly always nothing is due.
    let before = watermarks(client, &purge.tenant).await?;
    if purge.reach(&candidates(client, purge, before).await?).rows == 0 || !begin(client).await? {
        return Ok(Purged::default());
    }
    let purged = purge_behind(client, purge).await?;
    crash::at(Point::PurgeCommit);
    client.batch_execute("COMMIT").await?;
    crash::at(Point::PurgeCommitted);
    Ok(purged)
}

/// Takes one chunk of the log away.
pub(super) async fn purge_log(client: &ClientWrapper, purge: &LogPurge) -> Result<LogPurged, StoreError> {
    // As above. Most of a log may be others'.
    let (gone, due) = purge.choose(log_behind(client, purge.after).await?);
    if gone.is_empty() {
        return Ok(due);
    }
    if !begin(client).await? {
        return Ok(purge.nothing());
    }
    let (gone, purged) = purge.choose(log_behind(client, purge.after).await?);
    transitions(client, &gone).await?;
    for (tenant, transitions) in log::passed(&gone) {
        advance(client, tenant, Watermarks { transitions, ..watermarks(client, tenant).await? }).await?;
    }
    crash::at(Point::PurgeCommit);
    client.batch_execute("COMMIT").await?;
    crash::at(Point::PurgeCommitted);
    Ok(purged)
}

/// Whether a chunk has begun. It has not where another service purges.
async fn begin(client: &ClientWrapper) -> Result<bool, StoreError> {
    let lock = client.prepare_cached(LOCK).await?;
    client.batch_execute(BEGIN).await?;
    if client.query_opt(&lock, &[]).await?.is_some() {
        return Ok(true);
    }
    client.batch_execute("ROLLBACK").await?;
    Ok(false)
}

type Read = fn(&Row) -> Result<Candidate, Error>;

async fn purge_behind(client: &ClientWrapper, purge: &Purge) -> Result<Purged, StoreError> {
    let before = watermarks(client, &purge.tenant).await?;
    let mut found = candidates(client, purge, before).await?;
    let purged = purge.reach(&found);
    found.truncate(purged.rows);
    let Some(last) = found.last() else { return Ok(purged) };
    let through = last.position;
    let positions: Vec<i64> = found.iter().map(|found| found.position.0).collect();
    match purge.what {
        Purgeable::Bodies => delete(client, DELETE_BODIES, &positions).await?,
        Purgeable::Deliveries => deliveries(client, &purge.tenant, &found, &positions).await?,
    }
    advance(client, &purge.tenant, before.passed(purge.what, through)).await?;
    Ok(purged)
}

async fn advance(client: &ClientWrapper, tenant: &str, now: Watermarks) -> Result<(), StoreError> {
    let advance = client.prepare_cached(ADVANCE).await?;
    client.execute(&advance, &[&tenant, &now.bodies.0, &now.deliveries.0, &now.transitions.0]).await?;
    Ok(())
}

/// The rows behind the watermark.
async fn candidates(client: &ClientWrapper, purge: &Purge, before: Watermarks) -> Result<Vec<Candidate>, StoreError> {
    let (statement, read): (_, Read) = match purge.what {
        Purgeable::Bodies => (BODIES, read_body),
        Purgeable::Deliveries => (DELIVERIES, read_delivery),
    };
    let select = client.prepare_cached(statement).await?;
    let (behind, limit) = (before.of(purge.what).0, super::queries::limit(PURGE_ROWS_MAX));
    let found = client.query(&select, &[&purge.tenant.as_ref(), &behind, &limit]).await?;
    Ok(found.iter().map(read).collect::<Result<_, _>>()?)
}

/// The transitions behind a position, whosesoever.
async fn log_behind(client: &ClientWrapper, after: Position) -> Result<Vec<LogCandidate>, StoreError> {
    let select = client.prepare_cached(TRANSITIONS).await?;
    let found = client.query(&select, &[&after.0, &super::queries::limit(PURGE_ROWS_MAX)]).await?;
    let read = |row: &Row| -> Result<LogCandidate, Error> {
        let bytes: i32 = row.try_get(3)?;
        let transition = Candidate::transition(row.try_get(1)?, row.try_get(2)?, bytes.into(), row.try_get(4)?);
        Ok(LogCandidate { tenant: row.try_get(0)?, row: transition })
    };
    Ok(found.iter().map(read).collect::<Result<_, _>>()?)
}

fn read(row: &Row) -> Result<Watermarks, Error> {
    let [bodies, deliveries, transitions] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?].map(Position);
    Ok(Watermarks { bodies, deliveries, transitions })
}

fn read_body(row: &Row) -> Result<Candidate, Error> {
    Ok(Candidate::body(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

fn read_delivery(row: &Row) -> Result<Candidate, Error> {
    Ok(Candidate::delivery(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
}

async fn delete(client: &ClientWrapper, statement: &str, positions: &[i64]) -> Result<(), StoreError> {
    let delete = client.prepare_cached(statement).await?;
    client.execute(&delete, &[&positions]).await?;
    Ok(())
}

/// Deliveries with what belongs to them: first the rows that a round may want to lock.
async fn deliveries(
    client: &ClientWrapper,
    tenant: &str,
    found: &[Candidate],
    positions: &[i64],
) -> Result<(), StoreError> {
    let lock = client.prepare_cached(LOCK_DELIVERIES).await?;
    client.query(&lock, &[&positions]).await?;
    delete(client, DELETE_DELIVERIES, positions).await?;
    delete(client, DELETE_BODIES, positions).await?;
    let delete_lines = client.prepare_cached(DELETE_LINES).await?;
    let lines = client.query(&delete_lines, &[&tenant, &timelines(found), &positions.last()]).await?;
    let mut copies: Vec<i64> = Vec::new();
    for line in &lines {
        if line.try_get::<_, i32>(1)? == i32::from(v1::SubmitOutcome::Duplicate) {
            copies.push(line.try_get(0)?);
        }
    }
    if !copies.is_empty() {
        delete(client, DELETE_NOTES, &copies).await?;
    }
    Ok(())
}

/// Transitions, each with its line where the delivery is gone as well, or the clock made it.
async fn transitions(client: &ClientWrapper, gone: &[LogCandidate]) -> Result<(), StoreError> {
    let positions: Vec<i64> = gone.iter().map(|gone| gone.row.position.0).collect();
    delete(client, DELETE_TRANSITIONS, &positions).await?;
    let told = gone.iter().flat_map(|gone| gone.row.uids.iter().map(move |uid| (gone, uid.as_str())));
    let (mut tenants, mut uids, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for (gone, uid) in told {
        tenants.push(gone.tenant.as_str());
        uids.push(uid);
        lines.push(gone.row.position.0);
    }
    let delete_changes = client.prepare_cached(DELETE_CHANGES).await?;
    client.execute(&delete_changes, &[&tenants, &uids, &lines]).await?;
    Ok(())
}

/// Remembers that a delivery which was kept at `kept` has spoken of these bookings by now.
pub(super) async fn spoke_earlier(
    client: &ClientWrapper,
    kept: Option<Position>,
    bookings: &[FoldedBooking],
) -> Result<(), Error> {
    let Some(kept) = kept.filter(|_| !bookings.is_empty()) else { return Ok(()) };
    let earlier = client.prepare_cached(EARLIER).await?;
    let tenants: Vec<&str> = bookings.iter().map(|booking| booking.key.0.as_ref()).collect();
    let uids: Vec<&str> = bookings.iter().map(|booking| booking.key.1.as_str()).collect();
    client.execute(&earlier, &[&tenants, &uids, &kept.0]).await?;
    Ok(())
}
