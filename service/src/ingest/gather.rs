//! The first half of a round: take what waits, ask the hint for all of it at once, have the store confirm its hits.
//!
//! A confirmed duplicate is answered here; its note for the timeline rides along with the round. A hit that the store
//! does not confirm is an event like any other.

use std::sync::{Arc, atomic::Ordering};

use calbridge_proto::v1;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, warn};

use super::{Answer, Receipt, Shared, Submission, trace};
use crate::{
    settings::{CONFIRM_TIMEOUT, ROUND_BYTES, ROUND_EVENTS},
    store::{DeliveryKey, DuplicateNote, FirstResult, Micros, NewDelivery, Store, time::micros},
};

/// A round on its way to the commit.
#[derive(Debug)]
pub(super) struct Round {
    /// `ingest round`.
    pub(super) span: Span,
    /// When it began.
    pub(super) now: Micros,
    /// What may be new.
    pub(super) fresh: Vec<Submission>,
    /// What is not, answered already.
    pub(super) notes: Vec<DuplicateNote>,
}

/// Gathers rounds until `stopping` fires and everything that was taken before is on its way.
pub(super) async fn run<S: Store>(
    shared: Arc<Shared<S>>,
    mut queue: mpsc::Receiver<Submission>,
    rounds: mpsc::Sender<Round>,
    stopping: CancellationToken,
) {
    loop {
        // A place for the round first: while both places are taken events gather in the queue, and the next round is
        // the larger for it.
        let Ok(place) = rounds.reserve().await else { return };
        let Some(first) = next(&mut queue, &stopping).await else { return };
        let events = take(&shared, first, &mut queue);
        shared.metrics.round(events.len(), queue.len());
        let span = trace::round_span(&events);
        let now = (shared.clock)();
        let mut round = Round { span: span.clone(), now, fresh: events, notes: Vec::new() };
        recognise(&shared, &mut round).instrument(span).await;
        place.send(round);
    }
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

/// The first event and what waits behind it, up to the bounds of a round.
fn take<S>(shared: &Shared<S>, first: Submission, queue: &mut mpsc::Receiver<Submission>) -> Vec<Submission> {
    let careful = shared.careful.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let most = if careful { 1 } else { ROUND_EVENTS };
    let mut bytes = first.delivery.event.raw_body.len();
    let mut events = vec![first];
    while events.len() < most && bytes < ROUND_BYTES {
        let Ok(event) = queue.try_recv() else { break };
        bytes += event.delivery.event.raw_body.len();
        events.push(event);
    }
    events
}

/// Takes the confirmed duplicates out of the round and answers them.
async fn recognise<S: Store>(shared: &Shared<S>, round: &mut Round) {
    let keys: Vec<DeliveryKey> = round.fresh.iter().map(|event| event.delivery.key.clone()).collect();
    let hits = shared.hint.ask(&keys).await;
    let hit_keys: Vec<DeliveryKey> = keys.into_iter().zip(&hits).filter_map(|(key, hit)| hit.then_some(key)).collect();
    if hit_keys.is_empty() {
        return;
    }
    let asked = hit_keys.len();
    // Without an answer all of them count as fresh: the commit will tell the duplicates all the same, or fail for a
    // reason of its own.
    let confirmed = match timeout(CONFIRM_TIMEOUT, shared.store.confirm(hit_keys)).await {
        Ok(Ok(confirmed)) => confirmed,
        Ok(Err(error)) => return warn!(%error, "the store could not confirm duplicates"),
        Err(_) => return warn!(events = asked, "the store did not confirm duplicates in time"),
    };
    shared.metrics.disagreements(asked - confirmed.iter().flatten().count());
    let mut confirmed = confirmed.into_iter();
    let mut hits = hits.into_iter();
    let events = std::mem::take(&mut round.fresh);
    for event in events {
        let first = if hits.next().unwrap_or(false) { confirmed.next().flatten() } else { None };
        match first {
            Some(first) => {
                round.notes.push(note(&event.delivery, first.clone()));
                answer_duplicate(shared, event.receipt, first);
            }
            None => round.fresh.push(event),
        }
    }
}

fn note(delivery: &NewDelivery, first: FirstResult) -> DuplicateNote {
    DuplicateNote {
        first,
        tenant: Arc::clone(&delivery.key.tenant),
        receive_time: delivery.event.receive_time.as_ref().map_or(0, micros),
        secret_id: delivery.event.secret_id.clone(),
        trace_id: delivery.trace_id.clone(),
    }
}

fn answer_duplicate<S>(shared: &Shared<S>, receipt: Receipt, first: FirstResult) {
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
