//! Purging: at its start and once an hour the service takes away what is past its retention, in chunks with pauses
//! between them, so that no webhook waits for more than one: deliveries tenant by tenant, and the log in one walk for
//! all tenants that keep it equally long.
//!
//! Nothing is kept of a run but what the store says: one that was cut short is gone on with by the next. How far the
//! walks have come is remembered for as long as the process lives; a new one begins at the log's beginning.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use calbridge_process::Ages;
use calbridge_telemetry::semconv;
use tokio::time::{self, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    clock::Clock,
    metrics::Metrics,
    settings::{PURGE_INTERVAL, PURGE_PAUSE_MAX, PURGE_PAUSE_MIN, PURGE_REST, PURGE_RETRY},
    store::{LogKeepers, LogPurge, Micros, Position, Purge, Purgeable, Purged, RetentionPolicies, Store, StoreError},
};

/// What the task needs.
pub(crate) struct Purging<S> {
    pub(crate) store: Arc<S>,
    pub(crate) clock: Clock,
    pub(crate) policies: Arc<RetentionPolicies>,
    pub(crate) metrics: Arc<Metrics>,
}

/// One run.
struct Run<'a, S> {
    of: &'a Purging<S>,
    stopping: &'a CancellationToken,
    gone: Counts,
    /// When it began: what ages meanwhile is the next one's, so that a run ends however many webhooks come.
    now: Micros,
    /// What failed first.
    failed: Option<StoreError>,
    /// Damaged rows stay.
    has_left: bool,
}

/// What a run took away.
#[derive(Default)]
struct Counts {
    bodies: u64,
    deliveries: u64,
    transitions: u64,
}

/// Behind where each walk goes on, by how long it keeps.
type Walks = BTreeMap<Duration, Position>;

impl<S: Store> Purging<S> {
    /// Runs until `stopping` fires. A chunk under way is finished.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let (mut walks, mut failing) = (Walks::new(), false);
        let (began, mut ages) = (time::Instant::now(), Ages::begin((self.clock)()));
        while !stopping.is_cancelled() {
            let mut run = Run::begin(&self, &stopping, ages.now((self.clock)(), began.elapsed()));
            let done = run.purge_all(&mut walks).await;
            if !run.gone.is_empty() {
                info!("what was past its retention is purged: {}", run.gone);
            }
            // An outage is said once, and its end once.
            match &done {
                Err(failure) if !failing => warn!(error = %failure, "what is past its retention can't be purged yet"),
                Ok(()) if failing => info!("what is past its retention can be purged again"),
                _ => {}
            }
            if done.is_err() || run.has_left {
                self.metrics.unpurged();
            }
            failing = done.is_err();
            pause(if failing { PURGE_RETRY } else { PURGE_INTERVAL }, &stopping).await;
        }
    }
}

impl<'a, S: Store> Run<'a, S> {
    fn begin(of: &'a Purging<S>, stopping: &'a CancellationToken, now: Micros) -> Self {
        Self { of, stopping, gone: Counts::default(), now, failed: None, has_left: false }
    }

