//! Consumers: a command is one transaction behind the lock of its consumer's row, so that clients of several services
//! take turns. The head is not locked: no round waits for a consumer, nor a consumer for a round. One that is to be
//! kept has no row yet: there the head is, so that no two of a tenant come past its bound together.
//!
//! Each statement sees what was committed before it: positions become visible in the order in which they were handed
//! out, so that the log up to a head that was read is whole. What a turn hands out was committed by a round, which
//! waits for stable storage; the turn itself does not. What a failure of the server's machine takes back of it is
//! handed out again, and whatever is committed behind it and waited for (a purge by its cursor, too) is not there
//! without it.

pub(super) mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use calbridge_process::crash::{self, Point};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;

use self::write::Statements;
use super::{
    head::{BEGIN, LOCK_HEAD},
    queries::log,
};
use crate::store::{
    Consumer, ConsumerCommand, ConsumerKey, ConsumerOutcome, ConsumerState, LogEntry, Position, StoreError,
    TurnRequest,
    consume::{
        Loaded, Written, apply,
        turn::{Parked, Turn},
    },
};

const BEGIN_TURN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = off";
const HEAD: &str = "SELECT position FROM head";
/// How many consumers a tenant has, and whether one of this name is among them.
const KEPT: &str = "SELECT count(*), COALESCE(bool_or(name = $2), FALSE) FROM consumers WHERE tenant = $1";

/// Dead letters that are read and written at a time: each is as large as an entry of the log may be.
const PARKED_AT_ONCE: usize = 64;

/// Does what is asked of a consumer.
pub(super) async fn command(
    client: &ClientWrapper,
    key: &ConsumerKey,
    command: &ConsumerCommand,
) -> Result<ConsumerOutcome, StoreError> {
    match command {
        ConsumerCommand::Create(consumer) => create(client, consumer, command).await,
        ConsumerCommand::Turn(request) => turn(client, key, request).await,
        _ => change(client, key, command).await,
    }
}

async fn create(
    client: &ClientWrapper,
    consumer: &Consumer,
    command: &ConsumerCommand,
) -> Result<ConsumerOutcome, StoreError> {
    let (tenant, name) = (consumer.key.0.as_ref(), &consumer.key.1);
    let lock = client.prepare_cached(LOCK_HEAD).await?;
    let count = client.prepare_cached(KEPT).await?;
    let values: [&(dyn ToSql + Sync); 2] = [&tenant, name];
    let opening = client.batch_execute(BEGIN);
    let ((), _, kept) =
        tokio::try_join!(biased; opening, client.query_one(&lock, &[]), client.query_one(&count, &values))?;
    let is_there: bool = kept.try_get(1)?;
    let there = ConsumerState { consumer: consumer.clone(), items: BTreeMap::new(), held: BTreeSet::new() };
    let kept = usize::try_from(kept.try_get::<_, i64>(0)?).unwrap_or(usize::MAX);
    let loaded = Loaded { state: is_there.then_some(there), dead: Vec::new(), kept };
    let (outcome, written) = apply(command, loaded);
    if let Some(consumer) = &written.consumer {
        write::create(client, consumer).await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(outcome)
}

async fn change(
    client: &ClientWrapper,
    key: &ConsumerKey,
    command: &ConsumerCommand,
) -> Result<ConsumerOutcome, StoreError> {
    let write = Statements::prepare(client, key).await?;
    let (state, _) = begin(client, BEGIN, key).await?;
    let dead = match command.dead_letters() {
        Some((positions, most)) if state.is_some() => read::dead(client, key, positions, most).await?,
        _ => Vec::new(),
    };
    let (outcome, written) = apply(command, Loaded { state, dead, kept: 0 });
    write.commit(&written).await?;
    Ok(outcome)
}

async fn turn(client: &ClientWrapper, key: &ConsumerKey, request: &TurnRequest) -> Result<ConsumerOutcome, StoreError> {
    let write = Statements::prepare(client, key).await?;
    let (state, head) = begin(client, BEGIN_TURN, key).await?;
    let Some(mut state) = state else {
        client.batch_execute("ROLLBACK").await?;
        return Ok(ConsumerOutcome::Unknown);
    };
    let before = state.consumer.scanned;
    let mut turn = Turn::begin(&mut state, request);
    while let Some(query) = turn.wants() {
        let page = log::within(client, &query, head).await?;
        let blocked = read::held(client, key, turn.may_be_held(&page)).await?;
        turn.scan(page, blocked);
    }
    let mut chosen = turn.choose();
    while let Some(unread) = chosen.unread() {
        let found = entries(client, key, &unread).await?;
        chosen.take(unread, found);
    }
    let (answer, changes) = turn.finish(chosen);
    let written = Written::of_turn(before, &state, changes);
    park(client, &write, key, &written.parked).await?;
    crash::at(Point::ConsumerCommit);
    write.commit(&written).await?;
    crash::at(Point::ConsumerCommitted);
    Ok(ConsumerOutcome::Turned(answer))
}

/// Begins a transaction, locks the consumer, and reads all of it and the head: one round trip.
async fn begin(
    client: &ClientWrapper,
    begin: &str,
    key: &ConsumerKey,
) -> Result<(Option<ConsumerState>, Position), StoreError> {
    let state = read::State::prepare(client).await?;
    let head = client.prepare_cached(HEAD).await?;
    let opening = client.batch_execute(begin);
    let ((), state, head) = tokio::try_join!(biased; opening, state.read(client, key), client.query_one(&head, &[]))?;
    Ok((state.map(read::Found::whole).transpose()?, Position(head.try_get(0)?)))
}

/// Entries that are not settled, as the log has them, or else the dead letters that they are replayed from. What was
/// purged while it waited is left out.
async fn entries(
    client: &ClientWrapper,
    key: &ConsumerKey,
    positions: &[Position],
) -> Result<BTreeMap<Position, LogEntry>, StoreError> {
    let mut entries = log::at(client, &key.0, positions).await?;
    let others: Vec<i64> =
        positions.iter().filter(|position| !entries.contains_key(position)).map(|position| position.0).collect();
    if !others.is_empty() {
        entries.extend(read::kept_entries(client, key, &others).await?);
    }
    Ok(entries)
}

/// Keeps dead letters with their entries, which may be gone from the log when they are replayed.
async fn park(
    client: &ClientWrapper,
    write: &Statements<'_>,
    key: &ConsumerKey,
    parked: &[Parked],
) -> Result<(), StoreError> {
    for parked in parked.chunks(PARKED_AT_ONCE) {
        let positions: Vec<_> = parked.iter().map(|parked| parked.position).collect();
        let mut entries = entries(client, key, &positions).await?;
        let letters = parked.iter().filter_map(|parked| Some((parked, entries.remove(&parked.position)?.encode())));
        write.dead_letters(&letters.collect::<Vec<_>>()).await?;
    }
    Ok(())
}
