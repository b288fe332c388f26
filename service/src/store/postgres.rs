//! The store in `PostgreSQL`, or in what speaks its protocol: any number of services on one database.
//!
//! A round is one transaction behind the lock of one row, the head; what [`Store::commit`] answered is on stable
//! storage. No extension is needed, and no table is locked.

mod commit;
mod connection;
mod consume;
mod error;
mod follow;
mod head;
pub(super) mod maintain;
mod open;
mod postings;
mod queries;
mod records;
mod retention;
mod schema;
mod skew;
mod write;

use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use calbridge_proto::v1;
use deadpool_postgres::ClientWrapper;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{RwLock, watch},
    time::timeout,
};
use uuid::Uuid;

pub use self::open::{OpenError, Options};
use self::{
    commit::{Done, End},
    connection::{Address, Connections, Role},
    follow::Follower,
    postings::Merger,
    skew::Skew,
};
use super::{
    Batch, BookingKey, BookingPage, BookingQuery, ClockPolicies, ClockRound, Committed, ConsumerCommand, ConsumerKey,
    ConsumerOutcome, ConsumerStatus, DeadLetter, DeliveryKey, FirstResult, Floors, LineagePage, LogPage, LogPurge,
    LogPurged, LogQuery, Micros, Position, Purge, Purged, Replay, Replayed, RowPage, Store, StoreError, StoredRow,
    Watermarks,
    observe::{self, Observer, Place},
    pack::Packer,
};

/// Connections that write: the ingest's rounds, and the clock's, replays' and probes' beside them.
const WRITERS: usize = 2;
/// Whoever merges postings waits for each of its statements.
const MERGERS: usize = 1;
/// Connections for what is asked of consumers: a command waits for another one at the same consumer, and neither a
/// round nor a reader is to wait for it.
const CONSUMERS: usize = 4;
/// The ingest's own: a round must not wait for those who read.
const CONFIRMERS: usize = 1;
/// How often a transaction is begun again that gave way to another one.
const TRIES: usize = 5;
/// For a round in all. The adapter gives an event two seconds; a database that needs longer is of no use to it, and a
/// connection whose server is frozen would otherwise be waited for without end.
const ROUND_TIMEOUT: Duration = Duration::from_secs(6);
/// For one read. Its caller gives it less.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Whether a URL can be used, before anything is opened.
///
/// # Errors
/// What is wrong with it.
pub fn check(url: &str) -> Result<(), OpenError> {
    Address::read(url).map(drop)
}

/// Everything that is kept, in one `PostgreSQL` database.
#[derive(Debug)]
pub struct PostgresStore {
    readers: Connections,
    confirmers: Connections,
    writers: Connections,
    consumers: Connections,
    packer: Arc<Mutex<Packer>>,
    observer: Observer,
    follower: Follower,
    merger: Merger,
    /// How a round commits.
    end: End,
    skew: Arc<Skew>,
    /// Held for reading by whoever uses a connection: who closes waits for them.
    in_use: RwLock<()>,
}

