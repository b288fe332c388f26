//! Merging runs, aside from the rounds: a task reads the runs of a level that has enough of them, and writes the merged
//! one a few blocks at a time.
//!
//! Any number of services share the runs. Who merges says so behind the lock of the head, by a run of its own that no
//! list reads yet; others leave it to that one, unless it has written nothing for a while. Nothing depends on clocks:
//! the merged run is shown, in place of those that it was made of, in one transaction that finds all of them as they
//! were, or not at all. Numbers are never given twice. What is lost of all this with the server's machine is its end,
//! which is merged again: so nothing waits for the disk.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::ClientWrapper;
use tokio::{
    sync::Notify,
    task::{AbortHandle, yield_now},
    time::sleep,
};
use tracing::warn;

use super::{
    GONE, Head, LOCK_HEAD, MAKING,
    source::Source,
    write::{Row, record},
};
use crate::store::{
    Micros, StoreError,
    postgres::{
        commit::BEGIN,
        connection::{Connections, Lease},
        records::Records,
    },
    postings::{Direction, FAN, block::Block, union::Union},
};

/// Blocks that are written, or removed, in one transaction.
const BLOCKS_AT_A_TIME: usize = 64;
/// Blocks of one run that are read at a time.
const BLOCKS_READ: i64 = 16;
/// After a failure: each full tail would be another one, and another line in the log.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Runs, and whether each is being made by somebody who has written of late.
const RUNS: &str = "SELECT run, level, touch_time > now() - INTERVAL '10 s' FROM posting_runs ORDER BY run";
const MAKE: &str = "WITH h AS (UPDATE head SET run = $1) INSERT INTO posting_runs (run, level) VALUES ($1, $2)";
/// Nothing is written where another one has taken the run for abandoned.
const WRITE: &str = "WITH
    mine AS (UPDATE posting_runs SET touch_time = now() WHERE run = $1 AND level = $2 RETURNING run)
    INSERT INTO posting_blocks (run, term, start_time, uid, entries)
    SELECT mine.run, b.* FROM mine CROSS JOIN UNNEST($3::block_row[]) AS b";
const CHANGE: &str = "UPDATE posting_runs SET level = $3 WHERE run = ANY($1::bigint[]) AND level = $2";
const REMOVE: &str = "WITH chunk AS (SELECT run, term, start_time, uid FROM posting_blocks
        WHERE run = $1 AND (term, start_time, uid) >= ($2, $3, $4) ORDER BY run, term, start_time, uid LIMIT $5)
    DELETE FROM posting_blocks b USING chunk c
    WHERE b.run = c.run AND b.term = c.term AND b.start_time = c.start_time AND b.uid = c.uid
    RETURNING b.term, b.start_time, b.uid";
const REMOVE_RUN: &str = "DELETE FROM posting_runs WHERE run = $1";

/// The task that merges. Dropping it ends the task.
#[derive(Debug)]
pub(in crate::store::postgres) struct Merger {
    wake: Arc<Notify>,
    task: AbortHandle,
}

impl Merger {
    /// `connections` are its own.
    pub(in crate::store::postgres) fn start(connections: Connections) -> Self {
        let wake = Arc::new(Notify::new());
        let task = tokio::spawn(run(connections, Arc::clone(&wake))).abort_handle();
        Self { wake, task }
    }

    /// There may be something to merge.
    pub(in crate::store::postgres) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(in crate::store::postgres) fn close(&self) {
        self.task.abort();
    }
}

impl Drop for Merger {
    fn drop(&mut self) {
        self.close();
    }
}

async fn run(connections: Connections, wake: Arc<Notify>) {
    loop {
        if let Err(error) = work(&connections).await {
            warn!(%error, "postings could not be merged: lists are slower until they are");
            sleep(RETRY_PAUSE).await;
        }
        wake.notified().await;
    }
}

/// All that there is to do.
pub(super) async fn work(connections: &Connections) -> Result<(), StoreError> {
    let lease = connections.lease().await?;
    lease.batch_execute("SET synchronous_commit = off").await?;
    loop {
        let Claim { gone, merge } = claim(&lease).await?;
        if gone.is_empty() && merge.is_none() {
            break;
        }
        for run in gone {
            remove(&lease, run).await?;
        }
        if let Some(merge) = merge {
            merge.make(&lease).await?;
        }
    }
    lease.give_back();
    Ok(())
}

/// What one service does next, and no other one.
#[derive(Default)]
pub(super) struct Claim {
    /// Runs that are to be removed.
    gone: Vec<i64>,
    pub(super) merge: Option<Merge>,
}

/// Runs that are merged into one of the next level.
pub(super) struct Merge {
    run: i64,
    level: i32,
    /// The newest first.
    of: Vec<i64>,
    /// No older run is left to hide something in: what finds nothing is left out.
    is_last: bool,
}

/// What the row of a run says.
struct Listed {
    run: i64,
    level: i32,
    is_fresh: bool,
}

