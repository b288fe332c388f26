//! The way of an event into the store: checked, queued, committed together with its neighbours, answered.
//!
//! An answer without an error means: on stable storage. Three tasks share the work. While one round is on its way to
//! the disk the next one is written, and one more is gathered and its duplicates are looked up. Only a small round that
//! comes right behind another waits a moment, so an idle service answers at once.

mod commit;
mod event;
mod gather;
mod recent;
mod trace;

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Instant,
};

use calbridge_proto::v1;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use crate::{
    clock::Clock,
    dedupe::Hint,
    metrics::{Metrics, Waiting},
    settings::{INLINE_BYTES, QUEUE_BYTES, QUEUE_EVENTS},
    store::{ClockPolicies, Micros, NewDelivery, Position, Store, time::micros},
};

use self::recent::Recent;
pub(crate) use self::{
    event::{InvalidField, booking_uid, check_tenant, prepare as prepare_event},
    trace::{kept_id, transitions as record_transitions},
};

/// What became of an event.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// `APPLIED`, `NO_CHANGE`, `DUPLICATE`, `RECORDED` or `UNPARSED`.
    pub(crate) outcome: v1::SubmitOutcome,
    /// Of a duplicate, the first's.
    pub(crate) delivery_id: Uuid,
    /// Where the log stood after it.
    pub(crate) position: Position,
    /// The booking that it is about, if it names one.
    pub(crate) booking_uid: Option<String>,
}

/// Why an event was not committed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum Refused {
    /// Another try will fail the same way.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// Too much is waiting already.
    #[error("the queue is full")]
    Overloaded,
    /// The store did not take it.
    #[error("the store is unavailable")]
    Store,
    /// The service is about to end.
    #[error("the service is shutting down")]
    ShuttingDown,
}

/// Takes events in. Clones share one queue.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    queue: mpsc::Sender<Submission>,
    /// One permit a byte of the bodies that are not answered yet.
    bytes: Arc<Semaphore>,
    recent: Arc<Recent>,
    stopping: CancellationToken,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// The three tasks behind an [`Ingest`]. None outlives the others.
#[derive(Debug)]
pub(crate) struct Rounds(JoinSet<()>);

/// An event that waits for its round.
#[derive(Debug)]
struct Submission {
    delivery: NewDelivery,
    receipt: Receipt,
}

/// The way back to whoever submitted.
#[derive(Debug)]
struct Receipt {
    answer: oneshot::Sender<Result<Answer, Refused>>,
    /// `process bookings`.
    span: Span,
    begun: Instant,
    receive_time: Micros,
    /// When it happened, as Cal.com says.
    event_time: Option<Micros>,
    trigger: i32,
    _waiting: Waiting,
    _bytes: OwnedSemaphorePermit,
}

/// What the tasks need.
#[derive(Debug)]
struct Shared<S> {
    store: Arc<S>,
    hint: Hint,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// When the clock completes what a round speaks of.
    policies: Arc<ClockPolicies>,
    /// So many of the next rounds hold one event.
    careful: AtomicUsize,
}

impl Ingest {
    /// Starts the tasks; inside a runtime. Once `stopping` fires nothing more is taken, what was taken is finished,
    /// and the tasks end.
    pub(crate) fn start<S: Store>(
        store: Arc<S>,
        hint: Hint,
        metrics: Arc<Metrics>,
        clock: Clock,
        policies: Arc<ClockPolicies>,
        stopping: CancellationToken,
    ) -> (Self, Rounds) {
        let (queue, submissions) = mpsc::channel(QUEUE_EVENTS);
        // A round is on its way only when the one before it is committed.
        let (to_commit, rounds) = mpsc::channel(1);
        // And written only when the one before it is stored: one is on its way to the disk.
        let (to_conclude, written) = mpsc::channel(1);
        let bytes = Arc::new(Semaphore::new(QUEUE_BYTES));
        let recent = Arc::new(Recent::new());
        let ingest = Self { queue, bytes, recent, stopping: stopping.clone(), metrics: Arc::clone(&metrics), clock };
        let shared = Arc::new(Shared { store, hint, metrics, clock, policies, careful: AtomicUsize::new(0) });
        let mut tasks = JoinSet::new();
        tasks.spawn(gather::run(Arc::clone(&shared), submissions, to_commit, stopping));
        tasks.spawn(commit::run(Arc::clone(&shared), rounds, to_conclude));
        tasks.spawn(commit::conclude(shared, written));
        (ingest, Rounds(tasks))
    }

