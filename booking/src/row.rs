//! What is kept of one booking: a map of registers, and the merge that folds facts into it.
//!
//! Invariant: `merge` is commutative, associative and idempotent, and equal rows encode to equal bytes. Everything that
//! a booking shows is derived from its row, so the order in which events arrive can't show either.

mod codec;

use std::{cmp::Ordering, mem, sync::Arc};

pub use self::codec::DecodeError;
use crate::register::{Entry, Evidence, Field, Key};

/// Metadata keys, and form fields, of a booking. The least keys stay: one that is not among the least of some events is
/// not among the least of more, so what is dropped never would have come back.
pub(crate) const MAX_KEYS: usize = 256;

/// The registers of one booking. Starts empty; facts are merged in, in any order and any number of times.
///
/// A row has one register for each field and each kind of evidence, and one for each person, seat and successor that
/// an event ever named: people come and go, and whoever came last may be first again. Of the metadata keys and form
/// fields it has the least `MAX_KEYS`, whatever the order in which they were told, for whoever books may name as
/// many as they like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// In the order of their keys, each key once. A row is read and written as a whole far more often than searched,
    /// and merged with another such list in one walk. Shared with the fact that began the row until another one changes
    /// it.
    registers: Arc<Vec<(Key, Entry)>>,
    /// The least `createdAt` of the envelopes that spoke of the booking, in microseconds since 1970.
    first_told: Option<i64>,
}

impl Row {
    /// Folds in what a fact says, or another row of the same booking: register by register the greater entry stays. The
    /// caller sees to it that both are about the same booking.
    pub fn merge(&mut self, other: &Self) {
        self.tell_first(other.first_told);
        if self.registers.is_empty() {
            // Most rows are of one fact.
            self.registers = Arc::clone(&other.registers);
            return;
        }
        let registers = Arc::make_mut(&mut self.registers);
        let mut unheard = Vec::new();
        let mut known = registers.iter_mut().peekable();
        for (key, entry) in other.registers.iter() {
            while known.next_if(|(before, _)| before < key).is_some() {}
            match known.next_if(|(same, _)| same == key) {
                Some((_, kept)) => kept.raise(entry),
                None => unheard.push((key.clone(), entry.clone())),
            }
        }
        if !unheard.is_empty() {
            // The stable sort finds two long runs in order and merges them: many new people cost no insertion each.
            registers.append(&mut unheard);
            registers.sort_by(|(one, _), (other, _)| one.cmp(other));
            drop_greatest(registers, |key| matches!(key, Key::Metadata(_)));
            drop_greatest(registers, |key| matches!(key, Key::Response(_)));
        }
    }

    /// Whether anything but hints is known: a row of hints alone is kept and not shown.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.registers.iter().any(|(_, entry)| !entry.stamp.rank.is_hint())
    }

    /// The row as bytes: the same bytes for the same row.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The row that `bytes` were encoded from. What is no row is refused, never a panic; a row that is written at
    /// greater length than `encode` writes it is taken.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }

    /// What one event told, in any order; of two tellings of one register the greater stays, as everywhere.
    pub(crate) fn of(mut told: Vec<(Key, Entry)>, first_told: Option<i64>) -> Self {
        // The last of several tellings of one register is now the greatest.
        told.sort_unstable();
        told.dedup_by(|greater, kept| {
            let same = greater.0 == kept.0;
            if same {
                mem::swap(greater, kept);
            }
            same
        });
        Self { registers: Arc::new(told), first_told }
    }

    fn tell_first(&mut self, time: Option<i64>) {
        self.first_told = match (self.first_told, time) {
            (Some(kept), Some(told)) => Some(kept.min(told)),
            (kept, told) => kept.or(told),
        };
    }

    pub(crate) fn first_told(&self) -> Option<i64> {
        self.first_told
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.find(|other| other.cmp(key))
    }

    // Fields and evidence are asked for some thirty times a booking. Comparing with these alone takes half the time of
    // comparing any two keys.
    pub(crate) fn field(&self, field: Field) -> Option<&Entry> {
        self.find(|key| match key {
            Key::Evidence(_) => Ordering::Less,
            Key::Field(other) => other.cmp(&field),
            _ => Ordering::Greater,
        })
    }

    pub(crate) fn evidence(&self, evidence: Evidence) -> Option<&Entry> {
        self.find(|key| match key {
            Key::Evidence(other) => other.cmp(&evidence),
            _ => Ordering::Greater,
        })
    }

    fn find(&self, compare: impl Fn(&Key) -> Ordering) -> Option<&Entry> {
        let place = self.registers.binary_search_by(|(key, _)| compare(key)).ok()?;
        Some(&self.registers[place].1)
    }

    /// The registers, in the order of their keys.
    pub(crate) fn registers(&self) -> impl Iterator<Item = &(Key, Entry)> {
        self.registers.iter()
    }

    /// The registers from `first` on, in the order of their keys.
    pub(crate) fn registers_from<'r>(&'r self, first: &Key) -> impl Iterator<Item = &'r (Key, Entry)> + use<'r> {
        self.registers[self.registers.partition_point(|(key, _)| key < first)..].iter()
    }
}

/// Leaves [`MAX_KEYS`] of the registers of one kind, which stand side by side.
fn drop_greatest(registers: &mut Vec<(Key, Entry)>, is_of_kind: impl Fn(&Key) -> bool) {
    if registers.len() <= MAX_KEYS {
        return;
    }
    let mut left = MAX_KEYS;
    registers.retain(|(key, _)| {
        let of_kind = is_of_kind(key);
        let stays = !of_kind || left > 0;
        left -= usize::from(of_kind && stays);
        stays
    });
}
