//! The first half of a round: take what waits, ask the hint for all of it at once, have the store confirm its hits.
//!
//! Of a confirmed duplicate only the note for the timeline goes into the round, and its answer comes with that, where a
//! timeline tells it. A hit that the store does not confirm is an event like any other.

use std::sync::{Arc, atomic::Ordering};

use calbridge_process::crash::{self, Point};
use calbridge_proto::v1;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc},
    task::yield_now,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, warn};

use super::{Answer, Receipt, Shared, Submission, event, trace};
use crate::{
    settings::{
        CONFIRM_TIMEOUT, INLINE_BYTES, ROUND_BYTES, ROUND_EVENTS, ROUND_LOOK, ROUND_SHARE_LEAST, ROUND_SMALL,
        ROUND_SPACING,
    },
    store::{DUPLICATE_NOTES_MAX, DeliveryKey, DuplicateNote, FirstResult, Micros, Store, round::repeats},
};

/// A round on its way to the commit.
#[derive(Debug)]
pub(super) struct Round {
    /// `ingest round`.
    pub(super) span: Span,
    /// When it was closed.
    pub(super) now: Micros,
    /// What may be new.
    pub(super) fresh: Vec<Submission>,
    /// What is not.
    pub(super) notes: Vec<DuplicateNote>,
    /// Those of them whose senders hear of it once it is noted.
    pub(super) known: Vec<Known>,
    /// The turn to commit; given back when it is done.
    pub(super) turn: OwnedSemaphorePermit,
}

/// A confirmed duplicate that is not answered yet.
#[derive(Debug)]
pub(super) struct Known {
    receipt: Receipt,
    first: FirstResult,
}

/// A round that still grows.
struct Gathering {
    span: Span,
    fresh: Vec<Submission>,
    notes: Vec<DuplicateNote>,
    known: Vec<Known>,
    /// How many events it took, and how many it may.
    events: usize,
    most: usize,
    bytes: usize,
}

/// Gathers rounds until `stopping` fires and everything that was taken before is on its way.
///
/// A round grows up to its share, and its duplicates are looked up, while the one before it is being committed; a small
/// one that comes right behind others until [`ROUND_SPACING`] has passed, too.
pub(super) async fn run<S: Store>(
    shared: Arc<Shared<S>>,
    mut queue: mpsc::Receiver<Submission>,
    rounds: mpsc::Sender<Round>,
    stopping: CancellationToken,
) {
    let turns = Arc::new(Semaphore::new(1));
    let mut due = None;
    loop {
        let Some(first) = next(&mut queue, &stopping).await else { return };
        let mut round = Gathering::begin(&shared);
        round.grow(&shared, first, &mut queue).await;
        let turn = loop {
            tokio::select! {
                biased;
                turn = turn(&turns, due.filter(|_| round.is_small())) => break turn,
                // Once the service stops the queue is closed by whoever waits for the next first.
                Some(more) = queue.recv(), if round.has_room(&shared) => round.grow(&shared, more, &mut queue).await,
                // While a commit hangs more and more wait, and a share of them is more.
                () = sleep(ROUND_LOOK), if !round.has_room(&shared) => {}
            }
        };
        let Ok(turn) = turn else { return };
        due = round.is_one_of_many().then(|| Instant::now() + ROUND_SPACING);
        shared.metrics.round(round.events);
        if rounds.send(round.close((shared.clock)(), turn)).await.is_err() {
            return;
        }
    }
}

impl Gathering {
    fn begin<S>(shared: &Shared<S>) -> Self {
        let left = |left: usize| left.checked_sub(1);
        let careful = shared.careful.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok();
        let most = if careful { 1 } else { ROUND_EVENTS };
        let (fresh, notes, known) = (Vec::new(), Vec::new(), Vec::new());
        Self { span: trace::round_span(), fresh, notes, known, events: 0, most, bytes: 0 }
    }

    fn has_room<S: Store>(&self, shared: &Shared<S>) -> bool {
        self.has_room_beside(0, shared)
    }

