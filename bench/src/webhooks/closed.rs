//! The closed loop: so many connections, each of which sends its next webhook once it has the answer to the last.

use std::{
    num::NonZero,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use futures_util::future::join_all;
use tokio::{runtime, time::timeout};

use super::{
    sample::{Costs, Sample, Tally, for_each_answer},
    target::{Next, Target},
    wire::{Client, Wire},
};

/// What is done to the target.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// What is sent with.
    pub client: Client,
    /// Each has one webhook under way.
    pub connections: usize,
    /// What is sent.
    pub next: Next,
}

/// How long one window is.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Under load, but not counted: connections open, caches fill.
    pub warm_up: Duration,
    /// When it ends.
    pub until: Until,
}

/// When a window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After so long.
    Passed(Duration),
    /// Once so many webhooks were sent to the target in all.
    Sent(u64),
}

/// An answer that takes longer never comes: the adapter gives up after two seconds.
const LAST_ANSWER: Duration = Duration::from_secs(30);
/// Between two looks at how many were sent.
const LOOK: Duration = Duration::from_millis(1);

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// Runs one window. It blocks.
///
/// # Errors
///
/// A webhook that was not answered with 200.
pub fn run(target: &Arc<Target>, load: Load, window: Window) -> anyhow::Result<Sample> {
    let threads = match load.client {
        Client::Lean => thread::available_parallelism().map_or(1, NonZero::get).min(load.connections),
        // Its runtime has threads of its own.
        Client::Hyper => 1,
    };
    let phase = Arc::new(AtomicU8::new(WARMING));
    let connected = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let spawn = |thread: usize| {
            let connections = load.connections / threads + usize::from(thread < load.connections % threads);
            let (phase, connected) = (&phase, &connected);
            scope.spawn(move || thread_of(target, Load { connections, ..load }, window.until, phase, connected))
        };
        let threads: Vec<_> = (0..threads).map(spawn).collect();
        connected.wait();
        thread::sleep(window.warm_up);
        let costs = Costs::begin(&target.watched);
        phase.store(COUNTING, Ordering::Relaxed);
        let began = Instant::now();
        wait(target, window.until, || threads.iter().all(thread::ScopedJoinHandle::is_finished));
        let seconds = began.elapsed().as_secs_f64();
        phase.store(OVER, Ordering::Relaxed);
        let (spent, memory) = costs.end();
        let tallies = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a connection panicked"))?);
        let tally = Tally::sum(tallies.collect::<anyhow::Result<Vec<_>>>()?)?;
        let cpu = for_each_answer(spent, tally.answers);
        let Tally { answers, duplicates, latency, .. } = tally;
        Ok(Sample { seconds, answers, duplicates, latency, cpu, memory, pace: None })
    })
}

fn wait(target: &Target, until: Until, all_ended: impl Fn() -> bool) {
    match until {
        Until::Passed(time) => thread::sleep(time),
        Until::Sent(count) => {
            while target.sent() < count && !all_ended() {
                thread::sleep(LOOK);
            }
        }
    }
}

/// A thread with a runtime of its own: no webhook wanders between threads, which would cost more than sending it.
fn thread_of(
    target: &Arc<Target>,
    load: Load,
    until: Until,
    phase: &Arc<AtomicU8>,
    connected: &Barrier,
) -> anyhow::Result<Tally> {
    let runtime = match load.client {
        Client::Lean => runtime::Builder::new_current_thread().enable_all().build(),
        Client::Hyper => runtime::Builder::new_multi_thread().enable_all().build(),
    };
    let opened = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let opening = (0..load.connections).map(|_| Wire::open(load.client, target.address));
        let opened = runtime.block_on(join_all(opening));
        let opened = opened.into_iter().collect::<Result<Vec<_>, _>>();
        Ok((runtime, opened.with_context(|| format!("connecting to {}", target.address))?))
    });
    // Whoever could not connect must not keep the others waiting.
    connected.wait();
    let (runtime, opened) = opened?;
    let patience = LAST_ANSWER + if let Until::Passed(time) = until { time } else { Duration::MAX / 2 };
    let all = runtime.block_on(async {
        let work = opened.into_iter().map(|wire| send(Arc::clone(target), wire, load.next, until, Arc::clone(phase)));
        match load.client {
            Client::Lean => timeout(patience, join_all(work)).await.map(Ok),
            // Only a task of its own can be taken up by another thread.
            Client::Hyper => {
                let tasks: Vec<_> = work.map(tokio::spawn).collect();
                timeout(patience, join_all(tasks)).await.map(|tallies| tallies.into_iter().collect())
            }
        }
    });
    let all: Result<Vec<_>, _> = all.map_err(|_| anyhow!("webhooks were not answered within {LAST_ANSWER:?}"))?;
    Tally::sum(all?)
}

async fn send(target: Arc<Target>, mut wire: Wire, next: Next, until: Until, phase: Arc<AtomicU8>) -> Tally {
    let mut tally = Tally::default();
    let last = if let Until::Sent(count) = until { count } else { u64::MAX };
    while phase.load(Ordering::Relaxed) != OVER {
        let number = target.next(next);
        if number >= last {
            break;
        }
        wire.prepare(&target.sender, number);
        let sent = Instant::now();
        match wire.exchange().await {
            Ok(outcome) if phase.load(Ordering::Relaxed) == COUNTING => tally.answer(outcome, sent.elapsed()),
            Ok(_) => {}
            Err(failure) => {
                tally.failure(&failure);
                break;
            }
        }
    }
    tally
}
