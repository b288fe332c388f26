//! Moving the write-ahead log into the file, aside from the rounds: a thread does it a little at a time, so that the
//! writer, which must finish it once in a while for the log to begin anew, finds little left to do.
//!
//! It begins anew only in a moment when nobody reads it. Where reads overlap for so long that it grows beyond a bound,
//! the next ones wait until those under way have ended and it is cut.

use std::{
    ffi::c_int,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use calbridge_process::crash::{self, Point};
use rusqlite::{
    Connection,
    ffi::SQLITE_IOERR_FSYNC,
    hooks::{CheckpointMode, Wal},
};
use tokio::sync::RwLock;
use tracing::debug;

use super::{Options, schema, syncer};
use crate::store::StoreError;

/// After how many pages the writer moves the log into the file, so that it begins anew. Nearly all of it is moved aside
/// before.
const CHECKPOINT_PAGES: i64 = 8_000;

/// Between two looks at the log, while rounds come: some hundred pages gather meanwhile.
const INTERVAL: Duration = Duration::from_millis(50);

/// While the log has so many pages the thread looks without a pause: the writer's turn comes next, and what it finds
/// left is what was written during the last look. From then on the thread keeps out of its way.
const URGENT: Range<i64> = CHECKPOINT_PAGES * 7 / 8..CHECKPOINT_PAGES;

/// How long a cut of the log waits for a reader of another program's, while rounds wait for it: it is tried again when
/// the log has grown as much once more.
const CUT_PATIENCE: Duration = Duration::from_millis(200);

/// What reads pass, and whoever cuts the log holds closed: reads under way are waited for, and no new one begins. It is
/// fair, or reads that overlap would keep it open.
pub(super) type Gate = Arc<RwLock<()>>;

/// The thread. It ends when it is joined.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: mpsc::SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    /// Reads wait at `gate` while the log is cut.
    pub(super) fn start(path: PathBuf, options: Options, gate: Gate) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let mut worker = Worker { path, options, gate, connection: None, cut_at: options.log_pages };
        let work = move || worker.run(&woken);
        let thread = thread::Builder::new().name("sqlite-checkpointer".to_owned()).spawn(work)?;
        Ok(Self { wake, thread })
    }

    /// A round was written.
    pub(super) fn wake(&self) {
        // One that is woken already will look.
        let _ = self.wake.try_send(());
    }

    pub(super) fn join(self) {
        drop(self.wake);
        let _ = self.thread.join();
    }
}

struct Worker {
    path: PathBuf,
    options: Options,
    gate: Gate,
    connection: Option<Connection>,
    /// At how many pages the log is cut next.
    cut_at: i64,
}

impl Worker {
    fn run(&mut self, woken: &mpsc::Receiver<()>) {
        let mut is_urgent = false;
        while woken.recv().is_ok() {
            // What is written in the meantime goes along.
            if !is_urgent && is_over(woken) {
                return;
            }
            is_urgent = match self.checkpoint() {
                Ok(pages) => URGENT.contains(&pages),
                Err(error) => {
                    if is_lost(&error) {
                        syncer::end(&error);
                    }
                    // The writer does it all by itself then.
                    debug!(%error, "the log could not be moved into the file aside");
                    self.connection = None;
                    false
                }
            }
        }
    }

    /// As much as no reader needs where it is; waits for nobody, but where the log has grown too large. Answers how
    /// many pages it has.
    fn checkpoint(&mut self) -> Result<i64, StoreError> {
        let open = match self.connection.take() {
            Some(open) => open,
            None => schema::writer(&self.path, self.options)?,
        };
        open.busy_timeout(CUT_PATIENCE)?;
        crash::at(Point::StoreCheckpoint);
        let pages = open.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))?;
        crash::at(Point::StoreCheckpointed);
        if pages < self.options.log_pages {
            self.cut_at = self.options.log_pages;
        } else if pages >= self.cut_at {
            self.cut(&open)?;
            self.cut_at = pages + self.options.log_pages;
        }
        self.connection = Some(open);
        Ok(pages)
    }

    /// Moves all of the log into the file, so that the next round begins it anew.
    fn cut(&self, open: &Connection) -> Result<(), StoreError> {
        let _nobody_reads = self.gate.blocking_write();
        let is_busy: bool = open.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0))?;
        if is_busy {
            debug!("the log could not be cut: another program reads it");
        }
        Ok(())
    }
}

/// Waits a little; true where the thread is to end.
fn is_over(woken: &mpsc::Receiver<()>) -> bool {
    let end = Instant::now() + INTERVAL;
    loop {
        match woken.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

/// Called when the writer has committed: moves the log into the file once it has enough pages. `SQLite`'s own way of
/// doing so keeps to itself that the disk refused.
pub(super) fn after_commit(log: &Wal, pages: c_int) -> rusqlite::Result<()> {
    if i64::from(pages) < CHECKPOINT_PAGES {
        return Ok(());
    }
    match log.checkpoint_v2(CheckpointMode::PASSIVE) {
        Err(rusqlite::Error::SqliteFailure(failure, why)) if failure.extended_code == SQLITE_IOERR_FSYNC => {
            Err(rusqlite::Error::SqliteFailure(failure, why))
        }
        // Whatever else there was, the next commit tries again.
        _ => Ok(()),
    }
}

/// The disk did not take the file or the log. Another wait may succeed and say nothing of what was dropped.
pub(super) fn is_lost(error: &StoreError) -> bool {
    let lost = SQLITE_IOERR_FSYNC.to_string();
    matches!(error, StoreError::Unavailable { code: Some(code), .. } if *code == lost)
}