impl PostgresStore {
    /// Opens the database at a URL and brings its schema up to date; waits for one that does not answer yet.
    ///
    /// # Errors
    /// What keeps it from being opened, and how to mend it.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        let address = Address::read(url)?;
        let (host, port) = address.server();
        let server = address.servers();
        // A pool of its own: a migration takes off the bounds that hold on a connection.
        let first = address.connections(Role::Reader, 1)?;
        let lease = first.first(options.patience, &server).await?;
        open::check_encoding(&lease, &server).await?;
        open::check_durability(&lease).await;
        let skew = Skew::new();
        // Should the connection fail, the next step says so.
        let _ = skew.look(&lease).await;
        schema::migrate(&lease, &server).await?;
        let place = Place::of_server(&open::namespace(&lease, address.database()).await, host, port);
        Ok(Self {
            readers: address.connections(Role::Reader, options.readers)?,
            confirmers: address.connections(Role::Reader, CONFIRMERS)?,
            writers: address.connections(Role::Writer, WRITERS)?,
            consumers: address.connections(Role::Writer, CONSUMERS)?,
            packer: Arc::new(Mutex::new(Packer::new())),
            observer: Observer::new(place),
            follower: Follower::start(address.clone()),
            merger: Merger::start(address.connections(Role::Reader, MERGERS)?),
            end: follow::commit_statement(&lease).await,
            skew: Arc::new(skew),
            in_use: RwLock::default(),
        })
    }

    /// Lends a connection to one piece of work. Only one that did well is used again.
    async fn run<T>(
        &self,
        connections: &Connections,
        limit: Duration,
        work: impl for<'c> FnOnce(&'c ClientWrapper) -> BoxFuture<'c, Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let _in_use = self.in_use.read().await;
        let worked = async {
            let lease = connections.lease().await?;
            let done = work(&lease).await?;
            lease.give_back();
            Ok(done)
        };
        timeout(limit, worked).await.unwrap_or_else(|_| Err(StoreError::unavailable("PostgreSQL does not answer")))
    }

    async fn read<T>(
        &self,
        work: impl for<'c> FnOnce(&'c ClientWrapper) -> BoxFuture<'c, Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.run(&self.readers, READ_TIMEOUT, work).await
    }

    /// Tells those who follow the log how far it goes now, and who merges that there is more.
    fn done<T>(&self, done: Result<Done<T>, StoreError>) -> Result<T, StoreError> {
        let Done { answer, head, has_sorted } = done?;
        self.follower.reached(head);
        if has_sorted {
            self.merger.wake();
        }
        Ok(answer)
    }

    /// Does it again for as long as it has to give way to others.
    async fn write<T, F>(&self, mut work: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        for _ in 1..TRIES {
            match work().await {
                Err(error) if error::gave_way(&error) => {}
                done => return done,
            }
        }
        work().await
    }
}

