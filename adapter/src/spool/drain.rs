//! The drain: sends what is in the spool to the service, a few at a time, for as long as the process lives.
//!
//! What the service can't take now is tried again, first soon and then less and less often. What it will not take (an
//! operator's mistake, or a bug of ours) is set aside for a while and holds nobody up. Neither does for long what alone
//! it never can: of a booking whose row can't be read, say.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    iter,
    sync::Arc,
    time::Duration,
};

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
    disk::Read,
    pace::{Load, OUT_BYTES_MOST, Pace},
};
use crate::{
    Moment,
    forward::{Forwarder, Refused, Ticket, pause, random},
    metrics::Metrics,
    throttle::Throttle,
};

/// For the service to commit one: as long as it helps nobody to send it again.
const DEADLINE: Duration = Duration::from_secs(10);
/// Records that one thread reads and types before they go: the others have threads of their own.
const READ_AT_ONCE: usize = 32;
/// How long what the service will not take is left alone.
const ASIDE: Duration = Duration::from_mins(1);
/// Tries of one record in vain, from which on it is set aside after each. They take some ten seconds: a store that
/// restarts is back by then.
const TRIES_MOST: u32 = 16;
/// Records whose tries are counted, in an outage of the store that is long.
const COUNTED_MOST: usize = 1_024;
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

/// How it goes.
struct Course {
    pace: Pace,
    /// Records that are read or on their way, and their bytes.
    out: usize,
    out_bytes: u64,
    /// Tries in vain, one after the other.
    failures: u32,
    /// When the next makes sense.
    not_before: Instant,
    /// What the service will not take, and until when it is left alone.
    aside: VecDeque<(Instant, Entry)>,
    /// How often a record was tried in vain that may itself be why, by segment and offset.
    in_vain: BTreeMap<(u64, u32), u32>,
    warnings: Throttle,
}

impl Course {
    fn begin(ack: Ack, now: Instant) -> Self {
        let (pace, warnings) = (Pace::new(ack, now), Throttle::default());
        let (aside, in_vain) = (VecDeque::new(), BTreeMap::new());
        Self { pace, out: 0, out_bytes: 0, failures: 0, not_before: now, aside, in_vain, warnings }
    }

    /// A record was tried in vain once more: whether it has been so often that others should be tried before it.
    fn is_in_the_way(&mut self, entry: Entry, refused: &Refused) -> bool {
        let place = (entry.segment, entry.offset);
        let is_counted = self.in_vain.len() < COUNTED_MOST || self.in_vain.contains_key(&place);
        if !refused.may_be_its_own() || !is_counted {
            return false;
        }
        let tries = self.in_vain.entry(place).or_default();
        *tries = tries.saturating_add(1);
        *tries >= TRIES_MOST
    }

    /// When there may be something to do.
    fn wake(&self, now: Instant, waiting: usize) -> Option<Instant> {
        if now < self.not_before {
            return Some(self.not_before);
        }
        // Where the probe is out its answer is what there is to wait for, and where nothing waits, what comes.
        if self.failures > 0 || waiting == 0 { None } else { self.pace.next() }
    }
}

