//! Consumers: a command is one transaction of the one writer. Nobody waits for the disk over it: what a power cut takes
//! back of a turn is handed out again.

pub(super) mod gone;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use calbridge_process::crash::{self, Point};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params, params_from_iter};

use super::{
    desk::Desk,
    queries::{self, log},
    reader::Snapshot,
};
use crate::store::{
    Consumer, ConsumerChoices, ConsumerCommand, ConsumerItem, ConsumerKey, ConsumerOutcome, ConsumerState,
    ConsumerStatus, DeadLetter, Floors, LogEntry, LogFilter, Micros, Position, StoreError, TurnAnswer, TurnRequest,
    consume::{
        Loaded, TimeSearch, Written, apply, behind,
        turn::{Parked, Turn},
    },
    found::collect,
};

const COLUMNS: &str = "tenant, name, filter_text, filter, recorded, max_in_flight, ack_wait, backoff, max_deliveries,
    blocks, paused, cursor, scanned, lease, etag, create_time, update_time";

/// One that is being replayed is an item: no look at each of all the letters.
const AS_BEFORE: &str = "UPDATE dead_letters SET replayed = 0 WHERE tenant = ?1 AND name = ?2 AND replayed = 1
    AND position IN (SELECT position FROM consumer_items WHERE tenant = ?1 AND name = ?2)";

/// Does what is asked of a consumer. What is handed out lies before `stored`, and so is on stable storage.
pub(super) fn command(
    Desk { connection, settler, .. }: &mut Desk,
    key: &ConsumerKey,
    command: &ConsumerCommand,
    stored: Position,
) -> Result<ConsumerOutcome, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let state = state(&transaction, key)?;
    let (outcome, written) = match (command, state) {
        (ConsumerCommand::Turn(request), Some(state)) => {
            let snapshot = Snapshot::of(&transaction, queries::head(&transaction)?, settler.view().clone());
            let (answer, written) = turn(&snapshot, state, request, stored)?;
            (ConsumerOutcome::Turned(answer), written)
        }
        (ConsumerCommand::Create(_), None) if gone::are_left(&transaction, key)? => {
            return Err(StoreError::unavailable("the dead letters of a consumer of this name are not all removed yet"));
        }
        (_, state) => {
            let dead = dead(&transaction, key, command)?;
            apply(command, Loaded { state, dead, kept: kept(&transaction, command)? })
        }
    };
    write(&transaction, settler, key, &written)?;
    crash::at(Point::ConsumerCommit);
    transaction.commit()?;
    crash::at(Point::ConsumerCommitted);
    Ok(outcome)
}

/// Consumers of the tenant of one that is to be kept.
fn kept(connection: &Connection, command: &ConsumerCommand) -> Result<usize, StoreError> {
    const KEPT: &str = "SELECT count(*) FROM consumers WHERE tenant = ?1";
    let ConsumerCommand::Create(consumer) = command else { return Ok(0) };
    let kept: i64 = connection.prepare_cached(KEPT)?.query_row([consumer.key.0.as_ref()], |row| row.get(0))?;
    Ok(usize::try_from(kept).unwrap_or_default())
}

fn turn(
    snapshot: &Snapshot<'_>,
    mut state: ConsumerState,
    request: &TurnRequest,
    stored: Position,
) -> Result<(TurnAnswer, Written), StoreError> {
    let (key, before) = (state.consumer.key.clone(), state.consumer.scanned);
    let mut turn = Turn::begin(&mut state, request);
    while let Some(query) = turn.wants() {
        let page = log::page(snapshot, &query, stored)?;
        let held = held(snapshot, &key, turn.may_be_held(&page))?;
        turn.scan(page, held);
    }
    let mut chosen = turn.choose();
    while let Some(unread) = chosen.unread() {
        let mut found = BTreeMap::new();
        for position in &unread {
            found.extend(unsettled(snapshot, &key, *position)?.map(|entry| (*position, entry)));
        }
        chosen.take(unread, found);
    }
    let (answer, changes) = turn.finish(chosen);
    Ok((answer, Written::of_turn(before, &state, changes)))
}

