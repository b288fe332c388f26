//! The spool's one writer: a thread that adds what is there to the newest segment and has the disk keep it, once for
//! all who wait. Nobody is answered before.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use calbridge_process::crash::{self, Point};
use calbridge_telemetry::Check;
use tokio::sync::oneshot;
use tracing::{error, info};

use super::{Out, Shared, backlog::Entry, spare::Spares};
use crate::{
    metrics::Metrics,
    segment::{
        self, Segment, Sync,
        record::{self, Kind},
    },
};

/// A segment that has grown so large is followed by another: its file goes when all of it is settled.
pub(super) const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// One that has grown so large will be followed by another soon, and room is made for that. Where little comes, it is
/// settled before.
const SPARE_FROM_BYTES: u64 = SEGMENT_BYTES / 4;
/// What is made durable at once, at the most: what comes meanwhile is the next batch.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// From one sync to the next while several webhooks share each: what comes meanwhile shares the next. A sync costs the
/// machine more than the webhook for whose sake it is made, and a disk that others share takes only so many.
const BETWEEN_SYNCS: Duration = Duration::from_millis(1);
/// So many webhooks that wait are a crowd: it is not kept waiting.
pub(super) const CROWD: usize = 32;
/// From so many bytes on, a segment whose records are all settled is taken away at once.
pub(super) const RECLAIM_BYTES: u64 = 1024 * 1024;
/// Between two tries on a disk that fails: each webhook would pay for one otherwise.
const RETRY: Duration = Duration::from_secs(1);
/// What must find room for a disk to count as one that works again: the largest common body.
const PROBE_BYTES: usize = 1024 * 1024;

/// An event that is to be made durable.
pub(super) struct Append {
    pub(super) tenant: Arc<str>,
    pub(super) time: i64,
    pub(super) kind: Kind,
    pub(super) event: Bytes,
    /// It is on its way already.
    pub(super) is_out: bool,
    pub(super) answer: oneshot::Sender<Result<Option<Out>, DiskFailed>>,
}

/// The disk does not keep it.
#[derive(Debug)]
pub(super) struct DiskFailed;

/// What the writer is asked for.
pub(super) enum Command {
    Append(Append),
    /// These are committed: should this process end, they need not be sent again.
    Settled(Vec<Entry>),
}

/// When a sync began, and how many webhooks shared it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastSync {
    at: Instant,
    webhooks: usize,
}

impl LastSync {
    /// How long after it the next may begin, where something is there for it now.
    fn patience(self, now: Instant) -> Duration {
        // Where they come one by one nobody waits for another.
        let come_together = self.webhooks > 1 || now.saturating_duration_since(self.at) < BETWEEN_SYNCS / 2;
        if come_together { BETWEEN_SYNCS } else { Duration::ZERO }
    }
}

/// What the thread has.
pub(super) struct Writer {
    pub(super) directory: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) sync: Sync,
    pub(super) check: Check,
    pub(super) metrics: Arc<Metrics>,
    /// The number of the next segment.
    pub(super) next: u64,
    /// None where the last one was given up, and at first.
    pub(super) current: Option<Segment>,
    /// Room for the next one; none in the simulation, which has one thread.
    pub(super) spares: Option<Spares>,
    /// The last sync.
    pub(super) last_sync: Option<LastSync>,
    /// When it was last tried in vain, while it fails.
    pub(super) failed_at: Option<Instant>,
}

