//! Purging: a chunk is one transaction of the one writer, so that a round waits some milliseconds for it at the most.
//! Rows and watermark go together; a chunk that was cut short leaves both as they were.

use calbridge_process::crash::{self, Point};
use calbridge_proto::v1;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::{
    desk::Desk,
    reader::Snapshot,
    young::{Settler, View},
};
use crate::store::{
    LogPurge, LogPurged, PURGE_ROWS_MAX, Position, Purge, Purgeable, Purged, StoreError, Watermarks,
    retention::{
        Candidate,
        log::{self, LogCandidate},
        timelines,
    },
};

/// The next tenant behind this name of whom anything is kept. Where there are transitions there is a booking.
pub(super) fn next_tenant(snapshot: &Snapshot<'_>, behind: &str) -> Result<Option<String>, StoreError> {
    const SELECT: &str = "SELECT min(tenant) FROM deliveries WHERE tenant > ?1";
    let of_deliveries: Option<String> = snapshot.prepare_cached(SELECT)?.query_row([behind], |row| row.get(0))?;
    Ok(of_deliveries.into_iter().chain(snapshot.young.next_tenant(snapshot, behind)?).min())
}

/// What is gone of a tenant's.
pub(super) fn watermarks(connection: &Connection, tenant: &str) -> Result<Watermarks, StoreError> {
    const SELECT: &str = "SELECT bodies, deliveries, transitions FROM retention WHERE tenant = ?1";
    let read = |row: &Row<'_>| {
        let [bodies, deliveries, transitions] = [row.get(0)?, row.get(1)?, row.get(2)?].map(Position);
        Ok(Watermarks { bodies, deliveries, transitions })
    };
    Ok(connection.prepare_cached(SELECT)?.query_row([tenant], read).optional()?.unwrap_or_default())
}

/// Whether a chunk would take anything away: asked of a reader, so that the writer need not look in vain.
pub(super) fn is_due(connection: &Connection, purge: &Purge) -> Result<bool, StoreError> {
    let before = watermarks(connection, &purge.tenant)?;
    let found = candidates(connection, purge, before)?;
    Ok(purge.reach(&found).rows > 0)
}

/// Takes one chunk away.
pub(super) fn purge(Desk { connection, settler, .. }: &mut Desk, purge: &Purge) -> Result<Purged, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = watermarks(&transaction, &purge.tenant)?;
    let mut found = candidates(&transaction, purge, before)?;
    let purged = purge.reach(&found);
    found.truncate(purged.rows);
    let Some(last) = found.last() else { return Ok(purged) };
    let through = last.position;
    match purge.what {
        Purgeable::Bodies => delete_each(&transaction, "DELETE FROM bodies WHERE position = ?1", &found)?,
        Purgeable::Deliveries => deliveries(&transaction, settler, (&purge.tenant, &found), through)?,
    }
    write(&transaction, &purge.tenant, before.passed(purge.what, through))?;
    crash::at(Point::PurgeCommit);
    transaction.commit()?;
    crash::at(Point::PurgeCommitted);
    Ok(purged)
}

/// What a chunk of a walk along the log would take away, asked of a reader: most of a log may be others'.
pub(super) fn log_due(connection: &Connection, purge: &LogPurge) -> Result<LogPurged, StoreError> {
    Ok(purge.choose(log_behind(connection, purge.after)?).1)
}

/// Takes one chunk of the log away.
pub(super) fn purge_log(
    Desk { connection, settler, .. }: &mut Desk,
    purge: &LogPurge,
) -> Result<LogPurged, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (gone, purged) = purge.choose(log_behind(&transaction, purge.after)?);
    if gone.is_empty() {
        return Ok(purged);
    }
    transitions(&transaction, settler.view(), &gone)?;
    for (tenant, transitions) in log::passed(&gone) {
        let now = Watermarks { transitions, ..watermarks(&transaction, tenant)? };
        write(&transaction, tenant, now)?;
    }
    crash::at(Point::PurgeCommit);
    transaction.commit()?;
    crash::at(Point::PurgeCommitted);
    Ok(purged)
}

