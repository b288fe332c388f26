//! What becomes of a batch, without a store: which of it is new, what that changes, and what is noted of the rest.
//!
//! A store looks up what [`sort_out`] and [`Sorted`] ask for, has it planned, and writes the plan in one transaction.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use calbridge_proto::v1::{self, TransitionSource};

use super::{
    Batch, BookingKey, Committed, DUPLICATE_NOTES_MAX, DeliveryKey, DuplicateNote, FirstResult, NewDelivery, Position,
    StoreError,
    changes::{Changes, MentionRow},
    fold::{self, LoadedRows, Occasion},
};

/// A batch, told apart.
pub(crate) struct Sorted<'a> {
    batch: &'a Batch,
    standings: Vec<Standing>,
    new: Vec<&'a NewDelivery>,
}

/// How a delivery of a batch relates to what is kept.
enum Standing {
    /// Its place among the new ones.
    New(usize),
    /// The place among the new ones of the one that it repeats.
    Repeats(usize),
    /// It was kept before.
    Kept(FirstResult),
}

/// What is known of the copies of one delivery.
pub(crate) struct Copies {
    /// How many there were.
    pub(crate) count: i64,
    /// The bookings that the delivery speaks of.
    pub(crate) uids: Vec<String>,
}

/// What a round writes.
pub(crate) struct Plan<'a> {
    pub(crate) changes: Changes<'a>,
    /// Copies that are noted, each at a place of its own.
    pub(crate) notes: Vec<Note>,
    /// How many copies of a delivery there are by now.
    pub(crate) counts: BTreeMap<Position, i64>,
    /// The last position that was taken.
    pub(crate) head: Position,
    standings: Vec<Standing>,
    firsts: Vec<FirstResult>,
}

/// A copy in the timelines of what its first speaks of.
pub(crate) struct Note {
    pub(crate) position: Position,
    pub(crate) copy: DuplicateNote,
    uids: Vec<String>,
}

/// Tells the new deliveries from the known ones; `kept` answers the first result of a key, if that is kept.
pub(crate) fn sort_out(
    batch: &Batch,
    mut kept: impl FnMut(&DeliveryKey) -> Result<Option<FirstResult>, StoreError>,
) -> Result<Sorted<'_>, StoreError> {
    let mut standings: Vec<Standing> = Vec::with_capacity(batch.deliveries.len());
    let mut new = Vec::with_capacity(batch.deliveries.len());
    let repeats = repeats(batch.deliveries.iter().map(|delivery| &delivery.key));
    for (delivery, repeated) in batch.deliveries.iter().zip(repeats) {
        let standing = match repeated.and_then(|index| standings.get(index)) {
            Some(Standing::New(index) | Standing::Repeats(index)) => Standing::Repeats(*index),
            Some(Standing::Kept(first)) => Standing::Kept(first.clone()),
            None => kept(&delivery.key)?.map_or_else(
                || {
                    new.push(delivery);
                    Standing::New(new.len() - 1)
                },
                Standing::Kept,
            ),
        };
        standings.push(standing);
    }
    Ok(Sorted { batch, standings, new })
}

/// For each key the index of the first of them that it repeats, if any.
pub(crate) fn repeats<'k>(keys: impl ExactSizeIterator<Item = &'k DeliveryKey>) -> Vec<Option<usize>> {
    let mut first: HashMap<&DeliveryKey, usize> = HashMap::with_capacity(keys.len());
    let mut repeated = Vec::with_capacity(keys.len());
    for (index, key) in keys.enumerate() {
        let at = *first.entry(key).or_insert(index);
        repeated.push((at != index).then_some(at));
    }
    repeated
}

impl<'a> Sorted<'a> {
    /// The rows that the new deliveries speak of, each once and in order.
    pub(crate) fn touched(&self) -> Vec<BookingKey> {
        fold::touched(self.new.iter().copied())
    }

