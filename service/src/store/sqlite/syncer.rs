//! Waiting for the disk, aside from the writer: while a thread waits until one round is on stable storage, the writer
//! writes the next one. Nobody hears of a round before it is there.
//!
//! What a failed wait leaves is unknown: the system may have dropped what it could not write and call the next wait a
//! success. So nothing more counts as stored until the whole log was moved into the file.

use std::{
    fmt::Display,
    fs::File,
    io, iter,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use tokio::sync::oneshot;
use tracing::error;

use super::file;
use crate::store::StoreError;

/// Transactions that may wait for the disk. One is waited for while the next is written; more come from merging and
/// the clock.
const WAITING_MAX: usize = 8;

/// The write-ahead log, opened a second time: it belongs to the connection that is open meanwhile, or its name might
/// have become another file's.
pub(super) type Log = Arc<File>;

/// Opens the log of a database that has a connection.
pub(super) fn open_log(path: &Path) -> io::Result<Log> {
    let log = File::open(file::log_path(path))?;
    if let Some(folder) = path.parent() {
        file::sync_folder(folder)?;
    }
    Ok(Arc::new(log))
}

/// A transaction that was written.
struct Request {
    log: Log,
    /// Told when its turn to be waited for has come: the writer's next one may begin.
    begun: Option<oneshot::Sender<()>>,
    stored: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

#[derive(Debug, Default)]
struct State {
    /// A wait has failed, and the log was not moved into the file since.
    failed: AtomicBool,
    /// When something was stored last, if nothing failed since.
    stored: Mutex<Option<Instant>>,
}

/// The thread. It ends when it is joined.
#[derive(Debug)]
pub(super) struct Syncer {
    requests: mpsc::SyncSender<Request>,
    state: Arc<State>,
    thread: JoinHandle<()>,
}

impl Syncer {
    pub(super) fn start() -> io::Result<Self> {
        let (requests, waiting) = mpsc::sync_channel(WAITING_MAX);
        let state = Arc::new(State::default());
        let work = {
            let state = Arc::clone(&state);
            move || run(&state, &waiting)
        };
        let thread = thread::Builder::new().name("sqlite-syncer".to_owned()).spawn(work)?;
        Ok(Self { requests, state, thread })
    }

    /// Calls `stored` when all that was written to the log before is on stable storage, or can't be.
    pub(super) fn store(
        &self,
        log: Log,
        begun: Option<oneshot::Sender<()>>,
        stored: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        // It ends only when it is joined. Were it gone, whoever waits would see its call dropped.
        let _ = self.requests.send(Request { log, begun, stored: Box::new(stored) });
    }

    /// True from a failed wait until [`Syncer::mended`].
    pub(super) fn has_failed(&self) -> bool {
        self.state.failed.load(Ordering::Acquire)
    }

    /// The whole log was moved into the file, and that is on stable storage.
    pub(super) fn mended(&self) {
        self.state.failed.store(false, Ordering::Release);
    }

    /// When something was stored last, if nothing failed since.
    pub(super) fn stored_at(&self) -> Option<Instant> {
        *self.state.last()
    }

    /// Something else failed.
    pub(super) fn forget(&self) {
        *self.state.last() = None;
    }

    pub(super) fn join(self) {
        drop(self.requests);
        let _ = self.thread.join();
    }
}

impl State {
    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was written to the log before is on stable storage.
    fn wait(&self, log: &File) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(unstored("it failed to before"));
        }
        log.sync_data().map_err(|error| {
            self.failed.store(true, Ordering::Release);
            *self.last() = None;
            error!(%error, "the disk did not take the write-ahead log; nothing is stored until it is all in the file");
            unstored(error)
        })?;
        *self.last() = Some(Instant::now());
        Ok(())
    }
}

fn unstored(why: impl Display) -> StoreError {
    StoreError::unavailable(format!("the disk did not take the write-ahead log: {why}"))
}

fn run(state: &State, waiting: &mpsc::Receiver<Request>) {
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
            (request.stored)(stored.clone());
        }
    }
}
