//! The store in one `SQLite` file: a writer on a thread of its own, a few readers, and a write-ahead log that another
//! thread waits for.
//!
//! A round is one transaction; what [`Store::commit`] answered is on stable storage. One process at a time has the
//! file: an operating-system lock beside it, which dies with its process, sees to that.

mod again;
mod checkpoint;
mod clock;
mod commit;
mod consume;
mod desk;
mod error;
mod file;
mod insert;
mod journal;
pub(super) mod maintain;
mod names;
mod open;
mod postings;
mod queries;
mod reader;
mod replay;
mod retention;
mod schema;
mod syncer;
mod take;
mod write;
mod writer;
mod young;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

use calbridge_proto::v1;
use tokio::sync::watch;
use uuid::Uuid;

pub(super) use self::file::sync_folder;
pub use self::open::{OpenError, Options, Synchronous};
use self::{checkpoint::Gate, reader::Readers, writer::Writer, young::Young};
use super::{
    Batch, BookingKey, BookingPage, BookingQuery, ClockPolicies, ClockRound, Committed, ConsumerCommand, ConsumerKey,
    ConsumerOutcome, ConsumerStatus, DeadLetter, DeliveryKey, FirstResult, Floors, LineagePage, LogPage, LogPurge,
    LogPurged, LogQuery, Micros, Position, Purge, Purged, Replay, Replayed, RowPage, Store, StoreError, StoredRow,
    Watermarks, Written,
    observe::{self, Observer, Place},
};

/// Everything that is kept, in one `SQLite` file.
///
/// Dropping it waits for the round under way, then lets go of the file.
#[derive(Debug)]
pub struct SqliteStore {
    readers: Arc<Readers>,
    /// The ingest's own: a round must not wait for those who read.
    confirmers: Arc<Readers>,
    /// Those who follow the log: many, and none of them waits for a page of a list.
    followers: Arc<Readers>,
    // Behind the readers: whoever closes the database last moves its log into the file.
    writer: Writer,
    observer: Observer,
}

impl SqliteStore {
    /// Opens the database at `path`; makes it, and its folder, where there is none, and brings its schema up to date.
    /// Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// What keeps it from being opened, and how to mend it.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let (file, connection) = take::take(path, options, schema::open)?;
        let database = file.path.clone();
        let failed = |why| OpenError::Store { path: database.clone(), why };
        let head = queries::head(&connection).map_err(failed)?;
        let young = Arc::<Young>::default();
        let gate = Gate::default();
        let reading =
            |gate: &Gate, most| Arc::new(Readers::new(database.clone(), Arc::clone(gate), Arc::clone(&young), most));
        let (readers, followers) = (reading(&gate, reader::READERS), reading(&gate, reader::FOLLOWERS));
        // One short read at a time leaves moments enough.
        let confirmers = reading(&Gate::default(), reader::CONFIRMERS);
        let observer = Observer::new(Place::of_file(&database));
        let writer = Writer::start((connection, young, gate), head, database, options, file)?;
        Ok(Self { readers, confirmers, followers, writer, observer })
    }
}

impl Store for SqliteStore {
    /// A round costs little by itself: while one is on its way to the disk and one is written, there is work for others
    /// still.
    const ROUNDS_AT_ONCE: usize = 3;

    async fn commit(&self, batch: Batch) -> Result<Vec<Committed>, StoreError> {
        self.write(batch).await.stored().await
    }

    async fn write(&self, batch: Batch) -> Written {
        let watch = self.observer.begin(observe::COMMIT_DELIVERIES, batch.deliveries.len() + batch.duplicates.len());
        let written = watch.over(self.writer.write(batch)).await;
        Written::soon(async move {
            let committed = match written {
                Ok(answer) => writer::stored(answer).await,
                Err(error) => Err(error),
            };
            watch.end(committed)
        })
    }

    async fn confirm(&self, keys: Vec<DeliveryKey>) -> Result<Vec<Option<FirstResult>>, StoreError> {
        let rows = keys.len();
        // A copy of what is still on its way to the disk is answered with its round.
        let through = self.writer.stored().through();
        let read = self.confirmers.read(move |connection| queries::confirm(connection, &keys, through));
        self.observer.watch(observe::SELECT_DELIVERIES, rows, read).await
    }

