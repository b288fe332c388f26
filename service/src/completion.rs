//! The clock: once a second it completes the bookings that are past their end, for as long as the service runs, and on
//! its start those that passed it meanwhile. Nothing that an event brings waits for it.

use std::sync::Arc;

use calbridge_telemetry::semconv::{self, otel};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, field::Empty, info, info_span, warn};

use crate::{
    clock::Clock,
    ingest::{kept_id, record_transitions},
    metrics::Metrics,
    settings::CLOCK_INTERVAL,
    store::{CLOCK_BOOKINGS_MAX, ClockPolicies, ClockRound, Store, StoreError},
};

/// What the task needs.
pub(crate) struct Completion<S> {
    pub(crate) store: Arc<S>,
    pub(crate) clock: Clock,
    pub(crate) policies: Arc<ClockPolicies>,
    pub(crate) metrics: Arc<Metrics>,
}

impl<S: Store> Completion<S> {
    /// Runs until `stopping` fires. A round under way is finished.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let mut failing = false;
        while !stopping.is_cancelled() {
            let done = self.round().await;
            // An outage is said once, and its end once.
            match &done {
                Err(failure) if !failing => warn!(error = %failure, "the clock can't complete bookings: trying on"),
                Ok(_) if failing => info!("the clock completes bookings again"),
                _ => {}
            }
            failing = done.is_err();
            // As many as a round may hold: more may wait.
            if !matches!(done, Ok(CLOCK_BOOKINGS_MAX)) {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = sleep(CLOCK_INTERVAL) => {}
                }
            }
        }
    }

    /// How many bookings were looked at.
    async fn round(&self) -> Result<usize, StoreError> {
        let now = (self.clock)();
        let keys = self.store.clock_due(now, Arc::clone(&self.policies)).await?;
        let due = keys.len();
        if due == 0 {
            return Ok(0);
        }
        let span = info_span!(
            parent: None,
            semconv::span::COMPLETE_BOOKINGS,
            { otel::KIND } = "internal",
            { otel::STATUS_CODE } = Empty,
            { semconv::SOURCE } = semconv::SOURCE_CLOCK,
            { semconv::ERROR_TYPE } = Empty,
        );
        let round = ClockRound { keys, now, clock: Arc::clone(&self.policies), trace_id: kept_id(&span) };
        let heard = self.store.hear_clock(round).instrument(span.clone()).await;
        if heard.is_err() {
            span.record(otel::STATUS_CODE, "ERROR");
            span.record(semconv::ERROR_TYPE, "STORE_UNAVAILABLE");
        }
        let changed = heard?;
        record_transitions(&span, &changed);
        self.metrics.completed(changed.len());
        Ok(due)
    }
}
