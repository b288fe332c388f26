//! The quarantine's one writer: a thread that decides what is kept, adds it to the newest segment, and takes away what
//! is settled or too old.
//!
//! It never waits for the disk: another thread has that keep what was written, at most one a second.

use std::{
    collections::HashMap,
    fs, io, mem,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use calbridge_process::{Ages, QuarantineSettings};
use calbridge_telemetry::semconv;
use prost::Message as _;
use tracing::{info, warn};

use super::{
    budget::{Budget, Source},
    ledger::{Held, Ledger},
    look,
    webhook::Webhook,
};
use crate::{
    Moment,
    metrics::Metrics,
    segment::{
        self, Segment, Sync,
        record::{self, Kind},
    },
};

/// A segment that has grown so large is followed by another: 64 of them are what is kept by default.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// And one that is so old: a segment goes when its newest record does, and none is to stay for much longer than it may.
const SEGMENT_TIME: Duration = Duration::from_hours(1);
/// How often the disk is told to keep what was written, and what is there is told.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked what was settled and what is too old.
const LOOK: Duration = Duration::from_secs(5);
/// Between two tries on a disk that fails.
const RETRY: Duration = Duration::from_secs(1);
/// Between two lines about one tenant: each of its webhooks would be one otherwise.
const TOLD: Duration = Duration::from_mins(1);
/// Lines in one tick; the other tenants' come in the next.
const LINES: usize = 10;

/// What the keeper is handed.
#[derive(Debug)]
pub(super) enum Command {
    Keep(Box<Offered>),
    /// There is no more.
    Stop,
}

/// A refused webhook, and whom it was for.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) tenant: String,
    /// There is such a tenant.
    pub(super) is_known: bool,
    pub(super) source: IpAddr,
    /// In microseconds since 1970-01-01T00:00:00Z.
    pub(super) time: i64,
    pub(super) webhook: Webhook,
}

/// What the thread has.
pub(super) struct Keeper {
    settings: QuarantineSettings,
    moment: fn() -> Moment,
    queued: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    ledger: Ledger,
    /// When it began: the budget's time.
    began: Instant,
    ages: Ages,
    current: Option<Current>,
    /// Files of which something may not be on stable storage: one for each segment since the disk was last told.
    dirty: Vec<fs::File>,
    sync: Sync,
    disk: Arc<Disk>,
    /// The newest segment there has been.
    newest: u64,
    /// When the disk was last tried in vain.
    failed_at: Option<Instant>,
    told: HashMap<Arc<str>, Told>,
}

/// The segment that is added to.
struct Current {
    segment: Segment,
    began: Instant,
    /// Its file is among those of which something may not be on stable storage.
    is_dirty: bool,
}

/// How the disk does with what it was told to keep.
#[derive(Debug, Default)]
struct Disk {
    is_busy: AtomicBool,
    has_failed: AtomicBool,
}

/// What there is to say of a tenant.
#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    kept: u64,
    counted: u64,
}