    // No span: it is asked each second.
    async fn clock_due(
        &self,
        now: Micros,
        clock: Arc<ClockPolicies>,
        aside: Arc<HashSet<BookingKey>>,
    ) -> Result<Vec<BookingKey>, StoreError> {
        self.readers.read(move |connection| clock::due(connection, &clock, now, &aside)).await
    }

    async fn hear_clock(&self, round: ClockRound) -> Result<Vec<v1::Transition>, StoreError> {
        self.observer.watch(observe::COMMIT_BOOKINGS, round.keys.len(), self.writer.hear_clock(round)).await
    }

    async fn replay(&self, replay: Replay) -> Result<Option<Replayed>, StoreError> {
        self.observer.watch(observe::COMMIT_BOOKINGS, 1, self.writer.replay(replay)).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.observer.watch(observe::SELECT_HEAD, 1, self.readers.read(|snapshot| Ok(snapshot.head))).await
    }

    async fn booking(
        &self,
        tenant: &str,
        uid: &str,
        follow_reschedules: bool,
    ) -> Result<Option<v1::Booking>, StoreError> {
        let (tenant, uid) = (tenant.to_owned(), uid.to_owned());
        let select = if follow_reschedules { queries::bookings::last } else { queries::bookings::one };
        let read = self.readers.read(move |connection| select(connection, &tenant, &uid));
        self.observer.watch(observe::SELECT_BOOKINGS, 1, read).await
    }

    async fn lineage(&self, tenant: &str, uid: &str, skip: usize) -> Result<LineagePage, StoreError> {
        let (tenant, uid) = (tenant.to_owned(), uid.to_owned());
        let read = self.readers.read(move |connection| queries::lineage::page(connection, &tenant, &uid, skip));
        self.observer.watch(observe::SELECT_BOOKINGS, 1, read).await
    }

    async fn bookings(&self, query: BookingQuery) -> Result<BookingPage, StoreError> {
        let read = self.readers.read(move |connection| queries::bookings::page(connection, &query));
        self.observer.watch(observe::SELECT_BOOKINGS, 1, read).await
    }

    async fn timeline(
        &self,
        tenant: &str,
        uid: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, v1::TimelineEntry)>, StoreError> {
        let (tenant, uid) = (tenant.to_owned(), uid.to_owned());
        let read =
            self.readers.read(move |connection| queries::timeline::page(connection, &tenant, &uid, after, limit));
        self.observer.watch(observe::SELECT_MENTIONS, 1, read).await
    }

    async fn deliveries(
        &self,
        tenant: &str,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        let tenant = tenant.to_owned();
        let read = self.readers.read(move |connection| queries::deliveries::page(connection, &tenant, before, limit));
        self.observer.watch(observe::SELECT_DELIVERIES, 1, read).await
    }

    async fn delivery(
        &self,
        tenant: &str,
        delivery_id: Uuid,
        with_body: bool,
    ) -> Result<Option<v1::Delivery>, StoreError> {
        let tenant = tenant.to_owned();
        let read =
            self.readers.read(move |connection| queries::deliveries::one(connection, &tenant, delivery_id, with_body));
        self.observer.watch(observe::SELECT_DELIVERIES, 1, read).await
    }

    async fn journal(
        &self,
        tenant: Option<String>,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        let read =
            self.readers.read(move |connection| queries::rows::journal(connection, tenant.as_deref(), after, limit));
        self.observer.watch(observe::SELECT_DELIVERIES, 1, read).await
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        // A power cut may take back what is not: nobody must have heard of it.
        let through = self.writer.stored().through();
        let read = self.followers.read(move |snapshot| queries::log::page(snapshot, &query, through));
        self.observer.watch(observe::SELECT_TRANSITIONS, 1, read).await
    }

    fn follow(&self) -> watch::Receiver<Position> {
        self.writer.stored().follow()
    }

    async fn row(&self, key: BookingKey) -> Result<Option<StoredRow>, StoreError> {
        let read = self.readers.read(move |connection| queries::rows::one(connection, &key));
        self.observer.watch(observe::SELECT_BOOKINGS, 1, read).await
    }

