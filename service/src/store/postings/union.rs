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

    /// The next entry, as the newest list that knows it has it; whether it is the first, the oldest one knows. It takes
    /// one entry of each source at the most.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        let Some(Head { mut entry, source, .. }) = self.heads.pop() else { return Ok(None) };
        self.refill(source)?;
        while self.heads.peek().is_some_and(|head| head.entry.posting == entry.posting) {
            if let Some(older) = self.heads.pop() {
                entry.is_first = older.entry.is_first;
                self.refill(older.source)?;
            }
        }
        Ok(Some(entry))
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::store::postings::{Posting, sort};

    /// At hand, the next one last.
    struct List(Vec<Entry>);

    impl Source for List {
        fn take(&mut self) -> Result<Option<Entry>, StoreError> {
            Ok(self.0.pop())
        }
    }

    /// The newest list first.
    fn union(lists: &[Vec<Entry>]) -> Vec<Entry> {
        let sources = lists.iter().map(|list| List(list.iter().rev().cloned().collect())).collect();
        let mut union = Union::new(sources, Direction::Onward).unwrap();
        std::iter::from_fn(|| union.next().unwrap()).collect()
    }

    fn found(lists: &[Vec<Entry>]) -> Vec<Posting> {
        union(lists).into_iter().filter(|entry| entry.finds).map(|entry| entry.posting).collect()
    }

    const LISTS: usize = 6;

    /// Of each posting: whether its booking was new when it was first told of, and what which list tells.
    fn lists() -> impl Strategy<Value = Vec<Vec<Entry>>> {
        vec((any::<bool>(), vec(any::<Option<bool>>(), LISTS)), 0..12).prop_map(|postings| {
            let mut lists = vec![Vec::new(); LISTS];
            for (time, (is_new, told)) in (0..).zip(postings) {
                let posting = Posting { term: 1, time, uid: format!("u{time}") };
                let mut is_first = is_new;
                // The oldest last.
                for (list, finds) in lists.iter_mut().zip(told).rev() {
                    let Some(finds) = finds else { continue };
                    list.push(Entry { posting: posting.clone(), finds, is_first });
                    is_first = false;
                }
            }
            lists
        })
    }

    proptest! {
        #[test]
        fn whatever_is_merged_finds_what_it_found(lists in lists(), from in 0..LISTS, to in 0..LISTS) {
            let (from, to) = (from.min(to), from.max(to));
            let mut merged = union(&lists[from..=to]);
            merged.retain(|entry| !entry.is_over());
            let with_merged = [&lists[..from], &[merged], &lists[to + 1..]].concat();
            prop_assert_eq!(found(&with_merged), found(&lists));
        }

        #[test]
        fn what_is_told_in_turn_is_sorted_as_lists_are_merged(lists in lists()) {
            let mut told: Vec<Entry> = lists.iter().rev().flatten().cloned().collect();
            sort(&mut told);
            prop_assert_eq!(told, union(&lists));
        }
    }
}
