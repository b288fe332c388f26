//! What a term finds, in order.

use deadpool_postgres::ClientWrapper;
use tokio::sync::OnceCell;
use tokio_postgres::Row;

use super::{source::Source, write::tail};
use crate::store::{
    StoreError,
    postgres::head::{HEAD, Head},
    postings::{self, Direction, Entry, From, Met, Posting, union::Union},
};

/// Blocks of each run that a walk reads in its first round trip, beside the one that its place lies in.
const FIRST_BLOCKS: i64 = 1;
/// And of one run, when they are used up.
const MORE_BLOCKS: i64 = 8;
/// Runs of which one statement answers the first blocks.
const RUNS_AT_A_TIME: usize = 64;

/// The newest first: in one level the one with the greatest number.
const RUNS: &str = "SELECT run FROM posting_runs WHERE level >= 0 ORDER BY level, run DESC";

/// All lists, as one state of the database has them.
pub(in crate::store::postgres) struct Lists<'c> {
    client: &'c ClientWrapper,
    /// Once they are read.
    found: OnceCell<Found>,
}

struct Found {
    /// What was told, one behind the other.
    tail: Vec<Entry>,
    /// The newest first.
    runs: Vec<i64>,
}

/// A walk through a term.
pub(in crate::store::postgres) struct Walk<'c> {
    client: &'c ClientWrapper,
    union: Union<Source>,
    term: i64,
}

impl<'c> Lists<'c> {
    /// Of the transaction that is under way.
    pub(in crate::store::postgres) fn new(client: &'c ClientWrapper) -> Self {
        Self { client, found: OnceCell::new() }
    }

    pub(in crate::store::postgres) async fn walk(&self, term: i64, from: From) -> Result<Walk<'c>, StoreError> {
        let (from, direction) = from.place(term);
        let Found { tail, runs } = self.found.get_or_try_init(async || self.find().await).await?;
        let mut young: Vec<Entry> = tail.iter().filter(|entry| entry.posting.term == term).cloned().collect();
        postings::sort(&mut young);
        let mut sources = vec![Source::of_entries(young, &from, direction)];
        for runs in runs.chunks(RUNS_AT_A_TIME) {
            sources.extend(self.open(runs, term, &from, direction).await?);
        }
        for source in &mut sources {
            source.fill(self.client, MORE_BLOCKS).await?;
        }
        Ok(Walk { client: self.client, union: Union::new(sources, direction)?, term })
    }

    async fn find(&self) -> Result<Found, StoreError> {
        let (head, runs) = tokio::try_join!(self.client.prepare_cached(HEAD), self.client.prepare_cached(RUNS))?;
        let (head, runs) = tokio::try_join!(self.client.query_one(&head, &[]), self.client.query(&runs, &[]))?;
        let runs = runs.iter().map(run).collect::<Result<_, _>>()?;
        Ok(Found { tail: tail(self.client, Head::read(&head)?.marks).await?, runs })
    }

    /// These runs from `from` on, in their order.
    async fn open(
        &self,
        runs: &[i64],
        term: i64,
        from: &Posting,
        direction: Direction,
    ) -> Result<Vec<Source>, StoreError> {
        let select = self.client.prepare_cached(&first(direction)).await?;
        // The least uid that is greater than another is that with a NUL, which no text has here: what begins with
        // either is the same block.
        let uid = from.uid.trim_end_matches('\0');
        let found = self.client.query(&select, &[&from.term, &from.time, &uid, &FIRST_BLOCKS, &runs]).await?;
        let mut sources = Vec::new();
        for blocks in found.chunk_by(|one, other| run(one).ok() == run(other).ok()) {
            let Some(first) = blocks.first() else { continue };
            let mut source = Source::of_run(run(first)?, direction);
            source.take_in(blocks, true)?;
            source.begin(from, term);
            sources.push(source);
        }
        Ok(sources)
    }
}

impl Walk<'_> {
    /// The next booking.
    pub(in crate::store::postgres) async fn next(&mut self) -> Result<Option<Met>, StoreError> {
        for source in self.union.sources() {
            source.fill(self.client, MORE_BLOCKS).await?;
        }
        let next = self.union.next()?.filter(|entry| entry.posting.term == self.term);
        Ok(next.map(Entry::met))
    }
}

fn run(row: &Row) -> Result<i64, tokio_postgres::Error> {
    row.try_get(0)
}

/// The first blocks of each run: of those that begin behind a place, and where it is read onward of the one that begins
/// last before it as well: if any has it, this one does.
pub(super) fn first(direction: Direction) -> String {
    const COLUMNS: &str = "b.run, b.term, b.start_time, b.uid, b.entries";
    let blocks = |beyond: &str, order: &str, limit: &str| {
        format!(
            "(SELECT {COLUMNS} FROM posting_blocks b WHERE b.run = r.run AND (b.term, b.start_time, b.uid) {beyond}
                ($1, $2, $3)
            ORDER BY b.run {order}, b.term {order}, b.start_time {order}, b.uid {order} LIMIT {limit})"
        )
    };
    let (found, order) = match direction {
        Direction::Onward => {
            (format!("{} UNION ALL {}", blocks("<=", "DESC", "1"), blocks(">", "ASC", "$4::bigint")), "ASC")
        }
        Direction::Backward => (blocks("<", "DESC", "1 + $4::bigint"), "DESC"),
    };
    format!(
        "SELECT {COLUMNS} FROM UNNEST($5::bigint[]) WITH ORDINALITY AS r (run, place) CROSS JOIN LATERAL ({found}) b
        ORDER BY r.place, b.term {order}, b.start_time {order}, b.uid {order}"
    )
}
