//! A turn of a durable consumer, taken for a client that may go away meanwhile, or that has waited long enough: it is
//! taken to its end all the same, and what it hands out to nobody goes to others at once.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::oneshot, time::Instant};
use tracing::{Instrument, Span};

use super::{bells::Bells, errors::ApiError, places::Place, trace::read_under};
use crate::{
    clock::Clock,
    store::{
        ConsumerCommand, ConsumerKey, ConsumerOutcome, DeliveryOf, Said, Store, StoreError, TurnAnswer, TurnRequest,
    },
};

/// Where the turns of one consumer are taken for one of its clients.
pub(super) struct Turns<S> {
    pub(super) store: Arc<S>,
    pub(super) bells: Arc<Bells>,
    pub(super) key: ConsumerKey,
    pub(super) clock: Clock,
    /// The client's, until nothing of it is under way: so there are no more of these than there are places.
    pub(super) _place: Arc<Place>,
}

/// An answer on its way. Dropped before it is taken, it lets go of what it hands out.
struct Answer<S: Store> {
    turns: Arc<Turns<S>>,
    taken: Option<TurnAnswer>,
}

impl<S: Store> Turns<S> {
    /// Takes one under a span; none where there is no such consumer any more.
    pub(super) async fn take(
        self: &Arc<Self>,
        span: &Span,
        request: TurnRequest,
    ) -> Result<Option<TurnAnswer>, ApiError> {
        let (answer, answered) = oneshot::channel();
        let turns = Arc::clone(self);
        let turn = async move {
            let command = ConsumerCommand::Turn(request);
            let done = turns.store.command_consumer(turns.key.clone(), command).await;
            let done = done.map(|outcome| match outcome {
                ConsumerOutcome::Turned(taken) => Some(Answer { turns, taken: Some(taken) }),
                _ => None,
            });
            // Where nobody waits any more it is dropped.
            let _ = answer.send(done);
        };
        tokio::spawn(turn.instrument(span.clone()));
        let ending = |_| Err(StoreError::unavailable("the service is ending"));
        let done = read_under(span, async { answered.await.unwrap_or_else(ending) }).await?;
        Ok(done.and_then(|mut answer| answer.taken.take()))
    }

    /// Tells the store, aside, what a client that is gone has said, and that nothing is out to it any more. Where the
    /// runtime is gone its leases end by themselves.
    pub(super) fn leave(self: &Arc<Self>, span: Span, said: Vec<(DeliveryOf, Said)>) {
        let (false, Ok(runtime)) = (said.is_empty(), Handle::try_current()) else { return };
        let turns = Arc::clone(self);
        let now = (turns.clock)();
        let request = TurnRequest { said, room: 0, now, asked: Some(Instant::now()), keeps_scan: false };
        runtime.spawn(async move {
            let command = ConsumerCommand::Turn(request);
            let done = read_under(&span, turns.store.command_consumer(turns.key.clone(), command)).await;
            if done.is_ok() {
                turns.bells.ring(&turns.key);
            }
        });
    }
}

impl<S: Store> Drop for Answer<S> {
    fn drop(&mut self) {
        let out = self.taken.take().map(|taken| taken.out).unwrap_or_default();
        let said = out.iter().map(|out| (out.delivery, Said::Return)).collect();
        self.turns.leave(Span::none(), said);
    }
}