/// What became of a record.
enum Sent {
    Committed,
    /// Another try may succeed soon.
    Later(Refused),
    /// It was said so often that another may succeed, and none did.
    InTheWay(&'static str),
    /// Only once somebody has changed something.
    Aside(&'static str),
    /// It is not what was written.
    Damaged,
}

impl Drain {
    /// Runs until `stop`, then for as long as what is on its way may take.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (mut reading, mut sending) = (FuturesUnordered::new(), FuturesUnordered::new());
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
                () = self.spool.inner.shared.changed.notified() => {}
                () = sleep_until(wake) => {}
                () = stop.cancelled() => {}
            }
        }
        let rest = async {
            while let Some(sent) = sending.next().await {
                self.hear(iter::once(sent), &mut course);
            }
        };
        // What is left is in the spool.
        let _ = timeout(LAST, rest).await;
    }

    fn look(&self, now: i64) {
        let (amount, age) = self.spool.look(now);
        self.metrics.spool_holds(amount, age);
    }

    /// What was aside for long enough waits again.
    fn bring_back(&self, course: &mut Course, now: Instant) {
        while course.aside.front().is_some_and(|(until, _)| *until <= now) {
            let Some((_, entry)) = course.aside.pop_front() else { return };
            self.spool.inner.shared.give_back(entry);
        }
    }

    /// Those that go now.
    fn take(&self, course: &mut Course, now: Instant, waiting: usize) -> Vec<Entry> {
        let room = self.room(course, now, Load { waiting, out: course.out });
        let entries = self.spool.take(room, OUT_BYTES_MOST.saturating_sub(course.out_bytes));
        course.out += entries.len();
        course.out_bytes += entries.iter().map(|entry| u64::from(entry.length)).sum::<u64>();
        entries
    }

    /// How many may go now.
    fn room(&self, course: &mut Course, now: Instant, load: Load) -> usize {
        if now < course.not_before {
            return 0;
        }
        if course.failures > 0 {
            // While the service is away one record is the probe.
            return 1_usize.saturating_sub(load.out);
        }
        course.pace.room(now, load, || self.spool.inner.shared.rush())
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
            let sent = match sent {
                Sent::Later(refused) if course.is_in_the_way(entry, &refused) => Sent::InTheWay(refused.reason),
                sent => sent,
            };
            let next = self.conclude(entry, sent, &course.warnings);
            if let Next::Aside | Next::AsideAndWait = next {
                self.spool.inner.shared.lock().set_aside(entry);
                course.aside.push_back((Instant::now() + ASIDE, entry));
            }
            match next {
                Next::Settle => settled.push(entry),
                Next::Go => {}
                Next::Wait | Next::AsideAndWait => {
                    course.failures = course.failures.saturating_add(1);
                    course.not_before = Instant::now() + pause(course.failures, random());
                    continue;
                }
                Next::Aside => continue,
            }
            course.in_vain.remove(&(entry.segment, entry.offset));
            course.failures = 0;
        }
        if !settled.is_empty() {
            self.spool.settle(settled);
        }
    }

    fn conclude(&self, entry: Entry, sent: Sent, warnings: &Throttle) -> Next {
        match sent {
            Sent::Committed => {
                crash::at(Point::DrainAnswered);
                self.metrics.drained();
                Next::Settle
            }
            Sent::Later(refused) => {
                if let (false, Some(more)) = (refused.reason == "service_away", warnings.pass()) {
                    warn!(
                        { semconv::ERROR_TYPE } = refused.reason,
                        more, "an event of the spool was not taken; again soon"
                    );
                }
                self.spool.inner.shared.give_back(entry);
                Next::Wait
            }
            Sent::InTheWay(reason) => {
                if let Some(more) = warnings.pass() {
                    error!(
                        { semconv::ERROR_TYPE } = reason,
                        more,
                        "an event of the spool is not taken, however often it is tried; others go first, and it is \
                         tried again every minute"
                    );
                }
                Next::AsideAndWait
            }
            Sent::Aside(reason) => {
                if let Some(more) = warnings.pass() {
                    error!(
                        { semconv::ERROR_TYPE } = reason,
                        more,
                        "the service will not take an event of the spool; it is kept and tried again every minute"
                    );
                }
                Next::Aside
            }
            Sent::Damaged => {
                error!(
                    segment = entry.segment,
                    offset = entry.offset,
                    "an event of the spool is not what was written; its file is kept"
                );
                self.spool.inner.shared.lock().give_up(entry);
                Next::Go
            }
        }
    }
}

/// What the drain does next.
enum Next {
    /// With this one done.
    Settle,
    /// With another.
    Go,
    /// Not before a pause.
    Wait,
    /// With another, and with this one not before a longer pause.
    Aside,
    /// Both.
    AsideAndWait,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_in_vain_again_and_again_gets_out_of_the_way() {
        let mut course = Course::begin(Ack::Committed, Instant::now());
        let entry = |offset| Entry { segment: 1, offset, length: 1, time: 0 };
        let [unable, away, busy] = ["store_unavailable", "service_away", "overloaded"].map(Refused::busy);
        for _ in 1..TRIES_MOST {
            assert!(!course.is_in_the_way(entry(0), &unable) && !course.is_in_the_way(entry(7), &away));
        }
        assert!(!course.is_in_the_way(entry(7), &busy), "that is no fault of its own");
        assert!(!course.is_in_the_way(entry(7), &unable), "and this was its first");
        assert!(course.is_in_the_way(entry(0), &unable) && course.is_in_the_way(entry(0), &unable));
        for offset in 0..2 * u32::try_from(COUNTED_MOST).unwrap() {
            course.is_in_the_way(entry(offset), &unable);
        }
        assert_eq!(course.in_vain.len(), COUNTED_MOST);
    }

    #[test]
    fn nothing_wakes_it_where_nothing_waits() {
        let now = Instant::now();
        let course = Course::begin(Ack::Spooled, now);
        assert_eq!((course.wake(now, 1), course.wake(now, 0)), (Some(now), None));
    }

    #[test]
    fn a_probe_that_is_out_is_waited_for_and_nothing_else() {
        let now = Instant::now();
        for ack in [Ack::Committed, Ack::Spooled] {
            let mut course = Course::begin(ack, now);
            (course.failures, course.not_before) = (1, now + LOOK);
            assert_eq!(course.wake(now, 1), Some(now + LOOK));
            assert_eq!(course.wake(now + LOOK, 1), None, "{ack:?}: what has passed would wake it for ever");
        }
    }
}
