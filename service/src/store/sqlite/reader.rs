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
use tokio_util::task::AbortOnDropHandle;

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
        let readers = Arc::clone(self);
        let stopped = |_| StoreError::unavailable("a read has stopped");
        let turn = async move {
            let closed = |_| StoreError::unavailable("closed");
            let permit = Arc::clone(&readers.permits).acquire_owned().await.map_err(closed)?;
            let reading = task::spawn_blocking(move || {
                let passed = readers.gate.blocking_read();
                let done = readers.run(read);
                drop((passed, permit));
                done
            });
            reading.await.map_err(stopped)?
        };
        // A task of its own, and for the gate a thread: a caller that nobody polls, as those of a connection that takes
        // nothing, would keep its turn from all others, and the gate from ever closing again.
        AbortOnDropHandle::new(task::spawn(turn)).await.map_err(stopped)?
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

#[cfg(test)]
mod tests {
    use std::{
        future::{Future as _, poll_fn},
        pin::pin,
        sync::mpsc,
        task::Poll,
    };

    use calbridge_e2e::wait;
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::sqlite::{Options, SqliteStore};

    #[tokio::test]
    async fn a_read_that_nobody_looks_at_keeps_no_other_from_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("calbridge.db"), Options::default()).unwrap();
        let (begun, has_begun) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let readers = Arc::clone(&store.confirmers);
        let first = tokio::spawn(async move {
            let work = move |_: &Snapshot<'_>| {
                begun.send(()).unwrap();
                ended.recv().unwrap();
                Ok(())
            };
            readers.read(work).await
        });
        has_begun.await.unwrap();
        let mut second = pin!(store.confirmers.read(|_| Ok(())));
        let waits = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending())).await;
        assert!(waits, "one at a time");
        // It stands in line by now.
        tokio::task::yield_now().await;
        end.send(()).unwrap();
        first.await.unwrap().unwrap();
        wait::within("the third", store.confirmers.read(|_| Ok(()))).await.unwrap();
    }
}
