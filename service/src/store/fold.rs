//! One round, without a store: what new deliveries make of the bookings that they speak of. Pure, so that every store
//! folds alike.
//!
//! Positions: there is one counter. Each transition takes the next of it, a delivery without transitions takes one for
//! itself, and a delivery's position is the last that it took.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

use calbridge_booking::{Change, Derived, Fact, Horizon, Row, derive, transition};
use calbridge_proto::v1;

use super::{DeliveryKey, FirstResult, Micros, NewDelivery, Position, StoreError, time::timestamp, view};

/// A booking: its tenant and uid.
pub(crate) type BookingKey = (Arc<str>, String);

/// The encoded rows of the bookings that a round speaks of; those that are not kept yet are left out.
pub(crate) type LoadedRows = HashMap<BookingKey, Vec<u8>>;

/// What is to be written.
pub(crate) struct Folded {
    /// In the order of the deliveries.
    pub(crate) deliveries: Vec<FoldedDelivery>,
    /// Rows whose bytes changed, in the order of their keys.
    pub(crate) bookings: Vec<FoldedBooking>,
    /// The last position that was taken.
    pub(crate) head: Position,
}

/// What became of one delivery.
pub(crate) struct FoldedDelivery {
    pub(crate) position: Position,
    pub(crate) outcome: v1::SubmitOutcome,
    /// One for each booking that it speaks of.
    pub(crate) mentions: Vec<Mention>,
    /// Each with its position.
    pub(crate) transitions: Vec<(Position, v1::Transition)>,
}

/// A delivery in the timeline of one booking.
pub(crate) struct Mention {
    pub(crate) uid: String,
    /// Its place there: that of the transition, where it made one of this booking.
    pub(crate) position: Position,
    /// What came of it for this booking.
    pub(crate) outcome: v1::SubmitOutcome,
}

/// A row to write.
pub(crate) struct FoldedBooking {
    pub(crate) key: BookingKey,
    /// Whether the store has a row of it already.
    pub(crate) known: bool,
    pub(crate) state: Vec<u8>,
    /// Set where the visible booking changed; else the stored ones hold.
    pub(crate) columns: Option<Columns>,
}

/// What a store finds and orders visible bookings by.
pub(crate) struct Columns {
    pub(crate) status: i32,
    pub(crate) start_time: Micros,
    pub(crate) update_time: Micros,
    pub(crate) position: Position,
    pub(crate) rescheduled_from: Option<String>,
}

/// For each delivery the index of the earlier one in this batch that it repeats, if any.
pub(crate) fn repeats(deliveries: &[NewDelivery]) -> Vec<Option<usize>> {
    let mut first: HashMap<&DeliveryKey, usize> = HashMap::with_capacity(deliveries.len());
    let mut repeated = Vec::with_capacity(deliveries.len());
    for (index, delivery) in deliveries.iter().enumerate() {
        let at = *first.entry(&delivery.key).or_insert(index);
        repeated.push((at != index).then_some(at));
    }
    repeated
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

/// Folds new deliveries (none is a duplicate), in order, into `rows`, from `head` on.
pub(crate) fn fold(
    deliveries: &[&NewDelivery],
    rows: &LoadedRows,
    head: Position,
    now: Micros,
) -> Result<Folded, StoreError> {
    let mut round = Round { rows, slots: BTreeMap::new(), head, now };
    let deliveries = deliveries.iter().map(|delivery| round.deliver(delivery)).collect::<Result<_, _>>()?;
    let head = round.head;
    Ok(Folded { deliveries, bookings: round.written(), head })
}

/// What a first result says of a folded delivery.
pub(crate) fn first_result(delivery: &NewDelivery, position: Position) -> FirstResult {
    FirstResult { delivery_id: delivery.delivery_id, position, booking_uid: delivery.booking_uid.clone() }
}

struct Round<'a> {
    rows: &'a LoadedRows,
    slots: BTreeMap<BookingKey, Slot>,
    head: Position,
    now: Micros,
}

/// A booking while the round folds into it.
struct Slot {
    row: Row,
    /// Unset while the row is not visible.
    visible: Option<Derived>,
    columns: Option<Columns>,
}

