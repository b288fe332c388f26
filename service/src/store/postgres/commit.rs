//! One round as one transaction in two round trips: what must be known is asked for in the first, behind the lock of
//! the head, and what is planned is written in the second. One that repeats kept deliveries asks for their copies in
//! between. An error anywhere undoes all of it.
//!
//! Whoever writes locks the head before anything else, so that no two writers ever wait for each other, and positions
//! become visible in the order in which they were handed out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use calbridge_process::crash::{self, Point};
use calbridge_proto::v1;
use deadpool_postgres::ClientWrapper;
use tokio::task::yield_now;
use tokio_postgres::{Error, Row, types::ToSql};

use super::{
    head::{BEGIN, Head, LOCK_HEAD},
    postings::{Postings, SORTED, TAIL},
    retention::{self, EARLIER},
    write::Statements,
};
use crate::store::{
    Batch, BookingKey, ClockRound, Committed, DeliveryKey, FirstResult, Position, Replay, Replayed, StoreError,
    changes::Changes,
    fold::{self, LoadedRows, Occasion},
    mentioned,
    pack::{self, Packed, Packer},
    postings,
    replay::{self, Kept},
    round::{self, Copies},
    view::LoadedRow,
};

/// By the place of the key in the question.
const FIRST_RESULTS: &str = "SELECT k.n, d.delivery_id, d.position, d.booking_uid, d.duplicate_count
    FROM UNNEST($1::text[], $2::bigint[], $3::bytea[]) WITH ORDINALITY AS k (tenant, key_time, identity, n)
    JOIN deliveries d ON d.tenant = k.tenant AND d.key_time = k.key_time AND d.identity = k.identity";
const ROWS: &str = "SELECT k.n, b.state, b.clock_told
    FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS k (tenant, uid, n)
    JOIN bookings b ON b.tenant = k.tenant AND b.uid = k.uid";
// Locked: a purge must not take a delivery away while a copy of it is noted, or it is merged again.
const COPIES: &str = "SELECT position, duplicate_count, booking_uid, mentioned FROM deliveries
    WHERE position = ANY($1::bigint[]) ORDER BY position FOR KEY SHARE";
const KEPT: &str =
    "SELECT position, trigger, trigger_name, event_time, outcome, booking_uid, mentioned, siblings_silent
    FROM deliveries WHERE delivery_id = $1 AND tenant = $2 FOR KEY SHARE";

/// The statement that ends a round.
pub(super) type End = &'static str;

/// What a transaction brought.
pub(super) struct Done<T> {
    pub(super) answer: T,
    /// Where the log stands behind it.
    pub(super) head: Position,
    /// A run of postings was made of the tail.
    pub(super) has_sorted: bool,
}

/// Commits a batch and says what became of each delivery.
pub(super) async fn commit(
    client: &ClientWrapper,
    (packer, end): (&Mutex<Packer>, End),
    batch: &Batch,
) -> Result<Done<Vec<Committed>>, StoreError> {
    let write = Statements::prepare(client).await?;
    let keys: Vec<&DeliveryKey> = batch.deliveries.iter().map(|delivery| &delivery.key).collect();
    let touched = fold::touched(&batch.deliveries);
    let known = async { tokio::try_join!(biased; first_results(client, &keys), load(client, touched)) };
    let bodies = async { Ok(pack_bodies(packer, batch)) };
    let ((head, (firsts, rows)), bodies) = tokio::try_join!(biased; begin(client, known), behind(bodies))?;
    let mut firsts: HashMap<&DeliveryKey, FirstResult> =
        keys.into_iter().zip(firsts).filter_map(|(key, first)| Some((key, first?))).collect();
    let sorted = round::sort_out(batch, |key| Ok(firsts.remove(key)))?;
    let copies = copies(client, &sorted.repeated()).await?;
    let plan = sorted.plan(head.position, &rows, copies)?;
    let postings = Postings::plan(client, head.marks, postings::told(plan.changes.bookings())).await?;
    // No answer is waited for between what is written and the commit: who dies there leaves nothing behind.
    crash::at(Point::StoreCommit);
    let changes = &plan.changes;
    let deliveries: Vec<_> = changes.deliveries().collect();
    let bodies: Vec<_> = deliveries.iter().map(|row| row.position).zip(plan.new_of(bodies)).collect();
    let mentions: Vec<_> = plan.mentions().collect();
    let last = async {
        let logged = write.logged(packer, changes, (head, plan.head, &postings));
        tokio::try_join!(biased; postings.write_run(client), logged, client.batch_execute(end))
    };
    tokio::try_join!(
        biased;
        write.received(&deliveries, &bodies, &mentions),
        write.counts(&plan),
        write.notes(&plan),
        behind(async {
            let bookings = write.bookings(packer, changes.bookings(), changes.folded.first);
            tokio::try_join!(biased; bookings, behind(last))
        }),
    )?;
    crash::at(Point::StoreCommitted);
    let head = plan.head;
    Ok(Done { answer: plan.answers(), head, has_sorted: postings.has_sorted() })
}

