//! What waits in the spool, whose turn it is, and when a segment has done its service. Pure.
//!
//! A record is *waiting*, *out* (on its way to the service), or *aside*, where the service will not take it: that is
//! not a matter of time, so its age does not count. Tenants take turns, and of one tenant what was written first goes
//! first, so that an outage's backlog of one does not hold up another's. What may itself be why it was tried in vain
//! stands in a second line of its tenant's, which takes turns with the first: however many there are, the others go on.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::writer::{RECLAIM_BYTES, SEGMENT_BYTES};

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

/// Where a record stands, segment and offset: in the order in which they were written, whatever a clock did meanwhile.
type Place = (u64, u32);
/// Since when one waits, and where it stands.
type Age = (i64, u64, u32);

/// The records that are not settled.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Of each tenant. None is empty.
    waiting: BTreeMap<Arc<str>, Lines>,
    /// Whose turn comes when: each tenant that waits, once.
    turns: VecDeque<Arc<str>>,
    /// By segment and offset.
    out: BTreeMap<Place, (Arc<str>, Entry)>,
    /// The same.
    aside: BTreeMap<Place, (Arc<str>, Entry)>,
    /// Of what stands in second lines, which are in no order, and was never aside: since when it waits.
    behind_times: BTreeMap<Place, i64>,
    /// Of all that was aside once: it is tried again, and is no news.
    aside_ages: BTreeSet<Age>,
    segments: BTreeMap<u64, Segment>,
    /// The one that was begun last.
    newest: u64,
    records: usize,
}

/// What waits of one tenant.
#[derive(Debug, Default)]
struct Lines {
    /// In the order in which they were written.
    first: BTreeSet<Entry>,
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
    /// Of those, how many are aside, and their bytes.
    aside: usize,
    aside_bytes: u64,
    /// Of the whole file.
    bytes: u64,
    /// Something stands in it that this release can't read: it is kept.
    kept: bool,
    /// Something in it can't be copied.
    skipped: bool,
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
    /// When the first of them that was written was received, but for those that were aside once, in microseconds since
    /// 1970-01-01T00:00:00Z.
    pub(crate) oldest: Option<i64>,
    /// When the oldest of those that were was received.
    pub(crate) oldest_aside: Option<i64>,
}

impl Backlog {
    /// A segment is there, with so many bytes. One that is `kept` is never said to be done.
    pub(super) fn segment(&mut self, number: u64, bytes: u64, kept: bool) {
        let segment = self.segments.entry(number).or_default();
        segment.bytes = bytes;
        segment.kept |= kept;
    }

    /// A segment was begun: no other is added to.
    pub(super) fn begin(&mut self, number: u64, bytes: u64) {
        self.segment(number, bytes, false);
        self.newest = number;
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
        self.behind_times.remove(&entry.place());
        self.out.insert(entry.place(), (Arc::clone(&tenant), entry));
        Some((tenant, entry))
    }

    /// What was out waits again, where it stood before.
    pub(super) fn give_back(&mut self, entry: Entry) {
        if self.aside_ages.contains(&entry.age()) {
            return self.put_behind(entry);
        }
        if let Some((tenant, entry)) = self.out.remove(&entry.place()) {
            self.wait(&tenant, entry, Lines::line_up);
        }
    }

    /// What was out or aside waits again, behind all of its tenant that may have more luck.
    pub(super) fn put_behind(&mut self, entry: Entry) {
        let record = self.out.remove(&entry.place()).or_else(|| self.remove_aside(entry));
        if let Some((tenant, entry)) = record {
            if !self.aside_ages.contains(&entry.age()) {
                self.behind_times.insert(entry.place(), entry.time);
            }
            self.wait(&tenant, entry, |lines, entry| lines.behind.push_back(entry));
        }
    }

    /// What was out is not taken, and waits for somebody to change something.
    pub(super) fn set_aside(&mut self, entry: Entry) {
        if let Some(record) = self.out.remove(&entry.place()) {
            let segment = self.segments.entry(entry.segment).or_default();
            segment.aside += 1;
            segment.aside_bytes += u64::from(entry.length);
            self.aside_ages.insert(record.1.age());
            self.aside.insert(entry.place(), record);
        }
    }

