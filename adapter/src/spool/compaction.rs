//! Compaction: what the service will not take for long must not keep files in which all else is settled.
//!
//! It is added to the newest segment as whatever comes is, and shares its syncs. Only when the disk keeps it there is
//! it settled where it stood: a crash in between leaves both, which is a duplicate.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    QUEUED_MOST, Spool,
    backlog::Entry,
    writer::{Append, Command},
};

/// Records that are copied at a time: few beside what comes in meanwhile, and far from a burst.
const RECORDS_MOST: usize = 8;
/// And no more bytes of them, but for one that is larger.
const BYTES_MOST: u64 = 1024 * 1024;

/// What was copied, and how it went.
#[derive(Debug, Default)]
pub(super) struct Compacted {
    /// From where to where.
    pub(super) moved: Vec<(Entry, Entry)>,
    /// The disk did not take something, or is at its limit.
    pub(super) has_failed: bool,
}

impl Spool {
    /// Copies a few records that are aside out of a segment that is there for their sake alone.
    pub(super) async fn compact(&self) -> Compacted {
        let (shared, mut compacted) = (&self.inner.shared, Compacted::default());
        let stuck = shared.lock().stuck(RECORDS_MOST, BYTES_MOST);
        if stuck.is_empty() {
            return compacted;
        }
        let (spool, entries) = (Arc::clone(shared), stuck.iter().map(|(_, entry)| *entry).collect::<Vec<_>>());
        let read = move || entries.into_iter().map(|entry| spool.read_record(entry)).collect::<Vec<_>>();
        let Ok(records) = self.inner.disk.beside(read).await else {
            return Compacted { has_failed: true, ..compacted };
        };
        let mut copies = Vec::new();
        for ((tenant, from), record) in stuck.into_iter().zip(records) {
            let Ok(Some((Some(kind), event))) = record else {
                // What is damaged the drain will meet, and say so. What can't be read may be there later.
                compacted.has_failed |= record.is_err();
                shared.lock().skip(from.segment);
                continue;
            };
            let (answer, answered) = oneshot::channel();
            let append = Append { tenant, time: from.time, kind, event: Bytes::from(event), is_out: true, answer };
            if shared.queued.load(Ordering::Relaxed) <= QUEUED_MOST {
                shared.copying(append.event.len());
                self.inner.commands.ask(Command::Append(append));
                copies.push((from, answered));
            } else {
                compacted.has_failed = true;
            }
        }
        for (from, answered) in copies {
            let Ok(Ok(Some(mut out))) = answered.await else {
                compacted.has_failed = true;
                continue;
            };
            let Some(to) = out.entry.take() else { continue };
            if shared.lock().move_aside(from, to) {
                self.inner.commands.ask(Command::Settled(vec![from]));
                compacted.moved.push((from, to));
            } else {
                // It is being tried again where it stood.
                self.settle(vec![to]);
            }
        }
        compacted
    }
}
