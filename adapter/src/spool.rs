//! The spool: where a verified event is made durable when the service does not commit it in time.
//!
//! A directory of segments, each a file of checked records that is added to and synced for all who wait at once. What
//! is in it goes to the service in fair turns, while new events go straight there. A record leaves when the service has
//! committed it; one that was sent and not marked so is sent again after a restart, which is harmless.
//!
//! One process has a directory at a time, by a lock on a file in it.

mod backlog;
mod compaction;
mod course;
mod disk;
mod drain;
mod empty;
mod inspect;
mod open;
mod pace;
mod spare;
pub(crate) mod untyped;
mod writer;

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use calbridge_telemetry::Check;
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use self::{
    backlog::{Backlog, Entry},
    disk::Desk,
    pace::Rush,
    writer::{Append, CROWD, Command},
};
use crate::{
    forward::Refused,
    metrics::Metrics,
    segment::{self, record::Kind},
};

pub(crate) use self::{backlog::Amount, drain::Drain, open::recovered};
pub use self::{
    disk::Disk,
    empty::{Emptied, empty_spool},
    inspect::{SpoolSummary, SpooledEvent, inspect_spool},
    open::SpoolError,
};

/// Records at once: what is known of each costs some 50 bytes of memory.
const RECORDS_MOST: usize = 1_000_000;
/// Segments whose files stay open for the next who reads in them: a process may open only so many.
const FILES_MOST: usize = 64;
/// Bytes on their way to the disk: one that hangs must not have memory fill.
const QUEUED_MOST: u64 = 256 * 1024 * 1024;
/// For the disk to keep one: what has not happened by then is not promised.
const APPEND_MOST: Duration = Duration::from_secs(10);
/// When another try makes sense where the spool takes nothing.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How large and how old what is in the spool may grow; beyond it nothing more is taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Of all segments.
    pub(crate) bytes: u64,
    /// Since the oldest was received.
    pub(crate) age: Duration,
}

/// A handle on the spool.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    commands: Desk,
    disk: Disk,
    bounds: Bounds,
    /// What is in it has grown too old.
    is_aged: AtomicBool,
    /// Held for as long as the directory is ours. Behind the desk, which waits for the writer to end.
    _lock: File,
}

/// What the writer, the drain and everybody else share.
#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    backlog: Mutex<Backlog>,
    /// Something waits, or may.
    changed: Notify,
    /// Bytes on their way to the writer.
    queued: AtomicU64,
    /// Webhooks that wait for the disk.
    crowd: AtomicUsize,
    /// The most there were of them at a time since somebody looked, and how many have come since.
    crowd_most: AtomicUsize,
    came: AtomicUsize,
    /// Segments that are being read.
    files: Mutex<HashMap<u64, Arc<File>>>,
}

/// A record of which somebody knows what becomes of it. Dropping it has the record sent again.
#[derive(Debug)]
pub(crate) struct Kept {
    spool: Spool,
    out: Out,
}

/// A record that is on its way by somebody else than the drain. Dropping it has the record sent again.
#[derive(Debug)]
struct Out {
    shared: Arc<Shared>,
    entry: Option<Entry>,
}

impl Spool {
    /// Makes an encoded event durable. Where it is on its way already, whoever has that way settles it or not; else the
    /// drain sends it.
    pub(crate) async fn keep(
        &self,
        tenant: &str,
        time: i64,
        kind: Kind,
        event: Bytes,
        is_out: bool,
    ) -> Result<Option<Kept>, Refused> {
        let refused = |reason| Refused { retry_after: RETRY_AFTER, reason };
        if !self.has_room(event.len()) {
            return Err(refused("spool_full"));
        }
        let (answer, answered) = oneshot::channel();
        let crowd = self.inner.shared.coming(event.len());
        let append = Append { tenant: Arc::from(tenant), time, kind, event, is_out, answer };
        if !self.inner.commands.ask(Command::Append(append)) {
            return Err(refused("spool_failed"));
        }
        if crowd == CROWD {
            self.inner.commands.hurry();
        }
        match timeout(APPEND_MOST, answered).await {
            Ok(Ok(Ok(out))) => Ok(out.map(|out| Kept { spool: self.clone(), out })),
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(refused("spool_failed")),
        }
    }

    /// How much is in it.
    pub(crate) fn amount(&self) -> Amount {
        self.inner.shared.lock().amount()
    }

    /// Looks whether what waits in it has grown too old by `now`, in microseconds since 1970-01-01T00:00:00Z. How much
    /// there is, and how old the oldest of all is, those aside included.
    pub(crate) fn look(&self, now: i64) -> (Amount, Duration) {
        let amount = self.amount();
        let since = |time: i64| Duration::from_micros(u64::try_from(now.saturating_sub(time)).unwrap_or(0));
        let waited = amount.oldest.map_or(Duration::ZERO, since);
        self.inner.is_aged.store(waited > self.inner.bounds.age, Ordering::Relaxed);
        (amount, waited.max(amount.oldest_aside.map_or(Duration::ZERO, since)))
    }

