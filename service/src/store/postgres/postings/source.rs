//! One sorted list of postings, read from a place on, in either direction: a run, some blocks at a time, or the tail.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;

use crate::store::{
    StoreError,
    postings::{Direction, Entry, FIRST, Posting, block, union},
};

/// The rest of a list.
pub(super) struct Source {
    run: i64,
    direction: Direction,
    /// In the order in which they are taken, the next one last.
    ready: Vec<Entry>,
    /// Behind which block there may be more: its first posting.
    behind: Option<Posting>,
}

impl Source {
    /// A list that is at hand, sorted.
    pub(super) fn of_entries(entries: Vec<Entry>, from: &Posting, direction: Direction) -> Self {
        Self { run: 0, direction, ready: direction.rest(entries, from), behind: None }
    }

    /// A run of which nothing was read.
    pub(super) fn of_run(run: i64, direction: Direction) -> Self {
        Self { run, direction, ready: Vec::new(), behind: None }
    }

    /// All of a run, from its first posting on.
    pub(super) fn of_whole_run(run: i64) -> Self {
        // No posting is before it, and none lies at it: every uid has a letter.
        Self { behind: Some(FIRST), ..Self::of_run(run, Direction::Onward) }
    }

    /// Takes in what a statement found: blocks in the order in which they are read, each with its first posting. `more`
    /// says whether there may be others.
    pub(super) fn take_in(&mut self, blocks: &[Row], more: bool) -> Result<(), StoreError> {
        self.behind = None;
        for row in blocks {
            let first = Posting { term: row.try_get(1)?, time: row.try_get(2)?, uid: row.try_get(3)? };
            let mut entries = block::decode(row.try_get(4)?)?;
            if self.direction == Direction::Onward {
                entries.reverse();
            }
            // The next one last.
            entries.append(&mut self.ready);
            self.ready = entries;
            self.behind = more.then_some(first);
        }
        Ok(())
    }

    /// Leaves what was read before `from`, and asks for nothing behind the term.
    pub(super) fn begin(&mut self, from: &Posting, term: i64) {
        let direction = self.direction;
        self.ready.retain(|entry| direction.has(&entry.posting, from));
        self.behind.take_if(|behind| behind.term != term);
    }

    /// Sees to it that there is an entry to take, if the list has one, reading so many blocks at a time.
    pub(super) async fn fill(&mut self, client: &ClientWrapper, blocks: i64) -> Result<(), StoreError> {
        while self.ready.is_empty()
            && let Some(behind) = self.behind.take()
        {
            let select = client.prepare_cached(&more(self.direction)).await?;
            let found = client.query(&select, &[&self.run, &behind.term, &behind.time, &behind.uid, &blocks]).await?;
            let more = i64::try_from(found.len()).is_ok_and(|found| found == blocks);
            self.take_in(&found, more)?;
        }
        Ok(())
    }
}

impl union::Source for Source {
    fn take(&mut self) -> Result<Option<Entry>, StoreError> {
        Ok(self.ready.pop())
    }
}

/// Blocks of a run behind a place.
pub(super) fn more(direction: Direction) -> String {
    let (beyond, order) = match direction {
        Direction::Onward => (">", "ASC"),
        Direction::Backward => ("<", "DESC"),
    };
    format!(
        "SELECT run, term, start_time, uid, entries FROM posting_blocks
        WHERE run = $1 AND (term, start_time, uid) {beyond} ($2, $3, $4)
        ORDER BY run {order}, term {order}, start_time {order}, uid {order} LIMIT $5"
    )
}
