//! What is kept of one booking: a map of registers, and the merge that folds facts into it.
//!
//! Invariant: `merge` is commutative, associative and idempotent, and equal rows encode to equal bytes. Everything that
//! a booking shows is derived from its row, so the order in which events arrive can't show either.

mod codec;

use std::{
    cmp::Ordering,
    mem::{self, discriminant},
    sync::Arc,
};

pub use self::codec::DecodeError;
use crate::register::{Entry, Evidence, Field, Key, Stamp};

/// Metadata keys, and form fields, of a booking.
pub(crate) const MAX_KEYS: usize = 256;
/// What a booking has of seats, and of addresses that left or were marked: four times as many as Cal.com gives seats.
pub(crate) const MAX_SEATS: usize = 4_096;
/// Details of people: those of more than two thousand.
const MAX_DETAILS: usize = 16_384;
/// Bookings that replaced one: beside the newest, what is kept of others shows nowhere.
const MAX_SUCCESSORS: usize = 256;

/// The registers of one booking. Starts empty; facts are merged in, in any order and any number of times.
///
/// A row has one register for each field and each kind of evidence, and one for each detail of a person, seat, answer
/// and successor that an event ever named: people come and go, and whoever came last may be first again. Of what
/// whoever books can have told without end it has so many, and the same ones whatever the order of telling.
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
            bound(registers);
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

/// Leaves the least keys of each kind, and the newest successors. A key that is not among the least of some events is
/// not among the least of more, nor a successor among the newest: what is dropped never would have come back.
fn bound(registers: &mut Vec<(Key, Entry)>) {
    if registers.len() <= MAX_KEYS {
        return;
    }
    let newest = least_successor(registers);
    let (mut kind, mut left) = (None, 0);
    registers.retain(|(key, entry)| {
        if let Key::Successor(uid) = key {
            return newest.as_ref().is_none_or(|(stamp, least)| (entry.stamp, uid) >= (*stamp, least));
        }
        // Keys of one kind stand side by side.
        if kind.replace(discriminant(key)) != Some(discriminant(key)) {
            left = most(key);
        }
        let stays = left > 0;
        left -= usize::from(stays);
        stays
    });
}

/// How many registers of a kind a row has.
fn most(key: &Key) -> usize {
    match key {
        // There are only so many of them; of successors not the least keys stay.
        Key::Evidence(_) | Key::Field(_) | Key::Successor(_) => usize::MAX,
        Key::Metadata(_) | Key::Response(_) => MAX_KEYS,
        Key::Person(..) => MAX_DETAILS,
        Key::NoShow(..) | Key::SeatTaken(..) | Key::SeatLeft(_) => MAX_SEATS,
    }
}

/// The oldest successor that stays, where some do not. The newest is the one that shows.
fn least_successor(registers: &[(Key, Entry)]) -> Option<(Stamp, String)> {
    let told = registers.iter().filter_map(|(key, entry)| match key {
        Key::Successor(uid) => Some((entry.stamp, uid)),
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    let place = told.len().checked_sub(MAX_SUCCESSORS)?;
    let (_, (stamp, uid), _) = told.select_nth_unstable(place);
    Some((*stamp, (*uid).clone()))
}
