//! Merging runs, aside from the rounds: a thread reads runs that are full in number and has the writer write the merged
//! one, a few blocks at a time, so that a round waits for a few milliseconds at the most.
//!
//! Runs never change, so they are read without holding on to one state of the database. A merged run is shown, and
//! those that it replaces are hidden, in one transaction; what a crash leaves half made is removed after the next
//! start.

use std::{
    path::PathBuf,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tracing::warn;

use super::{
    source::{Source, id},
    write,
};
use crate::store::{
    StoreError,
    postings::{Direction, FAN, FIRST, block::Block, union::Union},
    sqlite::schema,
};

/// Blocks that are written, or removed, in one transaction.
const BLOCKS_AT_A_TIME: usize = 64;

/// What the writer is asked to do.
#[derive(Debug)]
pub(in crate::store::sqlite) enum Step {
    /// Make a run that is not shown; answers its number.
    Make,
    /// Write some of its blocks.
    Write { run: i64, first: i64, blocks: Vec<Block> },
    /// Show it in place of others.
    Show { run: i64, level: i64, blocks: i64, replaced: Vec<i64> },
    /// Remove some blocks of a run that is not shown; answers how many of it there were.
    Remove { run: i64 },
}

/// Takes a step, in one transaction.
pub(in crate::store::sqlite) fn take_up(connection: &mut Connection, step: Step) -> Result<i64, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let answer = match step {
        Step::Make => write::make_run(&transaction)?,
        Step::Write { run, first, blocks } => {
            for (number, block) in (first..).zip(blocks) {
                write::write_block(&transaction, run, number, block)?;
            }
            0
        }
        Step::Show { run, level, blocks, replaced } => {
            write::show_run(&transaction, run, level, blocks)?;
            for run in replaced {
                transaction.prepare_cached("UPDATE runs SET level = -1 WHERE run = ?1")?.execute([run])?;
            }
            0
        }
        Step::Remove { run } => remove(&transaction, run)?,
    };
    transaction.commit()?;
    Ok(answer)
}

fn remove(transaction: &Transaction<'_>, run: i64) -> Result<i64, StoreError> {
    const BLOCKS: &str = "DELETE FROM blocks WHERE id IN
        (SELECT id FROM blocks WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3)";
    const FENCES: &str = "DELETE FROM fences WHERE (run, term, time, uid) IN
        (SELECT run, term, time, uid FROM fences WHERE run = ?1 LIMIT ?2)";
    let most = i64::try_from(BLOCKS_AT_A_TIME).unwrap_or(i64::MAX);
    let removed = transaction.prepare_cached(BLOCKS)?.execute([id(run, 0), id(run + 1, 0), most])?;
    transaction.prepare_cached(FENCES)?.execute([run, most])?;
    if removed == 0 {
        transaction.prepare_cached("DELETE FROM fences WHERE run = ?1")?.execute([run])?;
        transaction.prepare_cached("DELETE FROM runs WHERE run = ?1")?.execute([run])?;
    }
    Ok(i64::try_from(removed).unwrap_or(i64::MAX))
}

/// The thread that merges. It ends by itself when the writer does.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Merger {
    wake: mpsc::SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Merger {
    /// `ask` has the writer take a step; it answers nothing once the writer is ending.
    pub(in crate::store::sqlite) fn start(
        path: PathBuf,
        ask: impl Fn(Step) -> Option<Result<i64, StoreError>> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let work = Work { path, ask, connection: None };
        let thread = thread::Builder::new().name("sqlite-merger".to_owned()).spawn(move || work.run(&woken))?;
        Ok(Self { wake, thread })
    }

    /// There may be something to merge.
    pub(in crate::store::sqlite) fn wake(&self) {
        // One that is woken already will look.
        let _ = self.wake.try_send(());
    }

    /// Waits for its end; the writer is ending.
    pub(in crate::store::sqlite) fn join(self) {
        drop(self.wake);
        let _ = self.thread.join();
    }
}

