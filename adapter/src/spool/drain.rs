//! The drain: sends what is in the spool to the service, a few at a time, for as long as the process lives.
//!
//! What the service can't take now is tried again, first soon and then less and less often. What it will not take (an
//! operator's mistake, or a bug of ours) is set aside for a while and holds nobody up. Neither does what alone it never
//! can: of a booking whose row can't be read, say.

use std::{future::Future, iter, sync::Arc, time::Duration};

use calbridge_process::{
    Ack, Ages,
    crash::{self, Point},
};
use calbridge_telemetry::semconv;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    select,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    Spool,
    backlog::Entry,
    course::{Course, Next},
    disk::Read,
    pace::{Load, OUT_BYTES_MOST},
};
use crate::{
    Moment,
    forward::{Forwarder, Refused, Ticket},
    metrics::Metrics,
    segment,
};

/// For the service to commit one: as long as it helps nobody to send it again.
const DEADLINE: Duration = Duration::from_secs(10);
/// Records that one thread reads and types before they go: the others have threads of their own.
const READ_AT_ONCE: usize = 32;
/// How often it is looked how much there is and how old it is.
const LOOK: Duration = Duration::from_secs(1);
/// For what is on its way when the process ends: what is not committed then is sent again by the next.
const LAST: Duration = Duration::from_secs(1);

/// What the task needs.
pub(crate) struct Drain {
    pub(crate) spool: Spool,
    pub(crate) forwarder: Forwarder,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) moment: fn() -> Moment,
    pub(crate) ack: Ack,
}

/// What became of a record.
enum Sent {
    Committed,
    /// Another try may succeed soon.
    Later(Refused),
    /// Only once somebody has changed something.
    Aside(&'static str),
    /// It is not what was written.
    Damaged,
}

impl Drain {
    /// Runs until `stop`, then for as long as what is on its way may take.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (mut reading, mut sending) = (FuturesUnordered::new(), FuturesUnordered::new());
        // One at a time.
        let mut compacting = FuturesUnordered::new();
        let began = Instant::now();
        let mut course = Course::begin(self.ack, began);
        let (mut ages, mut next_look) = (Ages::begin((self.moment)().micros()), began);
        while !stop.is_cancelled() {
            let now = Instant::now();
            if next_look <= now {
                self.look(ages.now((self.moment)().micros(), began.elapsed()));
                next_look = now + LOOK;
            }
            self.bring_back(&mut course, now);
            if compacting.is_empty() && course.next_compaction <= now {
                compacting.push(self.spool.compact());
            }
            let waiting = self.spool.inner.shared.lock().waiting();
            let entries = self.take(&mut course, now, waiting);
            for part in entries.chunks(READ_AT_ONCE) {
                reading.push(self.spool.inner.disk.read(Arc::clone(&self.spool.inner.shared), part.to_vec()));
            }
            let wake = course.wake(now, waiting).map_or(next_look, |wake| wake.min(next_look));
            select! {
                Some(events) = reading.next() => {
                    sending.extend(events.into_iter().map(|(entry, event)| self.send(entry, event)));
                }
                Some(first) = sending.next() => {
                    let more = iter::from_fn(|| sending.next().now_or_never().flatten());
                    self.hear(iter::once(first).chain(more), &mut course);
                }
                Some(compacted) = compacting.next() => course.compacted(compacted, Instant::now()),
                () = self.spool.inner.shared.changed.notified() => {}
                () = sleep_until(wake) => {}
                () = stop.cancelled() => {}
            }
        }
        let rest = async {
            while let Some(sent) = sending.next().await {
                self.hear(iter::once(sent), &mut course);
            }
            // Or what is copied already would stand in two places.
            while compacting.next().await.is_some() {}
        };
        // What is left is in the spool.
        let _ = timeout(LAST, rest).await;
    }

    fn look(&self, now: i64) {
        let (amount, age) = self.spool.look(now);
        self.metrics.spool_holds(amount.records, amount.aside, amount.bytes, age);
    }

    /// What was aside for long enough waits again.
    fn bring_back(&self, course: &mut Course, now: Instant) {
        while let Some(entry) = course.bring_back(now) {
            self.spool.inner.shared.put_behind(entry);
        }
    }

