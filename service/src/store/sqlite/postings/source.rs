//! One sorted list of postings, read from a place on, in either direction: a run block by block, or the tail.

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{
    StoreError,
    postings::{Direction, Entry, Posting, block, union},
};

/// The block that begins last before a posting: if any has it, this one does.
pub(in crate::store::sqlite) const FENCE: &str =
    "SELECT block FROM fences WHERE run = ?1 AND (term, time, uid) <= (?2, ?3, ?4)
    ORDER BY term DESC, time DESC, uid DESC LIMIT 1";

/// The rest of a list.
pub(super) struct Source<'c> {
    connection: &'c Connection,
    direction: Direction,
    /// In the order in which they are taken, the next one last.
    ready: Vec<Entry>,
    /// The run and its next block.
    next: Option<(i64, i64)>,
}

impl<'c> Source<'c> {
    /// A run from `from` on: onward with it, backward with what lies before it.
    pub(super) fn of_run(
        connection: &'c Connection,
        run: i64,
        from: &Posting,
        direction: Direction,
    ) -> Result<Self, StoreError> {
        let found = connection
            .prepare_cached(FENCE)?
            .query_row(params![run, from.term, from.time, from.uid], |row| row.get(0))
            .optional()?;
        let next = match (found, direction) {
            (Some(block), _) => Some((run, block)),
            (None, Direction::Onward) => Some((run, 0)),
            (None, Direction::Backward) => None,
        };
        let mut source = Self { connection, direction, ready: Vec::new(), next };
        source.read()?;
        source.ready.retain(|entry| direction.has(&entry.posting, from));
        Ok(source)
    }

    /// A list that is at hand, sorted.
    pub(super) fn of_entries(
        connection: &'c Connection,
        entries: Vec<Entry>,
        from: &Posting,
        direction: Direction,
    ) -> Self {
        Self { connection, direction, ready: direction.rest(entries, from), next: None }
    }

    /// The next block, if there is one.
    fn read(&mut self) -> Result<(), StoreError> {
        let Some((run, number)) = self.next.take() else { return Ok(()) };
        let select = "SELECT entries FROM blocks WHERE id = ?1";
        let found: Option<Vec<u8>> =
            self.connection.prepare_cached(select)?.query_row([id(run, number)], |row| row.get(0)).optional()?;
        let Some(bytes) = found else { return Ok(()) };
        self.ready = block::decode(&bytes)?;
        self.next = match self.direction {
            Direction::Onward => {
                self.ready.reverse();
                Some((run, number + 1))
            }
            Direction::Backward => (number > 0).then(|| (run, number - 1)),
        };
        Ok(())
    }
}

impl union::Source for Source<'_> {
    fn take(&mut self) -> Result<Option<Entry>, StoreError> {
        if self.ready.is_empty() {
            self.read()?;
        }
        Ok(self.ready.pop())
    }
}

/// The row of a run's block.
pub(super) fn id(run: i64, number: i64) -> i64 {
    run << 32 | number
}
