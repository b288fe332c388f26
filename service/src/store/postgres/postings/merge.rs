//! Merging runs, aside from the rounds: a task reads the runs of a level that has enough of them, and writes the merged
//! one a few blocks at a time.
//!
//! Any number of services share the runs. Who merges says so behind the lock of the head, by a run of its own that no
//! list reads yet; others leave it to that one, unless it has said nothing for a while. What lists read depends on no
//! clock: the merged run is shown, in place of those that it was made of, in one transaction that finds all of them as
//! they were, or not at all. Numbers are never given twice. What is lost of all this with the server's machine is its
//! end, which is merged again: so nothing waits for the disk.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::ClientWrapper;
use tokio::{
    sync::Notify,
    task::{AbortHandle, yield_now},
    time::{Instant, sleep},
};
use tokio_postgres::{Error, types::ToSql};
use tracing::warn;

use super::{
    GONE, MAKING,
    source::Source,
    write::{Row, record},
};
use crate::store::{
    Micros, StoreError,
    postgres::{
        connection::{Connections, Lease},
        head::{BEGIN, Head, LOCK_HEAD},
        records::Records,
    },
    postings::{Direction, FAN, block::Block, union::Union},
};

/// Blocks that are written, or removed, in one transaction.
const BLOCKS_AT_A_TIME: usize = 64;
/// Blocks of one run that are read at a time.
const BLOCKS_READ: i64 = 16;
/// Whoever makes a run says so again after this at the latest; [`RUNS`] waits longer for it.
const TOUCH_INTERVAL: Duration = Duration::from_secs(2);
/// After a failure, and where another one merges: until the next look.
const PAUSE: Duration = Duration::from_secs(10);

/// What holds on the connection, whatever the database's own defaults are: a statement by itself is a transaction.
const SETTINGS: &str = "SET synchronous_commit = off;
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE";
/// Runs, and whether each is being made by somebody who has said so of late. A server whose clock was set back knows no
/// late.
const RUNS: &str = "SELECT run, level, touch_time BETWEEN now() - INTERVAL '10 s' AND now() + INTERVAL '10 s'
    FROM posting_runs ORDER BY run";
const MAKE: &str = "WITH h AS (UPDATE head SET run = $1) INSERT INTO posting_runs (run, level) VALUES ($1, $2)";
/// Nothing is written where another one has taken the run for abandoned.
const WRITE: &str = "WITH
    mine AS (UPDATE posting_runs SET touch_time = now() WHERE run = $1 AND level = $2 RETURNING run)
    INSERT INTO posting_blocks (run, term, start_time, uid, entries)
    SELECT mine.run, b.* FROM mine CROSS JOIN UNNEST($3::block_row[]) AS b";
const CHANGE: &str = "UPDATE posting_runs SET level = $3 WHERE run = ANY($1::bigint[]) AND level = $2";
/// One that its maker writes to at this moment is not abandoned, and nobody waits for it behind the head.
const ABANDON: &str = "UPDATE posting_runs SET level = $3 WHERE run IN
    (SELECT run FROM posting_runs WHERE run = ANY($1::bigint[]) AND level = $2 FOR UPDATE SKIP LOCKED)
    RETURNING run";
/// Answers what it has met, whoever removed it: two may remove a run at once.
const REMOVE: &str = "WITH
    chunk AS (SELECT run, term, start_time, uid FROM posting_blocks
        WHERE run = $1 AND (term, start_time, uid) >= ($2, $3, $4) ORDER BY run, term, start_time, uid LIMIT $5),
    removed AS (DELETE FROM posting_blocks b USING chunk c
        WHERE b.run = c.run AND b.term = c.term AND b.start_time = c.start_time AND b.uid = c.uid)
    SELECT term, start_time, uid FROM chunk";
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
    let mut is_failing = false;
    loop {
        match work(&connections).await {
            Ok(Left::Nothing) => {
                is_failing = false;
                wake.notified().await;
            }
            Ok(Left::ToAnother) => {
                is_failing = false;
                sleep(PAUSE).await;
            }
            Err(error) => {
                if !is_failing {
                    warn!(%error, "postings could not be merged: lists are slower until they are; trying again");
                }
                is_failing = true;
                sleep(PAUSE).await;
            }
        }
    }
}

