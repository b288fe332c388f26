//! What waits in the spool, whose turn it is, and when a segment has done its service. Pure.
//!
//! A record is *waiting*, *out* (on its way to the service), or *aside*, where the service will not take it: that is
//! not a matter of time, so its age does not count. Tenants take turns, and of one tenant the oldest comes first, so
//! that an outage's backlog of one does not hold up another's. What may itself be why it was tried in vain stands in a
//! second line of its tenant's, which takes turns with the first: however many there are, the others go on.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Where a record stands, and since when it is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The segment's number.
    pub(super) segment: u64,
    /// Of the record's head, in bytes.
    pub(super) offset: u32,
    /// Of the whole record, in bytes.
    pub(super) length: u32,
    /// When it was received, in microseconds since 1970-01-01T00:00:00Z.
    pub(super) time: i64,
}

/// Since when a record waits, and where it stands.
type Age = (i64, u64, u32);

/// The records that are not settled.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Of each tenant. None is empty.
    waiting: BTreeMap<Arc<str>, Lines>,
    /// Whose turn comes when: each tenant that waits, once.
    turns: VecDeque<Arc<str>>,
    /// By segment and offset.
    out: BTreeMap<(u64, u32), (Arc<str>, Entry)>,
    /// The same.
    aside: BTreeMap<(u64, u32), (Arc<str>, Entry)>,
    /// Of all in second lines, and of all that are aside: those are in no order of time.
    behind_ages: BTreeSet<Age>,
    aside_ages: BTreeSet<Age>,
    segments: BTreeMap<u64, Segment>,
    records: usize,
}

/// What waits of one tenant.
#[derive(Debug, Default)]
struct Lines {
    /// Oldest first.
    first: VecDeque<Entry>,
    /// What was tried in vain and may itself be why, in the order in which it was.
    behind: VecDeque<Entry>,
    /// Whose turn it is where something stands in both.
    is_behind_next: bool,
}

/// One file.
#[derive(Debug, Default)]
struct Segment {
    /// Records that are not settled.
    records: usize,
    /// Of the whole file.
    bytes: u64,
    /// Something stands in it that this release can't read: it is kept.
    kept: bool,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// That are not settled.
    pub(crate) records: usize,
    /// Of those, records that the service will not take.
    pub(crate) aside: usize,
    /// Of all segments, those of settled records included for as long as their file is there.
    pub(crate) bytes: u64,
    /// When the oldest of them was received, but for those aside, in microseconds since 1970-01-01T00:00:00Z.
    pub(crate) oldest: Option<i64>,
    /// The same of those aside.
    pub(crate) oldest_aside: Option<i64>,
}

impl Backlog {
    /// A segment is there, with so many bytes. One that is `kept` is never said to be done.
    pub(super) fn segment(&mut self, number: u64, bytes: u64, kept: bool) {
        let segment = self.segments.entry(number).or_default();
        segment.bytes = bytes;
        segment.kept |= kept;
    }

    /// A record was made durable; it waits.
    pub(super) fn add(&mut self, tenant: &Arc<str>, entry: Entry) {
        self.count(entry);
        self.wait(tenant, entry, Lines::line_up);
    }

    /// A record was made durable while it is on its way already.
    pub(super) fn add_out(&mut self, tenant: &Arc<str>, entry: Entry) {
        self.count(entry);
        self.out.insert(entry.place(), (Arc::clone(tenant), entry));
    }

    /// The next to send, unless it is longer than this.
    pub(super) fn take(&mut self, bytes: u64) -> Option<(Arc<str>, Entry)> {
        let lines = self.waiting.get_mut(self.turns.front()?)?;
        let entry = lines.take(bytes)?;
        let tenant = self.turns.pop_front()?;
        if lines.is_empty() {
            self.waiting.remove(&tenant);
        } else {
            self.turns.push_back(Arc::clone(&tenant));
        }
        self.behind_ages.remove(&entry.age());
        self.out.insert(entry.place(), (Arc::clone(&tenant), entry));
        Some((tenant, entry))
    }

    /// What was out waits again, where it stood before.
    pub(super) fn give_back(&mut self, entry: Entry) {
        if let Some((tenant, entry)) = self.out.remove(&entry.place()) {
            self.wait(&tenant, entry, Lines::line_up);
        }
    }