/// As the log has it, or the dead letter that it was.
fn unsettled(
    snapshot: &Snapshot<'_>,
    (tenant, name): &ConsumerKey,
    position: Position,
) -> Result<Option<LogEntry>, StoreError> {
    const DEAD: &str = "SELECT kind, entry FROM dead_letters WHERE tenant = ?1 AND name = ?2 AND position = ?3";
    if let Some(entry) = log::at(snapshot, tenant, position)? {
        return Ok(Some(entry));
    }
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?));
    let found = snapshot.prepare_cached(DEAD)?.query_row(params![tenant, name, position.0], read).optional()?;
    found.map(|(kind, entry)| LogEntry::decode(kind, &entry)).transpose()
}

fn state(connection: &Connection, key: &ConsumerKey) -> Result<Option<ConsumerState>, StoreError> {
    const ITEMS: &str = "SELECT position, uid, deliveries, lease, time FROM consumer_items
        WHERE tenant = ?1 AND name = ?2 ORDER BY position";
    let Some(consumer) = consumer(connection, key)? else { return Ok(None) };
    let mut items = BTreeMap::new();
    let mut select = connection.prepare_cached(ITEMS)?;
    let mut rows = select.query(params![key.0, key.1])?;
    while let Some(row) = rows.next()? {
        let item = ConsumerItem::of_columns(row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        items.insert(Position(row.get(0)?), item);
    }
    let held = if consumer.choices.blocks {
        let uids: BTreeSet<String> = items.values().map(|item: &ConsumerItem| item.uid.clone()).collect();
        held(connection, key, uids)?
    } else {
        BTreeSet::new()
    };
    Ok(Some(ConsumerState { consumer, items, held }))
}

/// Those of these bookings that have a dead letter: there may be far more letters than a turn has to do with.
fn held(
    connection: &Connection,
    (tenant, name): &ConsumerKey,
    uids: impl IntoIterator<Item = String>,
) -> Result<BTreeSet<String>, StoreError> {
    const HELD: &str = "SELECT 1 FROM dead_letters WHERE tenant = ?1 AND name = ?2 AND uid = ?3 AND replayed = 0";
    let mut select = connection.prepare_cached(HELD)?;
    let mut held = BTreeSet::new();
    for uid in uids {
        if select.exists(params![tenant, name, uid])? {
            held.insert(uid);
        }
    }
    Ok(held)
}

fn consumer(connection: &Connection, key: &ConsumerKey) -> Result<Option<Consumer>, StoreError> {
    let statement = format!("SELECT {COLUMNS} FROM consumers WHERE tenant = ?1 AND name = ?2");
    let found = connection.prepare_cached(&statement)?.query_row(params![key.0, key.1], read).optional()?;
    found.map(KeptConsumer::whole).transpose()
}

/// The dead letters that a command speaks of.
fn dead(
    connection: &Connection,
    (tenant, name): &ConsumerKey,
    command: &ConsumerCommand,
) -> Result<Vec<(Position, String)>, StoreError> {
    const ALL: &str = "SELECT position, uid FROM dead_letters
        WHERE tenant = ?1 AND name = ?2 AND replayed = 0 ORDER BY position LIMIT ?3";
    const ONE: &str = "SELECT position, uid FROM dead_letters
        WHERE tenant = ?1 AND name = ?2 AND replayed = 0 AND position = ?3";
    let Some((wanted, most)) = command.dead_letters() else { return Ok(Vec::new()) };
    let letter = |row: &Row<'_>| Ok((Position(row.get(0)?), row.get(1)?));
    if wanted.is_empty() {
        let mut select = connection.prepare_cached(ALL)?;
        let letters = select.query_map(params![tenant, name, queries::limit(most)], letter)?;
        return Ok(letters.collect::<Result<_, _>>()?);
    }
    let mut select = connection.prepare_cached(ONE)?;
    let wanted: BTreeSet<Position> = wanted.iter().copied().collect();
    let letters = wanted.iter().map(|position| select.query_row(params![tenant, name, position.0], letter).optional());
    Ok(letters.filter_map(Result::transpose).take(most).collect::<Result<_, _>>()?)
}

fn write(
    transaction: &Transaction<'_>,
    settler: &super::young::Settler,
    key: &ConsumerKey,
    written: &Written,
) -> Result<(), StoreError> {
    const ITEM: &str = "INSERT OR REPLACE INTO consumer_items (tenant, name, position, uid, deliveries, lease, time)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (tenant, name) = key;
    if written.deleted {
        for table in ["consumers", "consumer_items"] {
            let delete = format!("DELETE FROM {table} WHERE tenant = ?1 AND name = ?2");
            transaction.prepare_cached(&delete)?.execute(params![tenant, name])?;
        }
        // The others go behind it.
        return gone::chunk(transaction, key).map(drop);
    }
    if let Some(consumer) = &written.consumer {
        write_consumer(transaction, consumer)?;
    }
    if written.forgets_items {
        const ITEMS: &str = "DELETE FROM consumer_items WHERE tenant = ?1 AND name = ?2";
        transaction.prepare_cached(AS_BEFORE)?.execute(params![tenant, name])?;
        transaction.prepare_cached(ITEMS)?.execute(params![tenant, name])?;
    }
    let mut insert = transaction.prepare_cached(ITEM)?;
    for (position, item) in &written.items {
        let (lease, time) = item.columns();
        insert.execute(params![tenant, name, position.0, item.uid, item.deliveries, lease, time])?;
    }
    let speaks_of_letters = !(written.parked.is_empty() && written.replayed.is_empty() && written.forgotten.is_empty());
    if written.settled.is_empty() && !speaks_of_letters {
        return Ok(());
    }
    settle(transaction, settler, key, written)
}

/// Items that are gone, and what becomes of dead letters.
fn settle(
    transaction: &Transaction<'_>,
    settler: &super::young::Settler,
    key: &ConsumerKey,
    written: &Written,
) -> Result<(), StoreError> {
    const OF_ONE: &str = "tenant = ?1 AND name = ?2 AND position = ?3";
    const PARK: &str = "INSERT OR REPLACE INTO dead_letters
            (tenant, name, position, uid, deliveries, reason, create_time, replayed, kind, entry)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9)";
    let (tenant, name) = key;
    let each =
        |statement: &str, only: &str, positions: &mut dyn Iterator<Item = &Position>| -> Result<(), StoreError> {
            let statement = format!("{statement} WHERE {OF_ONE} {only}");
            let mut statement = transaction.prepare_cached(&statement)?;
            for position in positions {
                statement.execute(params![tenant, name, position.0])?;
            }
            Ok(())
        };
    // Read before what it was replayed from is gone.
    let snapshot = Snapshot::of(transaction, queries::head(transaction)?, settler.view().clone());
    let mut letters = Vec::with_capacity(written.parked.len());
    for parked in &written.parked {
        // What was purged while it waited is not kept anywhere.
        letters.extend(unsettled(&snapshot, key, parked.position)?.map(|entry| (parked, entry.encode())));
    }
    each("DELETE FROM consumer_items", "", &mut written.settled.iter())?;
    each("DELETE FROM dead_letters", "AND replayed = 1", &mut written.settled.iter())?;
    for (parked, (kind, entry)) in letters {
        let Parked { position, uid, deliveries, reason, time } = parked;
        let values = params![tenant, name, position.0, uid, deliveries, reason, time, kind, entry];
        transaction.prepare_cached(PARK)?.execute(values)?;
    }
    each("UPDATE dead_letters SET replayed = 1", "", &mut written.replayed.iter())?;
    each("DELETE FROM dead_letters", "", &mut written.forgotten.iter())
}