impl Writer {
    /// Runs until nobody can ask any more.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut settled = Vec::new();
        loop {
            // Nobody may come any more as long as it is not ready, so it is tried without being asked.
            if self.failed_at.is_some_and(|failed| failed.elapsed() >= RETRY) {
                self.probe();
            }
            let command = match self.failed_at {
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(failed) => commands.recv_timeout(RETRY.saturating_sub(failed.elapsed())),
            };
            match command {
                Ok(command) => {
                    self.wait_for_more();
                    self.round(command, || commands.try_recv().ok(), &mut settled);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Some(segment) = self.current {
            segment.finish();
        }
    }

    /// Lets come what is to share the next sync.
    fn wait_for_more(&self) {
        let Some(last) = self.last_sync else { return };
        let end = last.at + last.patience(Instant::now());
        while self.shared.crowd.load(Ordering::Relaxed) < CROWD {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // Whoever makes it a crowd unparks us.
            thread::park_timeout(left);
        }
    }

    /// Does what is asked for, and what was asked for meanwhile.
    pub(super) fn round(
        &mut self,
        first: Command,
        mut more: impl FnMut() -> Option<Command>,
        settled: &mut Vec<Entry>,
    ) {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Append(append) => {
                    bytes += append.event.len();
                    batch.push(append);
                }
                Command::Settled(mut entries) => settled.append(&mut entries),
            }
            next = if bytes < BATCH_BYTES { more() } else { None };
        }
        self.settle(settled);
        if !batch.is_empty() {
            self.append(batch);
        }
    }

    /// Makes a batch durable and answers each of it.
    fn append(&mut self, batch: Vec<Append>) {
        let kept = self.keep(&batch);
        self.shared.written(batch.len(), batch.iter().map(|append| append.event.len()).sum());
        match kept {
            Ok(entries) => {
                self.shared.register(batch.iter().zip(&entries));
                for (append, entry) in batch.into_iter().zip(entries) {
                    // Where whoever would have told what becomes of it has gone, it waits again as this is dropped.
                    let _ = append.answer.send(Ok(append.is_out.then(|| Out::new(&self.shared, entry))));
                }
            }
            Err(why) => {
                self.failed(&why);
                for append in batch {
                    let _ = append.answer.send(Err(DiskFailed));
                }
            }
        }
    }

    fn keep(&mut self, batch: &[Append]) -> io::Result<Vec<Entry>> {
        let mut segment = match self.current.take() {
            Some(segment) if !self.is_over(&segment) => segment,
            last => {
                let segment = self.begin()?;
                if let Some(last) = last {
                    self.reclaim(last.number);
                }
                segment
            }
        };
        let length = batch.iter().map(|Append { tenant, event, .. }| record::length(tenant, event)).sum();
        let (mut bytes, mut entries) = (Vec::with_capacity(length), Vec::with_capacity(batch.len()));
        for Append { tenant, time, kind, event, .. } in batch {
            let offset = segment.length() + bytes.len() as u64;
            let length = record::encode(&mut bytes, segment.number, *kind, tenant, *time, event);
            let too_large = |_| io::Error::other("a segment has grown beyond 4 GiB");
            entries.push(Entry {
                segment: segment.number,
                offset: u32::try_from(offset).map_err(too_large)?,
                length: u32::try_from(length).map_err(too_large)?,
                time: *time,
            });
        }
        crash::at(Point::SpoolWrite);
        if let Err(why) = segment.write(&bytes) {
            // Nothing of it counts; the next try may find room again.
            self.current = Some(segment);
            return Err(why);
        }
        crash::at_torn(Point::SpoolWritten, || segment.tear(bytes.len()));
        let began = Instant::now();
        self.last_sync = Some(LastSync { at: began, webhooks: batch.len() });
        if let Err(why) = segment.sync(bytes.len() as u64) {
            segment.abandon();
            return Err(why);
        }
        crash::at(Point::SpoolSynced);
        self.metrics.spooled(batch.len(), began.elapsed());
        self.shared.lock().segment(segment.number, segment.length(), false);
        self.current = Some(segment);
        Ok(entries)
    }

    /// Whether what comes next belongs into another segment.
    fn is_over(&mut self, segment: &Segment) -> bool {
        let Some(spares) = &mut self.spares else { return segment.length() >= SEGMENT_BYTES };
        if segment.length() >= SPARE_FROM_BYTES {
            spares.order();
        }
        // While the disk fails, none would be begun.
        segment.length() >= SEGMENT_BYTES || !segment.is_prepared && self.failed_at.is_none() && spares.is_ready()
    }