    /// Submits one event and waits for its commit. `caller` is the span of the call that brought it, where it came by
    /// a call of its own.
    ///
    /// # Errors
    ///
    /// Nothing was committed.
    pub(crate) async fn submit(&self, event: Box<v1::BookingEvent>, caller: &Span) -> Result<Answer, Refused> {
        let begun = Instant::now();
        let span = trace::process_span(&event, caller);
        match self.enqueue(event, begun, &span).await {
            Ok(answered) => {
                // The receipt has the span; it ends before the answer comes.
                drop(span);
                // Without an answer the tasks are gone; what they did not say is safe to be sent again.
                answered.await.unwrap_or(Err(Refused::Store))
            }
            Err(refused) => {
                trace::conclude(&span, &Err(refused));
                self.metrics.answered(begun.elapsed(), Some(trace::error_name(&refused)));
                Err(refused)
            }
        }
    }

    async fn enqueue(
        &self,
        event: Box<v1::BookingEvent>,
        begun: Instant,
        span: &Span,
    ) -> Result<oneshot::Receiver<Result<Answer, Refused>>, Refused> {
        if self.stopping.is_cancelled() {
            return Err(Refused::ShuttingDown);
        }
        let now = (self.clock)();
        let bytes = self.reserve(event.raw_body.len())?;
        let delivery = self.prepare(event, now, trace::kept_id(span)).await?;
        trace::describe(span, &delivery);
        let (answer, answered) = oneshot::channel();
        let receipt = Receipt {
            answer,
            span: span.clone(),
            begun,
            receive_time: delivery.event.receive_time.as_ref().map_or(now, micros),
            event_time: delivery.event.event_time.as_ref().map(micros),
            trigger: delivery.event.trigger,
            _waiting: self.metrics.waits(),
            _bytes: bytes,
        };
        self.queue.try_send(Submission { delivery, receipt }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Refused::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Refused::ShuttingDown,
        })?;
        Ok(answered)
    }

    /// Checks the event and reads it: beside the reactor where that takes long, and later where it is most likely for
    /// nothing.
    async fn prepare(
        &self,
        event: Box<v1::BookingEvent>,
        now: Micros,
        trace_id: String,
    ) -> Result<NewDelivery, Refused> {
        if event.raw_body.len() <= INLINE_BYTES {
            let mut delivery = event::identify(event, now, trace_id)?;
            if !(self.recent.came(&delivery.body_sha256) && event::may_wait_unread(&delivery)) {
                event::read(&mut delivery);
            }
            return Ok(delivery);
        }
        match tokio::task::spawn_blocking(move || event::prepare(event, now, trace_id)).await {
            Ok(prepared) => Ok(prepared?),
            // The runtime is ending.
            Err(_) => Err(Refused::ShuttingDown),
        }
    }

    fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refused> {
        // A body beyond the semaphore's arithmetic is beyond the bound of a body, too.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.bytes).try_acquire_many_owned(bytes).map_err(|_| Refused::Overloaded)
    }
}

impl Rounds {
    /// Waits until all tasks have ended: after `stopping`, or because one of them failed.
    pub(crate) async fn ended(&mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

impl Receipt {
    /// Answers and ends the span. The caller may be gone: then the answer is for nobody, and what was done stays done.
    fn answer(self, result: Result<Answer, Refused>, metrics: &Metrics) {
        let Self { answer, span, begun, .. } = self;
        trace::conclude(&span, &result);
        metrics.answered(begun.elapsed(), result.as_ref().err().map(trace::error_name));
        drop(span);
        let _ = answer.send(result);
    }
}