fn write_consumer(transaction: &Transaction<'_>, consumer: &Consumer) -> Result<(), StoreError> {
    let statement = format!(
        "INSERT OR REPLACE INTO consumers ({COLUMNS})
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    );
    let Consumer { key: (tenant, name), choices, paused, cursor, scanned, lease, etag, create_time, update_time } =
        consumer;
    let pauses: Vec<i64> = choices.backoff.iter().map(|pause| of(*pause)).collect();
    transaction.prepare_cached(&statement)?.execute(params![
        tenant,
        name,
        choices.filter_text,
        choices.filter.encode(),
        choices.recorded,
        super::queries::limit(choices.max_in_flight),
        of(choices.ack_wait),
        serde_json::Value::from(pauses).to_string(),
        choices.max_deliveries,
        choices.blocks,
        paused,
        cursor.0,
        scanned.0,
        lease,
        etag,
        create_time,
        update_time,
    ])?;
    Ok(())
}

/// A row, with the texts that are still to be read.
struct KeptConsumer {
    consumer: Consumer,
    filter: String,
    backoff: String,
}

fn read(row: &Row<'_>) -> rusqlite::Result<KeptConsumer> {
    let choices = ConsumerChoices {
        filter_text: row.get(2)?,
        filter: Arc::default(),
        recorded: row.get(4)?,
        max_in_flight: usize::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
        ack_wait: micros(row.get(6)?),
        backoff: Vec::new(),
        max_deliveries: row.get(8)?,
        blocks: row.get(9)?,
    };
    let consumer = Consumer {
        key: (Arc::from(row.get::<_, String>(0)?), row.get(1)?),
        choices,
        paused: row.get(10)?,
        cursor: Position(row.get(11)?),
        scanned: Position(row.get(12)?),
        lease: row.get(13)?,
        etag: row.get(14)?,
        create_time: row.get(15)?,
        update_time: row.get(16)?,
    };
    Ok(KeptConsumer { consumer, filter: row.get(3)?, backoff: row.get(7)? })
}

