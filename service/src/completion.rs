//! The clock: once a second it completes the bookings that are past their end, for as long as the service runs, and on
//! its start those that passed it meanwhile. Nothing that an event brings waits for it.

use std::{collections::HashSet, sync::Arc};

use calbridge_telemetry::semconv::{self, otel};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, field::Empty, info, info_span, warn};

use crate::{
    clock::Clock,
    ingest::{kept_id, record_transitions},
    metrics::Metrics,
    settings::{CLOCK_ASIDE_MAX, CLOCK_INTERVAL},
    store::{BookingKey, CLOCK_BOOKINGS_MAX, ClockPolicies, ClockRound, Micros, Store, StoreError},
};

/// What the task needs.
pub(crate) struct Completion<S> {
    pub(crate) store: Arc<S>,
    pub(crate) clock: Clock,
    pub(crate) policies: Arc<ClockPolicies>,
    pub(crate) metrics: Arc<Metrics>,
    /// Bookings whose rows can't be read, at most [`CLOCK_ASIDE_MAX`]: nothing more is to be said of them.
    pub(crate) aside: Arc<HashSet<BookingKey>>,
}

impl<S: Store> Completion<S> {
    /// Runs until `stopping` fires. A round under way is finished.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
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
            if !matches!(done, Ok(true)) {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = sleep(CLOCK_INTERVAL) => {}
                }
            }
        }
    }

    /// Whether more may wait.
    async fn round(&mut self) -> Result<bool, StoreError> {
        let now = (self.clock)();
        let due = self.store.clock_due(now, Arc::clone(&self.policies), Arc::clone(&self.aside)).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let more = due.len() == CLOCK_BOOKINGS_MAX;
        match self.complete(due.clone(), now).await {
            // One of them can't be read: the others must not wait for it.
            Err(StoreError::Damaged { .. }) => Ok(self.one_by_one(due, now).await? && more),
            done => done.map(|()| more),
        }
    }

    /// Whether none of them comes again at once.
    async fn one_by_one(&mut self, keys: Vec<BookingKey>, now: Micros) -> Result<bool, StoreError> {
        let mut is_settled = true;
        for key in keys {
            match self.complete(vec![key.clone()], now).await {
                Err(StoreError::Damaged { .. }) if self.aside.len() == CLOCK_ASIDE_MAX => is_settled = false,
                Err(StoreError::Damaged { what, why }) => {
                    error!(
                        what,
                        why,
                        { semconv::TENANT_ID } = &*key.0,
                        { semconv::BOOKING_UID } = key.1,
                        "the clock leaves a damaged booking aside until the service starts again"
                    );
                    self.metrics.damaged(1);
                    Arc::make_mut(&mut self.aside).insert(key);
                }
                done => done?,
            }
        }
        Ok(is_settled)
    }

    async fn complete(&self, keys: Vec<BookingKey>, now: Micros) -> Result<(), StoreError> {
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
        if let Err(failure) = &heard {
            span.record(otel::STATUS_CODE, "ERROR");
            span.record(semconv::ERROR_TYPE, failure.kind());
        }
        let changed = heard?;
        record_transitions(&span, &changed);
        self.metrics.completed(changed.len());
        Ok(())
    }
}
