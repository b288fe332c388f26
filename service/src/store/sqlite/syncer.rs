//! Waiting for the disk, aside from the writer: while a thread waits until one round is on stable storage, the writer
//! writes the next one. Nobody hears of a round before it is there.
//!
//! A wait that fails ends the process. The system drops what it could not write and calls the next wait a success, and
//! what is read back may be what was there before; a start reads the log anew, checks its sums, and writes it again.

use std::{
    fs::{File, OpenOptions},
    io, iter,
    path::Path,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use calbridge_process::crash::{self, Point};
use tokio::sync::{oneshot, watch};
use tracing::error;

use super::file;
use crate::store::{Position, StoreError};

/// Transactions that may wait for the disk. One is waited for while the next is written; more come from the clock,
/// replays and probes.
const WAITING_MAX: usize = 8;

/// The write-ahead log, opened a second time: it belongs to the connection that is open meanwhile, or its name might
/// have become another file's.
pub(super) type Log = Arc<File>;

/// `EX_IOERR` of `sysexits.h`.
const EXIT_DISK: i32 = 74;

/// Opens the log of a database that has a connection.
pub(super) fn open_log(path: &Path) -> io::Result<Log> {
    let log = OpenOptions::new().read(true).write(true).open(file::log_path(path))?;
    if let Some(folder) = path.parent() {
        file::sync_folder(folder)?;
    }
    Ok(Arc::new(log))
}

/// What becomes of a process whose disk failed.
pub(super) type End = fn(&StoreError);

/// Says why and ends it: closing the database would trust the log.
pub(super) fn end(error: &StoreError) {
    error!(%error, "the disk failed; the process ends, and the next one reads the write-ahead log anew");
    process::exit(EXIT_DISK);
}

/// A transaction that was written.
struct Request {
    log: Log,
    /// Where the log stands behind it.
    through: Position,
    /// Told when its turn to be waited for has come: the writer's next one may begin.
    begun: Option<oneshot::Sender<()>>,
    stored: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// How far things are on stable storage.
#[derive(Debug)]
pub(super) struct Stored {
    /// All of the log up to here is.
    through: watch::Sender<Position>,
    /// When something was stored last, if nothing failed since.
    at: Mutex<Option<Instant>>,
    /// A wait has failed: nothing more is.
    failed: AtomicBool,
    end: End,
}

/// The thread. It ends when it is joined.
#[derive(Debug)]
pub(super) struct Syncer {
    requests: mpsc::SyncSender<Request>,
    stored: Arc<Stored>,
    thread: JoinHandle<()>,
}

impl Syncer {
    /// The log up to `through` is on stable storage; `end` is called when a wait fails.
    pub(super) fn start(through: Position, end: End) -> io::Result<Self> {
        let (requests, waiting) = mpsc::sync_channel(WAITING_MAX);
        let (at, failed) = (Mutex::new(None), AtomicBool::new(false));
        let stored = Arc::new(Stored { through: watch::Sender::new(through), at, failed, end });
        let work = {
            let stored = Arc::clone(&stored);
            move || run(&stored, &waiting)
        };
        let thread = thread::Builder::new().name("sqlite-syncer".to_owned()).spawn(work)?;
        Ok(Self { requests, stored, thread })
    }

    pub(super) fn stored(&self) -> &Arc<Stored> {
        &self.stored
    }

    /// Calls `stored` when all that was written to the log before is on stable storage, or can't be.
    pub(super) fn store(
        &self,
        (log, through): (Log, Position),
        begun: Option<oneshot::Sender<()>>,
        stored: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        // It ends only when it is joined. Were it gone, whoever waits would see its call dropped.
        let _ = self.requests.send(Request { log, through, begun, stored: Box::new(stored) });
    }

    pub(super) fn join(self) {
        drop(self.requests);
        let _ = self.thread.join();
    }
}

impl Stored {
    /// All of the log up to here is on stable storage.
    pub(super) fn through(&self) -> Position {
        *self.through.borrow()
    }

    /// The same, as it moves on.
    pub(super) fn follow(&self) -> watch::Receiver<Position> {
        self.through.subscribe()
    }

    /// When something was stored last, if nothing failed since.
    pub(super) fn at(&self) -> Option<Instant> {
        *self.last()
    }

    /// Something else failed.
    pub(super) fn forget(&self) {
        *self.last() = None;
    }

    /// So far nothing more is to be waited for.
    pub(super) fn reached(&self, through: Position) {
        self.through.send_if_modified(|before| {
            let moves = *before < through;
            *before = through.max(*before);
            moves
        });
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was written to the log before is on stable storage.
    fn wait(&self, log: &File) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(StoreError::unavailable("the disk failed before"));
        }
        crash::at(Point::StoreSync);
        log.sync_data().map_err(|error| {
            self.failed.store(true, Ordering::Relaxed);
            self.forget();
            let error = StoreError::unavailable(format!("the disk did not take the write-ahead log: {error}"));
            (self.end)(&error);
            error
        })?;
        crash::at(Point::StoreSynced);
        *self.last() = Some(Instant::now());
        Ok(())
    }
}

fn run(state: &Stored, waiting: &mpsc::Receiver<Request>) {
    while let Ok(first) = waiting.recv() {
        let mut requests: Vec<Request> = iter::once(first).chain(waiting.try_iter()).collect();
        for begun in requests.iter_mut().filter_map(|request| request.begun.take()) {
            // A caller that went away has no next one.
            let _ = begun.send(());
        }
        // One wait serves all that was written to a file before it.
        let logs = requests.chunk_by(|one, next| Arc::ptr_eq(&one.log, &next.log)).filter_map(|same| same.first());
        let stored = logs.map(|request| state.wait(&request.log)).collect::<Result<Vec<()>, _>>().map(drop);
        for request in requests {
            if stored.is_ok() {
                state.reached(request.through);
            }
            (request.stored)(stored.clone());
        }
    }
}
