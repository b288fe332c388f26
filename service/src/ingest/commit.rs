//! The second half of a round: one transaction; when that is on stable storage the hint is told and every waiter gets
//! its answer, while the next round is being written.
//!
//! Nobody is answered before, and the hint hears of nothing that was not committed.

use std::sync::{Arc, atomic::Ordering};

use calbridge_process::crash::{self, Point};
use calbridge_proto::v1;
use tokio::sync::mpsc;
use tracing::{Instrument, Span, error, warn};

use super::{
    Answer, Receipt, Refused, Shared,
    gather::{Known, Round},
    trace,
};
use crate::{
    settings::CAREFUL_ROUNDS,
    store::{Batch, Committed, DeliveryKey, Store, StoreError, Written},
};

/// A round that is written and not answered yet.
pub(super) struct Concluding {
    span: Span,
    written: Written,
    keys: Vec<DeliveryKey>,
    receipts: Vec<Receipt>,
    known: Vec<Known>,
}

/// Commits rounds one after the other until the gathering half has ended.
pub(super) async fn run<S: Store>(
    shared: Arc<Shared<S>>,
    mut rounds: mpsc::Receiver<Round>,
    to_conclude: mpsc::Sender<Concluding>,
) {
    while let Some(Round { span, now, fresh, notes, known, turn }) = rounds.recv().await {
        let (deliveries, receipts): (Vec<_>, Vec<_>) =
            fresh.into_iter().map(|event| (event.delivery, event.receipt)).unzip();
        let keys: Vec<DeliveryKey> = deliveries.iter().map(|delivery| delivery.key.clone()).collect();
        let (clock, trace_id) = (Arc::clone(&shared.policies), trace::kept_id(&span));
        let batch = Batch { deliveries, duplicates: notes, now, clock, trace_id };
        let written = shared.store.write(batch).instrument(span.clone()).await;
        // The next round need not wait for the disk, nor for this one's answers.
        drop(turn);
        if to_conclude.send(Concluding { span, written, keys, receipts, known }).await.is_err() {
            return;
        }
    }
}

/// Answers rounds, in their order, as they reach stable storage.
pub(super) async fn conclude<S>(shared: Arc<Shared<S>>, mut rounds: mpsc::Receiver<Concluding>) {
    while let Some(Concluding { span, written, keys, receipts, known }) = rounds.recv().await {
        match written.stored().await {
            Ok(committed) => answer(&shared, receipts, committed, keys, &span),
            Err(failure) => refuse(&shared, receipts, &failure, &span),
        }
        for known in known {
            known.answer(&shared);
        }
    }
}

fn answer<S>(
    shared: &Shared<S>,
    receipts: Vec<Receipt>,
    committed: Vec<Committed>,
    keys: Vec<DeliveryKey>,
    round: &Span,
) {
    crash::at(Point::RoundStored);
    if !keys.is_empty() {
        shared.hint.tell(keys, round);
    }
    let now = (shared.clock)();
    // The store answers for each delivery; were one left out, its waiter would be told to try again.
    for (receipt, committed) in receipts.into_iter().zip(committed) {
        let Committed { outcome, first, transitions } = committed;
        if outcome == v1::SubmitOutcome::Duplicate {
            trace::told_by(&receipt.span, "store");
            shared.metrics.duplicate("store");
        } else {
            shared.metrics.visible(now, receipt.receive_time, receipt.event_time, receipt.trigger);
        }
        trace::transitions(&receipt.span, &transitions);
        let answer = Answer {
            outcome,
            delivery_id: first.delivery_id,
            position: first.position,
            booking_uid: first.booking_uid,
        };
        crash::at(Point::RoundAnswer);
        receipt.answer(Ok(answer), &shared.metrics);
    }
}

fn refuse<S>(shared: &Shared<S>, receipts: Vec<Receipt>, failure: &StoreError, round: &Span) {
    trace::failed(round);
    match failure {
        StoreError::Unavailable { .. } => {
            round.in_scope(|| warn!(error = %failure, events = receipts.len(), "a round was not committed"));
        }
        StoreError::Damaged { .. } => {
            round.in_scope(|| error!(error = %failure, events = receipts.len(), "a round was not committed"));
            shared.metrics.damaged(1);
            // It comes again: alone, so that it takes no neighbours with it.
            shared.careful.store(CAREFUL_ROUNDS, Ordering::Relaxed);
        }
    }
    for receipt in receipts {
        receipt.answer(Err(Refused::Store), &shared.metrics);
    }
}