    /// The first of what is aside in a segment that is there for its sake alone, and mostly of no use: so many at the
    /// most, and so many bytes or one that is longer.
    pub(super) fn stuck(&mut self, most: usize, mut bytes: u64) -> Vec<(Arc<str>, Entry)> {
        // The newest is still added to, unless it is full.
        let is_over = |number, segment: &Segment| number != self.newest || segment.bytes >= SEGMENT_BYTES;
        let stuck = self.segments.iter().find(|(number, segment)| segment.is_stuck() && is_over(**number, segment));
        let Some((number, _)) = stuck else {
            // All others have had their turn.
            self.segments.values_mut().for_each(|segment| segment.skipped = false);
            return Vec::new();
        };
        let mut records = Vec::new();
        for (_, (tenant, entry)) in self.aside.range((*number, 0)..=(*number, u32::MAX)).take(most) {
            let left = bytes.checked_sub(u64::from(entry.length));
            if left.is_none() && !records.is_empty() {
                break;
            }
            bytes = left.unwrap_or(0);
            records.push((Arc::clone(tenant), *entry));
        }
        records
    }

    /// What was aside stands elsewhere as well, where it is out, and is aside there from now on. False, and nothing is
    /// changed, where it was not aside any more.
    pub(super) fn move_aside(&mut self, from: Entry, to: Entry) -> bool {
        let Some(record) = self.remove_aside(from) else { return false };
        self.out.insert(from.place(), record);
        self.settle(from);
        self.set_aside(to);
        true
    }

    /// What was out is committed; whether its segment has no other record.
    pub(super) fn settle(&mut self, entry: Entry) -> bool {
        if self.out.remove(&entry.place()).is_none() {
            return false;
        }
        self.aside_ages.remove(&entry.age());
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

    /// A record that is aside can't be copied: nothing more of its segment is until the others have had their turn.
    pub(super) fn skip(&mut self, number: u64) {
        self.segments.entry(number).or_default().skipped = true;
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
        let fronts = self.waiting.values().filter_map(|lines| lines.first.first());
        let mut out = self.out.values().map(|(_, entry)| entry);
        let out = out.find(|entry| !self.aside_ages.contains(&entry.age()));
        let known = fronts.chain(out).map(|entry| (entry.place(), entry.time));
        // By place: a clock that was wrong for a while must not have all that it stamped be old.
        let oldest = known.chain(self.behind_times.first_key_value().map(|(place, time)| (*place, *time))).min();
        let oldest = oldest.map(|(_, time)| time);
        let oldest_aside = self.aside_ages.first().map(|(time, ..)| *time);
        let (records, bytes) = self.size();
        Amount { records, aside: self.aside.len(), bytes, oldest, oldest_aside }
    }

    fn count(&mut self, entry: Entry) {
        self.records += 1;
        self.segments.entry(entry.segment).or_default().records += 1;
    }

    fn remove_aside(&mut self, entry: Entry) -> Option<(Arc<str>, Entry)> {
        let record = self.aside.remove(&entry.place())?;
        if let Some(segment) = self.segments.get_mut(&entry.segment) {
            segment.aside -= 1;
            segment.aside_bytes -= u64::from(entry.length);
        }
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

impl Segment {
    /// It is large, and all that is needed of it is aside and less than half of it: a copy is worth it.
    fn is_stuck(&self) -> bool {
        let is_aside = self.aside > 0 && self.aside == self.records;
        is_aside && !self.kept && !self.skipped && self.bytes >= RECLAIM_BYTES && self.aside_bytes <= self.bytes / 2
    }
}

impl Lines {
    fn line_up(&mut self, entry: Entry) {
        self.first.insert(entry);
    }

    fn take(&mut self, bytes: u64) -> Option<Entry> {
        let is_behind = self.first.is_empty() || self.is_behind_next && !self.behind.is_empty();
        let next = if is_behind { self.behind.front() } else { self.first.first() };
        next.filter(|entry| u64::from(entry.length) <= bytes)?;
        let entry = if is_behind { self.behind.pop_front() } else { self.first.pop_first() }?;
        self.is_behind_next = !is_behind;
        Some(entry)
    }

    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.behind.is_empty()
    }
}

/// By place.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.place(), self.time, self.length).cmp(&(other.place(), other.time, other.length))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Entry {
    pub(super) fn place(&self) -> Place {
        (self.segment, self.offset)
    }

    fn age(&self) -> Age {
        (self.time, self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests;
