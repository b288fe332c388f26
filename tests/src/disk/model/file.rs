//! One file: what the system holds of it, and what is on the disk.

use std::{collections::BTreeMap, ops::Range};

use crate::chance::Chance;

/// The system writes pages.
const PAGE: usize = 4096;
/// The disk writes sectors: a page that it was writing when the power went is torn between two of them.
const SECTOR: usize = 512;

/// What becomes of what was not waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of it is gone.
    Gone,
    /// All of it is there.
    There,
    /// Each part has a fate of its own.
    Mixed,
}

/// A file.
#[derive(Debug, Default)]
pub(super) struct Content {
    now: Vec<u8>,
    /// On the disk.
    kept: Vec<u8>,
    /// Pages that the system is to write.
    dirty: BTreeMap<usize, Dirty>,
    /// How short it has been since the disk knew its length, and when.
    cut: Option<(usize, u64)>,
    /// Counts what is done.
    time: u64,
    /// As of when each page is on the disk, and the length: of two waits at once the earlier may end last.
    page_times: BTreeMap<usize, u64>,
    length_time: u64,
}

/// A page that the disk has otherwise.
#[derive(Debug, Clone)]
struct Dirty {
    /// When it was written to last.
    time: u64,
    /// What of it was written to, in the file: the rest is the same on the disk, and no power cut spoils that.
    written: Range<usize>,
}

/// What a wait for the disk covers.
#[derive(Debug)]
pub(super) struct Begun {
    time: u64,
    length: usize,
    cut: Option<(usize, u64)>,
    pages: Vec<(usize, u64, Vec<u8>)>,
}

impl Fate {
    pub(super) fn by(chance: &mut Chance) -> Self {
        match chance.below(4) {
            0 => Self::Gone,
            1 => Self::There,
            _ => Self::Mixed,
        }
    }

    /// Whether one thing that was not waited for is there.
    pub(super) fn spares(self, chance: &mut Chance) -> bool {
        match self {
            Self::Gone => false,
            Self::There => true,
            Self::Mixed => chance.once_in(2),
        }
    }
}

impl Content {
    /// One that is on the disk.
    pub(super) fn kept(bytes: Vec<u8>) -> Self {
        Self { kept: bytes.clone(), now: bytes, ..Self::default() }
    }

    pub(super) fn now(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[at..end].copy_from_slice(bytes);
        self.time += 1;
        for page in at / PAGE..end.div_ceil(PAGE) {
            self.soil(page, at.max(page * PAGE)..end.min((page + 1) * PAGE));
        }
    }

    fn soil(&mut self, page: usize, range: Range<usize>) {
        let before = self.dirty.get(&page).map_or(range.clone(), |dirty| dirty.written.clone());
        let written = before.start.min(range.start)..before.end.max(range.end);
        self.dirty.insert(page, Dirty { time: self.time, written });
    }

    pub(super) fn cut(&mut self, length: usize) {
        self.time += 1;
        if length < self.now.len() {
            let least = self.cut.map_or(length, |(least, _)| least.min(length));
            self.cut = Some((least, self.time));
            self.dirty.retain(|page, _| page * PAGE < length);
        }
        self.now.resize(length, 0);
        // The rest of its last page is zero from now on.
        if !length.is_multiple_of(PAGE) {
            self.soil(length / PAGE, length..length);
        }
    }

    /// The system writes a page of its own accord.
    pub(super) fn write_back(&mut self, chance: &mut Chance) {
        if self.dirty.is_empty() || self.cut.is_some() {
            return;
        }
        let nth = chance.below(self.dirty.len());
        let (page, time) = self.dirty.iter().nth(nth).map(|(page, dirty)| (*page, dirty.time)).unwrap();
        let bytes = self.page(page).to_vec();
        self.keep_page(page, time, &bytes);
    }

    /// A wait for the disk begins.
    pub(super) fn begin(&self) -> Begun {
        let pages = self.dirty.iter().map(|(page, dirty)| (*page, dirty.time, self.page(*page).to_vec())).collect();
        Begun { time: self.time, length: self.now.len(), cut: self.cut, pages }
    }

