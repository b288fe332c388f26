//! Moving the write-ahead log into the file, aside from the rounds: a thread does it a little at a time, so that the
//! writer, which must finish it once in a while for the log to begin anew, finds little left to do.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tracing::debug;

use super::{Options, schema};
use crate::store::StoreError;

/// Between two looks at the log, while rounds come: some hundred pages gather meanwhile.
const INTERVAL: Duration = Duration::from_millis(50);

/// The thread. It ends when it is joined.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: mpsc::SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    pub(super) fn start(path: PathBuf, options: Options) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let work = move || run(&path, options, &woken);
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

fn run(path: &Path, options: Options, woken: &mpsc::Receiver<()>) {
    let mut connection = None;
    while woken.recv().is_ok() {
        // What is written in the meantime goes along.
        if is_over(woken) {
            return;
        }
        if let Err(error) = checkpoint(&mut connection, path, options) {
            // The writer does it all by itself then.
            debug!(%error, "the log could not be moved into the file aside");
            connection = None;
        }
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

/// As much as no reader needs where it is; waits for nobody.
fn checkpoint(connection: &mut Option<Connection>, path: &Path, options: Options) -> Result<(), StoreError> {
    let open = match connection.take() {
        Some(open) => open,
        None => schema::writer(path, options)?,
    };
    open.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    *connection = Some(open);
    Ok(())
}

/// Moves all of the log into the file and begins it anew; both are on stable storage then.
pub(super) fn all(connection: &Connection) -> Result<(), StoreError> {
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy { Err(StoreError::unavailable("the write-ahead log is still read")) } else { Ok(()) }
}
