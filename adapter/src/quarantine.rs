//! The quarantine: what was refused because no secret had signed it, kept for an operator whose secret was the wrong
//! one.
//!
//! A webhook is offered here after its 401 is decided, by an edge that waits for nothing: a queue takes it or drops it,
//! and a thread, the [`keeper`], decides by a [`budget`] and writes. Nothing was promised, so the disk is told to keep
//! it once a second. Invariant: nothing of it goes to the service, but by [`replay_quarantine`], which judges again.
//!
//! Not kept is what no secret can ever verify: no signature, a malformed one, and `no-secret-provided`. An unknown
//! tenant is counted, at the same cost.
//!
//! The process that has the spool has the quarantine in it. It adds records and takes files away; whoever replays
//! beside it reads, and alone marks records as settled.

mod budget;
mod keeper;
mod ledger;
mod look;
mod replay;
mod webhook;

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, SyncSender},
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use calbridge_process::QuarantineSettings;

use self::{
    keeper::{Command, Keeper},
    webhook::Webhook,
};
use crate::{Moment, metrics::Metrics, segment, spool::SpoolError};

pub use self::{
    look::{InQuarantine, QuarantineSummary, inspect_quarantine},
    replay::{Replayed, Verdicts, Verified, replay_quarantine, verify_quarantine},
};

/// Webhooks on their way to the keeper. It takes a microsecond for one that is over the budget, so that a flood fills
/// the queue only while the disk does not take the write of one that is kept.
const QUEUE_MOST: usize = 4096;
/// Bytes on their way to the keeper: a dozen of the largest bodies, or as many common ones as the queue has places.
const QUEUE_BYTES: u64 = 16 * 1024 * 1024;

/// Why what is in a quarantine can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// Somebody does it already.
    #[error("{}: this quarantine is being replayed by another process; wait for its end", directory.display())]
    Taken {
        /// The directory.
        directory: PathBuf,
    },
    /// It is another user's.
    #[error("{}: {why}; run this as the user that the adapter runs as, who alone may read there", directory.display())]
    Closed {
        /// The directory.
        directory: PathBuf,
        /// What the file system says.
        why: io::Error,
    },
    /// The file system says no.
    #[error("{}: {why}", directory.display())]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// What it says.
        why: io::Error,
    },
}

impl QuarantineError {
    fn of(directory: &Path, why: io::Error) -> Self {
        let directory = directory.to_owned();
        match why.kind() {
            io::ErrorKind::PermissionDenied => Self::Closed { directory, why },
            _ => Self::Unusable { directory, why },
        }
    }
}

/// A handle for the edge.
pub(crate) struct Quarantine {
    commands: SyncSender<Command>,
    /// Bytes on their way to the keeper.
    queued: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
}

/// The keeper, to be waited for.
pub(crate) struct Keeping {
    commands: SyncSender<Command>,
    thread: JoinHandle<()>,
}

/// A webhook whose signature no secret of its tenant had made.
pub(crate) struct Refused<'a> {
    pub(crate) tenant: &'a str,
    /// There is such a tenant.
    pub(crate) is_known: bool,
    /// Who sent it.
    pub(crate) source: IpAddr,
    pub(crate) moment: Moment,
    /// The header that bears the signature.
    pub(crate) signature: (&'static str, &'a [u8]),
    pub(crate) webhook_version: String,
    pub(crate) content_type: String,
    pub(crate) body: &'a [u8],
}

impl Quarantine {
    /// Opens the quarantine of a spool that is ours. What is in it already is read by the keeper.
    pub(crate) fn open(
        settings: QuarantineSettings,
        moment: fn() -> Moment,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Keeping), SpoolError> {
        let directory = settings.directory.clone();
        let unusable = |why| SpoolError::Unusable { directory: directory.clone(), why };
        segment::make_directory(&directory).map_err(unusable)?;
        let (commands, asked) = mpsc::sync_channel(QUEUE_MOST);
        let queued = Arc::new(AtomicU64::new(0));
        let keeper = Keeper::new(settings, moment, Arc::clone(&queued), Arc::clone(&metrics));
        let run = move || keeper.run(&asked);
        let thread = thread::Builder::new().name("quarantine".to_owned()).spawn(run).map_err(unusable)?;
        Ok((Self { commands: commands.clone(), queued, metrics }, Keeping { commands, thread }))
    }

    /// Hands a refused webhook to the keeper, or drops it. Costs the same whoever it is for.
    pub(crate) fn offer(&self, refused: Refused<'_>) {
        let weight = refused.body.len() as u64;
        // A body is copied only where there is room: what is not kept must not be held either.
        if self.queued.fetch_add(weight, Ordering::Relaxed) + weight > QUEUE_BYTES {
            self.queued.fetch_sub(weight, Ordering::Relaxed);
            self.metrics.unverified("dropped");
            return;
        }
        let (name, signature) = refused.signature;
        let webhook = Webhook {
            request_id: refused.moment.request_id.to_string(),
            source: refused.source.to_string(),
            signature_name: name.to_owned(),
            signature: signature.to_vec(),
            version: refused.webhook_version,
            content_type: refused.content_type,
            raw_body: Bytes::copy_from_slice(refused.body),
        };
        let offered = Command::Keep(Box::new(keeper::Offered {
            tenant: refused.tenant.to_owned(),
            is_known: refused.is_known,
            source: refused.source,
            time: refused.moment.micros(),
            webhook,
        }));
        if self.commands.try_send(offered).is_err() {
            self.queued.fetch_sub(weight, Ordering::Relaxed);
            self.metrics.unverified("dropped");
        }
    }
}

impl Keeping {
    /// Has the keeper write down what it was handed, and waits for its end.
    pub(crate) async fn stop(self) {
        // The queue may be full, and the disk slow.
        let ended = tokio::task::spawn_blocking(move || {
            let _ = self.commands.send(Command::Stop);
            let _ = self.thread.join();
        });
        // A panic of it was said where it happened.
        let _ = ended.await;
    }
}

#[cfg(test)]
mod tests;
