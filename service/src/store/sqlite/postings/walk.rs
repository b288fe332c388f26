//! All lists together as one, sorted: what a term finds, and what a merge writes.

use std::{cmp::Ordering, collections::BinaryHeap};

use rusqlite::Connection;

use super::{
    Entry, Posting, block,
    source::{Direction, Source},
};
use crate::store::{Micros, StoreError};

/// Where a walk through a term begins, and which way it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::sqlite) enum From {
    /// On from this time, or from what follows the booking at it.
    Onward(Micros, Option<String>),
    /// Back from what precedes the booking at this time, or from the time itself.
    Backward(Micros, Option<String>),
}

/// A booking that a term finds, or found once.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store::sqlite) struct Met {
    /// Under the term.
    pub(in crate::store::sqlite) time: Micros,
    pub(in crate::store::sqlite) uid: String,
    /// It does so still. What is left of the others goes with a merge; until then it costs a look.
    pub(in crate::store::sqlite) finds: bool,
}

/// What a term finds, in order.
pub(in crate::store::sqlite) struct Walk<'c> {
    union: Union<'c>,
    term: i64,
}

impl<'c> Walk<'c> {
    pub(in crate::store::sqlite) fn open(
        connection: &'c Connection,
        term: i64,
        from: From,
    ) -> Result<Self, StoreError> {
        let (from, direction) = match from {
            // The least uid that is greater.
            From::Onward(time, Some(uid)) => (Posting { term, time, uid: uid + "\0" }, Direction::Onward),
            From::Onward(time, None) => (Posting { term, time, uid: String::new() }, Direction::Onward),
            From::Backward(time, Some(uid)) => (Posting { term, time, uid }, Direction::Backward),
            From::Backward(time, None) => (behind(term, time), Direction::Backward),
        };
        let mut sources = vec![Source::of_entries(connection, tail(connection, Some(term))?, &from, direction)];
        let mut select = connection.prepare_cached("SELECT run FROM runs WHERE level >= 0 ORDER BY level, run DESC")?;
        for run in select.query_map([], |row| row.get(0))? {
            sources.push(Source::of_run(connection, run?, &from, direction)?);
        }
        Ok(Self { union: Union::new(sources, direction)?, term })
    }

    /// The next booking.
    pub(in crate::store::sqlite) fn next(&mut self) -> Result<Option<Met>, StoreError> {
        let next = self.union.next()?.filter(|entry| entry.posting.term == self.term);
        Ok(next.map(|Entry { posting, finds }| Met { time: posting.time, uid: posting.uid, finds }))
    }
}

/// Beyond every posting of a term at a time.
fn behind(term: i64, time: Micros) -> Posting {
    match (time.checked_add(1), term.checked_add(1)) {
        (Some(time), _) => Posting { term, time, uid: String::new() },
        (None, Some(term)) => Posting { term, time: Micros::MIN, uid: String::new() },
        (None, None) => Posting { term, time, uid: char::MAX.to_string().repeat(256) },
    }
}

/// The tail, of one term or of all, sorted; of postings that are told twice what was told last.
pub(super) fn tail(connection: &Connection, term: Option<i64>) -> Result<Vec<Entry>, StoreError> {
    let mut select = connection.prepare_cached("SELECT entries FROM tail ORDER BY id")?;
    let mut rows = select.query([])?;
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(row) = rows.next()? {
        let told = block::decode(row.get_ref(0)?.as_blob().map_err(|_| block::damage())?)?;
        entries.extend(told.into_iter().filter(|entry| term.is_none_or(|term| entry.posting.term == term)));
    }
    // Stable: what was told last stands last among its equals.
    entries.sort_by(|one, other| one.posting.cmp(&other.posting));
    entries.reverse();
    entries.dedup_by(|later, earlier| later.posting == earlier.posting);
    entries.reverse();
    Ok(entries)
}

/// Several lists as one, the newest first among them.
pub(super) struct Union<'c> {
    sources: Vec<Source<'c>>,
    heads: BinaryHeap<Head>,
    direction: Direction,
}

/// The next entry of a source.
struct Head {
    entry: Entry,
    source: usize,
    direction: Direction,
}

impl<'c> Union<'c> {
    pub(super) fn new(sources: Vec<Source<'c>>, direction: Direction) -> Result<Self, StoreError> {
        let mut union = Self { heads: BinaryHeap::with_capacity(sources.len()), sources, direction };
        for source in 0..union.sources.len() {
            union.refill(source)?;
        }
        Ok(union)
    }

    /// The next entry, as the newest list that knows it has it.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, StoreError> {
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
