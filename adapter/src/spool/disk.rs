//! What the spool works with: the machine's disk and a thread beside the reactor, or, in the simulation, a disk that
//! may lose what it was not told to keep, and one thread for everything.

use std::{
    fs::File,
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc as tasks, task::spawn_blocking, time::sleep};

use super::{
    Shared,
    backlog::Entry,
    spare::Spares,
    writer::{Command, SEGMENT_BYTES, Writer},
};
use crate::segment::Sync;

/// A disk, and who waits for it.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    pub(super) sync: Sync,
    /// How long it takes in the simulation, where a task waits for it and nobody else; `None`: as long as it does.
    pub(super) pace: Option<fn() -> Duration>,
}

/// An event; nothing where it is not what was written.
pub(super) type Read = io::Result<Option<Bytes>>;

/// Where the writer is asked.
#[derive(Debug)]
pub(super) enum Desk {
    /// Until it is dropped.
    Thread(Option<(mpsc::Sender<Command>, JoinHandle<()>)>),
    Task(tasks::UnboundedSender<Command>),
}

impl Disk {
    /// The machine's own.
    pub(crate) const REAL: Self = Self { sync: File::sync_data, pace: None };

    /// One that keeps what `sync` keeps, and takes its time by `pace`; all in the reactor.
    #[must_use]
    pub const fn simulated(sync: fn(&File) -> io::Result<()>, pace: fn() -> Duration) -> Self {
        Self { sync, pace: Some(pace) }
    }

    /// Has the writer begin.
    pub(super) fn begin(self, mut writer: Writer) -> io::Result<Desk> {
        let Some(pace) = self.pace else {
            writer.spares = Some(Spares::begin(writer.directory.clone(), SEGMENT_BYTES, self.sync)?);
            let (commands, asked) = mpsc::channel();
            let writing = thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run(&asked))?;
            return Ok(Desk::Thread(Some((commands, writing))));
        };
        let (commands, asked) = tasks::unbounded_channel();
        tokio::spawn(run(writer, asked, pace));
        Ok(Desk::Task(commands))
    }

    /// Reads records, beside the reactor where there is anything beside it.
    pub(super) async fn read(self, spool: Arc<Shared>, entries: Vec<Entry>) -> Vec<(Entry, Read)> {
        let entries_again = entries.clone();
        let read = move || entries.into_iter().map(|entry| (entry, spool.read(entry))).collect();
        self.beside(read).await.unwrap_or_else(|why| {
            let failed = |entry| (entry, Err(io::Error::other(why.to_string())));
            entries_again.into_iter().map(failed).collect()
        })
    }

    /// Works beside the reactor where there is anything beside it.
    pub(super) async fn beside<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        if self.pace.is_some() {
            return Ok(work());
        }
        spawn_blocking(work).await.map_err(io::Error::other)
    }
}

impl Desk {
    /// Whether there is still a writer.
    pub(super) fn ask(&self, command: Command) -> bool {
        match self {
            Self::Thread(writer) => writer.as_ref().is_some_and(|(commands, _)| commands.send(command).is_ok()),
            Self::Task(commands) => commands.send(command).is_ok(),
        }
    }

    /// Has the writer wait for no more.
    pub(super) fn hurry(&self) {
        if let Self::Thread(Some((_, writing))) = self {
            writing.thread().unpark();
        }
    }
}

impl Drop for Desk {
    /// Waits for the thread: before it has ended, the directory is nobody else's.
    fn drop(&mut self) {
        if let Self::Thread(writer) = self
            && let Some((commands, writing)) = writer.take()
        {
            drop(commands);
            // A panic of it was said where it happened.
            let _ = writing.join();
        }
    }
}

/// What the thread does, as a task. A disk that fails is not tried without being asked: the simulated one fails once,
/// and its machine with it.
async fn run(mut writer: Writer, mut asked: tasks::UnboundedReceiver<Command>, pace: fn() -> Duration) {
    let mut settled = Vec::new();
    while let Some(first) = asked.recv().await {
        sleep(pace()).await;
        writer.round(first, || asked.try_recv().ok(), &mut settled);
    }
}