impl KeptConsumer {
    fn whole(self) -> Result<Consumer, StoreError> {
        let damaged = |what: &str| StoreError::Damaged { what: "consumer", why: format!("its {what} can't be read") };
        let Self { mut consumer, filter, backoff } = self;
        let pauses: Vec<i64> = serde_json::from_str(&backoff).map_err(|_| damaged("backoff"))?;
        consumer.choices.backoff = pauses.into_iter().map(micros).collect();
        consumer.choices.filter = Arc::new(LogFilter::decode(&filter).ok_or_else(|| damaged("filter"))?);
        Ok(consumer)
    }
}

fn of(pause: Duration) -> Micros {
    Micros::try_from(pause.as_micros()).unwrap_or(Micros::MAX)
}

fn micros(pause: Micros) -> Duration {
    Duration::from_micros(u64::try_from(pause).unwrap_or(0))
}

/// One consumer and how it is doing.
pub(super) fn one(connection: &Connection, key: &ConsumerKey) -> Result<Option<ConsumerStatus>, StoreError> {
    consumer(connection, key)?.map(|consumer| status(connection, consumer)).transpose()
}

/// Every tenant's consumers, or one tenant's, behind another.
pub(super) fn page(
    connection: &Connection,
    tenant: Option<&str>,
    after: Option<ConsumerKey>,
    limit: usize,
) -> Result<Vec<ConsumerStatus>, StoreError> {
    let statement = format!(
        "SELECT {COLUMNS} FROM consumers
        WHERE (tenant, name) > (?1, ?2) AND tenant = coalesce(?3, tenant) ORDER BY tenant, name LIMIT ?4"
    );
    let (behind, name) = behind(tenant, after);
    let mut select = connection.prepare_cached(&statement)?;
    let found = select.query_map(params![behind, name, tenant, queries::limit(limit)], read)?;
    let found: Vec<KeptConsumer> = found.collect::<Result<_, _>>()?;
    found.into_iter().map(|kept| status(connection, kept.whole()?)).collect()
}