    async fn purge_all(&mut self, walks: &mut Walks) -> Result<(), StoreError> {
        let mut behind = String::new();
        while let Some(tenant) = self.of.store.next_tenant(&behind).await? {
            // Bodies before their deliveries: a chunk of those is bounded by what else goes with them.
            for what in Purgeable::ALL {
                let done = self.purge(&tenant, what).await;
                self.go_on(done);
                if self.stopping.is_cancelled() {
                    return Ok(());
                }
            }
            behind = tenant;
        }
        let done = self.letters().await;
        self.go_on(done);
        for period in self.keepers().await?.periods() {
            let done = self.walk(period, walks.entry(period).or_default()).await;
            self.go_on(done);
            if self.stopping.is_cancelled() {
                return Ok(());
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// As they are now: consumers come, and go back, while a run lasts.
    async fn keepers(&self) -> Result<LogKeepers, StoreError> {
        let floors = self.of.store.floors(None).await?;
        let floors = floors.into_iter().filter_map(|(tenant, floors)| Some((tenant, floors.transitions?))).collect();
        Ok(LogKeepers { policies: Arc::clone(&self.of.policies), floors })
    }

    /// All of one kind, chunk by chunk.
    async fn purge(&mut self, tenant: &str, what: Purgeable) -> Result<(), StoreError> {
        let Some(period) = what.period(self.of.policies.of(tenant)) else { return Ok(()) };
        loop {
            let began = Instant::now();
            let floor = match what {
                Purgeable::Bodies => None,
                Purgeable::Deliveries => {
                    self.of.store.floors(Some(tenant)).await?.get(tenant).and_then(|floors| floors.deliveries)
                }
            };
            let purge = Purge { tenant: tenant.into(), what, period, floor, now: self.now };
            let Purged { rows, more } = self.of.store.purge(purge).await?;
            let (kind, count) = match what {
                Purgeable::Bodies => (semconv::RETENTION_BODIES, &mut self.gone.bodies),
                Purgeable::Deliveries => (semconv::RETENTION_DELIVERIES, &mut self.gone.deliveries),
            };
            add(count, rows);
            self.count(kind, rows);
            self.rest(began, rows).await;
            if !more || self.stopping.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// What consumers that are gone have left.
    async fn letters(&mut self) -> Result<(), StoreError> {
        loop {
            let began = Instant::now();
            let Purged { rows, more } = self.of.store.purge_letters().await?;
            self.rest(began, rows).await;
            if !more || self.stopping.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Along the log from where the run before came to.
    async fn walk(&mut self, period: Duration, start: &mut Position) -> Result<(), StoreError> {
        let (mut after, mut held) = (*start, None);
        loop {
            let began = Instant::now();
            let keepers = Arc::new(self.keepers().await?);
            let purge = LogPurge { after, period, keepers, now: self.now };
            let purged = self.of.store.purge_log(purge).await?;
            after = purged.through;
            // The next run begins before the first that waits for its reader.
            held = held.or(purged.held);
            *start = held.map_or(after, |held| Position(held.0 - 1));
            add(&mut self.gone.transitions, purged.rows);
            self.count(semconv::RETENTION_TRANSITIONS, purged.rows);
            self.rest(began, purged.rows).await;
            if !purged.more || self.stopping.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// What fails ends one purge, and not the others: a tenant's rows may be in their own way.
    fn go_on(&mut self, done: Result<(), StoreError>) {
        match done {
            Err(StoreError::Damaged { what, why }) => {
                error!(what, why, "a purge leaves damaged rows, and those behind them, until the next");
                self.of.metrics.damaged(1);
                self.has_left = true;
            }
            Err(failure) => {
                self.failed.get_or_insert(failure);
            }
            Ok(()) => {}
        }
    }

    fn count(&self, kind: &'static str, rows: usize) {
        if rows > 0 {
            self.of.metrics.purged(kind, rows);
        }
    }

    /// After a chunk, so that others have most of the time.
    async fn rest(&self, began: Instant, rows: usize) {
        let least = if rows > 0 { PURGE_PAUSE_MIN } else { Duration::ZERO };
        let rest = began.elapsed() * PURGE_REST;
        pause(rest.clamp(least, PURGE_PAUSE_MAX), self.stopping).await;
    }
}

fn add(count: &mut u64, rows: usize) {
    *count += u64::try_from(rows).unwrap_or(u64::MAX);
}

async fn pause(duration: Duration, stopping: &CancellationToken) {
    tokio::select! {
        () = stopping.cancelled() => {}
        () = sleep(duration) => {}
    }
}

impl Counts {
    fn is_empty(&self) -> bool {
        self.bodies + self.deliveries + self.transitions == 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bodies, deliveries, transitions } = self;
        write!(out, "{bodies} bodies, {deliveries} deliveries, {transitions} transitions")
    }
}

#[cfg(test)]
mod tests;