    /// What was out or aside waits again, behind all of its tenant that may have more luck.
    pub(super) fn put_behind(&mut self, entry: Entry) {
        let record = self.out.remove(&entry.place()).or_else(|| self.remove_aside(entry));
        if let Some((tenant, entry)) = record {
            self.behind_ages.insert(entry.age());
            self.wait(&tenant, entry, |lines, entry| lines.behind.push_back(entry));
        }
    }

    /// What was out is not taken, and waits for somebody to change something.
    pub(super) fn set_aside(&mut self, entry: Entry) {
        if let Some(record) = self.out.remove(&entry.place()) {
            self.aside_ages.insert(record.1.age());
            self.aside.insert(entry.place(), record);
        }
    }

    /// What was out is committed; whether its segment has no other record.
    pub(super) fn settle(&mut self, entry: Entry) -> bool {
        if self.out.remove(&entry.place()).is_none() {
            return false;
        }
        self.records -= 1;
        let Some(segment) = self.segments.get_mut(&entry.segment) else { return false };
        segment.records -= 1;
        self.is_done(entry.segment)
    }

    /// What was out is not what was written: nobody can send it, and its segment is kept.
    pub(super) fn give_up(&mut self, entry: Entry) {
        self.settle(entry);
        self.segments.entry(entry.segment).or_default().kept = true;
    }

    /// Nothing that is needed stands in it, and nothing that can't be read.
    pub(super) fn is_done(&self, number: u64) -> bool {
        self.segments.get(&number).is_some_and(|segment| segment.records == 0 && !segment.kept)
    }

    /// Its file is gone.
    pub(super) fn forget(&mut self, number: u64) {
        self.segments.remove(&number);
    }

    /// Records that wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.records - self.out.len() - self.aside.len()
    }

    /// How many records and bytes there are.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.records, self.segments.values().map(|segment| segment.bytes).sum())
    }

    /// How much there is.
    pub(super) fn amount(&self) -> Amount {
        let fronts = self.waiting.values().filter_map(|lines| lines.first.front().map(|entry| entry.time));
        let out = self.out.values().map(|(_, entry)| entry.time);
        let least = |ages: &BTreeSet<Age>| ages.first().map(|(time, ..)| *time);
        let oldest = fronts.chain(out).chain(least(&self.behind_ages)).min();
        let oldest_aside = least(&self.aside_ages);
        let (records, bytes) = self.size();
        Amount { records, aside: self.aside.len(), bytes, oldest, oldest_aside }
    }

    fn count(&mut self, entry: Entry) {
        self.records += 1;
        self.segments.entry(entry.segment).or_default().records += 1;
    }

    fn remove_aside(&mut self, entry: Entry) -> Option<(Arc<str>, Entry)> {
        let record = self.aside.remove(&entry.place())?;
        self.aside_ages.remove(&record.1.age());
        Some(record)
    }

    fn wait(&mut self, tenant: &Arc<str>, entry: Entry, line_up: fn(&mut Lines, Entry)) {
        if let Some(lines) = self.waiting.get_mut(tenant) {
            return line_up(lines, entry);
        }
        let mut lines = Lines::default();
        line_up(&mut lines, entry);
        self.waiting.insert(Arc::clone(tenant), lines);
        self.turns.push_back(Arc::clone(tenant));
    }
}

impl Lines {
    /// What comes is newer than all but for moments, and what comes back older: it moves few others.
    fn line_up(&mut self, entry: Entry) {
        if self.first.back().is_none_or(|last| last.age() < entry.age()) {
            return self.first.push_back(entry);
        }
        let at = self.first.partition_point(|other| other.age() < entry.age());
        self.first.insert(at, entry);
    }

    fn take(&mut self, bytes: u64) -> Option<Entry> {
        let is_behind = self.first.is_empty() || self.is_behind_next && !self.behind.is_empty();
        let line = if is_behind { &mut self.behind } else { &mut self.first };
        let entry = line.pop_front_if(|entry| u64::from(entry.length) <= bytes)?;
        self.is_behind_next = !is_behind;
        Some(entry)
    }

    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.behind.is_empty()
    }
}

