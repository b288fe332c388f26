//! A command to one consumer: what it changes, for every store alike.

use std::collections::BTreeSet;

use super::{
    CONSUMER_ITEMS_MAX, CONSUMER_TURN_MAX, CONSUMERS_MAX, Consumer, ConsumerCommand, ConsumerItem, ConsumerOutcome,
    ConsumerState, ItemState,
    turn::{Parked, TurnChanges},
};
use crate::store::{Micros, Position};

/// What a store has read for a command.
pub(crate) struct Loaded {
    /// None: there is no such consumer.
    pub(crate) state: Option<ConsumerState>,
    /// Of the dead letters that the command speaks of, those that are kept and not being replayed: position, uid.
    pub(crate) dead: Vec<(Position, String)>,
    /// Consumers that the tenant has, where one more is to be kept.
    pub(crate) kept: usize,
}

/// What it is to write. Items are written before those that are gone are deleted.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The consumer's own row, where that is another.
    pub(crate) consumer: Option<Consumer>,
    /// Nothing of it stays.
    pub(crate) deleted: bool,
    /// All of its items are gone, and its dead letters are all as they were before a replay.
    pub(crate) forgets_items: bool,
    /// New and changed items.
    pub(crate) items: Vec<(Position, ConsumerItem)>,
    /// Items that are gone, each with the dead letter that it was replayed from.
    pub(crate) settled: BTreeSet<Position>,
    /// Dead letters that it gets.
    pub(crate) parked: Vec<Parked>,
    /// Dead letters that are being replayed from now on.
    pub(crate) replayed: Vec<Position>,
    /// Dead letters that are forgotten.
    pub(crate) forgotten: Vec<Position>,
}

/// Positions that are scanned again rather than written down with each turn: to look at a few costs less than a write,
/// and turns of a store may have but one writer.
const SCANS_REPEATED: i64 = 64;

impl Written {
    /// What a turn has changed of a consumer that had scanned to `before`.
    ///
    /// Where nothing but the scan has moved, and not far, nothing is written: it is scanned again, until a turn
    /// `keeps_scan`. What is known of a consumer is what is written: how far it is behind, and what may be purged.
    pub(crate) fn of_turn(before: Position, state: &ConsumerState, changes: TurnChanges) -> Self {
        let TurnChanges { changed, settled, parked, is_cut, keeps_scan } = changes;
        let moved = state.consumer.scanned.0 - before.0;
        let is_far = moved >= if keeps_scan { 1 } else { SCANS_REPEATED };
        if changed.is_empty() && settled.is_empty() && !is_cut && !is_far {
            return Self::default();
        }
        let item = |position: Position| state.items.get(&position).map(|item| (position, item.clone()));
        let items = changed.into_iter().filter_map(item).collect();
        Self { consumer: Some(state.consumer.clone()), items, settled, parked, ..Self::default() }
    }
}

/// Applies any command but a turn, which a store takes step by step.
pub(crate) fn apply(command: &ConsumerCommand, loaded: Loaded) -> (ConsumerOutcome, Written) {
    let Loaded { state, dead, kept } = loaded;
    if let ConsumerCommand::Create(consumer) = command {
        return match state {
            Some(_) => (ConsumerOutcome::Exists, Written::default()),
            None if kept >= CONSUMERS_MAX => (ConsumerOutcome::Full, Written::default()),
            None => done((**consumer).clone()),
        };
    }
    let Some(ConsumerState { mut consumer, items, .. }) = state else {
        return (ConsumerOutcome::Unknown, Written::default());
    };
    let is_other = |etag: &Option<i64>| etag.is_some_and(|etag| etag != consumer.etag);
    match command {
        ConsumerCommand::Update(_, etag, _) | ConsumerCommand::Delete(etag) if is_other(etag) => {
            (ConsumerOutcome::OtherEtag, Written::default())
        }
        ConsumerCommand::Update(choices, _, now) => {
            consumer.choices = (**choices).clone();
            done(touched(consumer, *now))
        }
        ConsumerCommand::Pause(paused, now) => {
            consumer.paused = *paused;
            done(touched(consumer, *now))
        }
        ConsumerCommand::Seek(to, now) => {
            (consumer.cursor, consumer.scanned) = (*to, *to);
            let (outcome, written) = done(touched(consumer, *now));
            (outcome, Written { forgets_items: true, ..written })
        }
        ConsumerCommand::Delete(_) => {
            let written = Written { deleted: true, ..Written::default() };
            (ConsumerOutcome::Done(Box::new(consumer)), written)
        }
        ConsumerCommand::ReplayDeadLetters(_, now) => {
            let again = |(position, uid): (Position, String)| {
                (position, ConsumerItem { uid, deliveries: 0, state: ItemState::Waiting { due: *now } })
            };
            let spare = (2 * CONSUMER_ITEMS_MAX).saturating_sub(items.len()).min(CONSUMER_TURN_MAX);
            let room = CONSUMER_ITEMS_MAX.saturating_sub(items.len()).max(spare);
            // Behind a seek it may be an item already, and even out: that one is the delivery of it.
            let (there, gone): (Vec<_>, Vec<_>) =
                dead.into_iter().partition(|(position, _)| items.contains_key(position));
            let again: Vec<_> = gone.into_iter().take(room).map(again).collect();
            let replayed: Vec<_> = there
                .iter()
                .map(|(position, _)| *position)
                .chain(again.iter().map(|(position, _)| *position))
                .collect();
            let first = replayed.iter().chain(items.keys()).min();
            consumer.cursor = first.map_or(consumer.scanned, |first| Position(first.0 - 1));
            let outcome = ConsumerOutcome::Counted(replayed.len());
            (outcome, Written { consumer: Some(consumer), items: again, replayed, ..Written::default() })
        }
        ConsumerCommand::DeleteDeadLetters(_) => {
            let forgotten: Vec<_> = dead.into_iter().map(|(position, _)| position).collect();
            (ConsumerOutcome::Counted(forgotten.len()), Written { forgotten, ..Written::default() })
        }
        ConsumerCommand::Create(_) | ConsumerCommand::Turn(_) => (ConsumerOutcome::Unknown, Written::default()),
    }
}

fn touched(consumer: Consumer, now: Micros) -> Consumer {
    Consumer { etag: consumer.etag + 1, update_time: now, ..consumer }
}

fn done(consumer: Consumer) -> (ConsumerOutcome, Written) {
    let written = Written { consumer: Some(consumer.clone()), ..Written::default() };
    (ConsumerOutcome::Done(Box::new(consumer)), written)
}
