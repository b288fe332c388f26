//! The one writer: a thread with the only connection that may write, fed through a bounded channel. What it has written
//! it hands to the syncer, which answers when that is on stable storage.
//!
//! After any error, and after a panic, the connection is given up and a new one opened: a transaction that failed
//! leaves nothing behind, and a disk that has room again needs no restart.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use calbridge_proto::v1;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::{
    OpenError, Options,
    checkpoint::{self, Checkpointer, Gate},
    clock,
    commit::{self, Done},
    consume,
    desk::Desk,
    file::Claimed,
    postings::{self, Merger, Step},
    replay, retention, schema,
    syncer::{self, Stored, Syncer},
    young::{NameReader, Young},
};
use crate::{
    settings::PROBE_INTERVAL,
    store::{
        Batch, ClockRound, Committed, ConsumerCommand, ConsumerKey, ConsumerOutcome, LogPurge, LogPurged, Position,
        Purge, Purged, Replay, Replayed, StoreError, pack::Packer,
    },
};

/// Commands that may wait: the next round and a probe, with room for the callers of tests. More would only hide a
/// writer that can't keep up.
const COMMANDS_MAX: usize = 8;

enum Command {
    /// Told first when the next one may come, then what became of it.
    Commit(Batch, oneshot::Sender<()>, Reply<Vec<Committed>>),
    Clock(ClockRound, Reply<Vec<v1::Transition>>),
    Replay(Box<Replay>, Reply<Option<Replayed>>),
    Purge(Purge, Reply<Purged>),
    PurgeLog(LogPurge, Reply<LogPurged>),
    Consumer(ConsumerKey, Box<ConsumerCommand>, Reply<ConsumerOutcome>),
    PurgeLetters(ConsumerKey, Reply<Purged>),
    Probe(Reply<()>),
    Merge(Step, Reply<i64>),
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What a reply is awaited with.
pub(super) type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

/// A handle to the writer's thread. Dropping it waits for the thread.
#[derive(Debug)]
pub(super) struct Writer {
    // Both are taken out by whoever closes.
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    stored: Arc<Stored>,
}

impl Writer {
    /// All that the database holds is on stable storage.
    pub(super) fn start(
        (connection, young, gate): (Connection, Arc<Young>, Gate),
        head: Position,
        path: PathBuf,
        options: Options,
        claimed: Claimed,
    ) -> Result<Self, OpenError> {
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let unwritable = |path: PathBuf| move |why| OpenError::Unwritable { path, why };
        let merger = Merger::start(path.clone(), asking(commands.downgrade())).map_err(unwritable(path.clone()))?;
        merger.wake();
        let checkpointer = Checkpointer::start(path.clone(), options, gate).map_err(unwritable(path.clone()))?;
        let syncer = Syncer::start(head, syncer::end).map_err(unwritable(path.clone()))?;
        let stored = Arc::clone(syncer.stored());
        let desk = Desk::of(connection, &path, options, &young);
        let desk = desk.map_err(|why| OpenError::Store { path: path.clone(), why })?;
        let names = NameReader::start(path.clone(), Arc::clone(&young)).map_err(unwritable(path.clone()))?;
        let worker = Worker {
            desk: Some(desk),
            young,
            path: path.clone(),
            options,
            packer: Packer::new(),
            syncer,
            merger,
            checkpointer,
            names,
            claimed,
        };
        let thread = thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || worker.run(queue))
            .map_err(unwritable(path))?;
        Ok(Self { commands: Mutex::new(Some(commands)), thread: Mutex::new(Some(thread)), stored })
    }

    /// Answers when the round is written and the one before it is on stable storage.
    pub(super) async fn write(&self, batch: Batch) -> Result<Answer<Vec<Committed>>, StoreError> {
        let (begun, next) = oneshot::channel();
        let answer = self.send(|reply| Command::Commit(batch, begun, reply)).await?;
        // A round that failed tells by its answer.
        let _ = next.await;
        Ok(answer)
    }

