//! In `SQLite`: one thread with one connection, one transaction a round.

use std::{
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use anyhow::Context;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::oneshot;

use super::row::{Packer, Row};

/// Quick and durable at once: each commit waits for its log, which is moved into the file often; the cache is small,
/// and reads need no copy.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192;
    PRAGMA mmap_size = 268435456; PRAGMA wal_autocheckpoint = 1000;";

const SCHEMA: &str = "
    CREATE TABLE deliveries (position INTEGER PRIMARY KEY, delivery_id BLOB NOT NULL, tenant TEXT NOT NULL,
        created_at INTEGER NOT NULL, key BLOB NOT NULL, trigger INTEGER NOT NULL, trigger_name TEXT NOT NULL,
        receive_time INTEGER NOT NULL, body_size INTEGER NOT NULL, secret_id TEXT NOT NULL, content_type TEXT NOT NULL,
        webhook_version TEXT NOT NULL, uid TEXT NOT NULL, UNIQUE (tenant, created_at, key));
    CREATE TABLE bodies (position INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE bookings (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, uid TEXT NOT NULL, status INTEGER NOT NULL,
        start_time INTEGER NOT NULL, end_time INTEGER NOT NULL, update_time INTEGER NOT NULL, position INTEGER NOT NULL,
        organizer TEXT NOT NULL, event_type_id INTEGER, title TEXT NOT NULL, state BLOB NOT NULL, UNIQUE (tenant, uid));
    CREATE INDEX bookings_by_status ON bookings (tenant, status, start_time);
    CREATE INDEX bookings_by_organizer ON bookings (tenant, organizer, start_time);
    CREATE INDEX bookings_by_start ON bookings (tenant, start_time);
    CREATE TABLE transitions (position INTEGER PRIMARY KEY, tenant TEXT NOT NULL, uid TEXT NOT NULL,
        change BLOB NOT NULL);";

const DELIVERY: &str = "INSERT INTO deliveries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
    ON CONFLICT DO NOTHING";
const BODY: &str = "INSERT INTO bodies VALUES (?1, ?2)";
const BEFORE: &str = "SELECT status FROM bookings WHERE tenant = ?1 AND uid = ?2";
const BOOKING: &str =
    "INSERT INTO bookings (tenant, uid, status, start_time, end_time, update_time, position, organizer,
        event_type_id, title, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (tenant, uid) DO UPDATE SET status = excluded.status, start_time = excluded.start_time,
        end_time = excluded.end_time, update_time = excluded.update_time, position = excluded.position,
        organizer = excluded.organizer, event_type_id = excluded.event_type_id, title = excluded.title,
        state = excluded.state";
const TRANSITION: &str = "INSERT INTO transitions VALUES (?1, ?2, ?3, ?4)";

/// A handle on the thread.
pub(super) struct Sqlite {
    rounds: Sender<Round>,
}

struct Round {
    rows: Vec<Row>,
    kept: oneshot::Sender<anyhow::Result<Vec<Option<i64>>>>,
}

impl Sqlite {
    pub(super) fn begin(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path).with_context(|| format!("opening {}", path.display()))?;
        connection.execute_batch(SETTINGS)?;
        connection.execute_batch(SCHEMA)?;
        let packer = Packer::new()?;
        let (rounds, asked) = mpsc::channel();
        thread::Builder::new().name("sqlite".to_owned()).spawn(move || run(connection, packer, &asked))?;
        Ok(Self { rounds })
    }

    /// The position of each; nothing for one that was kept before.
    pub(super) async fn keep(&mut self, rows: Vec<Row>) -> anyhow::Result<Vec<Option<i64>>> {
        let (kept, answered) = oneshot::channel();
        self.rounds.send(Round { rows, kept }).ok().context("the thread has ended")?;
        answered.await.context("the thread has ended")?
    }
}

fn run(mut connection: Connection, mut packer: Packer, asked: &Receiver<Round>) {
    let mut position = 0;
    while let Ok(Round { rows, kept }) = asked.recv() {
        let _ = kept.send(write(&mut connection, &mut packer, &mut position, &rows));
    }
}

fn write(
    connection: &mut Connection,
    packer: &mut Packer,
    position: &mut i64,
    rows: &[Row],
) -> anyhow::Result<Vec<Option<i64>>> {
    let transaction = connection.transaction()?;
    let one = |row| one(&transaction, packer, position, row);
    let positions = rows.iter().map(one).collect::<anyhow::Result<_>>()?;
    transaction.commit()?;
    Ok(positions)
}

fn one(
    transaction: &Transaction<'_>,
    packer: &mut Packer,
    position: &mut i64,
    row: &Row,
) -> anyhow::Result<Option<i64>> {
    let Row { event, booking, .. } = row;
    let at = *position + 1;
    let is_new = transaction.prepare_cached(DELIVERY)?.execute(params![
        at,
        &row.delivery_id.as_bytes()[..],
        event.tenant,
        row.created_at,
        &row.key[..],
        event.trigger,
        event.trigger_name,
        row.receive_time,
        i64::try_from(event.raw_body.len())?,
        event.secret_id,
        event.content_type,
        event.webhook_version,
        booking.uid,
    ])? > 0;
    if !is_new {
        return Ok(None);
    }
    *position = at;
    transaction.prepare_cached(BODY)?.execute(params![at, packer.pack(&event.raw_body)?])?;
    let mut before = transaction.prepare_cached(BEFORE)?;
    let from: Option<i32> = before.query_row([&event.tenant, &booking.uid], |row| row.get(0)).optional()?;
    let change = row.change(from.unwrap_or_default());
    transaction.prepare_cached(BOOKING)?.execute(params![
        event.tenant,
        booking.uid,
        booking.status,
        booking.start_time,
        booking.end_time,
        row.receive_time,
        at,
        booking.organizer,
        booking.event_type_id,
        booking.title,
        row.state,
    ])?;
    transaction.prepare_cached(TRANSITION)?.execute(params![at, event.tenant, booking.uid, change])?;
    Ok(Some(at))
}