/// What there is to merge behind a piece of work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// Another service merges, or seems to.
    ToAnother,
}

/// All that there is to do.
pub(super) async fn work(connections: &Connections) -> Result<Left, StoreError> {
    let lease = connections.lease().await?;
    lease.batch_execute(SETTINGS).await?;
    let left = loop {
        match claim(&lease).await? {
            Claim::Nothing => break Left::Nothing,
            Claim::OfAnother => break Left::ToAnother,
            Claim::Remove(gone) => {
                for run in gone {
                    remove(&lease, run).await?;
                }
            }
            Claim::Merge(merge) => merge.make(&lease).await?,
        }
    };
    lease.give_back();
    Ok(left)
}

/// What one service does next.
pub(super) enum Claim {
    Nothing,
    OfAnother,
    /// Runs that no list reads.
    Remove(Vec<i64>),
    /// And no other service does it.
    Merge(Merge),
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
    let [runs, make, abandon] = [RUNS, MAKE, ABANDON].map(|statement| lease.prepare_cached(statement));
    let (runs, make, abandon, lock) = tokio::try_join!(runs, make, abandon, lease.prepare_cached(LOCK_HEAD))?;
    let list = async || {
        let found = lease.query(&runs, &[]).await?;
        found.iter().map(read).collect::<Result<Vec<_>, _>>()
    };
    // Nearly always there is nothing, and the head is left to the rounds.
    if let claim @ (Claim::Nothing | Claim::OfAnother) = choose(&list().await?, 0) {
        return Ok(claim);
    }
    let begun = async { tokio::try_join!(biased; lease.batch_execute(BEGIN), lease.query_one(&lock, &[])) };
    let (((), head), listed) = tokio::try_join!(biased; begun, list())?;
    let mut claim = choose(&listed, Head::read(&head)?.marks.run);
    match &mut claim {
        Claim::Nothing | Claim::OfAnother => {}
        Claim::Remove(gone) => {
            // Whoever made them writes no more; who writes at this moment is none of them.
            let found = lease.query(&abandon, &[gone, &MAKING, &GONE]).await?;
            let abandoned: Vec<i64> = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
            let was_gone = |run: i64| listed.iter().any(|listed| listed.run == run && listed.level == GONE);
            gone.retain(|run| was_gone(*run) || abandoned.contains(run));
            if gone.is_empty() {
                claim = Claim::OfAnother;
            }
        }
        Claim::Merge(merge) => {
            lease.execute(&make, &[&merge.run, &MAKING]).await?;
        }
    }
    lease.batch_execute("COMMIT").await?;
    Ok(claim)
}

fn read(row: &tokio_postgres::Row) -> Result<Listed, Error> {
    Ok(Listed { run: row.try_get(0)?, level: row.try_get(1)?, is_fresh: row.try_get(2)? })
}

/// `last` is the last number that a run was given.
fn choose(runs: &[Listed], last: i64) -> Claim {
    let of_level = |level: i32| runs.iter().filter(move |run| run.level == level).map(|run| run.run);
    // What is gone is removed first, and by itself: a run that is made must not seem abandoned meanwhile.
    let gone = |run: &&Listed| run.level == GONE || (run.level == MAKING && !run.is_fresh);
    let gone: Vec<i64> = runs.iter().filter(gone).map(|run| run.run).collect();
    if !gone.is_empty() {
        return Claim::Remove(gone);
    }
    if runs.iter().any(|run| run.level == MAKING) {
        return Claim::OfAnother;
    }
    let is_full = |level: &i32| of_level(*level).count() >= FAN;
    let Some(level) = runs.iter().map(|run| run.level).filter(is_full).min() else { return Claim::Nothing };
    let mut of: Vec<i64> = of_level(level).collect();
    of.sort_unstable();
    of.truncate(FAN);
    of.reverse();
    Claim::Merge(Merge { run: last + 1, level, of, is_last: runs.iter().all(|run| run.level <= level) })
}