    async fn rows(
        &self,
        tenant: Option<String>,
        after: Option<BookingKey>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        let read = self
            .readers
            .read(move |connection| queries::rows::page(connection, tenant.as_deref(), after.as_ref(), limit));
        self.observer.watch(observe::SELECT_BOOKINGS, 1, read).await
    }

    async fn next_tenant(&self, behind: &str) -> Result<Option<String>, StoreError> {
        let behind = behind.to_owned();
        self.readers.read(move |connection| retention::next_tenant(connection, &behind)).await
    }

    // No span: chunk by chunk, a purge would be most of what a trace store sees.
    async fn purge(&self, purge: Purge) -> Result<Purged, StoreError> {
        let asked = purge.clone();
        if !self.readers.read(move |connection| retention::is_due(connection, &asked)).await? {
            return Ok(Purged::default());
        }
        self.writer.purge(purge).await
    }

    async fn purge_log(&self, purge: LogPurge) -> Result<LogPurged, StoreError> {
        let asked = purge.clone();
        let due = self.readers.read(move |connection| retention::log_due(connection, &asked)).await?;
        if due.rows == 0 { Ok(due) } else { self.writer.purge_log(purge).await }
    }

    async fn purge_letters(&self) -> Result<Purged, StoreError> {
        let Some(key) = self.readers.read(|snapshot| consume::gone::left(snapshot)).await? else {
            return Ok(Purged::default());
        };
        let Purged { rows, .. } = self.writer.purge_letters(key).await?;
        // Of the next one, too.
        Ok(Purged { rows, more: rows > 0 })
    }

    async fn watermarks(&self, tenant: &str) -> Result<Watermarks, StoreError> {
        let tenant = tenant.to_owned();
        self.readers.read(move |connection| retention::watermarks(connection, &tenant)).await
    }

    async fn floors(&self, tenant: Option<&str>) -> Result<BTreeMap<String, Floors>, StoreError> {
        let tenant = tenant.map(str::to_owned);
        self.readers.read(move |connection| consume::floors(connection, tenant.as_deref())).await
    }

    async fn command_consumer(
        &self,
        key: ConsumerKey,
        command: ConsumerCommand,
    ) -> Result<ConsumerOutcome, StoreError> {
        let work = async {
            // What one of its name has left would be its own.
            if matches!(command, ConsumerCommand::Create(_)) {
                while self.writer.purge_letters(key.clone()).await?.more {}
            }
            self.writer.command_consumer(key, command).await
        };
        self.observer.watch(observe::COMMIT_CONSUMERS, 1, work).await
    }

    async fn consumer(&self, key: ConsumerKey) -> Result<Option<ConsumerStatus>, StoreError> {
        let read = self.readers.read(move |connection| consume::one(connection, &key));
        self.observer.watch(observe::SELECT_CONSUMERS, 1, read).await
    }

    async fn consumers(
        &self,
        tenant: Option<String>,
        after: Option<ConsumerKey>,
        limit: usize,
    ) -> Result<Vec<ConsumerStatus>, StoreError> {
        let read = self.readers.read(move |connection| consume::page(connection, tenant.as_deref(), after, limit));
        self.observer.watch(observe::SELECT_CONSUMERS, 1, read).await
    }

    async fn dead_letters(
        &self,
        key: ConsumerKey,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let read = self.readers.read(move |connection| consume::dead_letters(connection, &key, after, limit));
        self.observer.watch(observe::SELECT_CONSUMERS, 1, read).await
    }

    async fn position_before(&self, time: Micros) -> Result<Position, StoreError> {
        let read = self.readers.read(move |snapshot| consume::position_before(snapshot, time));
        self.observer.watch(observe::SELECT_TRANSITIONS, 1, read).await
    }

    // No span: a probe each second would be most of what a trace store sees.
    async fn probe(&self) -> Result<(), StoreError> {
        self.writer.probe().await
    }

    async fn close(&self) {
        for readers in [&self.readers, &self.confirmers, &self.followers] {
            readers.close().await;
        }
        self.writer.close().await;
    }
}
