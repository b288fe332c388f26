//! One round, without a store: what new deliveries, and the clock, make of the bookings that they speak of. Pure, so
//! that every store folds alike.
//!
//! Positions: there is one counter. Each transition takes the next of it, a delivery without transitions takes one for
//! itself, and a delivery's position is the last that it took. The clock speaks for itself: what a webhook changes is
//! compared without what the clock has not said yet.

mod made;
mod message;
mod slot;

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

use calbridge_booking::{Fact, transition};
use calbridge_proto::v1::{self, TransitionSource};

use self::{made::Made, message::Cause, slot::Slot};
pub(crate) use self::{
    made::Told,
    message::{Columns, columns},
    slot::{FoldedBooking, Shows},
};
use super::{BookingKey, ClockPolicies, FirstResult, Micros, NewDelivery, Position, StoreError, view::LoadedRow};

/// The rows of the bookings that a round speaks of; those that are not kept yet are left out.
pub(crate) type LoadedRows = HashMap<BookingKey, LoadedRow>;

/// When, for whom and from where a round begins.
pub(crate) struct Occasion<'a> {
    /// The last position that was handed out.
    pub(crate) head: Position,
    pub(crate) now: Micros,
    pub(crate) clock: &'a ClockPolicies,
    /// Who speaks of the bookings beside the clock.
    pub(crate) source: TransitionSource,
    /// Of what the clock does.
    pub(crate) trace_id: &'a str,
}

/// What is to be written.
pub(crate) struct Folded {
    /// In the order of the deliveries.
    pub(crate) deliveries: Vec<FoldedDelivery>,
    /// What the clock did.
    pub(crate) clock: Vec<Told>,
    /// Rows that changed, in the order of their keys.
    pub(crate) bookings: Vec<FoldedBooking>,
    /// The first position that could be taken.
    pub(crate) first: Position,
    /// The last position that was taken.
    pub(crate) head: Position,
}

/// What became of one delivery.
pub(crate) struct FoldedDelivery {
    pub(crate) position: Position,
    pub(crate) outcome: v1::SubmitOutcome,
    /// One for each booking that it speaks of.
    pub(crate) mentions: Vec<Mention>,
    pub(crate) transitions: Vec<Told>,
}

/// A delivery in the timeline of one booking.
pub(crate) struct Mention {
    pub(crate) uid: String,
    /// Its place there: that of the transition, where it made one of this booking.
    pub(crate) position: Position,
    /// What came of it for this booking.
    pub(crate) outcome: v1::SubmitOutcome,
}

/// Which rows [`fold`] needs, each once.
pub(crate) fn touched<'a>(deliveries: impl IntoIterator<Item = &'a NewDelivery>) -> Vec<BookingKey> {
    let mut keys: Vec<BookingKey> = deliveries
        .into_iter()
        .flat_map(|delivery| delivery.facts.iter().map(|fact| (Arc::clone(&delivery.key.tenant), fact.uid.clone())))
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Folds deliveries (none is a duplicate), in order, into `rows`.
pub(crate) fn fold(
    deliveries: &[&NewDelivery],
    rows: &LoadedRows,
    occasion: &Occasion<'_>,
) -> Result<Folded, StoreError> {
    let mut round = Round::new(rows, occasion);
    let told = deliveries.iter().enumerate().map(|(place, delivery)| round.deliver(place, delivery));
    let deliveries = told.collect::<Result<_, _>>()?;
    Ok(round.finish(deliveries))
}

/// Lets the clock speak of `rows`, each of which is written anew.
pub(crate) fn hear_clock(rows: &LoadedRows, occasion: &Occasion<'_>) -> Result<Folded, StoreError> {
    let mut round = Round::new(rows, occasion);
    for key in rows.keys() {
        let slot = Slot::load(rows.get(key), &key.1)?;
        round.slots.insert(key.clone(), slot.written_anyway());
    }
    Ok(round.finish(Vec::new()))
}

/// What a first result says of a folded delivery.
pub(crate) fn first_result(delivery: &NewDelivery, position: Position) -> FirstResult {
    FirstResult { delivery_id: delivery.delivery_id, position, booking_uid: delivery.booking_uid.clone(), copies: 0 }
}

/// A round under way.
struct Round<'a> {
    rows: &'a LoadedRows,
    occasion: &'a Occasion<'a>,
    slots: BTreeMap<BookingKey, Slot>,
    made: Made,
    head: Position,
}

impl<'a> Round<'a> {
    fn new(rows: &'a LoadedRows, occasion: &'a Occasion<'a>) -> Self {
        Self { rows, occasion, slots: BTreeMap::new(), made: Made::default(), head: occasion.head }
    }