    /// The same where it has taken so many besides that are not looked up yet.
    fn has_room_beside<S: Store>(&self, taken: usize, shared: &Shared<S>) -> bool {
        let unanswered = self.fresh.len() + self.known.len() + taken;
        self.events < self.most
            && self.bytes < ROUND_BYTES
            && unanswered < share(shared.metrics.waiting(), S::ROUNDS_AT_ONCE)
    }

    /// More would share what a round costs by itself.
    fn is_small(&self) -> bool {
        self.events < self.most.min(ROUND_SMALL) && self.bytes < ROUND_BYTES
    }

    /// Others came while it grew: there are more on their way.
    fn is_one_of_many(&self) -> bool {
        self.events > 2
    }

    /// Takes an event and what waits behind it, up to the bounds of a round, and looks up which of it is known.
    async fn grow<S: Store>(&mut self, shared: &Shared<S>, first: Submission, queue: &mut mpsc::Receiver<Submission>) {
        let before = self.events;
        let mut events = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            self.bytes += event.delivery.event.raw_body.len();
            self.events += 1;
            events.push(event);
            next = if self.has_room_beside(events.len(), shared) { queue.try_recv().ok() } else { None };
        }
        trace::join_round(&self.span, &events, before);
        let span = self.span.clone();
        recognise(shared, self, events).instrument(span).await;
    }

    fn close(self, now: Micros, turn: OwnedSemaphorePermit) -> Round {
        trace::close_round(&self.span, self.events);
        Round { span: self.span, now, fresh: self.fresh, notes: self.notes, known: self.known, turn }
    }
}

/// How many of so many unanswered events one of so many rounds takes: one that had all of them would leave nobody else
/// with work while it is written, and the writer with none while they are answered and the next ones come.
fn share(waiting: usize, rounds: usize) -> usize {
    (waiting / rounds).max(ROUND_SHARE_LEAST)
}

/// The turn to commit, not before the round is due.
async fn turn(turns: &Arc<Semaphore>, due: Option<Instant>) -> Result<OwnedSemaphorePermit, AcquireError> {
    if let Some(due) = due.filter(|due| Instant::now() < *due) {
        sleep_until(due).await;
    }
    Arc::clone(turns).acquire_owned().await
}

/// The next event; none once the service stops and the queue is empty.
async fn next(queue: &mut mpsc::Receiver<Submission>, stopping: &CancellationToken) -> Option<Submission> {
    tokio::select! {
        biased;
        // Closing refuses what would still come and leaves what is there.
        () = stopping.cancelled() => queue.close(),
        first = queue.recv() => return first,
    }
    queue.recv().await
}

/// Parts the confirmed duplicates among the events from the others. Whoever sent one of which the timeline tells is
/// answered with the round, so that a read behind the answer sees it; beyond those, as in a storm, at once.
async fn recognise<S: Store>(shared: &Shared<S>, round: &mut Gathering, events: Vec<Submission>) {
    // In a storm many of them are copies of one: it is asked for once.
    let repeats = repeats(events.iter().map(|event| &event.delivery.key));
    let distinct = events.iter().zip(&repeats).filter(|(_, repeats)| repeats.is_none());
    let keys: Vec<DeliveryKey> = distinct.map(|(event, _)| event.delivery.key.clone()).collect();
    let hits = shared.hint.ask(&keys).await;
    let firsts = spread(confirm(shared, keys, &hits).await, &repeats);
    let mut packed = 0;
    for (mut event, first) in events.into_iter().zip(firsts) {
        if let Some(first) = first {
            round.notes.push(DuplicateNote::of(&event.delivery, first.clone()));
            let is_told = first.copies < DUPLICATE_NOTES_MAX;
            let known = Known { receipt: event.receipt, first };
            if is_told {
                round.known.push(known);
            } else {
                known.answer(shared);
            }
        } else {
            event::read(&mut event.delivery);
            event::pack(&mut event.delivery);
            packed += event.delivery.event.raw_body.len();
            if packed > INLINE_BYTES {
                packed = 0;
                yield_now().await;
            }
            round.fresh.push(event);
        }
    }
}

