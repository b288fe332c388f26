//! A few connections that can't write. Each read runs on a thread for blocking work and sees one state of the database
//! from beginning to end.

use std::{
    fmt,
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task};

use super::{
    checkpoint::Gate,
    queries, schema,
    young::{View, Young},
};
use crate::store::{Position, StoreError};

/// Reads of callers at a time. `SQLite`'s readers don't wait for one another; beyond the cores of a small machine more
/// of them only take memory.
pub(super) const READERS: u32 = 4;

/// Confirmations at a time: the ingest asks for one a round, and none of them may stand in line behind callers' pages.
pub(super) const CONFIRMERS: u32 = 1;

/// Reads of the log at a time.
pub(super) const FOLLOWERS: u32 = 2;

/// One state of the database, with the bookings that are young in it.
pub(super) struct Snapshot<'c> {
    connection: &'c Connection,
    /// The newest position that was handed out.
    pub(super) head: Position,
    pub(super) young: View,
}

impl<'c> Snapshot<'c> {
    /// What a transaction of this connection sees.
    pub(super) fn of(connection: &'c Connection, head: Position, young: View) -> Self {
        Self { connection, head, young }
    }
}

impl Deref for Snapshot<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// Connections for reading, opened as they are needed.
pub(super) struct Readers {
    path: PathBuf,
    gate: Gate,
    young: Arc<Young>,
    most: u32,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// At most so many reads at a time.
    pub(super) fn new(path: PathBuf, gate: Gate, young: Arc<Young>, most: u32) -> Self {
        Self { path, gate, young, most, idle: Mutex::default(), permits: Arc::new(Semaphore::new(most as usize)) }
    }

    /// Runs one read. It goes on when its caller goes away; its connection is then free again for others.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = |_| StoreError::unavailable("closed");
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(closed)?;
        let readers = Arc::clone(self);
        let stopped = |_| StoreError::unavailable("a read has stopped");
        task::spawn_blocking(move || {
            // Waited for on this thread: a future that was let in, and that nobody polls any more, would keep the gate
            // from ever closing again.
            let passed = readers.gate.blocking_read();
            let done = readers.run(read);
            drop((passed, permit));
            done
        })
        .await
        .map_err(stopped)?
    }

    /// Waits for the reads under way. There are none after it.
    pub(super) async fn close(&self) {
        if let Ok(all) = self.permits.acquire_many(self.most).await {
            self.permits.close();
            drop(all);
        }
        self.idle().clear();
    }

    fn run<T>(&self, read: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let connection = idle.map_or_else(|| schema::reader(&self.path), Ok)?;
        // A read of several statements must not see a commit between them.
        let transaction = connection.unchecked_transaction()?;
        // It begins with the first read.
        let (head, young) = self.young.at(|| queries::head(&transaction))?;
        let done = read(&Snapshot::of(&transaction, head, young))?;
        drop(transaction);
        // Only one that read well is used again.
        self.idle().push(connection);
        Ok(done)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Readers").field("path", &self.path).finish_non_exhaustive()
    }
}