    /// How far the log is on stable storage.
    pub(super) fn stored(&self) -> &Stored {
        &self.stored
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

    pub(super) async fn command_consumer(
        &self,
        key: ConsumerKey,
        command: ConsumerCommand,
    ) -> Result<ConsumerOutcome, StoreError> {
        self.ask(|reply| Command::Consumer(key, Box::new(command), reply)).await
    }

    pub(super) async fn purge_letters(&self, key: ConsumerKey) -> Result<Purged, StoreError> {
        self.ask(|reply| Command::PurgeLetters(key, reply)).await
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

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        stored(self.send(command).await?).await
    }

    async fn send<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<Answer<T>, StoreError> {
        let closed = || StoreError::unavailable("closed");
        let commands = lock(&self.commands).clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        commands.send(command(reply)).await.map_err(|_| closed())?;
        Ok(answer)
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

/// The answer, when it comes.
pub(super) async fn stored<T>(answer: Answer<T>) -> Result<T, StoreError> {
    answer.await.map_err(|_| StoreError::unavailable("the writer has stopped"))?
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
    desk: Option<Desk>,
    young: Arc<Young>,
    path: PathBuf,
    options: Options,
    packer: Packer,
    syncer: Syncer,
    merger: Merger,
    checkpointer: Checkpointer,
    names: NameReader,
    #[expect(dead_code, reason = "held for as long as the thread lives")]
    claimed: Claimed,
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(command) = queue.blocking_recv() {
            // A caller that went away does not undo what was committed.
            match command {
                Command::Commit(batch, begun, reply) => {
                    let done = self.change(|desk, packer| commit::commit(desk, packer, &batch));
                    self.answer(done, Some(begun), reply);
                }
                Command::Clock(round, reply) => {
                    let done = self.change(|desk, packer| clock::hear(desk, packer, &round));
                    self.answer(done, None, reply);
                }
                Command::Replay(of, reply) => {
                    let done = self.change(|desk, packer| replay::replay(desk, packer, &of));
                    self.answer(done, None, reply);
                }
                // Not waited for: what a crash takes back of a purge is purged again.
                Command::Purge(purge, reply) => {
                    let _ = reply.send(self.with(|desk, _| retention::purge(desk, &purge)));
                    self.checkpointer.wake();
                }
                Command::PurgeLog(purge, reply) => {
                    let _ = reply.send(self.with(|desk, _| retention::purge_log(desk, &purge)));
                    self.checkpointer.wake();
                }
                Command::PurgeLetters(key, reply) => {
                    let _ = reply.send(self.with(|desk, _| consume::gone::purge(desk, &key)));
                    self.checkpointer.wake();
                }
                Command::Consumer(key, asked, reply) => {
                    let stored = self.syncer.stored().through();
                    let done = self.with(|desk, _| consume::command(desk, &key, &asked, stored));
                    self.checkpointer.wake();
                    if matches!(*asked, ConsumerCommand::Turn(_)) {
                        // Not waited for, either: what a crash takes back of it is handed out again.
                        let _ = reply.send(done);
                    } else {
                        self.answer(done.map(|outcome| (outcome, stored)), None, reply);
                    }
                }
                Command::Merge(step, reply) => {
                    // Not waited for: a crash takes back no more than what is written behind it.
                    let _ = reply.send(self.with(|desk, _| postings::take_up(&mut desk.connection, step)));
                }
                Command::Probe(reply) => self.probe(Instant::now(), reply),
            }
        }
        if let Some(desk) = &self.desk {
            // Should the disk refuse, the next start finds the log.
            let _ = schema::move_log_at_close(&desk.connection, true);
        }
        // Nobody asks any more: each ends by itself.
        self.syncer.join();
        self.merger.join();
        self.checkpointer.join();
        self.names.join();
    }

    /// Answers when what was done is on stable storage, and with it the log up to where it stands then.
    fn answer<T: Send + 'static>(
        &self,
        done: Result<(T, Position), StoreError>,
        begun: Option<oneshot::Sender<()>>,
        reply: Reply<T>,
    ) {
        let log = self.desk.as_ref().and_then(|desk| desk.log.clone());
        match (done, log) {
            (Ok((answer, head)), Some(log)) => self.syncer.store((log, head), begun, move |stored| {
                let _ = reply.send(stored.map(|()| answer));
            }),
            (Ok((answer, head)), None) => {
                self.syncer.stored().reached(head);
                let _ = reply.send(Ok(answer));
            }
            (Err(error), _) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn change<T>(
        &mut self,
        work: impl FnOnce(&mut Desk, &mut Packer) -> Result<Done<T>, StoreError>,
    ) -> Result<(T, Position), StoreError> {
        let Done { answer, head, has_sorted } = self.with(work)?;
        self.checkpointer.wake();
        if has_sorted {
            self.merger.wake();
        }
        Ok((answer, head))
    }

    /// What was stored a moment ago says as much as a write of the probe's own, which would cost another wait for the
    /// disk.
    fn probe(&mut self, now: Instant, reply: Reply<()>) {
        if self.syncer.stored().at().is_some_and(|at| now.saturating_duration_since(at) < PROBE_INTERVAL) {
            let _ = reply.send(Ok(()));
            return;
        }
        let done = self.with(|desk, _| commit::probe(&mut desk.connection));
        self.answer(done.map(|()| ((), Position::default())), None, reply);
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Desk, &mut Packer) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.attempt(work).inspect_err(|error| {
            self.syncer.stored().forget();
            if checkpoint::is_lost(error) {
                syncer::end(error);
            }
        })
    }

    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Desk, &mut Packer) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut desk = match self.desk.take() {
            Some(desk) => desk,
            None => Desk::open(&self.path, self.options, &self.young)?,
        };
        let packer = &mut self.packer;
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut desk, packer)));
        let done = done.unwrap_or_else(|_| {
            error!("the store's writer panicked over a command; it goes on with the next one");
            // What the panic left half done is given up: the packer here, the connection and its transaction below.
            self.packer = Packer::new();
            Err(StoreError::Damaged { what: "command", why: "the writer panicked over it".to_owned() })
        });
        self.desk = if done.is_ok() {
            Some(desk)
        } else {
            drop(desk);
            // At once, for those who read: what it had begun is among the young. Should it fail, the next command says
            // so.
            Desk::open(&self.path, self.options, &self.young).ok()
        };
        done
    }
}

#[cfg(test)]
mod tests;