    fn has_room(&self, bytes: usize) -> bool {
        let queued = self.inner.shared.queued.load(Ordering::Relaxed);
        let (records, kept) = self.inner.shared.lock().size();
        let grown = kept.saturating_add(queued).saturating_add(bytes as u64);
        queued <= QUEUED_MOST
            && !self.inner.is_aged.load(Ordering::Relaxed)
            && records < RECORDS_MOST
            && grown <= self.inner.bounds.bytes
    }

    /// The next to send: as many as there are, up to so many, and up to so many bytes together.
    fn take(&self, most: usize, mut bytes: u64) -> Vec<Entry> {
        let mut backlog = self.inner.shared.lock();
        let next = || {
            let (_, entry) = backlog.take(bytes)?;
            bytes -= u64::from(entry.length);
            Some(entry)
        };
        std::iter::from_fn(next).take(most).collect()
    }

    fn settle(&self, entries: Vec<Entry>) {
        let mut backlog = self.inner.shared.lock();
        for entry in &entries {
            backlog.settle(*entry);
        }
        drop(backlog);
        // The writer is there for as long as anybody can ask it.
        self.inner.commands.ask(Command::Settled(entries));
    }
}

impl Kept {
    /// The service has committed it.
    pub(crate) fn settle(mut self) {
        if let Some(entry) = self.out.entry.take() {
            self.spool.settle(vec![entry]);
        }
    }
}

impl Out {
    fn new(shared: &Arc<Shared>, entry: Entry) -> Self {
        Self { shared: Arc::clone(shared), entry: Some(entry) }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.shared.give_back(entry);
        }
    }
}

impl Shared {
    /// These are durable.
    fn register<'a>(&self, batch: impl Iterator<Item = (&'a Append, &'a Entry)>) {
        let mut backlog = self.lock();
        for (append, entry) in batch {
            if append.is_out {
                backlog.add_out(&append.tenant, *entry);
            } else {
                backlog.add(&append.tenant, *entry);
            }
        }
        drop(backlog);
        self.changed.notify_one();
    }

    fn give_back(&self, entry: Entry) {
        self.lock().give_back(entry);
        self.changed.notify_one();
    }

    fn put_behind(&self, entry: Entry) {
        self.lock().put_behind(entry);
        self.changed.notify_one();
    }

    /// A webhook of so many bytes waits for the disk; how many do now.
    fn coming(&self, bytes: usize) -> usize {
        self.queued.fetch_add(bytes as u64, Ordering::Relaxed);
        let crowd = self.crowd.fetch_add(1, Ordering::Relaxed) + 1;
        self.crowd_most.fetch_max(crowd, Ordering::Relaxed);
        self.came.fetch_add(1, Ordering::Relaxed);
        crowd
    }

    /// A copy of so many bytes waits for the disk: it is no webhook that came.
    fn copying(&self, bytes: usize) {
        self.queued.fetch_add(bytes as u64, Ordering::Relaxed);
        self.crowd.fetch_add(1, Ordering::Relaxed);
    }

    /// So many, of so many bytes, do not any more.
    fn written(&self, webhooks: usize, bytes: usize) {
        self.queued.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.crowd.fetch_sub(webhooks, Ordering::Relaxed);
    }

    /// What has come to the disk since this was asked last.
    fn rush(&self) -> Rush {
        let crowd = self.crowd_most.swap(self.crowd.load(Ordering::Relaxed), Ordering::Relaxed);
        Rush { crowd, came: self.came.swap(0, Ordering::Relaxed) }
    }

    fn read(&self, entry: Entry) -> io::Result<Option<Bytes>> {
        read(&*self.file(entry.segment)?, entry)
    }

    /// What stands in a record, as it was written.
    fn read_record(&self, entry: Entry) -> io::Result<Option<(Option<Kind>, Vec<u8>)>> {
        segment::read(&*self.file(entry.segment)?, entry.segment, entry.offset, entry.length)
    }

    fn file(&self, number: u64) -> io::Result<Arc<File>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&number) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(segment::path(&self.directory, number))?);
        if files.len() >= FILES_MOST {
            // They are read from front to back: hardly any of them is asked for again.
            files.clear();
        }
        files.insert(number, Arc::clone(&file));
        Ok(file)
    }

    fn forget(&self, number: u64) {
        self.lock().forget(number);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        // Nothing in there panics half-way through a change.
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event as it goes to the service; nothing where it is not what was written.
fn read(file: &File, entry: Entry) -> io::Result<Option<Bytes>> {
    let found = segment::read(file, entry.segment, entry.offset, entry.length)?;
    Ok(found.and_then(|(kind, event)| match kind {
        Some(Kind::Untyped) => untyped::complete(event.into()),
        _ => Some(event.into()),
    }))
}

/// What opening it needs.
pub(crate) struct Opening {
    pub(crate) directory: PathBuf,
    pub(crate) bounds: Bounds,
    /// Ready while the disk works.
    pub(crate) check: Check,
    pub(crate) metrics: Arc<Metrics>,
}

#[cfg(test)]
mod tests;