impl Keeper {
    pub(super) fn new(
        settings: QuarantineSettings,
        moment: fn() -> Moment,
        queued: Arc<AtomicU64>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            ledger: Ledger::new(Budget::new(settings.bytes, settings.rate)),
            settings,
            moment,
            queued,
            metrics,
            began: Instant::now(),
            ages: Ages::begin(moment().micros()),
            current: None,
            dirty: Vec::new(),
            sync: fs::File::sync_data,
            disk: Arc::default(),
            newest: 0,
            failed_at: None,
            told: HashMap::new(),
        }
    }

    /// Runs until it is told to stop, or nobody can tell it.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        self.recover();
        let (mut next_tick, mut next_look) = (Instant::now(), Instant::now());
        loop {
            let now = Instant::now();
            if next_look <= now {
                self.look();
                next_look = now + LOOK;
            }
            if next_tick <= now {
                self.tick();
                next_tick = now + TICK;
            }
            match commands.recv_timeout(next_tick.saturating_duration_since(now)) {
                Ok(Command::Keep(offered)) => self.take(&offered),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        for file in &self.dirty {
            // Nothing was promised, and there is nobody left to tell.
            let _ = (self.sync)(file);
        }
    }

    /// Reads what an earlier process has left.
    fn recover(&mut self) {
        let directory = self.settings.directory.clone();
        let numbers = match segment::numbers(&directory) {
            Ok(numbers) => numbers,
            Err(why) => return self.failed(&why),
        };
        for number in &numbers {
            self.recover_segment(*number);
        }
        self.newest = numbers.last().copied().unwrap_or(0);
        if let Err(why) = segment::drop_orphans(&directory, &numbers) {
            self.failed(&why);
        }
        let (webhooks, bytes) = self.ledger.size();
        if webhooks > 0 {
            info!(webhooks, bytes, "there are webhooks in quarantine; calbridge quarantine verify says what they are");
        }
    }

    fn recover_segment(&mut self, number: u64) {
        let directory = &self.settings.directory;
        let (path, settled) = (segment::path(directory, number), segment::settled(directory, number));
        let bytes = fs::metadata(&path).map_or(0, |file| file.len());
        // One that can't be read is as old as it is at the least.
        self.ledger.segment(number, bytes, i64::try_from(number).unwrap_or(0));
        let read = look::records(&path, number, |seen| {
            self.ledger.segment(number, bytes, seen.time);
            let Some(webhook) = seen.webhook else { return self.ledger.foreign(number) };
            let Ok(source) = webhook.source.parse().map(Source::of) else { return self.ledger.foreign(number) };
            if !settled.contains(&seen.offset) {
                let (tenant, claim) = (self.ledger.name(seen.tenant), webhook.claim(seen.tenant));
                self.ledger.add(number, seen.offset, Held { tenant, source, weight: webhook.weight(), claim });
            }
        });
        if !matches!(read, Ok(true)) {
            self.ledger.foreign(number);
            warn!(path = %path.display(), "this file of the quarantine can't be read; it goes when it is old");
        }
    }

    fn take(&mut self, offered: &Offered) {
        self.queued.fetch_sub(offered.webhook.raw_body.len() as u64, Ordering::Relaxed);
        if !offered.is_known {
            // Its name is anybody's invention.
            return self.metrics.unverified("unknown_tenant");
        }
        let tenant = self.ledger.name(&offered.tenant);
        let result = self.keep(&tenant, offered);
        self.metrics.unverified(result);
        let told = self.told.entry(tenant).or_default();
        match result {
            "kept" => told.kept += 1,
            _ => told.counted += 1,
        }
    }

    /// What became of it.
    fn keep(&mut self, tenant: &Arc<str>, Offered { source, time, webhook, .. }: &Offered) -> &'static str {
        let (source, weight) = (Source::of(*source), webhook.weight());
        let claim = webhook.claim(tenant);
        // Before the budget: Cal.com sends each of them up to four times, and the later tries of some would use up what
        // the first of others may take. It costs a hash, of which the edge has made more by now.
        if self.ledger.has(&claim) {
            return "copy";
        }
        // Before all that costs more: what a flood brings ends here.
        if !self.ledger.admit(tenant, source, weight, self.began.elapsed()) {
            return "over_budget";
        }
        if self.failed_at.is_some_and(|failed| failed.elapsed() < RETRY) {
            return "failed";
        }
        match self.write(tenant, *time, webhook) {
            Ok((number, offset)) => {
                if self.failed_at.take().is_some() {
                    info!("the quarantine's disk works again");
                }
                self.ledger.add(number, offset, Held { tenant: Arc::clone(tenant), source, weight, claim });
                "kept"
            }
            Err(why) => {
                self.failed(&why);
                "failed"
            }
        }
    }

    /// Adds it to the newest segment; where it stands.
    fn write(&mut self, tenant: &str, time: i64, webhook: &Webhook) -> io::Result<(u64, u32)> {
        let mut current = match self.current.take() {
            Some(current) if current.is_young() => current,
            _ => self.begin()?,
        };
        let number = current.segment.number;
        let offset = u32::try_from(current.segment.length()).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        record::encode(&mut bytes, number, Kind::Quarantined, tenant, time, &webhook.encode_to_vec());
        let added = current.segment.add(&bytes);
        if added.is_ok() && !current.is_dirty {
            self.dirty.push(current.segment.file()?);
            current.is_dirty = true;
        }
        self.ledger.segment(number, current.segment.length(), time);
        self.current = Some(current);
        added.map(|()| (number, offset))
    }

    /// A segment's number is the time at which it was begun, so that none is ever given twice: marks that somebody
    /// makes late mean no other.
    fn begin(&mut self) -> io::Result<Current> {
        let now = (self.moment)().micros();
        let number = u64::try_from(now).unwrap_or(0).max(self.newest + 1);
        self.newest = number;
        let segment = Segment::create(&self.settings.directory, number, self.sync)?;
        self.ledger.segment(number, segment.length(), now);
        Ok(Current { segment, began: Instant::now(), is_dirty: false })
    }

    fn tick(&mut self) {
        self.keep_on_disk();
        let (webhooks, bytes) = self.ledger.size();
        self.metrics.quarantine_holds(webhooks, bytes);
        self.tell();
    }

    /// Has the disk keep what was written since the last time, unless it is still at that.
    fn keep_on_disk(&mut self) {
        if self.disk.has_failed.swap(false, Ordering::Relaxed) {
            // What the system still holds of it is not known: it is not added to any more.
            self.current = None;
            self.failed(&io::Error::other("what was written could not be kept"));
        }
        if self.dirty.is_empty() || self.disk.is_busy.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(current) = &mut self.current {
            current.is_dirty = false;
        }
        let (files, sync, disk) = (mem::take(&mut self.dirty), self.sync, Arc::clone(&self.disk));
        let keep = move || {
            let has_failed = files.iter().any(|file| sync(file).is_err());
            disk.has_failed.fetch_or(has_failed, Ordering::Relaxed);
            disk.is_busy.store(false, Ordering::Relaxed);
        };
        if thread::Builder::new().name("quarantine-sync".to_owned()).spawn(keep).is_err() {
            // The system keeps it by itself before long.
            self.disk.is_busy.store(false, Ordering::Relaxed);
        }
    }

    /// Takes away what is settled, and what is too old.
    fn look(&mut self) {
        let directory = self.settings.directory.clone();
        let age = i64::try_from(self.settings.age.as_micros()).unwrap_or(i64::MAX);
        let now = self.ages.now((self.moment)().micros(), self.began.elapsed());
        let mut gone = self.ledger.outdated(now.saturating_sub(age));
        for number in self.ledger.numbers() {
            let settled = segment::settled(&directory, number);
            if !settled.is_empty() && self.ledger.settle(number, settled) {
                gone.push(number);
            }
        }
        for number in gone {
            if self.current.as_ref().is_some_and(|current| current.segment.number == number) {
                self.current = None;
            }
            segment::remove(&directory, number);
            self.ledger.remove(number);
        }
    }

    /// Says whose webhooks do not verify, and what mends it.
    fn tell(&mut self) {
        let is_due = |told: &Told| told.kept + told.counted > 0 && told.last.is_none_or(|last| last.elapsed() >= TOLD);
        for (tenant, told) in self.told.iter_mut().filter(|(_, told)| is_due(told)).take(LINES) {
            warn!(
                { semconv::TENANT_ID } = &**tenant,
                kept = told.kept,
                only_counted = told.counted,
                "webhooks of this tenant are signed with none of its secrets; if the secret here is the wrong one, \
                 mend it and say: calbridge quarantine replay"
            );
            *told = Told { last: Some(Instant::now()), kept: 0, counted: 0 };
        }
    }

    fn failed(&mut self, why: &io::Error) {
        if self.failed_at.is_none() {
            let directory = self.settings.directory.display();
            warn!(%why, %directory, "the quarantine's disk failed: webhooks that do not verify are only counted");
        }
        self.failed_at = Some(Instant::now());
    }
}

impl Current {
    fn is_young(&self) -> bool {
        self.segment.length() < SEGMENT_BYTES && self.began.elapsed() < SEGMENT_TIME
    }
}
