//! Purging: at its start and once an hour the service takes away what is past its retention, tenant by tenant, in
//! chunks with pauses between them, so that no webhook waits for more than one.
//!
//! Nothing is kept of a run but what the store's watermarks say: one that was cut short is gone on with by the next.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use calbridge_telemetry::semconv;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    clock::Clock,
    metrics::Metrics,
    settings::{PURGE_INTERVAL, PURGE_PAUSE_MAX, PURGE_PAUSE_MIN, PURGE_REST, PURGE_RETRY},
    store::{Purge, Purgeable, Purged, RetentionPolicies, Store, StoreError},
};

/// What the task needs.
pub(crate) struct Purging<S> {
    pub(crate) store: Arc<S>,
    pub(crate) clock: Clock,
    pub(crate) policies: Arc<RetentionPolicies>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What a run took away.
#[derive(Default)]
struct Counts([u64; Purgeable::ALL.len()]);

impl<S: Store> Purging<S> {
    /// Runs until `stopping` fires. A chunk under way is finished.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let mut failing = false;
        while !stopping.is_cancelled() {
            let mut counts = Counts::default();
            let done = self.purge_all(&mut counts, &stopping).await;
            if !counts.is_empty() {
                info!("what was past its retention is purged: {counts}");
            }
            // An outage is said once, and its end once.
            match &done {
                Err(failure) if !failing => warn!(error = %failure, "what is past its retention can't be purged yet"),
                Ok(()) if failing => info!("what is past its retention can be purged again"),
                _ => {}
            }
            failing = done.is_err();
            pause(if failing { PURGE_RETRY } else { PURGE_INTERVAL }, &stopping).await;
        }
    }

    async fn purge_all(&self, counts: &mut Counts, stopping: &CancellationToken) -> Result<(), StoreError> {
        let mut behind = String::new();
        while let Some(tenant) = self.store.next_tenant(&behind).await? {
            // Bodies before their deliveries: a chunk of those is bounded by what else goes with them.
            for what in Purgeable::ALL {
                match self.purge(&tenant, what, counts, stopping).await {
                    Err(StoreError::Damaged { what, why }) => {
                        error!(what, why, "a purge leaves a tenant's damaged rows until the next");
                    }
                    done => done?,
                }
                if stopping.is_cancelled() {
                    return Ok(());
                }
            }
            behind = tenant;
        }
        Ok(())
    }

    /// All of one kind, chunk by chunk.
    async fn purge(
        &self,
        tenant: &str,
        what: Purgeable,
        counts: &mut Counts,
        stopping: &CancellationToken,
    ) -> Result<(), StoreError> {
        let Some(period) = what.period(self.policies.of(tenant)) else { return Ok(()) };
        loop {
            let floor = match what {
                Purgeable::Transitions => self.store.transitions_floor(tenant).await?,
                Purgeable::Bodies | Purgeable::Deliveries => None,
            };
            let began = Instant::now();
            let purge = Purge { tenant: tenant.into(), what, period, now: (self.clock)(), floor };
            let Purged { rows, more } = self.store.purge(purge).await?;
            if rows > 0 {
                counts.add(what, rows);
                self.metrics.purged(name(what), rows);
                let rest = began.elapsed() * PURGE_REST;
                pause(rest.clamp(PURGE_PAUSE_MIN, PURGE_PAUSE_MAX), stopping).await;
            }
            if !more || stopping.is_cancelled() {
                return Ok(());
            }
        }
    }
}

async fn pause(duration: Duration, stopping: &CancellationToken) {
    tokio::select! {
        () = stopping.cancelled() => {}
        () = sleep(duration) => {}
    }
}

/// As logs and metrics write it.
fn name(what: Purgeable) -> &'static str {
    match what {
        Purgeable::Bodies => semconv::RETENTION_BODIES,
        Purgeable::Deliveries => semconv::RETENTION_DELIVERIES,
        Purgeable::Transitions => semconv::RETENTION_TRANSITIONS,
    }
}

impl Counts {
    fn add(&mut self, what: Purgeable, rows: usize) {
        let places = Purgeable::ALL.iter().zip(&mut self.0);
        for (_, count) in places.filter(|(kind, _)| **kind == what) {
            *count += u64::try_from(rows).unwrap_or(u64::MAX);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bodies, deliveries, transitions] = self.0;
        write!(out, "{bodies} bodies, {deliveries} deliveries, {transitions} transitions")
    }
}