fn status(connection: &Connection, consumer: Consumer) -> Result<ConsumerStatus, StoreError> {
    const ITEMS: &str = "SELECT count(*) FILTER (WHERE lease > 0), count(*) FILTER (WHERE lease = 0)
        FROM consumer_items WHERE tenant = ?1 AND name = ?2";
    const DEAD: &str = "SELECT count(*) FROM dead_letters WHERE tenant = ?1 AND name = ?2 AND replayed = 0";
    const MADE: &str = "SELECT commit_time FROM transitions WHERE position > ?1 ORDER BY position LIMIT 1";
    const RECEIVED: &str = "SELECT receive_time FROM deliveries WHERE position > ?1 ORDER BY position LIMIT 1";
    let count =
        |row: &Row<'_>, column| Ok::<_, rusqlite::Error>(usize::try_from(row.get::<_, i64>(column)?).unwrap_or(0));
    let (tenant, name) = &consumer.key;
    let items = |row: &Row<'_>| Ok((count(row, 0)?, count(row, 1)?));
    let (out, waiting) = connection.prepare_cached(ITEMS)?.query_row(params![tenant, name], items)?;
    let dead_letters = connection.prepare_cached(DEAD)?.query_row(params![tenant, name], |row| count(row, 0))?;
    let first = |statement| {
        connection.prepare_cached(statement)?.query_row([consumer.cursor.0], |row| row.get::<_, Micros>(0)).optional()
    };
    let made = first(MADE)?;
    let received = if consumer.choices.recorded { first(RECEIVED)? } else { None };
    let behind_since = made.into_iter().chain(received).min();
    Ok(ConsumerStatus { consumer, out, waiting, dead_letters, behind_since })
}

/// The dead letters of a consumer behind a position.
pub(super) fn dead_letters(
    connection: &Connection,
    (tenant, name): &ConsumerKey,
    after: Position,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    const SELECT: &str = "SELECT position, deliveries, reason, create_time, kind, entry FROM dead_letters
        WHERE tenant = ?1 AND name = ?2 AND position > ?3 AND replayed = 0
            AND EXISTS (SELECT 1 FROM consumers c WHERE c.tenant = ?1 AND c.name = ?2)
        ORDER BY position LIMIT ?4";
    let mut select = connection.prepare_cached(SELECT)?;
    let mut rows = select.query(params![tenant, name, after.0, queries::limit(limit)])?;
    let letters = std::iter::from_fn(|| rows.next().map_err(StoreError::from).transpose().map(|row| letter(row?)));
    collect(letters, |letter| letter.entry.bytes())
}

fn letter(row: &Row<'_>) -> Result<DeadLetter, StoreError> {
    let entry = LogEntry::decode(row.get(4)?, &row.get::<_, Vec<u8>>(5)?)?;
    Ok(DeadLetter {
        position: Position(row.get(0)?),
        deliveries: row.get(1)?,
        reason: row.get(2)?,
        create_time: row.get(3)?,
        entry,
    })
}

/// Up to where all consumers of each tenant have read, or of the one that is named.
pub(super) fn floors(connection: &Connection, tenant: Option<&str>) -> Result<BTreeMap<String, Floors>, StoreError> {
    const ALL: &str = "SELECT tenant, min(cursor), filter, recorded FROM consumers
        GROUP BY tenant, filter, recorded";
    const OF_ONE: &str = "SELECT tenant, min(cursor), filter, recorded FROM consumers WHERE tenant = ?1
        GROUP BY tenant, filter, recorded";
    let mut select = connection.prepare_cached(if tenant.is_some() { OF_ONE } else { ALL })?;
    let mut rows = select.query(params_from_iter(tenant))?;
    let mut floors: BTreeMap<String, Floors> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let of = floors.entry(row.get(0)?).or_default();
        *of = of.held_as_kept(Position(row.get(1)?), &row.get::<_, String>(2)?, row.get(3)?);
    }
    Ok(floors)
}

/// Behind where whatever was committed at a time or later lies.
pub(super) fn position_before(snapshot: &Snapshot<'_>, time: Micros) -> Result<Position, StoreError> {
    const SELECT: &str = "SELECT position, commit_time FROM transitions WHERE position >= ?1 ORDER BY position LIMIT 1";
    let mut select = snapshot.prepare_cached(SELECT)?;
    let mut look = |at: Position| {
        let read = |row: &Row<'_>| Ok((Position(row.get(0)?), row.get(1)?));
        select.query_row([at.0], read).optional()
    };
    let mut search = TimeSearch::new(time, snapshot.head);
    while let Some(at) = search.next() {
        search.told(at, look(at)?);
    }
    // Deliveries that changed nothing may stand between what was found and the first that was made later.
    let next = look(Position(search.found().0 + 1))?;
    Ok(next.map_or(snapshot.head, |(first, _)| Position(first.0 - 1).min(snapshot.head)))
}