    /// `place` is the delivery's among those of the round.
    fn deliver(&mut self, place: usize, delivery: &NewDelivery) -> Result<FoldedDelivery, StoreError> {
        let mut last = None;
        let mut quiet = Vec::new();
        let mut mentions = Vec::new();
        for uid in spoken_of(delivery) {
            match self.change((place, delivery), uid)? {
                Some(position) => {
                    mentions.push(Mention { uid: uid.to_owned(), position, outcome: v1::SubmitOutcome::Applied });
                    last = Some(position);
                }
                None => quiet.push(uid),
            }
        }
        // Its own last: the clock may have spoken of a booking behind it.
        let position = last.unwrap_or_else(|| self.advance());
        let outcome = outcome(delivery, last.is_some());
        let quietly = if delivery.facts.is_empty() { outcome } else { v1::SubmitOutcome::NoChange };
        mentions.extend(quiet.into_iter().map(|uid| Mention { uid: uid.to_owned(), position, outcome: quietly }));
        Ok(FoldedDelivery { position, outcome, mentions, transitions: Vec::new() })
    }

    /// Merges what a delivery says of one booking; a visible change takes a position.
    fn change(&mut self, (place, delivery): (usize, &NewDelivery), uid: &str) -> Result<Option<Position>, StoreError> {
        let facts: Vec<&Fact> = delivery.facts.iter().filter(|fact| fact.uid == uid).collect();
        if facts.is_empty() {
            return Ok(None);
        }
        let key = (Arc::clone(&delivery.key.tenant), uid.to_owned());
        if !self.slots.contains_key(&key) {
            let mut slot = Slot::load(self.rows.get(&key), uid)?;
            // What the clock had to say before comes before, or the log would jump.
            self.hear(&key, &mut slot);
            self.slots.insert(key.clone(), slot);
        }
        let Entry::Occupied(mut entry) = self.slots.entry(key) else { return Ok(None) };
        let slot = entry.get_mut();
        for fact in facts {
            slot.row.merge(&fact.registers);
        }
        let tenant = delivery.key.tenant.as_ref();
        let Some(after) = slot.derive_anew(uid, self.occasion.clock.horizon(tenant, self.occasion.now)) else {
            return Ok(None);
        };
        let Some(change) = transition(slot.visible.as_ref(), &after) else {
            slot.visible = Some(after);
            return Ok(None);
        };
        self.head.0 += 1;
        let position = self.head;
        let now = self.occasion.now;
        let cause = Cause::Delivery(delivery, self.occasion.source);
        let transition = cause.transition((tenant, uid), &change, (position, now));
        let booking = slot.show((tenant, uid), after, (position, now));
        self.made.push(Some(place), Told { position, transition, booking });
        Ok(Some(position))
    }

    fn advance(&mut self) -> Position {
        self.head.0 += 1;
        self.head
    }

    /// Brings what the log says of a booking's end in line with the clock.
    fn hear(&mut self, key: &BookingKey, slot: &mut Slot) {
        let (tenant, uid) = (key.0.as_ref(), key.1.as_str());
        let horizon = self.occasion.clock.horizon(tenant, self.occasion.now);
        let Some((change, after)) = slot.hear(uid, horizon) else { return };
        let (position, now) = (self.advance(), self.occasion.now);
        let cause = Cause::Clock { trace_id: self.occasion.trace_id };
        let transition = cause.transition((tenant, uid), &change, (position, now));
        let booking = slot.show((tenant, uid), after, (position, now));
        self.made.push(None, Told { position, transition, booking });
    }

    /// Rows whose bytes are as they were loaded need no write. A row that changed without showing it is written: its
    /// keys must advance, or the order of arrival would show.
    fn finish(mut self, mut deliveries: Vec<FoldedDelivery>) -> Folded {
        let mut bookings = Vec::with_capacity(self.slots.len());
        for (key, mut slot) in std::mem::take(&mut self.slots) {
            self.hear(&key, &mut slot);
            let stored = self.rows.get(&key);
            let state = slot.row.encode();
            let told_more = stored.is_none_or(|stored| stored.state != state);
            if slot.is_to_be_written(told_more) {
                bookings.push(slot.folded(key, state, told_more));
            }
        }
        let clock = self.made.hand_out(&mut deliveries);
        let first = Position(self.occasion.head.0 + 1);
        Folded { deliveries, clock, bookings, first, head: self.head }
    }
}

/// The bookings of a delivery, each once: those of its facts, then the one that the body is about.
fn spoken_of(delivery: &NewDelivery) -> Vec<&str> {
    let mut uids: Vec<&str> = Vec::new();
    let about = delivery.booking_uid.as_deref();
    for uid in delivery.facts.iter().map(|fact| fact.uid.as_str()).chain(about) {
        if !uids.contains(&uid) {
            uids.push(uid);
        }
    }
    uids
}

fn outcome(delivery: &NewDelivery, changed: bool) -> v1::SubmitOutcome {
    if !delivery.is_typed {
        v1::SubmitOutcome::Unparsed
    } else if delivery.facts.is_empty() {
        v1::SubmitOutcome::Recorded
    } else if changed {
        v1::SubmitOutcome::Applied
    } else {
        v1::SubmitOutcome::NoChange
    }
}

#[cfg(test)]
mod tests;
