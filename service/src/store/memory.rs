//! The store as a model: plain maps behind one mutex, each operation as direct as its sentence in [`Store`], so that it
//! can be trusted at sight. The other stores are compared with it, and it serves where nothing is to outlive a process.
//!
//! It has no thread, clock or chance of its own: what it answers is a function of what it was told.

mod consume;
mod kept;
mod lineage;
mod lists;
mod log;
mod retention;
mod timeline;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use calbridge_proto::v1;
use tokio::sync::watch;
use uuid::Uuid;

use self::kept::Kept;
use super::{
    Batch, BookingKey, BookingPage, BookingQuery, ClockPolicies, ClockRound, Committed, ConsumerCommand, ConsumerKey,
    ConsumerOutcome, ConsumerStatus, DeadLetter, DeliveryKey, FirstResult, Floors, LineagePage, LogPage, LogPurge,
    LogPurged, LogQuery, Micros, Position, Purge, Purged, Replay, Replayed, RowPage, Store, StoreError, StoredRow,
    Watermarks,
};

/// What stores keep in: it outlives each of them, as a file or a server does. Its clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Kept>>);

/// Everything that is kept, in memory.
#[derive(Debug)]
pub struct MemoryStore {
    memory: Memory,
    closed: AtomicBool,
}

impl Memory {
    /// A store that sees what all stores of this memory have committed.
    #[must_use]
    pub fn open(&self) -> MemoryStore {
        MemoryStore { memory: self.clone(), closed: AtomicBool::new(false) }
    }
}

impl MemoryStore {
    fn kept(&self) -> Result<MutexGuard<'_, Kept>, StoreError> {
        let kept = self.lock();
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::unavailable("closed"));
        }
        Ok(kept)
    }

    /// A round is planned before any of it is written, so a panic left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.memory.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Committed>, StoreError> {
        self.kept()?.commit(&batch)
    }

    async fn confirm(&self, keys: Vec<DeliveryKey>) -> Result<Vec<Option<FirstResult>>, StoreError> {
        let kept = self.kept()?;
        Ok(keys.iter().map(|key| kept.first_result(key)).collect())
    }

    async fn clock_due(
        &self,
        now: Micros,
        clock: Arc<ClockPolicies>,
        aside: Arc<HashSet<BookingKey>>,
    ) -> Result<Vec<BookingKey>, StoreError> {
        Ok(self.kept()?.clock_due(now, &clock, &aside))
    }

    async fn hear_clock(&self, round: ClockRound) -> Result<Vec<v1::Transition>, StoreError> {
        self.kept()?.hear_clock(&round)
    }

    async fn replay(&self, replay: Replay) -> Result<Option<Replayed>, StoreError> {
        self.kept()?.replay(&replay)
    }

    async fn head(&self) -> Result<Position, StoreError> {
        Ok(self.kept()?.head)
    }

    async fn booking(
        &self,
        tenant: &str,
        uid: &str,
        follow_reschedules: bool,
    ) -> Result<Option<v1::Booking>, StoreError> {
        let kept = self.kept()?;
        let Some(tenant) = kept.tenants.get(tenant) else { return Ok(None) };
        Ok(if follow_reschedules { tenant.last(uid) } else { tenant.booking(uid) })
    }

    async fn bookings(&self, query: BookingQuery) -> Result<BookingPage, StoreError> {
        let kept = self.kept()?;
        Ok(kept.tenants.get(&query.tenant).map(|tenant| tenant.page(&query)).unwrap_or_default())
    }

    async fn lineage(&self, tenant: &str, uid: &str, skip: usize) -> Result<LineagePage, StoreError> {
        let kept = self.kept()?;
        Ok(kept.tenants.get(tenant).map(|tenant| tenant.lineage(uid, skip)).unwrap_or_default())
    }

    async fn timeline(
        &self,
        tenant: &str,
        uid: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, v1::TimelineEntry)>, StoreError> {
        self.kept()?.timeline(tenant, uid, after, limit)
    }

    async fn deliveries(
        &self,
        tenant: &str,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        self.kept()?.deliveries(tenant, before, limit)
    }

    async fn delivery(
        &self,
        tenant: &str,
        delivery_id: Uuid,
        with_body: bool,
    ) -> Result<Option<v1::Delivery>, StoreError> {
        Ok(self.kept()?.delivery(tenant, delivery_id, with_body))
    }

    async fn journal(
        &self,
        tenant: Option<String>,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, v1::Delivery)>, StoreError> {
        self.kept()?.journal(tenant.as_deref(), after, limit)
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        Ok(self.kept()?.log(&query))
    }

    fn follow(&self) -> watch::Receiver<Position> {
        self.lock().followed.subscribe()
    }

    async fn row(&self, key: BookingKey) -> Result<Option<StoredRow>, StoreError> {
        Ok(self.kept()?.row(&key))
    }

    async fn rows(
        &self,
        tenant: Option<String>,
        after: Option<BookingKey>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        Ok(self.kept()?.rows(tenant.as_deref(), after.as_ref(), limit))
    }

    async fn next_tenant(&self, behind: &str) -> Result<Option<String>, StoreError> {
        Ok(self.kept()?.next_tenant(behind))
    }

    async fn purge(&self, purge: Purge) -> Result<Purged, StoreError> {
        Ok(self.kept()?.purge(&purge))
    }

    async fn purge_log(&self, purge: LogPurge) -> Result<LogPurged, StoreError> {
        Ok(self.kept()?.purge_log(&purge))
    }

    async fn watermarks(&self, tenant: &str) -> Result<Watermarks, StoreError> {
        Ok(self.kept()?.watermarks(tenant))
    }

    async fn floors(&self, tenant: Option<&str>) -> Result<BTreeMap<String, Floors>, StoreError> {
        Ok(self.kept()?.floors(tenant))
    }

    async fn command_consumer(
        &self,
        key: ConsumerKey,
        command: ConsumerCommand,
    ) -> Result<ConsumerOutcome, StoreError> {
        Ok(self.kept()?.command_consumer(key, &command))
    }

    async fn consumer(&self, key: ConsumerKey) -> Result<Option<ConsumerStatus>, StoreError> {
        Ok(self.kept()?.consumer(&key))
    }

    async fn consumers(
        &self,
        tenant: Option<String>,
        after: Option<ConsumerKey>,
        limit: usize,
    ) -> Result<Vec<ConsumerStatus>, StoreError> {
        Ok(self.kept()?.consumers(tenant.as_deref(), after.as_ref(), limit))
    }

    async fn dead_letters(
        &self,
        key: ConsumerKey,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.kept()?.dead_letters(&key, after, limit)
    }

    async fn position_before(&self, time: Micros) -> Result<Position, StoreError> {
        Ok(self.kept()?.position_before(time))
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.kept().map(drop)
    }

    async fn close(&self) {
        // Behind the round under way.
        let _under_way = self.lock();
        self.closed.store(true, Ordering::Relaxed);
    }
}
