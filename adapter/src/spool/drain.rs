//! The drain: sends what is in the spool to the service, a few at a time, for as long as the process lives.
//!
//! What the service can't take now is tried again, first soon and then less and less often. What it will not take (an
//! operator's mistake, or a bug of ours) is set aside for a while and holds nobody up.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use calbridge_process::crash::{self, Point};
use calbridge_telemetry::semconv;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    select,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Spool, backlog::Entry};
use crate::{
    Moment,
    forward::{Forwarder, Refused, pause, random},
    metrics::Metrics,
    throttle::Throttle,
};

/// Records on their way at once: enough for whole rounds of the service, and little beside what comes in meanwhile.
const IN_FLIGHT: usize = 32;
/// For the service to commit one: as long as it helps nobody to send it again.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long what the service will not take is left alone.
const ASIDE: Duration = Duration::from_mins(1);
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
        let mut sending = FuturesUnordered::new();
        let mut aside: VecDeque<(Instant, Entry)> = VecDeque::new();
        let (mut failures, mut not_before, mut next_look) = (0_u32, Instant::now(), Instant::now());
        let warnings = Throttle::new();
        while !stop.is_cancelled() {
            let now = Instant::now();
            if next_look <= now {
                self.look();
                next_look = now + LOOK;
            }
            while aside.front().is_some_and(|(until, _)| *until <= now) {
                let Some((_, entry)) = aside.pop_front() else { break };
                self.spool.inner.shared.give_back(entry);
            }
            // While the service is away one record is the probe.
            let room = if failures > 0 { 1 } else { IN_FLIGHT };
            while not_before <= now && sending.len() < room {
                let Some(entry) = self.spool.take() else { break };
                sending.push(self.send(entry).map(move |sent| (entry, sent)));
            }
            let wake = if not_before > now { not_before.min(next_look) } else { next_look };
            select! {
                Some((entry, sent)) = sending.next() => {
                    match self.conclude(entry, sent, &warnings) {
                        Next::Go => failures = 0,
                        Next::Wait => {
                            failures = failures.saturating_add(1);
                            not_before = Instant::now() + pause(failures, random());
                        }
                        Next::Aside => {
                            self.spool.inner.shared.lock().set_aside(entry);
                            aside.push_back((Instant::now() + ASIDE, entry));
                        }
                    }
                }
                () = self.spool.inner.shared.changed.notified() => {}
                () = sleep_until(wake) => {}
                () = stop.cancelled() => {}
            }
        }
        let rest = async {
            while let Some((entry, sent)) = sending.next().await {
                self.conclude(entry, sent, &warnings);
            }
        };
        // What is left is in the spool.
        let _ = timeout(LAST, rest).await;
    }

    fn look(&self) {
        let (amount, age) = self.spool.look((self.moment)().micros());
        self.metrics.spool_holds(amount.records, amount.bytes, age);
    }

    fn send(&self, entry: Entry) -> impl Future<Output = Sent> + use<> {
        let (spool, forwarder) = (self.spool.clone(), self.forwarder.clone());
        async move {
            let event = match spawn_blocking(move || spool.read(entry)).await {
                Ok(Ok(Some(event))) => event,
                Ok(Ok(None)) => return Sent::Damaged,
                Ok(Err(_)) | Err(_) => return Sent::Later(Refused::busy("spool_unreadable")),
            };
            crash::at(Point::DrainSend);
            let answered = async {
                let mut ticket = forwarder.submit(event.into())?;
                let late = |_| Err(Refused::away("deadline_exceeded"));
                timeout(DEADLINE, ticket.answer()).await.unwrap_or_else(late)
            };
            match answered.await {
                Ok(_) => Sent::Committed,
                Err(refused) if refused.passes() => Sent::Later(refused),
                Err(refused) => Sent::Aside(refused.reason),
            }
        }
    }

    fn conclude(&self, entry: Entry, sent: Sent, warnings: &Throttle) -> Next {
        match sent {
            Sent::Committed => {
                crash::at(Point::DrainAnswered);
                self.spool.settle(entry);
                self.metrics.drained();
                Next::Go
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
                self.spool.inner.shared.lock().keep(entry.segment);
                Next::Go
            }
        }
    }
}

/// What the drain does next.
enum Next {
    Go,
    /// Not before a pause.
    Wait,
    /// And this one not before a longer one.
    Aside,
}