type Read = fn(&Row<'_>) -> rusqlite::Result<Candidate>;

/// The rows behind the watermark.
fn candidates(connection: &Connection, purge: &Purge, before: Watermarks) -> Result<Vec<Candidate>, StoreError> {
    const BODIES: &str = "SELECT position, delivery_id, body_size FROM deliveries
        WHERE tenant = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
    const DELIVERIES: &str = "SELECT position, delivery_id, booking_uid, mentioned FROM deliveries
        WHERE tenant = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
    let (statement, read): (_, Read) = match purge.what {
        Purgeable::Bodies => (BODIES, read_body),
        Purgeable::Deliveries => (DELIVERIES, read_delivery),
    };
    let values = params![purge.tenant, before.of(purge.what).0, super::queries::limit(PURGE_ROWS_MAX)];
    let mut select = connection.prepare_cached(statement)?;
    let found = select.query_map(values, read)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The transitions behind a position, whosesoever.
fn log_behind(connection: &Connection, after: Position) -> Result<Vec<LogCandidate>, StoreError> {
    const SELECT: &str = "SELECT tenant, position, commit_time, length(booking), uid FROM transitions
        WHERE position > ?1 ORDER BY position LIMIT ?2";
    let mut select = connection.prepare_cached(SELECT)?;
    let found = select.query_map(params![after.0, super::queries::limit(PURGE_ROWS_MAX)], |row| {
        let transition = Candidate::transition(row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(LogCandidate { tenant: row.get(0)?, row: transition })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn read_body(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate::body(row.get(0)?, Uuid::from_bytes(row.get(1)?), row.get(2)?))
}

fn read_delivery(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    let id = Uuid::from_bytes(row.get(1)?);
    Ok(Candidate::delivery(row.get(0)?, id, row.get(2)?, row.get(3)?))
}

fn delete_each(transaction: &Transaction<'_>, statement: &str, found: &[Candidate]) -> Result<(), StoreError> {
    let mut delete = transaction.prepare_cached(statement)?;
    for found in found {
        delete.execute([found.position.0])?;
    }
    Ok(())
}

/// Deliveries with what belongs to them. A line stays for as long as its transition is kept.
fn deliveries(
    transaction: &Transaction<'_>,
    settler: &Settler,
    (tenant, found): (&str, &[Candidate]),
    through: Position,
) -> Result<(), StoreError> {
    // One that was mentioned and of which no fact was heard is nothing without its lines.
    const NAME: &str = "DELETE FROM bookings WHERE id = ?1 AND length(state) = 0
        AND NOT EXISTS (SELECT 1 FROM mentions m WHERE m.booking = ?1)";
    delete_each(transaction, "DELETE FROM deliveries WHERE position = ?1", found)?;
    delete_each(transaction, "DELETE FROM bodies WHERE position = ?1", found)?;
    let mut name = transaction.prepare_cached(NAME)?;
    for uid in timelines(found) {
        let Some(booking) = settler.view().number(transaction, tenant, uid)? else { continue };
        lines(transaction, booking, (tenant, uid), through)?;
        if name.execute([booking])? > 0 {
            settler.forget(transaction, tenant, uid)?;
        }
    }
    Ok(())
}

/// The lines of a booking that speak of deliveries that are gone, and the notes of copies among them.
fn lines(
    transaction: &Transaction<'_>,
    booking: i64,
    (tenant, uid): (&str, &str),
    through: Position,
) -> Result<(), StoreError> {
    const LINES: &str = "DELETE FROM mentions WHERE booking = ?1 AND delivery BETWEEN 1 AND ?2 AND NOT EXISTS
        (SELECT 1 FROM transitions t WHERE t.position = mentions.position AND t.uid = ?3 AND t.tenant = ?4)
        RETURNING position, outcome";
    const NOTE: &str = "DELETE FROM duplicates WHERE position = ?1";
    let mut delete = transaction.prepare_cached(LINES)?;
    let mut gone = delete.query(params![booking, through.0, uid, tenant])?;
    while let Some(line) = gone.next()? {
        if line.get::<_, i32>(1)? == i32::from(v1::SubmitOutcome::Duplicate) {
            transaction.prepare_cached(NOTE)?.execute([line.get::<_, i64>(0)?])?;
        }
    }
    Ok(())
}

/// Transitions, each with its line where the delivery is gone as well, or the clock made it.
fn transitions(transaction: &Transaction<'_>, young: &View, gone: &[LogCandidate]) -> Result<(), StoreError> {
    const TRANSITION: &str = "DELETE FROM transitions WHERE position = ?1";
    const LINE: &str = "DELETE FROM mentions
        WHERE booking = ?1 AND position = ?2
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.position = mentions.delivery)";
    let (mut transition, mut line) = (transaction.prepare_cached(TRANSITION)?, transaction.prepare_cached(LINE)?);
    for LogCandidate { tenant, row } in gone {
        transition.execute([row.position.0])?;
        for uid in &row.uids {
            if let Some(booking) = young.number(transaction, tenant, uid)? {
                line.execute(params![booking, row.position.0])?;
            }
        }
    }
    Ok(())
}

fn write(transaction: &Transaction<'_>, tenant: &str, now: Watermarks) -> Result<(), StoreError> {
    const UPSERT: &str = "INSERT INTO retention (tenant, bodies, deliveries, transitions) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (tenant) DO UPDATE SET bodies = max(bodies, excluded.bodies),
            deliveries = max(deliveries, excluded.deliveries), transitions = max(transitions, excluded.transitions)";
    let values = params![tenant, now.bodies.0, now.deliveries.0, now.transitions.0];
    transaction.prepare_cached(UPSERT)?.execute(values)?;
    Ok(())
}
