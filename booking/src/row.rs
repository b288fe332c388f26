//! What is kept of one booking: a map of registers, and the merge that folds facts into it.
//!
//! Invariant: `merge` is commutative, associative and idempotent, and equal rows encode to equal bytes. Everything that
//! a booking shows is derived from its row, so the order in which events arrive can't show either.

mod codec;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

pub use self::codec::DecodeError;
use crate::register::{Entry, Evidence, Field, Key, Stamp, Value};

/// The registers of one booking. Starts empty; facts are merged in, in any order and any number of times.
///
/// A row has one register for each field and each kind of evidence, and one for each person, seat, successor, metadata
/// key and form field that an event ever named. What one event can add is bounded (see [`crate::facts`]); what all
/// events together can add is not, for dropping registers would make the result depend on the order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    registers: BTreeMap<Key, Entry>,
    /// The least `createdAt` of the envelopes that spoke of the booking, in microseconds since 1970.
    first_told: Option<i64>,
}

impl Row {
    /// Folds in what a fact says, or another row of the same booking: register by register the greater entry stays. The
    /// caller sees to it that both are about the same booking.
    pub fn merge(&mut self, other: &Self) {
        for (key, entry) in &other.registers {
            match self.registers.get_mut(key) {
                Some(kept) => {
                    if *kept < *entry {
                        kept.clone_from(entry);
                    }
                }
                None => {
                    self.registers.insert(key.clone(), entry.clone());
                }
            }
        }
        self.tell_first(other.first_told);
    }

    /// Whether anything but hints is known: a row of hints alone is kept and not shown.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.registers.values().any(|entry| !entry.stamp.rank.is_hint())
    }

    /// The row as bytes: the same bytes for the same row.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The row that `bytes` were encoded from. Anything else is refused, never a panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }

    /// Notes one telling; of two tellings in one fact the greater stays, as everywhere.
    pub(crate) fn put(&mut self, key: Key, stamp: Stamp, value: Value) {
        let entry = Entry { stamp, value };
        match self.registers.entry(key) {
            btree_map::Entry::Vacant(place) => {
                place.insert(entry);
            }
            btree_map::Entry::Occupied(mut place) => {
                if place.get().cmp(&entry) == Ordering::Less {
                    place.insert(entry);
                }
            }
        }
    }

    /// Notes an envelope's `createdAt`.
    pub(crate) fn tell_first(&mut self, time: Option<i64>) {
        self.first_told = match (self.first_told, time) {
            (Some(kept), Some(told)) => Some(kept.min(told)),
            (kept, told) => kept.or(told),
        };
    }

    pub(crate) fn first_told(&self) -> Option<i64> {
        self.first_told
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.registers.get(key)
    }

    pub(crate) fn field(&self, field: Field) -> Option<&Entry> {
        self.get(&Key::Field(field))
    }

    pub(crate) fn evidence(&self, evidence: Evidence) -> Option<&Entry> {
        self.get(&Key::Evidence(evidence))
    }

    /// The registers from `first` on, in the order of their keys.
    pub(crate) fn registers_from<'r>(&'r self, first: &Key) -> impl Iterator<Item = (&'r Key, &'r Entry)> + use<'r> {
        self.registers.range((Bound::Included(first), Bound::Unbounded))
    }
}