impl Round<'_> {
    fn deliver(&mut self, delivery: &NewDelivery) -> Result<FoldedDelivery, StoreError> {
        let mut transitions = Vec::new();
        let mut quiet = Vec::new();
        let mut mentions = Vec::new();
        for uid in spoken_of(delivery) {
            match self.change(delivery, uid)? {
                Some(change) => {
                    mentions.push(Mention {
                        uid: uid.to_owned(),
                        position: self.head,
                        outcome: v1::SubmitOutcome::Applied,
                    });
                    transitions.push((self.head, change));
                }
                None => quiet.push(uid),
            }
        }
        if transitions.is_empty() {
            self.advance();
        }
        let outcome = outcome(delivery, !transitions.is_empty());
        let quietly = if delivery.facts.is_empty() { outcome } else { v1::SubmitOutcome::NoChange };
        let position = self.head;
        mentions.extend(quiet.into_iter().map(|uid| Mention { uid: uid.to_owned(), position, outcome: quietly }));
        Ok(FoldedDelivery { position, outcome, mentions, transitions })
    }

    /// Merges what a delivery says of one booking; a visible change takes a position.
    fn change(&mut self, delivery: &NewDelivery, uid: &str) -> Result<Option<v1::Transition>, StoreError> {
        let facts: Vec<&Fact> = delivery.facts.iter().filter(|fact| fact.uid == uid).collect();
        if facts.is_empty() {
            return Ok(None);
        }
        let key = (Arc::clone(&delivery.key.tenant), uid.to_owned());
        let slot = match self.slots.entry(key) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(free) => {
                let slot = Slot::load(self.rows.get(free.key()), uid)?;
                free.insert(slot)
            }
        };
        for fact in facts {
            slot.row.merge(&fact.registers);
        }
        let Some(after) = derive(uid, &slot.row, Horizon::NONE) else { return Ok(None) };
        let change = transition(slot.visible.as_ref(), &after);
        let mut made = None;
        if let Some(change) = change {
            self.head.0 += 1;
            slot.columns = Some(columns(&after.booking, self.head, self.now));
            made = Some(message(delivery, uid, &change, after.booking.clone(), self.head, self.now));
        }
        slot.visible = Some(after);
        Ok(made)
    }

    fn advance(&mut self) {
        self.head.0 += 1;
    }

    /// Rows whose bytes are as they were loaded need no write. A row that changed without showing it is written: its
    /// keys must advance, or the order of arrival would show.
    fn written(self) -> Vec<FoldedBooking> {
        let mut written = Vec::with_capacity(self.slots.len());
        for (key, slot) in self.slots {
            let state = slot.row.encode();
            let stored = self.rows.get(&key);
            if stored != Some(&state) {
                written.push(FoldedBooking { known: stored.is_some(), key, state, columns: slot.columns });
            }
        }
        written
    }
}

impl Slot {
    fn load(state: Option<&Vec<u8>>, uid: &str) -> Result<Self, StoreError> {
        let row = state.map_or_else(|| Ok(Row::default()), |state| view::decode(state))?;
        let visible = derive(uid, &row, Horizon::NONE);
        Ok(Self { row, visible, columns: None })
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
    if delivery.event.payload.is_none() {
        v1::SubmitOutcome::Unparsed
    } else if delivery.facts.is_empty() {
        v1::SubmitOutcome::Recorded
    } else if changed {
        v1::SubmitOutcome::Applied
    } else {
        v1::SubmitOutcome::NoChange
    }
}

fn columns(booking: &v1::Booking, position: Position, now: Micros) -> Columns {
    let from = &booking.rescheduled_from_uid;
    Columns {
        status: booking.status,
        start_time: booking.start_time.as_ref().map_or(Micros::MIN, super::time::micros),
        update_time: now,
        position,
        rescheduled_from: (!from.is_empty()).then(|| from.clone()),
    }
}

fn message(
    delivery: &NewDelivery,
    uid: &str,
    change: &Change,
    mut booking: v1::Booking,
    position: Position,
    now: Micros,
) -> v1::Transition {
    let tenant = delivery.key.tenant.as_ref();
    view::place(&mut booking, tenant, uid, position, now);
    v1::Transition {
        position: position.to_token(),
        tenant: tenant.to_owned(),
        uid: uid.to_owned(),
        kind: change.kind.into(),
        from_status: change.from.into(),
        to_status: change.to.into(),
        booking: Some(booking),
        delivery_id: delivery.delivery_id.to_string(),
        trigger: delivery.event.trigger,
        commit_time: Some(timestamp(now)),
        event_time: delivery.event.event_time,
        trace_id: delivery.trace_id.clone(),
        rule: change.rule.as_str().to_owned(),
        source: v1::TransitionSource::Webhook.into(),
    }
}

#[cfg(test)]
mod tests;
