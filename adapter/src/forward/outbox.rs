//! The events that wait for the service's answer, and which of them the stream has yet to send.
//!
//! One lock, never held across an await. An event leaves when it is answered or when its [`Ticket`] is dropped,
//! whichever comes first, so nothing waits here for nobody. A stream that a newer one has replaced sends nothing any
//! more.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use calbridge_proto::v1::{SubmitError, SubmitEventsResponse, SubmitOutcome};
use futures_util::Stream;
use tokio::sync::oneshot;

use super::{Accepted, RETRY_AFTER_BUSY, Refused, codec::Frame};

/// How often one event is sent before it is refused: an event that breaks every stream it is on would otherwise hold up
/// all the others until its deadline.
const SENDS_MOST: u32 = 3;

/// The longest wait that the service may ask a sender for; beyond it the number is a mistake.
const RETRY_AFTER_MOST: Duration = Duration::from_mins(1);

/// The events between their submission and their answer.
pub(crate) struct Outbox {
    state: Mutex<State>,
    capacity: usize,
}

struct State {
    next_sequence: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// With numbers of events that were given up in between.
    unsent: VecDeque<u64>,
    /// The number of the stream that may send; counts up with each that opens.
    stream: u64,
    /// Wakes that stream when there is something to send.
    waker: Option<Waker>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Events are taken in, whether or not a stream is open: a short outage costs them time alone.
    Open,
    /// The service has been gone for longer than an event may wait.
    Away,
    /// Nothing is taken in; the stream ends when all is sent.
    Ending,
}

struct Waiting {
    event: Bytes,
    sends: u32,
    answer: oneshot::Sender<Result<Accepted, Refused>>,
}

/// One event's place in the outbox; dropping it gives the event up.
pub(crate) struct Ticket {
    outbox: Arc<Outbox>,
    sequence: u64,
    answer: oneshot::Receiver<Result<Accepted, Refused>>,
}

/// What one stream sends.
pub(crate) struct Outgoing {
    outbox: Arc<Outbox>,
    stream: u64,
}

impl Outbox {
    /// An empty one for at most `capacity` events.
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State {
            next_sequence: 1,
            waiting: BTreeMap::new(),
            unsent: VecDeque::new(),
            stream: 0,
            waker: None,
            phase: Phase::Open,
        };
        Self { state: Mutex::new(state), capacity }
    }

    /// Takes one encoded event in.
    pub(crate) fn submit(self: &Arc<Self>, event: Bytes) -> Result<Ticket, Refused> {
        let mut state = self.lock();
        match state.phase {
            Phase::Open if state.waiting.len() >= self.capacity => return Err(Refused::busy("overloaded")),
            Phase::Open => {}
            Phase::Away => return Err(Refused::away("service_away")),
            Phase::Ending => return Err(Refused::away("shutting_down")),
        }
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        let (sender, answer) = oneshot::channel();
        state.waiting.insert(sequence, Waiting { event, sends: 0, answer: sender });
        state.unsent.push_back(sequence);
        state.forget_given_up(self.capacity);
        state.wake();
        Ok(Ticket { outbox: Arc::clone(self), sequence, answer })
    }

    /// What a new stream sends: everything unanswered, in the order it came, then whatever comes.
    pub(crate) fn open(self: &Arc<Self>) -> Outgoing {
        let mut state = self.lock();
        state.stream += 1;
        // The stream before, if it is still being polled, finds that it is not the one any more.
        state.wake();
        let worn: Vec<u64> =
            state.waiting.iter().filter(|(_, waiting)| waiting.sends >= SENDS_MOST).map(|(at, _)| *at).collect();
        for sequence in worn {
            state.settle(sequence, Err(Refused::away("unanswered")));
        }
        state.unsent = state.waiting.keys().copied().collect();
        Outgoing { outbox: Arc::clone(self), stream: state.stream }
    }

    /// Hands an answer to whoever waits for it; a late one is for nobody.
    pub(crate) fn answer(&self, answer: SubmitEventsResponse) {
        let verdict = judge(answer.outcome, answer.delivery_id, answer.error);
        self.lock().settle(answer.sequence, verdict);
    }

    /// Says whether the service has been gone for too long to wait for it.
    pub(crate) fn set_away(&self, away: bool) {
        let mut state = self.lock();
        if state.phase != Phase::Ending {
            state.phase = if away { Phase::Away } else { Phase::Open };
        }
    }

    /// From now on nothing is taken in, and the stream ends when all is sent.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.phase = Phase::Ending;
        state.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn settle(&mut self, sequence: u64, verdict: Result<Accepted, Refused>) {
        if let Some(waiting) = self.waiting.remove(&sequence) {
            // Whoever waited may have just given up.
            let _ = waiting.answer.send(verdict);
        }
    }

    /// A stream that is open and not read leaves the numbers of given-up events here: they may double the list, and no
    /// more. Between two passes as many events come as there are places, so each pays for a look at two numbers.
    fn forget_given_up(&mut self, capacity: usize) {
        if self.unsent.len() > capacity.saturating_mul(2) {
            let Self { unsent, waiting, .. } = self;
            unsent.retain(|sequence| waiting.contains_key(sequence));
        }
    }

    fn next_frame(&mut self) -> Option<Frame> {
        while let Some(sequence) = self.unsent.pop_front() {
            // Absent when it was given up before it was sent.
            if let Some(waiting) = self.waiting.get_mut(&sequence) {
                waiting.sends += 1;
                return Some(Frame { sequence, event: waiting.event.clone() });
            }
        }
        None
    }
}

impl Ticket {
    /// Waits for the answer, as long as the caller does.
    pub(crate) async fn answer(mut self) -> Result<Accepted, Refused> {
        (&mut self.answer).await.unwrap_or(Err(Refused::away("shutting_down")))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.outbox.lock().waiting.remove(&self.sequence);
    }
}

impl Stream for Outgoing {
    type Item = Frame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let mut state = self.outbox.lock();
        if state.stream != self.stream {
            return Poll::Ready(None);
        }
        if let Some(frame) = state.next_frame() {
            return Poll::Ready(Some(frame));
        }
        if state.phase == Phase::Ending {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// What an answer means. Committed is only what says so: neither an error nor an empty answer does.
fn judge(outcome: i32, delivery_id: String, error: Option<SubmitError>) -> Result<Accepted, Refused> {
    if let Some(error) = error {
        return Err(Refused { retry_after: retry_after(&error), reason: reason(&error.reason) });
    }
    match SubmitOutcome::try_from(outcome) {
        Ok(SubmitOutcome::Unspecified) => Err(Refused::away("no_outcome")),
        Ok(outcome) => Ok(Accepted { outcome, delivery_id }),
        // A newer service has a word that we don't know; without an error it is committed all the same.
        Err(_) => Ok(Accepted { outcome: SubmitOutcome::Recorded, delivery_id }),
    }
}

/// The service's word, as long as it is one of those we know: `error.type` has few values.
fn reason(reason: &str) -> &'static str {
    match reason {
        "OVERLOADED" => "overloaded",
        "STORE_UNAVAILABLE" => "store_unavailable",
        "SHUTTING_DOWN" => "shutting_down",
        "INVALID_FIELD" => "invalid_field",
        _ => "_OTHER",
    }
}

fn retry_after(error: &SubmitError) -> Duration {
    let asked = error.retry_delay.and_then(|delay| Duration::try_from(delay).ok());
    asked.unwrap_or(RETRY_AFTER_BUSY).min(RETRY_AFTER_MOST)
}

#[cfg(test)]
mod tests;