pub(super) async fn claim(lease: &Lease) -> Result<Claim, StoreError> {
    lease.batch_execute(BEGIN).await?;
    let head = Head::read(&lease.query_one(LOCK_HEAD, &[]).await?)?;
    let read = |row: &tokio_postgres::Row| -> Result<Listed, tokio_postgres::Error> {
        Ok(Listed { run: row.try_get(0)?, level: row.try_get(1)?, is_fresh: row.try_get(2)? })
    };
    let listed: Vec<Listed> = lease.query(RUNS, &[]).await?.iter().map(read).collect::<Result<_, _>>()?;
    let claim = choose(&listed, head.marks.run);
    let of_level = |level: i32| listed.iter().filter(move |run| run.level == level).map(|run| run.run);
    let abandoned: Vec<i64> = of_level(MAKING).filter(|run| claim.gone.contains(run)).collect();
    if !abandoned.is_empty() {
        // Whoever made them writes no more.
        lease.execute(CHANGE, &[&abandoned, &MAKING, &GONE]).await?;
    }
    if let Some(merge) = &claim.merge {
        lease.execute(MAKE, &[&merge.run, &MAKING]).await?;
    }
    lease.batch_execute("COMMIT").await?;
    Ok(claim)
}

/// `last` is the last number that a run was given.
fn choose(runs: &[Listed], last: i64) -> Claim {
    if runs.iter().any(|run| run.level == MAKING && run.is_fresh) {
        return Claim::default();
    }
    let gone = runs.iter().filter(|run| run.level < 0).map(|run| run.run).collect();
    let of_level = |level: i32| runs.iter().filter(move |run| run.level == level).map(|run| run.run);
    let is_full = |level: &i32| of_level(*level).count() >= FAN;
    let full = runs.iter().map(|run| run.level).filter(|level| *level >= 0).filter(is_full).min();
    let merge = full.map(|level| {
        let mut of: Vec<i64> = of_level(level).collect();
        of.sort_unstable();
        of.truncate(FAN);
        of.reverse();
        Merge { run: last + 1, level, of, is_last: runs.iter().all(|run| run.level <= level) }
    });
    Claim { gone, merge }
}

impl Merge {
    pub(super) async fn make(self, lease: &Lease) -> Result<(), StoreError> {
        let mut sources: Vec<Source> = self.of.iter().map(|run| Source::of_whole_run(*run)).collect();
        for source in &mut sources {
            source.fill(lease, BLOCKS_READ).await?;
        }
        let mut union = Union::new(sources, Direction::Onward)?;
        let (mut block, mut blocks) = (Block::default(), Vec::new());
        loop {
            for source in union.sources() {
                source.fill(lease, BLOCKS_READ).await?;
            }
            let Some(entry) = union.next()? else { break };
            if self.is_last && !entry.finds {
                continue;
            }
            block.push(&entry);
            if block.is_full() {
                blocks.extend(std::mem::take(&mut block).finish());
                if blocks.len() == BLOCKS_AT_A_TIME && !self.write(lease, std::mem::take(&mut blocks)).await? {
                    return Ok(());
                }
                yield_now().await;
            }
        }
        blocks.extend(block.finish());
        if !self.write(lease, blocks).await? || !self.show(lease).await? {
            return Ok(());
        }
        for run in self.of {
            remove(lease, run).await?;
        }
        Ok(())
    }

    /// Whether the run is still ours.
    async fn write(&self, client: &ClientWrapper, blocks: Vec<Row>) -> Result<bool, StoreError> {
        let write = client.prepare_cached(WRITE).await?;
        let values = Records { rows: &blocks, write: record };
        let written = client.execute(&write, &[&self.run, &MAKING, &values]).await?;
        Ok(usize::try_from(written) == Ok(blocks.len()))
    }

    /// Shows it in place of those that it was made of. Whether all were as they had been.
    async fn show(&self, client: &ClientWrapper) -> Result<bool, StoreError> {
        client.batch_execute(BEGIN).await?;
        client.query_one(LOCK_HEAD, &[]).await?;
        let shown = client.execute(CHANGE, &[&[self.run].as_slice(), &MAKING, &(self.level + 1)]).await?;
        let replaced = client.execute(CHANGE, &[&self.of, &self.level, &GONE]).await?;
        if shown != 1 || usize::try_from(replaced) != Ok(self.of.len()) {
            client.batch_execute("ROLLBACK").await?;
            return Ok(false);
        }
        client.batch_execute("COMMIT").await?;
        Ok(true)
    }
}

/// Removes a run that no list reads.
async fn remove(client: &ClientWrapper, run: i64) -> Result<(), StoreError> {
    let chunk = i64::try_from(BLOCKS_AT_A_TIME).unwrap_or(i64::MAX);
    let remove = client.prepare_cached(REMOVE).await?;
    // Each chunk begins where the last one ended: what is removed lies in the way until it is vacuumed.
    let mut from = (i64::MIN, Micros::MIN, String::new());
    loop {
        let removed = client.query(&remove, &[&run, &from.0, &from.1, &from.2, &chunk]).await?;
        for row in &removed {
            from = from.max((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        }
        if removed.len() < BLOCKS_AT_A_TIME {
            break;
        }
    }
    client.execute(REMOVE_RUN, &[&run]).await?;
    Ok(())
}