/// What is known of each event, from what is known of each that repeats no other.
fn spread(of_distinct: Vec<Option<FirstResult>>, repeats: &[Option<usize>]) -> Vec<Option<FirstResult>> {
    let mut of_distinct = of_distinct.into_iter();
    let mut of_each: Vec<Option<FirstResult>> = Vec::with_capacity(repeats.len());
    for repeats in repeats {
        let first = match repeats {
            Some(earlier) => of_each.get(*earlier).cloned().flatten(),
            None => of_distinct.next().flatten(),
        };
        of_each.push(first);
    }
    of_each
}

/// The first results of those hits that the store confirms, in the order of the keys.
async fn confirm<S: Store>(shared: &Shared<S>, keys: Vec<DeliveryKey>, hits: &[bool]) -> Vec<Option<FirstResult>> {
    let none = vec![None; keys.len()];
    let hit_keys: Vec<DeliveryKey> = keys.into_iter().zip(hits).filter_map(|(key, hit)| hit.then_some(key)).collect();
    if hit_keys.is_empty() {
        return none;
    }
    let asked = hit_keys.len();
    // Without an answer all of them count as fresh: the commit will tell the duplicates all the same, or fail for a
    // reason of its own.
    let confirmed = match timeout(CONFIRM_TIMEOUT, shared.store.confirm(hit_keys)).await {
        Ok(Ok(confirmed)) => confirmed,
        Ok(Err(error)) => {
            warn!(%error, "the store could not confirm duplicates");
            return none;
        }
        Err(_) => {
            warn!(events = asked, "the store did not confirm duplicates in time");
            return none;
        }
    };
    shared.metrics.disagreements(asked - confirmed.iter().flatten().count());
    let mut confirmed = confirmed.into_iter();
    hits.iter().map(|hit| if *hit { confirmed.next().flatten() } else { None }).collect()
}

impl Known {
    /// It is kept, whatever becomes of its round.
    pub(super) fn answer<S>(self, shared: &Shared<S>) {
        let Self { receipt, first } = self;
        crash::at(Point::RoundKnown);
        let layer = shared.hint.layer();
        trace::told_by(&receipt.span, layer);
        shared.metrics.duplicate(layer);
        let answer = Answer {
            outcome: v1::SubmitOutcome::Duplicate,
            delivery_id: first.delivery_id,
            position: first.position,
            booking_uid: first.booking_uid,
        };
        receipt.answer(Ok(answer), &shared.metrics);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_known_of_one_is_known_of_its_copies() {
        let first = |position| {
            let delivery_id = uuid::Uuid::from_u128(7);
            let position = crate::store::Position(position);
            Some(FirstResult { delivery_id, position, booking_uid: None, copies: 0 })
        };
        let repeats = [None, None, Some(0), None, Some(1), Some(0)];
        let of_each = spread(vec![first(3), None, first(9)], &repeats);
        assert_eq!(of_each, [first(3), None, first(3), first(9), None, first(3)]);
    }

    #[test]
    fn a_round_leaves_to_the_others_what_is_theirs_unless_that_is_little() {
        let least = ROUND_SHARE_LEAST;
        let shares = |rounds| [0, 1, 2 * least, 3 * least, 1_200].map(|waiting| share(waiting, rounds));
        assert_eq!(shares(2), [least, least, least, 3 * least / 2, 600]);
        assert_eq!(shares(3), [least, least, least, least, 400]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_until_the_round_is_due_and_no_longer() {
        let turns = Arc::new(Semaphore::new(1));
        let begun = Instant::now();
        drop(turn(&turns, None).await);
        drop(turn(&turns, Some(begun)).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(turn(&turns, Some(begun + ROUND_SPACING)).await);
        assert_eq!(begun.elapsed(), ROUND_SPACING);
    }
}
