//! What lies in the quarantine's files, as its keeper knows it: whose, how much, and when a file has done its service.
//! Pure.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    budget::{Budget, Source},
    webhook::Claim,
};

/// Everything that is kept, and what may be kept besides.
#[derive(Debug)]
pub(super) struct Ledger {
    budget: Budget,
    /// Each name once, however many records it has.
    names: HashSet<Arc<str>>,
    claims: HashSet<Claim>,
    segments: BTreeMap<u64, Segment>,
    records: usize,
    bytes: u64,
}

/// One that is kept.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) tenant: Arc<str>,
    pub(super) source: Source,
    /// As the budget counts it.
    pub(super) weight: u64,
    pub(super) claim: Claim,
}

/// One file.
#[derive(Debug, Default)]
struct Segment {
    bytes: u64,
    /// When the newest was received, in microseconds since 1970-01-01T00:00:00Z.
    newest: i64,
    /// Something in it is of a later release: it goes by its age alone.
    is_foreign: bool,
    /// By their offsets; those that are not settled.
    records: BTreeMap<u32, Held>,
}

impl Ledger {
    pub(super) fn new(budget: Budget) -> Self {
        let (names, claims, segments) = (HashSet::new(), HashSet::new(), BTreeMap::new());
        Self { budget, names, claims, segments, records: 0, bytes: 0 }
    }

    /// The one copy of a tenant's name.
    pub(super) fn name(&mut self, tenant: &str) -> Arc<str> {
        if let Some(name) = self.names.get(tenant) {
            return Arc::clone(name);
        }
        let name: Arc<str> = tenant.into();
        self.names.insert(Arc::clone(&name));
        name
    }

    /// Whether one of so much weight may be kept; it counts against the rates from now on.
    pub(super) fn admit(&mut self, tenant: &Arc<str>, source: Source, weight: u64, now: Duration) -> bool {
        self.budget.admit(tenant, source, weight, (self.records, self.bytes), now)
    }

    /// Whether one that claims the same is kept.
    pub(super) fn has(&self, claim: &Claim) -> bool {
        self.claims.contains(claim)
    }

    /// A file is there, of so many bytes; nothing in it is newer than `time`, as far as is known.
    pub(super) fn segment(&mut self, number: u64, bytes: u64, time: i64) {
        let segment = self.segments.entry(number).or_default();
        self.bytes = self.bytes - segment.bytes + bytes;
        segment.bytes = bytes;
        segment.newest = segment.newest.max(time);
    }

    /// Something in a file is of a later release.
    pub(super) fn foreign(&mut self, number: u64) {
        self.segments.entry(number).or_default().is_foreign = true;
    }

    /// One is kept in a file, at this offset.
    pub(super) fn add(&mut self, number: u64, offset: u32, held: Held) {
        self.budget.hold(&held.tenant, held.source, held.weight);
        self.claims.insert(held.claim);
        self.segments.entry(number).or_default().records.insert(offset, held);
        self.records += 1;
    }

    /// These of a file are settled. Whether that leaves nothing in it.
    pub(super) fn settle(&mut self, number: u64, offsets: impl IntoIterator<Item = u32>) -> bool {
        let Some(segment) = self.segments.get_mut(&number) else { return false };
        let gone: Vec<_> = offsets.into_iter().filter_map(|offset| segment.records.remove(&offset)).collect();
        let is_empty = segment.records.is_empty() && !segment.is_foreign;
        self.release(gone);
        is_empty
    }

    /// A file is gone.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(segment) = self.segments.remove(&number) else { return };
        self.bytes -= segment.bytes;
        self.release(segment.records.into_values().collect());
    }

    /// The files.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.segments.keys().copied().collect()
    }

    /// Those in which all was received before a time.
    pub(super) fn outdated(&self, before: i64) -> Vec<u64> {
        let segments = self.segments.iter().filter(|(_, segment)| segment.newest < before);
        segments.map(|(number, _)| *number).collect()
    }

    /// How many are kept, and the bytes of all files.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.records, self.bytes)
    }

    fn release(&mut self, gone: Vec<Held>) {
        for held in gone {
            self.budget.release(&held.tenant, held.source, held.weight);
            self.claims.remove(&held.claim);
            self.records -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn held(ledger: &mut Ledger, claim: u8) -> Held {
        let source = Source::of(IpAddr::from([192, 0, 2, 1]));
        Held { tenant: ledger.name("acme"), source, weight: 1_000, claim: [claim; 16] }
    }

    #[test]
    fn what_goes_makes_room() {
        let mut ledger = Ledger::new(Budget::new(16_000, 100));
        let (acme, source) = (ledger.name("acme"), Source::of(IpAddr::from([192, 0, 2, 1])));
        ledger.segment(7, 1_100, 50);
        for (offset, claim) in [(24, 1), (500, 2)] {
            let held = held(&mut ledger, claim);
            ledger.add(7, offset, held);
        }
        assert!(Arc::ptr_eq(&acme, &ledger.name("acme")));
        assert_eq!(ledger.size(), (2, 1_100));
        assert!(ledger.has(&[1; 16]) && ledger.has(&[2; 16]));
        assert!(!ledger.admit(&acme, source, 1_000, Duration::ZERO), "its share of 2,000 is used");
        assert!(!ledger.settle(7, [24, 99]), "one is left");
        assert!(!ledger.has(&[1; 16]) && ledger.admit(&acme, source, 1_000, Duration::ZERO));
        assert!(!ledger.settle(7, [24]), "it is settled once");
        assert_eq!(ledger.size(), (1, 1_100), "the file is as long as before");
        assert!(ledger.settle(7, [500]) && !ledger.settle(8, [500]));
        ledger.remove(7);
        ledger.remove(7);
        assert_eq!((ledger.size(), ledger.numbers()), ((0, 0), vec![]));
    }

    #[test]
    fn a_file_goes_when_its_newest_is_too_old() {
        let mut ledger = Ledger::new(Budget::new(16_000, 100));
        ledger.segment(7, 100, 50);
        ledger.segment(7, 200, 40);
        ledger.segment(8, 100, 60);
        assert_eq!(ledger.size(), (0, 300));
        assert_eq!((ledger.outdated(50), ledger.outdated(51), ledger.outdated(61)), (vec![], vec![7], vec![7, 8]));
        let held = held(&mut ledger, 1);
        ledger.add(7, 24, held);
        ledger.foreign(7);
        assert!(!ledger.settle(7, [24]), "a later release may want it");
        ledger.remove(7);
        assert!(!ledger.has(&[1; 16]));
        assert_eq!(ledger.size(), (0, 100));
    }
}