impl Entry {
    pub(super) fn place(&self) -> (u64, u32) {
        (self.segment, self.offset)
    }

    fn age(&self) -> Age {
        (self.time, self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(segment: u64, offset: u32) -> Entry {
        Entry { segment, offset, length: 1, time: i64::from(offset) }
    }

    #[test]
    fn tenants_take_turns_and_each_one_s_oldest_comes_first() {
        let mut backlog = Backlog::default();
        let [busy, quiet]: [Arc<str>; 2] = ["busy".into(), "quiet".into()];
        for offset in 0..4 {
            backlog.add(&busy, entry(1, offset));
        }
        backlog.add(&quiet, entry(1, 9));
        let taken: Vec<_> = std::iter::from_fn(|| backlog.take(u64::MAX)).map(|(_, entry)| entry.offset).collect();
        assert_eq!(taken, [0, 9, 1, 2, 3]);
        assert_eq!(backlog.amount().oldest, Some(0), "what is out counts");
        backlog.give_back(entry(1, 2));
        backlog.give_back(entry(1, 1));
        assert_eq!(backlog.take(u64::MAX).unwrap().1.offset, 1, "what comes back stands where it stood");
        backlog.take(u64::MAX).unwrap();
        for offset in [3, 9, 0, 2, 1] {
            backlog.set_aside(entry(1, offset));
        }
        assert_eq!(
            backlog.amount(),
            Amount { records: 5, aside: 5, bytes: 0, oldest: None, oldest_aside: Some(0) },
            "what is aside is told apart"
        );
    }

    #[test]
    fn what_was_tried_in_vain_takes_turns_with_all_others_of_its_tenant() {
        let mut backlog = Backlog::default();
        let [one, other]: [Arc<str>; 2] = ["one".into(), "other".into()];
        for offset in 0..3 {
            backlog.add(&one, entry(1, offset));
            backlog.take(u64::MAX).unwrap();
        }
        backlog.set_aside(entry(1, 0));
        for offset in 0..3 {
            backlog.put_behind(entry(1, offset));
        }
        for offset in 3..5 {
            backlog.add(&one, entry(1, offset));
        }
        backlog.add(&other, entry(1, 9));
        assert_eq!(backlog.amount().oldest, Some(0));
        let taken: Vec<_> = std::iter::from_fn(|| backlog.take(u64::MAX)).map(|(_, entry)| entry.offset).collect();
        assert_eq!(taken, [3, 9, 0, 4, 1, 2]);
        assert!(taken.iter().all(|offset| !backlog.settle(entry(1, *offset)) || backlog.records == 0));
        assert_eq!(backlog.amount(), Amount::default());
    }

    /// A store that hangs has each webhook wait here after its deadline, the last one last.
    #[test]
    fn the_oldest_is_known_whatever_comes_back_when() {
        let (mut backlog, tenant) = (Backlog::default(), Arc::from("acme"));
        for offset in 0..4 {
            backlog.add_out(&tenant, entry(1, offset));
        }
        for offset in [1, 3, 0, 2] {
            backlog.give_back(entry(1, offset));
            assert_eq!(backlog.amount().oldest, Some(0));
        }
        backlog.add(&tenant, Entry { time: -1, ..entry(2, 0) });
        assert_eq!(backlog.amount().oldest, Some(-1), "a moment before, or by a clock that was set back");
        let times: Vec<_> = std::iter::from_fn(|| backlog.take(u64::MAX)).map(|(_, entry)| entry.time).collect();
        assert_eq!(times, [-1, 0, 1, 2, 3]);
    }

    /// It would age for ever, and nothing more be taken in.
    #[test]
    fn what_is_damaged_waits_for_nobody_and_keeps_its_file() {
        let (mut backlog, tenant) = (Backlog::default(), Arc::from("acme"));
        backlog.segment(1, 100, false);
        backlog.add(&tenant, entry(1, 0));
        backlog.add(&tenant, entry(1, 7));
        let taken = backlog.take(u64::MAX).unwrap().1;
        backlog.give_up(taken);
        assert_eq!(backlog.amount(), Amount { records: 1, bytes: 100, oldest: Some(7), ..Amount::default() });
        let last = backlog.take(u64::MAX).unwrap().1;
        assert!(!backlog.settle(last), "its segment is kept");
        assert_eq!((backlog.amount().records, backlog.amount().oldest), (0, None));
    }

    #[test]
    fn what_is_too_long_now_keeps_its_turn() {
        let mut backlog = Backlog::default();
        let [one, other]: [Arc<str>; 2] = ["one".into(), "other".into()];
        backlog.add(&one, Entry { length: 7, ..entry(1, 0) });
        backlog.add(&other, entry(1, 9));
        assert_eq!(backlog.take(6), None);
        assert_eq!((backlog.waiting(), backlog.take(7).unwrap().1.offset), (2, 0));
    }

    #[test]
    fn a_segment_is_done_when_nothing_of_it_is_needed() {
        let mut backlog = Backlog::default();
        let tenant: Arc<str> = "acme".into();
        backlog.segment(1, 100, false);
        backlog.segment(2, 50, true);
        backlog.add(&tenant, entry(1, 0));
        backlog.add_out(&tenant, entry(1, 7));
        backlog.add_out(&tenant, entry(2, 0));
        assert_eq!(backlog.amount(), Amount { records: 3, bytes: 150, oldest: Some(0), ..Amount::default() });
        assert!(!backlog.settle(entry(1, 0)), "it is not out");
        backlog.take(u64::MAX).unwrap();
        assert!(!backlog.settle(entry(1, 0)) && !backlog.settle(entry(1, 0)));
        assert_eq!(backlog.amount().oldest, Some(0), "one of the other segment");
        assert!(backlog.settle(entry(1, 7)) && !backlog.settle(entry(2, 0)), "what can't be read is kept");
        backlog.forget(1);
        assert_eq!(backlog.amount(), Amount { records: 0, bytes: 50, oldest: None, ..Amount::default() });
    }

    proptest! {
        /// Whatever is done: each record is settled once, in turn or not, and none is lost or sent twice at a time.
        #[test]
        fn every_record_comes_out_until_it_is_settled(steps in prop::collection::vec((0..6_u8, 0..3_u64), 0..200)) {
            let (mut backlog, mut next, mut settled) = (Backlog::default(), 0_u32, 0);
            let (mut out, mut aside): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
            let mut left = BTreeSet::new();
            for (step, number) in steps {
                let tenant: Arc<str> = format!("t{number}").into();
                match step {
                    0 => {
                        backlog.add(&tenant, entry(number, next));
                        left.insert(next);
                        next += 1;
                    }
                    1 => {
                        if let Some((_, taken)) = backlog.take(u64::MAX) {
                            prop_assert!(!out.contains(&taken));
                            out.push(taken);
                        }
                    }
                    2 => out.pop().into_iter().for_each(|last| backlog.give_back(last)),
                    3 => out.pop().or_else(|| aside.pop()).into_iter().for_each(|last| backlog.put_behind(last)),
                    4 => {
                        if let Some(last) = out.pop() {
                            backlog.set_aside(last);
                            aside.push(last);
                        }
                    }
                    _ => {
                        if let Some(last) = out.pop() {
                            backlog.settle(last);
                            left.remove(&last.offset);
                            settled += 1;
                        }
                    }
                }
                let is_aside = |offset: &&u32| aside.iter().any(|entry| entry.offset == **offset);
                let oldest = |is: bool| left.iter().find(|offset| is_aside(offset) == is).copied().map(i64::from);
                let amount = backlog.amount();
                prop_assert_eq!((amount.records, amount.aside), (left.len(), aside.len()));
                prop_assert_eq!((amount.oldest, amount.oldest_aside), (oldest(false), oldest(true)));
            }
            for left in aside {
                backlog.put_behind(left);
            }
            for left in out {
                backlog.give_back(left);
            }
            while let Some((_, taken)) = backlog.take(u64::MAX) {
                backlog.settle(taken);
                settled += 1;
            }
            prop_assert_eq!(settled, usize::try_from(next).unwrap());
            prop_assert_eq!(backlog.amount().records, 0);
            prop_assert!((0..3).all(|number| backlog.is_done(number) || !backlog.segments.contains_key(&number)));
        }
    }
}