    /// It has succeeded.
    pub(super) fn keep(&mut self, begun: &Begun) {
        if let Some((length, time)) = begun.cut
            && time > self.length_time
        {
            self.kept.truncate(length);
        }
        if self.cut == begun.cut {
            self.cut = None;
        }
        for (page, time, bytes) in &begun.pages {
            self.keep_page(*page, *time, bytes);
        }
        // Longer it may have become meanwhile.
        self.kept.resize(self.kept.len().max(begun.length), 0);
        self.length_time = self.length_time.max(begun.time);
    }

    fn keep_page(&mut self, page: usize, time: u64, bytes: &[u8]) {
        self.clean(page, time);
        let kept = self.page_times.entry(page).or_default();
        if *kept < time {
            *kept = time;
            place(&mut self.kept, page * PAGE, bytes);
        }
    }

    /// Unless it was written to since.
    fn clean(&mut self, page: usize, time: u64) {
        if self.dirty.get(&page).is_some_and(|dirty| dirty.time == time) {
            self.dirty.remove(&page);
        }
    }

    /// It has failed: the system calls the pages written, whatever became of them.
    pub(super) fn drop_dirty(&mut self, begun: &Begun, chance: &mut Chance) {
        for (page, time, bytes) in &begun.pages {
            if chance.once_in(4) {
                self.keep_page(*page, *time, bytes);
            } else {
                self.clean(*page, *time);
            }
        }
    }

    /// Is from now on what is really there; true where that is something else.
    pub(super) fn become_now(&mut self, bytes: &[u8]) -> bool {
        if self.now == bytes {
            return false;
        }
        if bytes.len() != self.now.len() {
            self.cut(bytes.len());
        }
        for at in (0..bytes.len()).step_by(PAGE) {
            let page = &bytes[at..bytes.len().min(at + PAGE)];
            if self.now[at..at + page.len()] != *page {
                self.write(at, page);
            }
        }
        true
    }

    /// What a power cut leaves.
    pub(super) fn left(&self, fate: Fate, chance: &mut Chance) -> Vec<u8> {
        let mut left = self.kept.clone();
        if let Some((length, _)) = self.cut
            && fate.spares(chance)
        {
            left.truncate(length);
        }
        let length = self.length_left(fate, chance);
        for (page, dirty) in &self.dirty {
            let bytes = self.page(*page);
            match (fate, chance.below(4)) {
                (Fate::Gone, _) | (Fate::Mixed, 0 | 1) => {}
                (Fate::There, _) | (Fate::Mixed, 2) => place(&mut left, page * PAGE, bytes),
                (Fate::Mixed, _) => tear(&mut left, page * PAGE, bytes, &dirty.written, chance),
            }
        }
        left.resize(length, 0);
        left
    }

    fn length_left(&self, fate: Fate, chance: &mut Chance) -> usize {
        let (kept, now) = (self.kept.len(), self.now.len());
        match (fate, chance.below(3)) {
            (Fate::Gone, _) | (Fate::Mixed, 0) => kept,
            (Fate::There, _) | (Fate::Mixed, 1) => now,
            // It grew bit by bit; a file that is cut is cut at once.
            (Fate::Mixed, _) if kept < now => kept + chance.below(now - kept),
            (Fate::Mixed, _) => now,
        }
    }

    fn page(&self, page: usize) -> &[u8] {
        &self.now[self.now.len().min(page * PAGE)..self.now.len().min((page + 1) * PAGE)]
    }
}

fn place(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if into.len() < at + bytes.len() {
        into.resize(at + bytes.len(), 0);
    }
    into[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Of each sector of a page what was there, what was to be, or neither where it was being written to.
fn tear(into: &mut Vec<u8>, at: usize, page: &[u8], written: &Range<usize>, chance: &mut Chance) {
    for (number, sector) in page.chunks(SECTOR).enumerate() {
        let at = at + number * SECTOR;
        if chance.once_in(2) {
            place(into, at, sector);
        }
        let torn = written.start.max(at)..written.end.min(at + sector.len());
        if chance.once_in(16) && !torn.is_empty() {
            let garbled: Vec<u8> = torn.clone().map(|_| chance.number().to_le_bytes()[0]).collect();
            place(into, torn.start, &garbled);
        }
    }
}
