//! Several sorted lists as one: what a term finds, and what a merge writes.

use std::{cmp::Ordering, collections::BinaryHeap};

use super::{Direction, Entry};
use crate::store::StoreError;

/// One sorted list of postings.
pub(crate) trait Source {
    /// Its next entry.
    fn take(&mut self) -> Result<Option<Entry>, StoreError>;
}

/// Lists as one, the newest first among them.
pub(crate) struct Union<S> {
    sources: Vec<S>,
    heads: BinaryHeap<Head>,
    direction: Direction,
}

/// The next entry of a source.
struct Head {
    entry: Entry,
    source: usize,
    direction: Direction,
}

impl<S: Source> Union<S> {
    pub(crate) fn new(sources: Vec<S>, direction: Direction) -> Result<Self, StoreError> {
        let mut union = Self { heads: BinaryHeap::with_capacity(sources.len()), sources, direction };
        for source in 0..union.sources.len() {
            union.refill(source)?;
        }
        Ok(union)
    }

    /// The next entry, as the newest list that knows it has it. It takes one entry of each source at the most.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        let Some(newest) = self.heads.pop() else { return Ok(None) };
        self.refill(newest.source)?;
        while self.heads.peek().is_some_and(|head| head.entry.posting == newest.entry.posting) {
            if let Some(older) = self.heads.pop() {
                self.refill(older.source)?;
            }
        }
        Ok(Some(newest.entry))
    }

    fn refill(&mut self, source: usize) -> Result<(), StoreError> {
        if let Some(entry) = self.sources[source].take()? {
            self.heads.push(Head { entry, source, direction: self.direction });
        }
        Ok(())
    }
}

impl<S> Union<S> {
    pub(crate) fn sources(&mut self) -> &mut [S] {
        &mut self.sources
    }
}

/// The heap's greatest comes first: the next posting, and of equal ones the newest list's.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let postings = match self.direction {
            Direction::Onward => other.entry.posting.cmp(&self.entry.posting),
            Direction::Backward => self.entry.posting.cmp(&other.entry.posting),
        };
        postings.then(other.source.cmp(&self.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