impl Store for PostgresStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Committed>, StoreError> {
        let rows = batch.deliveries.len() + batch.duplicates.len();
        let batch = Arc::new(batch);
        let commit = self.write(|| {
            let (batch, packer, end) = (Arc::clone(&batch), Arc::clone(&self.packer), self.end);
            self.run(&self.writers, ROUND_TIMEOUT, move |client| {
                async move { Box::pin(commit::commit(client, (&packer, end), &batch)).await }.boxed()
            })
        });
        self.done(self.observer.watch(observe::COMMIT_DELIVERIES, rows, commit).await)
    }

    async fn confirm(&self, keys: Vec<DeliveryKey>) -> Result<Vec<Option<FirstResult>>, StoreError> {
        let rows = keys.len();
        let read = self.run(&self.confirmers, READ_TIMEOUT, move |client| {
            async move {
                let keys: Vec<&DeliveryKey> = keys.iter().collect();
                commit::first_results(client, &keys).await
            }
            .boxed()
        });
        self.observer.watch(observe::SELECT_DELIVERIES, rows, read).await
    }

    // No span: it is asked each second.
    async fn clock_due(
        &self,
        now: Micros,
        clock: Arc<ClockPolicies>,
        aside: Arc<HashSet<BookingKey>>,
    ) -> Result<Vec<BookingKey>, StoreError> {
        self.read(move |client| async move { queries::clock::due(client, &clock, now, &aside).await }.boxed()).await
    }

    async fn hear_clock(&self, round: ClockRound) -> Result<Vec<v1::Transition>, StoreError> {
        let rows = round.keys.len();
        let round = Arc::new(round);
        let hear = self.write(|| {
            let (round, packer, end) = (Arc::clone(&round), Arc::clone(&self.packer), self.end);
            self.run(&self.writers, ROUND_TIMEOUT, move |client| {
                async move { commit::hear_clock(client, (&packer, end), &round).await }.boxed()
            })
        });
        self.done(self.observer.watch(observe::COMMIT_BOOKINGS, rows, hear).await)
    }

    async fn replay(&self, replay: Replay) -> Result<Option<Replayed>, StoreError> {
        let replay = Arc::new(replay);
        let work = self.write(|| {
            let (replay, packer, end) = (Arc::clone(&replay), Arc::clone(&self.packer), self.end);
            self.run(&self.writers, ROUND_TIMEOUT, move |client| {
                async move { commit::replay(client, (&packer, end), &replay).await }.boxed()
            })
        });
        self.done(self.observer.watch(observe::COMMIT_BOOKINGS, 1, work).await)
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.observer.watch(observe::SELECT_HEAD, 1, self.read(|client| queries::head(client).boxed())).await
    }

    async fn booking(
        &self,
        tenant: &str,
        uid: &str,
        follow_reschedules: bool,
    ) -> Result<Option<v1::Booking>, StoreError> {
        let (tenant, uid) = (tenant.to_owned(), uid.to_owned());
        let read = self.read(move |client| {
            async move {
                if follow_reschedules {
                    queries::bookings::last(client, &tenant, &uid).await
                } else {
                    queries::bookings::one(client, &tenant, &uid).await
                }
            }
            .boxed()
        });
        self.observer.watch(observe::SELECT_BOOKINGS, 1, read).await
    }

    async fn lineage(&self, tenant: &str, uid: &str, skip: usize) -> Result<LineagePage, StoreError> {
        let (tenant, uid) = (tenant.to_owned(), uid.to_owned());
        let read =
            self.read(move |client| async move { queries::lineage::page(client, &tenant, &uid, skip).await }.boxed());
        self.observer.watch(observe::SELECT_BOOKINGS, 1, read).await
    }

    async fn bookings(&self, query: BookingQuery) -> Result<BookingPage, StoreError> {
        let read = self.read(move |client| async move { queries::bookings::page(client, &query).await }.boxed());
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
        let read = self.read(move |client| {
            async move { queries::timeline::page(client, &tenant, &uid, after, limit).await }.boxed()
        });
        self.observer.watch(observe::SELECT_MENTIONS, 1, read).await
    }

    async fn deliveries(
        &self,
        tenant: &str,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        let tenant = tenant.to_owned();
        let read = self
            .read(move |client| async move { queries::deliveries::page(client, &tenant, before, limit).await }.boxed());
        self.observer.watch(observe::SELECT_DELIVERIES, 1, read).await
    }

    async fn delivery(
        &self,
        tenant: &str,
        delivery_id: Uuid,
        with_body: bool,
    ) -> Result<Option<v1::Delivery>, StoreError> {
        let tenant = tenant.to_owned();
        let read = self.read(move |client| {
            async move { queries::deliveries::one(client, &tenant, delivery_id, with_body).await }.boxed()
        });
        self.observer.watch(observe::SELECT_DELIVERIES, 1, read).await
    }

    async fn journal(
        &self,
        tenant: Option<String>,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        let read = self.read(move |client| {
            async move { queries::rows::journal(client, tenant.as_deref(), after, limit).await }.boxed()
        });
        self.observer.watch(observe::SELECT_DELIVERIES, 1, read).await
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let read = self.read(move |client| async move { queries::log::page(client, &query).await }.boxed());
        self.observer.watch(observe::SELECT_TRANSITIONS, 1, read).await
    }

    fn follow(&self) -> watch::Receiver<Position> {
        self.follower.follow()
    }

    async fn row(&self, key: BookingKey) -> Result<Option<StoredRow>, StoreError> {
        let read = self.read(move |client| async move { queries::rows::one(client, &key).await }.boxed());
        self.observer.watch(observe::SELECT_BOOKINGS, 1, read).await
    }

    async fn rows(
        &self,
        tenant: Option<String>,
        after: Option<BookingKey>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        let read = self.read(move |client| {
            async move { queries::rows::page(client, tenant.as_deref(), after.as_ref(), limit).await }.boxed()
        });
        self.observer.watch(observe::SELECT_BOOKINGS, 1, read).await
    }

    async fn next_tenant(&self, behind: &str) -> Result<Option<String>, StoreError> {
        let behind = behind.to_owned();
        self.read(move |client| async move { retention::next_tenant(client, &behind).await }.boxed()).await
    }

    // By a connection of those who read, so that no round waits for one. What a server loses of it with its machine is
    // purged again, of the log by the next process. No span: a purge would be most of what a trace store sees.
    async fn purge(&self, purge: Purge) -> Result<Purged, StoreError> {
        let purge = Arc::new(purge);
        self.write(|| {
            let purge = Arc::clone(&purge);
            self.read(move |client| async move { retention::purge(client, &purge).await }.boxed())
        })
        .await
    }

    async fn purge_log(&self, purge: LogPurge) -> Result<LogPurged, StoreError> {
        let purge = Arc::new(purge);
        self.write(|| {
            let purge = Arc::clone(&purge);
            self.read(move |client| async move { retention::purge_log(client, &purge).await }.boxed())
        })
        .await
    }

    async fn watermarks(&self, tenant: &str) -> Result<Watermarks, StoreError> {
        let tenant = tenant.to_owned();
        self.read(move |client| async move { retention::watermarks(client, &tenant).await }.boxed()).await
    }

    async fn floors(&self, tenant: Option<&str>) -> Result<BTreeMap<String, Floors>, StoreError> {
        let tenant = tenant.map(str::to_owned);
        self.read(move |client| async move { consume::read::floors(client, tenant.as_deref()).await }.boxed()).await
    }

    async fn command_consumer(
        &self,
        key: ConsumerKey,
        command: ConsumerCommand,
    ) -> Result<ConsumerOutcome, StoreError> {
        let asked = Arc::new((key, command));
        let work = self.write(|| {
            let asked = Arc::clone(&asked);
            self.run(&self.consumers, ROUND_TIMEOUT, move |client| {
                async move { consume::command(client, &asked.0, &asked.1).await }.boxed()
            })
        });
        self.observer.watch(observe::COMMIT_CONSUMERS, 1, work).await
    }

    async fn consumer(&self, key: ConsumerKey) -> Result<Option<ConsumerStatus>, StoreError> {
        let read = self.read(move |client| async move { consume::read::one(client, &key).await }.boxed());
        self.observer.watch(observe::SELECT_CONSUMERS, 1, read).await
    }

    async fn consumers(
        &self,
        tenant: Option<String>,
        after: Option<ConsumerKey>,
        limit: usize,
    ) -> Result<Vec<ConsumerStatus>, StoreError> {
        let read = self.read(move |client| {
            let (tenant, after) = (tenant.clone(), after.clone());
            async move { consume::read::page(client, tenant, after, limit).await }.boxed()
        });
        self.observer.watch(observe::SELECT_CONSUMERS, 1, read).await
    }

    async fn dead_letters(
        &self,
        key: ConsumerKey,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let read = self
            .read(move |client| async move { consume::read::dead_letters(client, &key, after, limit).await }.boxed());
        self.observer.watch(observe::SELECT_CONSUMERS, 1, read).await
    }

    async fn position_before(&self, time: Micros) -> Result<Position, StoreError> {
        let read = self.read(move |client| async move { consume::read::position_before(client, time).await }.boxed());
        self.observer.watch(observe::SELECT_TRANSITIONS, 1, read).await
    }

    // No span: a probe each second would be most of what a trace store sees. It is often enough to look at the clocks.
    async fn probe(&self) -> Result<(), StoreError> {
        let skew = Arc::clone(&self.skew);
        self.run(&self.writers, ROUND_TIMEOUT, |client| {
            let work = async move {
                commit::probe(client).await?;
                Ok(skew.look(client).await?)
            };
            work.boxed()
        })
        .await
    }

    async fn close(&self) {
        self.follower.close();
        self.merger.close();
        for connections in [&self.readers, &self.confirmers, &self.writers, &self.consumers] {
            connections.close();
        }
        // Those under way are finished.
        drop(self.in_use.write().await);
    }
}
