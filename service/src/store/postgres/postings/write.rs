//! Writing postings: into the tail by each round, and by the one that fills it as a run. Each is part of its caller's
//! transaction, behind the lock of the head.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Error;

use super::TAIL_MAX;
use crate::store::{
    StoreError,
    postgres::{
        head::Marks,
        records::{Fault, Record, Records},
    },
    postings::{self, Entry, Posting, block},
};

/// Rows of the tail. The planner is told of them one by one: it knows nothing of how far the tail goes.
pub(in crate::store::postgres) const TAIL: &str =
    "SELECT entries FROM posting_tail WHERE number = ANY($1::bigint[]) ORDER BY number";
/// A whole run, in place of rows of the tail.
pub(in crate::store::postgres) const SORTED: &str = "WITH
    r AS (INSERT INTO posting_runs (run, level) VALUES ($1, $2)),
    t AS (DELETE FROM posting_tail WHERE number = ANY($3::bigint[]))
    INSERT INTO posting_blocks (run, term, start_time, uid, entries) SELECT $1, b.* FROM UNNEST($4::block_row[]) AS b";

/// A block that is to be written: its first posting, and all of them encoded.
pub(super) type Row = (Posting, Vec<u8>);

/// Level of the runs that a migration makes: as large as merged ones.
const FILLED_LEVEL: i32 = 1;

/// What a round writes of postings.
pub(in crate::store::postgres) struct Postings {
    /// As they are behind it.
    pub(in crate::store::postgres) marks: Marks,
    /// Rows that the tail gets.
    pub(in crate::store::postgres) tail: Vec<Vec<u8>>,
    run: Option<Run>,
}

/// A run that is made of the tail.
struct Run {
    number: i64,
    /// The tail's rows that go into it.
    of: Vec<i64>,
    blocks: Vec<Row>,
}

impl Postings {
    /// Of what a round says, in order. A tail that it fills is read.
    pub(in crate::store::postgres) async fn plan(
        client: &ClientWrapper,
        before: Marks,
        told: Vec<Entry>,
    ) -> Result<Self, StoreError> {
        let count = i64::try_from(told.len()).unwrap_or(i64::MAX);
        let entries = before.entries.saturating_add(count);
        if entries >= i64::try_from(TAIL_MAX).unwrap_or(i64::MAX) {
            let mut all = tail(client, before).await?;
            all.extend(told);
            postings::sort(&mut all);
            all.retain(|entry| !entry.is_over());
            let (number, of) = (before.run + 1, rows(before));
            let run = Run { number, of, blocks: blocks(&all) };
            let marks = Marks { start: before.end, entries: 0, run: number, ..before };
            return Ok(Self { marks, tail: Vec::new(), run: Some(run) });
        }
        let tail: Vec<Vec<u8>> = blocks(&told).into_iter().map(|(_, bytes)| bytes).collect();
        let end = before.end + i64::try_from(tail.len()).unwrap_or_default();
        Ok(Self { marks: Marks { end, entries, ..before }, tail, run: None })
    }

    /// A run was made of the tail.
    pub(in crate::store::postgres) fn has_sorted(&self) -> bool {
        self.run.is_some()
    }

    /// Writes the run, if there is one; the tail and the marks go with the head.
    pub(in crate::store::postgres) async fn write_run(&self, client: &ClientWrapper) -> Result<(), Error> {
        let Some(Run { number, of, blocks }) = &self.run else { return Ok(()) };
        write_run(client, (*number, 0), of, blocks).await
    }
}

/// Writes a run of its own of what a migration found.
pub(in crate::store::postgres) async fn fill(
    client: &ClientWrapper,
    mut entries: Vec<Entry>,
) -> Result<(), StoreError> {
    const NUMBER: &str = "UPDATE head SET run = run + 1 RETURNING run";
    postings::sort(&mut entries);
    let number = client.query_one(NUMBER, &[]).await?.try_get(0)?;
    Ok(write_run(client, (number, FILLED_LEVEL), &[], &blocks(&entries)).await?)
}

async fn write_run(
    client: &ClientWrapper,
    (number, level): (i64, i32),
    of: &[i64],
    blocks: &[Row],
) -> Result<(), Error> {
    let sorted = client.prepare_cached(SORTED).await?;
    client.execute(&sorted, &[&number, &level, &of, &Records { rows: blocks, write: record }]).await?;
    Ok(())
}

/// What the tail tells, one behind the other.
pub(super) async fn tail(client: &ClientWrapper, marks: Marks) -> Result<Vec<Entry>, StoreError> {
    let select = client.prepare_cached(TAIL).await?;
    let mut entries = Vec::new();
    for row in client.query(&select, &[&rows(marks)]).await? {
        entries.extend(block::decode(row.try_get(0)?)?);
    }
    Ok(entries)
}

/// The tail's rows.
fn rows(marks: Marks) -> Vec<i64> {
    (marks.start + 1..=marks.end).collect()
}

/// As blocks.
fn blocks(entries: &[Entry]) -> Vec<Row> {
    block::cut(entries).into_iter().filter_map(block::Block::finish).collect()
}

/// A block, in the columns of its type.
pub(super) fn record((first, entries): &Row, record: &mut Record<'_>) -> Result<(), Fault> {
    record.put(&[&first.term, &first.time, &first.uid, &entries.as_slice()])
}