    fn begin(&mut self) -> io::Result<Segment> {
        if self.failed_at.is_some_and(|failed| failed.elapsed() < RETRY) {
            return Err(io::Error::other("the disk failed a moment ago"));
        }
        let number = self.next;
        self.next += 1;
        let spare = self.spares.as_mut().and_then(Spares::take);
        let prepared = spare.and_then(|spare| Segment::create_in(spare, &self.directory, number, self.sync).ok());
        let segment = match prepared {
            Some(segment) => segment,
            None => Segment::create(&self.directory, number, self.sync)?,
        };
        self.shared.lock().begin(number, segment.length());
        Ok(segment)
    }

    /// Whether the disk works again: nothing is lost by trying. It does when there is room for a large webhook and a
    /// segment to add it to.
    fn probe(&mut self) {
        let works = self.try_out().and_then(|()| match self.current {
            Some(_) => Ok(()),
            None => self.begin().map(|segment| self.current = Some(segment)),
        });
        match works {
            Ok(()) => self.recovered(),
            Err(why) => self.failed(&why),
        }
    }

    /// Has the disk keep something that nobody needs.
    pub(super) fn try_out(&self) -> io::Result<()> {
        let path = self.directory.join("probe");
        let tried = (|| {
            let mut file = segment::open_beside(&path)?;
            file.write_all(&vec![0; PROBE_BYTES])?;
            (self.sync)(&file)
        })();
        let _ = fs::remove_file(&path);
        tried
    }

    fn failed(&mut self, why: &io::Error) {
        if self.failed_at.is_none() {
            error!(
                %why,
                directory = %self.directory.display(),
                "the spool's disk failed: what the service does not commit in time is answered 503 until it works again"
            );
        }
        // Only a try that was made counts, or the next would be put off for ever.
        if self.failed_at.is_none_or(|failed| failed.elapsed() >= RETRY) {
            self.failed_at = Some(Instant::now());
        }
        self.check.not_ready();
        if let Some(spares) = &mut self.spares {
            spares.give_up();
        }
    }

    fn recovered(&mut self) {
        self.failed_at = None;
        info!("the spool's disk works again");
        self.check.ready();
    }

    /// Writes down what need not be sent again, and takes away the segments that have done their service. Neither is
    /// waited for on the disk: what is lost of it is sent again.
    fn settle(&mut self, settled: &mut Vec<Entry>) {
        settled.sort_unstable_by_key(|entry| (entry.segment, entry.offset));
        for entries in settled.chunk_by(|one, other| one.segment == other.segment) {
            let number = entries[0].segment;
            if self.reclaim(number) {
                continue;
            }
            crash::at(Point::SpoolSettle);
            let _ = segment::settle(&self.directory, number, entries.iter().map(|entry| entry.offset));
            crash::at(Point::SpoolSettled);
        }
        settled.clear();
    }

    /// Takes a segment away if it has done its service.
    fn reclaim(&mut self, number: u64) -> bool {
        if !self.shared.lock().is_done(number) {
            return false;
        }
        if self.current.as_ref().is_some_and(|segment| segment.number == number) {
            if self.current.as_ref().is_some_and(|segment| segment.length() < RECLAIM_BYTES) {
                return false;
            }
            self.current = None;
        }
        crash::at(Point::SegmentRemove);
        segment::remove(&self.directory, number);
        self.shared.forget(number);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_comes_alone_waits_for_no_other() {
        let at = Instant::now();
        let patience = |webhooks, since| LastSync { at, webhooks }.patience(at + since);
        assert_eq!(patience(1, BETWEEN_SYNCS / 2), Duration::ZERO);
        assert_eq!(patience(1, BETWEEN_SYNCS / 3), BETWEEN_SYNCS, "the last came a moment ago");
        assert_eq!(patience(2, BETWEEN_SYNCS), BETWEEN_SYNCS, "the last two came together");
        assert_eq!(patience(1, Duration::from_mins(1)), Duration::ZERO);
    }
}
