//! The one writer: a thread with the only connection that may write, fed through a bounded channel.
//!
//! After any error, and after a panic, the connection is given up and a new one opened for the next command: a
//! transaction that failed leaves nothing behind, and a disk that has room again needs no restart.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use calbridge_proto::v1;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::{
    OpenError, Options,
    checkpoint::Checkpointer,
    clock,
    commit::{self, Done},
    file::Claimed,
    postings::{self, Merger, Step},
    replay, retention, schema,
};
use crate::{
    settings::PROBE_INTERVAL,
    store::{
        Batch, ClockRound, Committed, LogPurge, LogPurged, Purge, Purged, Replay, Replayed, StoreError, pack::Packer,
    },
};

/// Commands that may wait: the next round and a probe, with room for the callers of tests. More would only hide a
/// writer that can't keep up.
const COMMANDS_MAX: usize = 8;

enum Command {
    Commit(Batch, oneshot::Sender<Result<Vec<Committed>, StoreError>>),
    Clock(ClockRound, oneshot::Sender<Result<Vec<v1::Transition>, StoreError>>),
    Replay(Box<Replay>, oneshot::Sender<Result<Option<Replayed>, StoreError>>),
    Purge(Purge, oneshot::Sender<Result<Purged, StoreError>>),
    PurgeLog(LogPurge, oneshot::Sender<Result<LogPurged, StoreError>>),
    Probe(oneshot::Sender<Result<(), StoreError>>),
    Merge(Step, oneshot::Sender<Result<i64, StoreError>>),
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
        let unwritable = |path: PathBuf| move |source| OpenError::Unwritable { path, source };
        let merger = Merger::start(path.clone(), asking(commands.downgrade())).map_err(unwritable(path.clone()))?;
        merger.wake();
        let checkpointer = Checkpointer::start(path.clone(), options).map_err(unwritable(path.clone()))?;
        let worker = Worker {
            connection: Some(connection),
            path: path.clone(),
            options,
            packer: Packer::new(),
            committed: None,
            merger,
            checkpointer,
            claimed,
        };
        let thread = thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || worker.run(queue))
            .map_err(unwritable(path))?;
        Ok(Self { commands: Mutex::new(Some(commands)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<Vec<Committed>, StoreError> {
        self.ask(|reply| Command::Commit(batch, reply)).await
    }

    /// What the clock changed.
    pub(super) async fn hear_clock(&self, round: ClockRound) -> Result<Vec<v1::Transition>, StoreError> {
        self.ask(|reply| Command::Clock(round, reply)).await
    }

    pub(super) async fn replay(&self, replay: Replay) -> Result<Option<Replayed>, StoreError> {
        self.ask(|reply| Command::Replay(Box::new(replay), reply)).await
    }

    pub(super) async fn purge(&self, purge: Purge) -> Result<Purged, StoreError> {
        self.ask(|reply| Command::Purge(purge, reply)).await
    }

    pub(super) async fn purge_log(&self, purge: LogPurge) -> Result<LogPurged, StoreError> {
        self.ask(|reply| Command::PurgeLog(purge, reply)).await
    }

    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        self.ask(Command::Probe).await
    }

    /// Waits for what was asked before, then for the thread's end.
    pub(super) async fn close(&self) {
        if let Some(thread) = self.stop() {
            // However it ended, its connection is closed.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::unavailable("closed");
        let commands = lock(&self.commands).clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        commands.send(command(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| StoreError::unavailable("the writer has stopped"))?
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

/// How the merger has the writer take a step: not at all once the writer is ending.
fn asking(commands: mpsc::WeakSender<Command>) -> impl Fn(Step) -> Option<Result<i64, StoreError>> {
    move |step| {
        let (reply, answer) = oneshot::channel();
        commands.upgrade()?.blocking_send(Command::Merge(step, reply)).ok()?;
        answer.blocking_recv().ok()
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
    /// When a round was written last, if nothing failed since.
    committed: Option<Instant>,
    merger: Merger,
    checkpointer: Checkpointer,
    #[expect(dead_code, reason = "held for as long as the thread lives")]
    claimed: Claimed,
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.blocking_recv() {
            // A caller that went away does not undo what was committed.
            match command {
                Command::Commit(batch, reply) => {
                    let answer = self.commit(&batch);
                    let _ = reply.send(answer);
                }
                Command::Clock(round, reply) => {
                    let _ = reply.send(self.change(|connection, packer| clock::hear(connection, packer, &round)));
                }
                Command::Replay(of, reply) => {
                    let _ = reply.send(self.change(|connection, packer| replay::replay(connection, packer, &of)));
                }
                Command::Purge(purge, reply) => {
                    let _ = reply.send(self.with(|connection, _| retention::purge(connection, &purge)));
                }
                Command::PurgeLog(purge, reply) => {
                    let _ = reply.send(self.with(|connection, _| retention::purge_log(connection, &purge)));
                }
                Command::Merge(step, reply) => {
                    let _ = reply.send(self.with(|connection, _| postings::take_up(connection, step)));
                }
                Command::Probe(reply) => {
                    let _ = reply.send(self.probe(Instant::now()));
                }
            }
        }
        // Nobody asks any more: it ends by itself.
        self.merger.join();
        self.checkpointer.join();
    }

    fn commit(&mut self, batch: &Batch) -> Result<Vec<Committed>, StoreError> {
        let done = self.change(|connection, packer| commit::commit(connection, packer, batch))?;
        // An empty round writes nothing.
        if !(batch.deliveries.is_empty() && batch.duplicates.is_empty()) {
            self.committed = Some(Instant::now());
        }
        Ok(done)
    }

    fn change<T>(
        &mut self,
        work: impl FnOnce(&mut Connection, &mut Packer) -> Result<Done<T>, StoreError>,
    ) -> Result<T, StoreError> {
        let Done { answer, has_sorted } = self.with(work)?;
        self.checkpointer.wake();
        if has_sorted {
            self.merger.wake();
        }
        Ok(answer)
    }

    /// A round that was written a moment ago says as much as a write of the probe's own, which would cost another wait
    /// for the disk.
    fn probe(&mut self, now: Instant) -> Result<(), StoreError> {
        if self.committed.is_some_and(|at| now.saturating_duration_since(at) < PROBE_INTERVAL) {
            return Ok(());
        }
        self.with(|connection, _| commit::probe(connection))
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Connection, &mut Packer) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let committed = self.committed.take();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => schema::writer(&self.path, self.options)?,
        };
        let packer = &mut self.packer;
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut connection, packer)));
        let done = done.unwrap_or_else(|_| {
            error!("the store's writer panicked over a command; it goes on with the next one");
            // What the panic left half done is given up: the packer here, the connection and its transaction below.
            self.packer = Packer::new();
            Err(StoreError::Damaged { what: "command", why: "the writer panicked over it".to_owned() })
        })?;
        self.connection = Some(connection);
        self.committed = committed;
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
