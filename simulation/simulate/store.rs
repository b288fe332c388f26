//! The store in memory, which a service may find slow, away, or gone before it has answered for what it did.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use calbridge_proto::v1;
use calbridge_service::store::{
    Batch, BookingKey, BookingPage, BookingQuery, ClockPolicies, ClockRound, Committed, ConsumerCommand, ConsumerKey,
    ConsumerOutcome, ConsumerStatus, DeadLetter, DeliveryKey, FirstResult, Floors, LineagePage, LogPage, LogPurge,
    LogPurged, LogQuery, Micros, Position, Purge, Purged, Replay, Replayed, RowPage, Store, StoreError, StoredRow,
    Watermarks,
    memory::{Memory, MemoryStore},
};
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

/// How a service finds its store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Everything takes so many milliseconds.
    Slow(u64),
    /// Nothing is done.
    Away,
    /// What is written is written, and answered as if it were not.
    Mute,
}

/// The moods of one service's stores, one process after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moods(Arc<Mutex<Mood>>);

/// A store of that service.
#[derive(Debug)]
pub(crate) struct Moody {
    store: MemoryStore,
    moods: Moods,
}

impl Moods {
    pub(crate) fn set(&self, mood: Mood) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    fn get(&self) -> Mood {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moody {
    pub(crate) fn open(memory: &Memory, moods: &Moods) -> Self {
        Self { store: memory.open(), moods: moods.clone() }
    }

    /// Waits, or fails.
    async fn begin(&self) -> Result<(), StoreError> {
        match self.moods.get() {
            Mood::Well | Mood::Mute => Ok(()),
            Mood::Slow(milliseconds) => {
                sleep(Duration::from_millis(milliseconds)).await;
                Ok(())
            }
            Mood::Away => Err(StoreError::unavailable("it is away")),
        }
    }

    /// What is said of something that was written.
    fn end<T>(&self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        if self.moods.get() == Mood::Mute { Err(StoreError::unavailable("its answer was lost")) } else { written }
    }
}

/// Reads as they are asked for, where the store is in the mood.
macro_rules! reads {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
            self.begin().await?;
            self.store.$name($($argument),*).await
        })*
    };
}

/// And what is written.
macro_rules! writes {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
            self.begin().await?;
            self.end(self.store.$name($($argument),*).await)
        })*
    };
}

impl Store for Moody {
    writes! {
        commit(batch: Batch) -> Vec<Committed>;
        hear_clock(round: ClockRound) -> Vec<v1::Transition>;
        replay(replay: Replay) -> Option<Replayed>;
        purge(purge: Purge) -> Purged;
        purge_log(purge: LogPurge) -> LogPurged;
        purge_letters() -> Purged;
        command_consumer(key: ConsumerKey, command: ConsumerCommand) -> ConsumerOutcome;
        probe() -> ();
    }

    reads! {
        confirm(keys: Vec<DeliveryKey>) -> Vec<Option<FirstResult>>;
        clock_due(now: Micros, clock: Arc<ClockPolicies>, aside: Arc<HashSet<BookingKey>>) -> Vec<BookingKey>;
        head() -> Position;
        booking(tenant: &str, uid: &str, follow_reschedules: bool) -> Option<v1::Booking>;
        bookings(query: BookingQuery) -> BookingPage;
        lineage(tenant: &str, uid: &str, skip: usize) -> LineagePage;
        timeline(tenant: &str, uid: &str, after: Position, limit: usize) -> Vec<(Position, v1::TimelineEntry)>;
        deliveries(tenant: &str, before: Option<Position>, limit: usize) -> Vec<(Position, v1::Delivery)>;
        delivery(tenant: &str, delivery_id: Uuid, with_body: bool) -> Option<v1::Delivery>;
        journal(tenant: Option<String>, after: Position, limit: usize) -> Vec<(Position, v1::Delivery)>;
        log(query: LogQuery) -> LogPage;
        row(key: BookingKey) -> Option<StoredRow>;
        rows(tenant: Option<String>, after: Option<BookingKey>, limit: usize) -> RowPage;
        next_tenant(behind: &str) -> Option<String>;
        watermarks(tenant: &str) -> Watermarks;
        floors(tenant: Option<&str>) -> BTreeMap<String, Floors>;
        consumer(key: ConsumerKey) -> Option<ConsumerStatus>;
        consumers(tenant: Option<String>, after: Option<ConsumerKey>, limit: usize) -> Vec<ConsumerStatus>;
        dead_letters(key: ConsumerKey, after: Position, limit: usize) -> Vec<DeadLetter>;
        position_before(time: Micros) -> Position;
    }

    fn follow(&self) -> watch::Receiver<Position> {
        self.store.follow()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
