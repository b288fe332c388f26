//! The open loop: webhooks come at a fixed rate, whatever becomes of those before them, as a crowd of senders does.
//!
//! Each is timed from the moment when it was due. So what a slow answer does to those behind it is counted, and so is
//! what the generator itself comes late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use futures_util::future::join_all;
use tokio::{
    runtime,
    sync::{Mutex, mpsc},
    time::timeout,
};

use super::{
    latency::Latency,
    sample::{Costs, Pace, Sample, Tally, for_each_answer},
    target::{Next, Target},
    wire::Connection,
};

/// When each webhook is due.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Webhooks a second.
    pub rate: u32,
    /// The first so long are sent, but not counted.
    pub warm_up: Duration,
    /// Then it goes on for so long.
    pub counted: Duration,
}

impl Schedule {
    /// How many there are in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        let micros = (self.warm_up + self.counted).as_micros() * u128::from(self.rate) / 1_000_000;
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    /// How long after the beginning one is due.
    #[must_use]
    pub fn due(&self, index: u64) -> Duration {
        Duration::from_nanos(index.saturating_mul(1_000_000_000) / u64::from(self.rate.max(1)))
    }
}

/// What waits at the end is given so long to be answered.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// A webhook that is due.
struct Due {
    at: Instant,
    counts: bool,
}

/// Runs one window over so many connections. It blocks.
///
/// # Errors
///
/// A webhook that was not answered with 200.
pub fn run(target: &Arc<Target>, connections: usize, schedule: Schedule) -> anyhow::Result<Sample> {
    let room = usize::try_from(schedule.count()).context("the rate is too high")?.max(1);
    let (hand, dues) = mpsc::channel(room);
    let (start, started) = std::sync::mpsc::channel();
    // What is answered after the window was not done within it.
    let answered = AtomicU64::new(0);
    thread::scope(|scope| {
        let answered = &answered;
        let sending = scope.spawn(move || send_all(target, connections, dues, answered, &start));
        // Nothing comes where connecting failed; what the thread returns says why.
        let paced = started.recv().ok().map(|()| (pace(target, schedule, &hand), answered.load(Ordering::Relaxed)));
        // Without this the connections would wait for more.
        drop(hand);
        let tally = sending.join().map_err(|_| anyhow!("a connection panicked"))??;
        let ((pace, spent, memory), answers) = paced.context("the generator did not begin")?;
        let cpu = for_each_answer(spent, answers);
        let Tally { duplicates, latency, .. } = tally;
        let seconds = schedule.counted.as_secs_f64();
        Ok(Sample { seconds, answers, duplicates, latency, cpu, memory, pace: Some(pace) })
    })
}

type Spent = std::collections::BTreeMap<&'static str, f64>;
type Resident = std::collections::BTreeMap<&'static str, super::meter::Memory>;

/// Hands each webhook over when it is due. A thread that sleeps is woken within a fraction of the millisecond that is a
/// timer's step inside the runtime.
fn pace(target: &Target, schedule: Schedule, hand: &mpsc::Sender<Due>) -> (Pace, Spent, Resident) {
    let began = Instant::now();
    let mut late = Latency::new();
    let mut costs = None;
    for index in 0..schedule.count() {
        let due = schedule.due(index);
        let at = began + due;
        let counts = due >= schedule.warm_up;
        if counts && costs.is_none() {
            costs = Some(Costs::begin(&target.watched));
        }
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if counts {
            late.record(at.elapsed());
        }
        // There is room for all of them; where all connections broke, the sending thread says so.
        if hand.try_send(Due { at, counts }).is_err() {
            break;
        }
    }
    let (spent, memory) = costs.map(Costs::end).unwrap_or_default();
    let waiting = u64::try_from(hand.max_capacity() - hand.capacity()).unwrap_or(u64::MAX);
    (Pace { rate: schedule.rate, late_p99: late.percentiles().p99, waiting }, spent, memory)
}

fn send_all(
    target: &Target,
    connections: usize,
    dues: mpsc::Receiver<Due>,
    answered: &AtomicU64,
    start: &std::sync::mpsc::Sender<()>,
) -> anyhow::Result<Tally> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let opened = join_all((0..connections).map(|_| Connection::open(target.address))).await;
        let opened = opened.into_iter().collect::<Result<Vec<_>, _>>();
        let opened = opened.with_context(|| format!("connecting to {}", target.address))?;
        let dues = Mutex::new(dues);
        // The other side waits for this.
        start.send(()).map_err(|_| anyhow!("the generator ended"))?;
        let tallies = join_all(opened.into_iter().map(|connection| send(target, connection, &dues, answered))).await;
        Tally::sum(tallies)
    })
}

/// Takes whatever is due next until there is no more.
async fn send(
    target: &Target,
    mut connection: Connection,
    dues: &Mutex<mpsc::Receiver<Due>>,
    answered: &AtomicU64,
) -> Tally {
    let mut tally = Tally::default();
    loop {
        let due = dues.lock().await.recv().await;
        let Some(due) = due else { return tally };
        connection.prepare(&target.sender, target.next(Next::New));
        let exchanged = timeout(LAST_ANSWER, connection.exchange()).await;
        match exchanged.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())) {
            Ok(outcome) if due.counts => {
                tally.answer(outcome, due.at.elapsed());
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(failure) => {
                tally.failure(&failure);
                return tally;
            }
        }
    }
}

#[cfg(test)]
mod tests;