/// Has the clock speak of bookings, and answers the changes.
pub(super) async fn hear_clock(
    client: &ClientWrapper,
    (packer, end): (&Mutex<Packer>, End),
    round: &ClockRound,
) -> Result<Done<Vec<v1::Transition>>, StoreError> {
    let write = Statements::prepare(client).await?;
    let (head, rows) = begin(client, load(client, round.keys.clone())).await?;
    let source = v1::TransitionSource::Clock;
    let occasion =
        Occasion { head: head.position, now: round.now, clock: &round.clock, source, trace_id: &round.trace_id };
    let changes = Changes::of_clock(fold::hear_clock(&rows, &occasion)?, round.now);
    crash::at(Point::ClockCommit);
    let has_sorted = write_changes(client, (&write, packer, end), None, &changes, head).await?;
    crash::at(Point::ClockCommitted);
    let head = changes.folded.head;
    Ok(Done { answer: changes.folded.clock.into_iter().map(|told| told.transition).collect(), head, has_sorted })
}

/// Merges a kept delivery again. `None` where it is not kept.
pub(super) async fn replay(
    client: &ClientWrapper,
    (packer, end): (&Mutex<Packer>, End),
    replay: &Replay,
) -> Result<Done<Option<Replayed>>, StoreError> {
    let write = Statements::prepare(client).await?;
    let delivery = &replay.delivery;
    let (head, (kept, rows)) = begin(client, async {
        let select = client.prepare_cached(KEPT).await?;
        let tenant = delivery.key.tenant.as_ref();
        let key: [&(dyn ToSql + Sync); 2] = [&delivery.delivery_id, &tenant];
        let kept = async { Ok(client.query_opt(&select, &key).await?) };
        tokio::try_join!(biased; kept, load(client, fold::touched([delivery])))
    })
    .await?;
    let Some(kept) = kept else {
        client.batch_execute("ROLLBACK").await?;
        return Ok(Done { answer: None, head: head.position, has_sorted: false });
    };
    let plan = replay::plan(replay, read_kept(&kept)?, head.position, &rows)?;
    let mut has_sorted = false;
    if let Some(changes) = &plan.changes {
        has_sorted = write_changes(client, (&write, packer, end), plan.kept.as_ref(), changes, head).await?;
    } else {
        let quietly = if plan.kept.is_some() { "COMMIT" } else { "ROLLBACK" };
        tokio::try_join!(biased; write.kept(plan.kept.as_ref()), client.batch_execute(quietly))?;
    }
    let head = plan.changes.map_or(head.position, |changes| changes.folded.head);
    Ok(Done { answer: Some(plan.replayed), head, has_sorted })
}

/// Waits for the head as a round does, writes one row, and waits until it is on stable storage: in a transaction as a
/// round's is, whatever the role's own defaults are.
pub(super) async fn probe(client: &ClientWrapper) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE probe SET count = count + 1 FROM (SELECT position FROM head FOR UPDATE) AS head";
    Ok(client.batch_execute(&format!("{BEGIN}; {UPDATE}; COMMIT")).await?)
}

/// The first results of those keys that are kept, in order.
pub(super) async fn first_results(
    client: &ClientWrapper,
    keys: &[&DeliveryKey],
) -> Result<Vec<Option<FirstResult>>, StoreError> {
    let mut firsts = vec![None; keys.len()];
    if keys.is_empty() {
        return Ok(firsts);
    }
    let select = client.prepare_cached(FIRST_RESULTS).await?;
    let tenants: Vec<&str> = keys.iter().map(|key| key.tenant.as_ref()).collect();
    let times: Vec<i64> = keys.iter().map(|key| key.time).collect();
    let identities: Vec<&[u8]> = keys.iter().map(|key| key.identity.as_bytes()).collect();
    for row in client.query(&select, &[&tenants, &times, &identities]).await? {
        let first = FirstResult {
            delivery_id: row.try_get(1)?,
            position: Position(row.try_get(2)?),
            booking_uid: row.try_get(3)?,
            copies: row.try_get(4)?,
        };
        if let Some(place) = place(&row)?.and_then(|place| firsts.get_mut(place)) {
            *place = Some(first);
        }
    }
    Ok(firsts)
}