/// What ended a piece of work early.
enum Stop {
    /// The writer is ending.
    Ending,
    Failed(StoreError),
}

struct Work<A> {
    path: PathBuf,
    ask: A,
    connection: Option<Connection>,
}

impl<A: Fn(Step) -> Option<Result<i64, StoreError>>> Work<A> {
    fn run(mut self, woken: &mpsc::Receiver<()>) {
        loop {
            match self.work() {
                Ok(()) => {}
                Err(Stop::Ending) => return,
                Err(Stop::Failed(error)) => {
                    self.connection = None;
                    warn!(%error, "postings could not be merged: lists are slower until they are");
                }
            }
            if woken.recv().is_err() {
                return;
            }
        }
    }

    /// All that there is to do.
    fn work(&mut self) -> Result<(), Stop> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => schema::passing_reader(&self.path)?,
        };
        loop {
            for run in runs(&connection, "SELECT run FROM runs WHERE level < 0 ORDER BY run", [])? {
                while self.step(Step::Remove { run })? > 0 {}
            }
            let Some((level, full)) = full_level(&connection)? else { break };
            self.merge(&connection, level, full)?;
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Merges runs, the newest first, into one of the next level.
    fn merge(&self, connection: &Connection, level: i64, full: Vec<i64>) -> Result<(), Stop> {
        const DEEPER: &str = "SELECT run FROM runs WHERE level > ?1 LIMIT 1";
        // Where no older run is left to hide something in, what finds nothing is left out.
        let is_last = runs(connection, DEEPER, [level])?.is_empty();
        let open = |run: &i64| Source::of_run(connection, *run, &FIRST, Direction::Onward);
        let mut union = Union::new(full.iter().map(open).collect::<Result<_, _>>()?, Direction::Onward)?;
        let run = self.step(Step::Make)?;
        let (mut block, mut blocks, mut written) = (Block::default(), Vec::new(), 0);
        while let Some(entry) = union.next()? {
            if entry.is_over() || (is_last && !entry.finds) {
                continue;
            }
            block.push(&entry);
            if block.is_full() {
                blocks.push(std::mem::take(&mut block));
            }
            if blocks.len() == BLOCKS_AT_A_TIME {
                written += self.write(run, written, std::mem::take(&mut blocks))?;
            }
        }
        blocks.push(block);
        written += self.write(run, written, blocks)?;
        self.step(Step::Show { run, level: level + 1, blocks: written, replaced: full })?;
        Ok(())
    }

    fn write(&self, run: i64, first: i64, blocks: Vec<Block>) -> Result<i64, Stop> {
        let number = i64::try_from(blocks.len()).unwrap_or(i64::MAX);
        self.step(Step::Write { run, first, blocks })?;
        Ok(number)
    }

    fn step(&self, step: Step) -> Result<i64, Stop> {
        (self.ask)(step).ok_or(Stop::Ending)?.map_err(Stop::Failed)
    }
}

/// The first level that has as many runs as are merged, and its oldest ones, the newest of them first.
fn full_level(connection: &Connection) -> Result<Option<(i64, Vec<i64>)>, StoreError> {
    const LEVELS: &str = "SELECT level FROM runs WHERE level >= 0 GROUP BY level HAVING count(*) >= ?1
        ORDER BY level LIMIT 1";
    const OLDEST: &str = "SELECT run FROM runs WHERE level = ?1 ORDER BY run LIMIT ?2";
    let fan = i64::try_from(FAN).unwrap_or(i64::MAX);
    let Some(level) = runs(connection, LEVELS, [fan])?.pop() else { return Ok(None) };
    let mut oldest = runs(connection, OLDEST, [level, fan])?;
    oldest.reverse();
    Ok(Some((level, oldest)))
}

fn runs<const N: usize>(connection: &Connection, select: &str, values: [i64; N]) -> Result<Vec<i64>, StoreError> {
    let mut select = connection.prepare_cached(select)?;
    let found = select.query_map(rusqlite::params_from_iter(values), |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}