impl Merge {
    pub(super) async fn make(self, lease: &Lease) -> Result<(), StoreError> {
        let mut sources: Vec<Source> = self.of.iter().map(|run| Source::of_whole_run(*run)).collect();
        for source in &mut sources {
            source.fill(lease, BLOCKS_READ).await?;
        }
        let mut union = Union::new(sources, Direction::Onward)?;
        let (mut block, mut blocks, mut touched) = (Block::default(), Vec::new(), Instant::now());
        loop {
            for source in union.sources() {
                source.fill(lease, BLOCKS_READ).await?;
            }
            // What finds nothing may be all that there is for a long time.
            if blocks.len() == BLOCKS_AT_A_TIME || touched.elapsed() > TOUCH_INTERVAL {
                if !self.write(lease, std::mem::take(&mut blocks)).await? {
                    return Ok(());
                }
                touched = Instant::now();
            }
            let Some(entry) = union.next()? else { break };
            if entry.is_over() || (self.is_last && !entry.finds) {
                continue;
            }
            block.push(&entry);
            if block.is_full() {
                blocks.extend(std::mem::take(&mut block).finish());
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

    /// Whether the run is still ours; of no blocks nobody can say.
    async fn write(&self, client: &ClientWrapper, blocks: Vec<Row>) -> Result<bool, StoreError> {
        let write = client.prepare_cached(WRITE).await?;
        let values = Records { rows: &blocks, write: record };
        let written = client.execute(&write, &[&self.run, &MAKING, &values]).await?;
        Ok(usize::try_from(written) == Ok(blocks.len()))
    }

    /// Shows it in place of those that it was made of. Whether all were as they had been.
    async fn show(&self, client: &ClientWrapper) -> Result<bool, StoreError> {
        let (lock, change) = tokio::try_join!(client.prepare_cached(LOCK_HEAD), client.prepare_cached(CHANGE))?;
        let (own, next) = ([self.run], self.level + 1);
        let own: [&(dyn ToSql + Sync); 3] = [&own.as_slice(), &MAKING, &next];
        let others: [&(dyn ToSql + Sync); 3] = [&self.of, &self.level, &GONE];
        let ((), _, shown, replaced) = tokio::try_join!(
            biased;
            client.batch_execute(BEGIN),
            client.query_one(&lock, &[]),
            client.execute(&change, &own),
            client.execute(&change, &others),
        )?;
        if shown != 1 || usize::try_from(replaced) != Ok(self.of.len()) {
            client.batch_execute("ROLLBACK").await?;
            return Ok(false);
        }
        client.batch_execute("COMMIT").await?;
        Ok(true)
    }
}

/// Removes a run that no list reads.
pub(super) async fn remove(client: &ClientWrapper, run: i64) -> Result<(), StoreError> {
    let chunk = i64::try_from(BLOCKS_AT_A_TIME).unwrap_or(i64::MAX);
    let remove = client.prepare_cached(REMOVE).await?;
    // Each chunk begins where the last one ended: what is removed lies in the way until it is vacuumed.
    let mut from = (i64::MIN, Micros::MIN, String::new());
    loop {
        let met = client.query(&remove, &[&run, &from.0, &from.1, &from.2, &chunk]).await?;
        for row in &met {
            from = from.max((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        }
        if met.len() < BLOCKS_AT_A_TIME {
            break;
        }
    }
    client.execute(REMOVE_RUN, &[&run]).await?;
    Ok(())
}
