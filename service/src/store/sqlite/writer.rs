//! The one writer: a thread with the only connection that may write, fed through a bounded channel.
//!
//! After any error the connection is given up and a new one opened for the next command: a transaction that failed
//! leaves nothing behind, and a disk that has room again needs no restart.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{OpenError, Options, commit, file::Claimed, schema};
use crate::store::{Batch, Committed, StoreError, body::Packer};

/// Commands that may wait: the next round and a probe, with room for the callers of tests. More would only hide a
/// writer that can't keep up.
const COMMANDS_MAX: usize = 8;

enum Command {
    Commit(Batch, oneshot::Sender<Result<Vec<Committed>, StoreError>>),
    Probe(oneshot::Sender<Result<(), StoreError>>),
}

/// A handle to the writer's thread. Dropping it waits for the thread.
#[derive(Debug)]
pub(super) struct Writer {
    // Both are taken out by whoever closes.
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        path: PathBuf,
        options: Options,
        claimed: Claimed,
    ) -> Result<Self, OpenError> {
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let worker =
            Worker { connection: Some(connection), path: path.clone(), options, packer: Packer::new(), claimed };
        let thread = thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || worker.run(queue))
            .map_err(|source| OpenError::Unwritable { path, source })?;
        Ok(Self { commands: Mutex::new(Some(commands)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<Vec<Committed>, StoreError> {
        self.ask(|reply| Command::Commit(batch, reply)).await
    }

    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        self.ask(Command::Probe).await
    }

    /// Waits for what was asked before, then for the thread's end.
    pub(super) async fn close(&self) {
        if let Some(thread) = self.stop() {
            // A thread that panicked has closed its connection as well.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("closed".to_owned());
        let commands = lock(&self.commands).clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        commands.send(command(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| StoreError::Unavailable("the writer has stopped".to_owned()))?
    }

    /// Takes no more commands. The thread ends when it has done those that wait.
    fn stop(&self) -> Option<JoinHandle<()>> {
        lock(&self.commands).take();
        lock(&self.thread).take()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whoever opens the file next must find it closed and its lock free.
        if let Some(thread) = self.stop() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker {
    // Before the claim: the lock is let go of when the database is closed.
    connection: Option<Connection>,
    path: PathBuf,
    options: Options,
    packer: Packer,
    #[expect(dead_code, reason = "held for as long as the thread lives")]
    claimed: Claimed,
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.blocking_recv() {
            // A caller that went away does not undo what was committed.
            match command {
                Command::Commit(batch, reply) => {
                    let answer = self.with(|connection, packer| commit::commit(connection, packer, &batch));
                    let _ = reply.send(answer);
                }
                Command::Probe(reply) => {
                    let _ = reply.send(self.with(|connection, _| commit::probe(connection)));
                }
            }
        }
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Connection, &mut Packer) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => schema::writer(&self.path, self.options)?,
        };
        let done = work(&mut connection, &mut self.packer)?;
        self.connection = Some(connection);
        Ok(done)
    }
}