/// Begins a transaction, locks the head, and asks what else must be known: all of it in one round trip.
async fn begin<T>(
    client: &ClientWrapper,
    known: impl Future<Output = Result<T, StoreError>>,
) -> Result<(Head, T), StoreError> {
    let lock = client.prepare_cached(LOCK_HEAD).await?;
    // Prepared before, or the questions would overtake the lock.
    for statement in [FIRST_RESULTS, ROWS, KEPT, EARLIER, TAIL, SORTED] {
        client.prepare_cached(statement).await?;
    }
    let begun = async { Ok(tokio::try_join!(biased; client.batch_execute(BEGIN), client.query_one(&lock, &[]))?) };
    let (((), head), known) = tokio::try_join!(biased; begun, known)?;
    Ok((Head::read(&head)?, known))
}

/// True where a run of postings was made of the tail.
async fn write_changes(
    client: &ClientWrapper,
    (write, packer, end): (&Statements<'_>, &Mutex<Packer>, End),
    kept: Option<&Kept>,
    changes: &Changes<'_>,
    head: Head,
) -> Result<bool, StoreError> {
    let mentions: Vec<_> = changes.mentions().collect();
    let postings = Postings::plan(client, head.marks, postings::told(changes.bookings())).await?;
    tokio::try_join!(
        biased;
        write.kept(kept),
        write.received(&[], &[], &mentions),
        Box::pin(write.bookings(packer, changes.bookings(), changes.folded.first)),
        retention::spoke_earlier(client, kept.map(|kept| kept.position), changes.bookings()),
        postings.write_run(client),
        write.logged(packer, changes, (head, changes.folded.head, &postings)),
        client.batch_execute(end),
    )?;
    Ok(postings.has_sorted())
}

/// Lets the connection's task send what was handed to it before: it would have to wait until this task waits, and the
/// server with it, while rows are packed here.
async fn behind<T, E>(statements: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    yield_now().await;
    statements.await
}

/// All bodies of a batch: which of them are new is not known yet.
fn pack_bodies<'b>(packer: &Mutex<Packer>, batch: &'b Batch) -> Vec<Packed<'b>> {
    let mut packer = packer.lock().unwrap_or_else(PoisonError::into_inner);
    batch.deliveries.iter().map(|delivery| packer.body(&delivery.event.raw_body, &delivery.packed)).collect()
}

/// The rows of these bookings, as far as they are kept.
async fn load(client: &ClientWrapper, keys: Vec<BookingKey>) -> Result<LoadedRows, StoreError> {
    let mut rows = LoadedRows::new();
    if keys.is_empty() {
        return Ok(rows);
    }
    let select = client.prepare_cached(ROWS).await?;
    let tenants: Vec<&str> = keys.iter().map(|(tenant, _)| tenant.as_ref()).collect();
    let uids: Vec<&str> = keys.iter().map(|(_, uid)| uid.as_str()).collect();
    for row in client.query(&select, &[&tenants, &uids]).await? {
        let state = pack::row(row.try_get(1)?)?.into_owned();
        let loaded = LoadedRow { state, clock_told: row.try_get(2)? };
        if let Some((tenant, uid)) = place(&row)?.and_then(|place| keys.get(place)) {
            rows.insert((Arc::clone(tenant), uid.clone()), loaded);
        }
    }
    Ok(rows)
}

/// What is known of the copies of those deliveries that are kept.
async fn copies(client: &ClientWrapper, firsts: &[Position]) -> Result<HashMap<Position, Copies>, StoreError> {
    let mut copies = HashMap::with_capacity(firsts.len());
    if firsts.is_empty() {
        return Ok(copies);
    }
    let select = client.prepare_cached(COPIES).await?;
    let positions: Vec<i64> = firsts.iter().map(|first| first.0).collect();
    for row in client.query(&select, &[&positions]).await? {
        let uids = mentioned::decode(row.try_get(2)?, row.try_get(3)?)?;
        copies.insert(Position(row.try_get(0)?), Copies { count: row.try_get(1)?, uids });
    }
    Ok(copies)
}

fn read_kept(row: &Row) -> Result<Kept, Error> {
    Ok(Kept {
        position: Position(row.try_get(0)?),
        trigger: row.try_get(1)?,
        trigger_name: row.try_get(2)?,
        event_time: row.try_get(3)?,
        outcome: row.try_get(4)?,
        booking_uid: row.try_get(5)?,
        mentioned: row.try_get(6)?,
        siblings_silent: row.try_get(7)?,
    })
}

/// The place of a row's key in the question; ordinality begins with one.
fn place(row: &Row) -> Result<Option<usize>, Error> {
    let number: i64 = row.try_get(0)?;
    Ok(usize::try_from(number).ok().and_then(|number| number.checked_sub(1)))
}

#[cfg(test)]
mod tests;