    /// The kept deliveries that the batch repeats, each once and in order: their [`Copies`] are asked for.
    pub(crate) fn repeated(&self) -> Vec<Position> {
        let kept = self.standings.iter().filter_map(|standing| match standing {
            Standing::Kept(first) => Some(first.position),
            Standing::New(_) | Standing::Repeats(_) => None,
        });
        let known = self.batch.duplicates.iter().map(|copy| copy.first.position);
        let mut positions: Vec<Position> = kept.chain(known).collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// Folds what is new into `rows` and notes what is not. Deliveries without `copies` are not kept any more, and have
    /// no timeline to be noted in.
    pub(crate) fn plan(
        self,
        head: Position,
        rows: &LoadedRows,
        copies: HashMap<Position, Copies>,
    ) -> Result<Plan<'a>, StoreError> {
        let Self { batch, standings, new } = self;
        let source = TransitionSource::Webhook;
        let occasion = Occasion { head, now: batch.now, clock: &batch.clock, source, trace_id: &batch.trace_id };
        let folded = fold::fold(&new, rows, &occasion)?;
        let firsts = new.iter().zip(&folded.deliveries);
        let firsts: Vec<FirstResult> =
            firsts.map(|(delivery, folded)| fold::first_result(delivery, folded.position)).collect();
        let head = folded.head;
        let mut plan = Plan {
            changes: Changes::of_new(new, folded, batch.now),
            notes: Vec::new(),
            counts: BTreeMap::new(),
            head,
            standings,
            firsts,
        };
        plan.note_copies(batch, copies);
        Ok(plan)
    }
}

impl Plan<'_> {
    fn note_copies(&mut self, batch: &Batch, mut copies: HashMap<Position, Copies>) {
        let repeated = batch.deliveries.iter().zip(&self.standings).filter_map(|(delivery, standing)| {
            let first = standing.repeated(&self.firsts)?;
            Some(DuplicateNote::of(delivery, first.clone()))
        });
        for copy in repeated.chain(batch.duplicates.iter().cloned()).collect::<Vec<_>>() {
            let first = copy.first.position;
            let known = match copies.entry(first) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let Some(new) = self.new_copies(first) else { continue };
                    place.insert(new)
                }
            };
            known.count += 1;
            self.counts.insert(first, known.count);
            // One that speaks of no booking has no timeline to be noted in.
            if known.count <= DUPLICATE_NOTES_MAX && !known.uids.is_empty() {
                self.head.0 += 1;
                self.notes.push(Note { position: self.head, copy, uids: known.uids.clone() });
            }
        }
    }

    /// Of a delivery of this round.
    fn new_copies(&self, first: Position) -> Option<Copies> {
        let folded = self.changes.folded.deliveries.iter().find(|folded| folded.position == first)?;
        Some(Copies { count: 0, uids: folded.mentions.iter().map(|mention| mention.uid.clone()).collect() })
    }

    /// Of what goes with each delivery of the batch, what goes with those that are new.
    pub(crate) fn new_of<T>(&self, of_batch: Vec<T>) -> impl Iterator<Item = T> {
        let of_batch = of_batch.into_iter().zip(&self.standings);
        of_batch.filter(|(_, standing)| matches!(standing, Standing::New(_))).map(|(of, _)| of)
    }

    /// The line of every timeline that the round speaks in.
    pub(crate) fn mentions(&self) -> impl Iterator<Item = MentionRow<'_>> {
        self.changes.mentions().chain(self.notes.iter().flat_map(Note::mentions))
    }

    /// What became of each delivery of the batch, in its order.
    pub(crate) fn answers(self) -> Vec<Committed> {
        // New ones stand in the same order on both sides.
        let mut folded = self.changes.folded.deliveries.into_iter();
        let answer = |standing: Standing| {
            let first = standing.repeated(&self.firsts).cloned();
            let Standing::New(index) = standing else {
                return Some(Committed {
                    outcome: v1::SubmitOutcome::Duplicate,
                    first: first?,
                    transitions: Vec::new(),
                });
            };
            let folded = folded.next()?;
            let transitions = folded.transitions.into_iter().map(|told| told.transition).collect();
            Some(Committed { outcome: folded.outcome, first: self.firsts.get(index)?.clone(), transitions })
        };
        self.standings.into_iter().filter_map(answer).collect()
    }
}

impl Standing {
    fn repeated<'a>(&'a self, firsts: &'a [FirstResult]) -> Option<&'a FirstResult> {
        match self {
            Self::New(_) => None,
            Self::Repeats(index) => firsts.get(*index),
            Self::Kept(first) => Some(first),
        }
    }
}

impl Note {
    fn mentions(&self) -> impl Iterator<Item = MentionRow<'_>> {
        self.uids.iter().map(|uid| MentionRow {
            tenant: &self.copy.tenant,
            uid,
            position: self.position,
            delivery: self.copy.first.position,
            outcome: v1::SubmitOutcome::Duplicate,
            source: TransitionSource::Webhook,
        })
    }
}

#[cfg(test)]
mod tests;
