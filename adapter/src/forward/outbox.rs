//! The events that wait for the service's answer, which replica has each of them, and which of them its stream has yet
//! to send.
//!
//! One lock, never held across an await. An event leaves when it is answered or when its [`Ticket`] is dropped,
//! whichever comes first, so nothing waits here for nobody. A stream that a newer one has replaced sends nothing any
//! more.

mod replica;
mod state;
mod verdict;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use calbridge_process::crash::{self, Point};
use calbridge_proto::v1::SubmitEventsResponse;
use calbridge_telemetry::Check;
use futures_util::Stream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::state::{Next, Settled, State};
use super::{Accepted, Refused, codec::Frame};
use crate::peer::Peer;

pub(crate) use self::state::Ticked;

/// Replicas at once: each costs a connection and a look at every event. A bit for each fits into 64.
pub(crate) const REPLICAS_MOST: usize = 64;

/// Between two calls of [`Outbox::tick`]: a fraction of what it measures, and nothing beside an idle process's work.
pub(crate) const TICK: Duration = Duration::from_millis(TICK_MILLISECONDS);
const TICK_MILLISECONDS: u64 = 100;

/// The events between their submission and their answer.
pub(crate) struct Outbox {
    state: Mutex<State>,
}

/// One stream to one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamId {
    slot: usize,
    stream: u64,
}

/// A replica's place in the outbox; dropping it gives its events to the others.
pub(crate) struct Place {
    outbox: Arc<Outbox>,
    slot: usize,
}

/// A stream that is about to be opened.
pub(crate) struct Attached {
    pub(crate) id: StreamId,
    /// What it sends.
    pub(crate) outgoing: Outgoing,
    /// Cancelled when it is to be given up and opened anew.
    pub(crate) over: CancellationToken,
}

/// One event's place in the outbox; dropping it gives the event up.
pub(crate) struct Ticket {
    outbox: Arc<Outbox>,
    sequence: u64,
    answer: oneshot::Receiver<Settled>,
    /// It is answered: the outbox knows nothing of it any more.
    settled: bool,
    peer: Option<Arc<Peer>>,
}

/// What one stream sends.
pub(crate) struct Outgoing {
    outbox: Arc<Outbox>,
    id: StreamId,
}

impl Outbox {
    /// An empty one for at most `capacity` events. It refuses new ones when no stream has been open for `patience`. The
    /// check is ready while a replica is that has an open stream.
    pub(crate) fn new(capacity: usize, patience: Duration, check: Check) -> Self {
        let patience = patience.as_millis().div_ceil(TICK.as_millis());
        let patience = u64::try_from(patience).unwrap_or(u64::MAX);
        Self { state: Mutex::new(State::new(capacity, patience, check)) }
    }

    /// Takes one encoded event in.
    pub(crate) fn submit(self: &Arc<Self>, event: Bytes) -> Result<Ticket, Refused> {
        let (sequence, answer) = self.lock().submit(event)?;
        Ok(Ticket { outbox: Arc::clone(self), sequence, answer, settled: false, peer: None })
    }

    /// A place for one more replica; none beyond [`REPLICAS_MOST`].
    pub(crate) fn add(self: &Arc<Self>, peer: Arc<Peer>) -> Option<Place> {
        let slot = self.lock().add(peer)?;
        Some(Place { outbox: Arc::clone(self), slot })
    }

    /// The stream is open from now on.
    pub(crate) fn opened(&self, id: StreamId) {
        self.lock().opened(id);
    }

    /// Hands an answer to whoever waits for it, or the event to another replica. Whether the replica had been given up
    /// as silent before.
    pub(crate) fn answer(&self, id: StreamId, answer: SubmitEventsResponse) -> bool {
        self.lock().answer(id, answer)
    }

    /// What the health of the replica with this stream says.
    pub(crate) fn report(&self, id: StreamId, serves: bool) {
        self.lock().report(id, serves);
    }

    /// To be called every [`TICK`]: finds replicas that don't answer.
    pub(crate) fn tick(&self) -> Ticked {
        self.lock().tick()
    }

    /// The check is not ready from now on; events come and go as before.
    pub(crate) fn stay_unready(&self) {
        self.lock().stay_unready();
    }

    /// From now on nothing is taken in, and the streams end when all is sent.
    pub(crate) fn end(&self) {
        self.lock().end();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// For a new stream to this replica. It replaces the one before, and sends nothing until it is said to be open.
    pub(crate) fn attach(&self) -> Attached {
        let mut state = self.outbox.lock();
        let id = state.attach(self.slot);
        let over = state.current(id).map(|replica| replica.over.clone()).unwrap_or_default();
        Attached { id, outgoing: Outgoing { outbox: Arc::clone(&self.outbox), id }, over }
    }

    /// Nothing more goes to this replica; its stream ends when all is sent that it has.
    pub(crate) fn drain(&self) {
        self.outbox.lock().drain(self.slot);
    }

    /// The stream is over: what is unanswered on it goes to the others.
    pub(crate) fn close(&self) {
        self.outbox.lock().close(self.slot);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.outbox.lock().remove(self.slot);
    }
}

impl Ticket {
    /// Waits for the answer, as long as the caller does.
    pub(crate) async fn answer(&mut self) -> Result<Accepted, Refused> {
        let Ok((verdict, peer)) = (&mut self.answer).await else { return Err(Refused::away("shutting_down")) };
        (self.settled, self.peer) = (true, peer);
        verdict
    }

    /// Whether it is answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Waits no longer; the replica that answered or had the event, if any.
    pub(crate) fn end(&mut self) -> Option<Arc<Peer>> {
        if !self.settled {
            self.settled = true;
            self.peer = self.outbox.lock().give_up(self.sequence);
        }
        self.peer.take()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            self.outbox.lock().give_up(self.sequence);
        }
    }
}

impl Stream for Outgoing {
    type Item = Frame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let mut state = self.outbox.lock();
        match state.next_frame(self.id) {
            Next::Frame(frame) => {
                crash::at(Point::ForwardSend);
                Poll::Ready(Some(frame))
            }
            Next::Over => Poll::Ready(None),
            Next::Nothing => {
                state.wait(self.id, context.waker());
                Poll::Pending
            }
        }
    }
}

/// So many milliseconds in ticks.
const fn ticks(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(TICK_MILLISECONDS)
}

#[cfg(test)]
mod tests;