    /// Those that go now.
    fn take(&self, course: &mut Course, now: Instant, waiting: usize) -> Vec<Entry> {
        let load = Load { waiting, out: course.out };
        let room = course.room(now, load, || self.spool.inner.shared.rush());
        let entries = self.spool.take(room, OUT_BYTES_MOST.saturating_sub(course.out_bytes));
        course.out += entries.len();
        course.out_bytes += entries.iter().map(|entry| u64::from(entry.length)).sum::<u64>();
        entries
    }

    fn send(&self, entry: Entry, event: Read) -> impl Future<Output = (Entry, Sent)> + use<> {
        let (forwarder, metrics) = (self.forwarder.clone(), Arc::clone(&self.metrics));
        async move {
            let event = match event {
                Ok(Some(event)) => event,
                Ok(None) => return (entry, Sent::Damaged),
                Err(_) => return (entry, Sent::Later(Refused::busy("spool_unreadable"))),
            };
            crash::at(Point::DrainSend);
            let (began, mut ticket) = (Instant::now(), None);
            let answered = async {
                let ticket: &mut Ticket = ticket.insert(forwarder.submit(event)?);
                let late = |_| Err(Refused::away("deadline_exceeded"));
                timeout(DEADLINE, ticket.answer()).await.unwrap_or_else(late)
            };
            let answered = answered.await;
            let (peer, error) = (ticket.as_mut().and_then(Ticket::end), answered.as_ref().err());
            metrics.sent(peer.as_deref(), error.map(|refused| refused.reason), began.elapsed());
            let sent = match answered {
                Ok(_) => Sent::Committed,
                Err(refused) if refused.passes() => Sent::Later(refused),
                Err(refused) => Sent::Aside(refused.reason),
            };
            (entry, sent)
        }
    }

    /// What has become of some, and what that means for the others.
    fn hear(&self, all: impl Iterator<Item = (Entry, Sent)>, course: &mut Course) {
        let mut settled = Vec::new();
        for (entry, sent) in all {
            course.out -= 1;
            course.out_bytes -= u64::from(entry.length);
            debug_assert!(course.out > 0 || course.out_bytes == 0, "{} bytes of nothing are out", course.out_bytes);
            match sent {
                Sent::Committed => {
                    crash::at(Point::DrainAnswered);
                    self.metrics.drained();
                    settled.push(entry);
                    course.committed(entry);
                }
                Sent::Later(refused) => self.put_off(entry, &refused, course),
                Sent::Aside(reason) => {
                    if let Some(more) = course.warnings.pass() {
                        error!(
                            { semconv::ERROR_TYPE } = reason,
                            more,
                            "the service will not take an event of the spool; it is kept and tried again every minute"
                        );
                    }
                    self.spool.inner.shared.lock().set_aside(entry);
                    course.set_aside(entry, Instant::now());
                }
                Sent::Damaged => {
                    error!(
                        path = %segment::path(&self.spool.inner.shared.directory, entry.segment).display(),
                        offset = entry.offset,
                        "an event of the spool is not what was written; its file is kept"
                    );
                    self.metrics.spool_damaged(1);
                    self.spool.inner.shared.lock().give_up(entry);
                    course.forget(entry);
                }
            }
        }
        if !settled.is_empty() {
            self.spool.settle(settled);
        }
    }

    /// Another try may succeed, of this one or of others.
    fn put_off(&self, entry: Entry, refused: &Refused, course: &mut Course) {
        let shared = &self.spool.inner.shared;
        let next = course.failed(entry, refused, Instant::now());
        if next == Next::Aside {
            shared.lock().set_aside(entry);
            if let Some(more) = course.warnings.pass() {
                error!(
                    { semconv::ERROR_TYPE } = refused.reason,
                    more,
                    "an event of the spool is not taken, however often it is tried; others go first, and it is tried \
                     again every minute"
                );
            }
            return;
        }
        if let (false, Some(more)) = (refused.reason == "service_away", course.warnings.pass()) {
            warn!({ semconv::ERROR_TYPE } = refused.reason, more, "an event of the spool was not taken; again soon");
        }
        if next == Next::Again {
            shared.give_back(entry);
        }
    }
}
