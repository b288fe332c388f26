//! What an event costs in a store alone: rounds of new bookings, without network, ingest or hint.
//!
//! Prints microseconds and bytes of file per event; asked to `purge`, also how long rounds take alone, and beside a
//! purge of what was written before them. It decides nothing.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use calbridge_bench::{deliveries::Intake, numbers::mix};
use calbridge_calcom::golden::{self, Golden, Person};
use calbridge_proto::v1::Trigger;
use calbridge_service::store::{
    Batch, LogKeepers, LogPurge, NewDelivery, Position, Purge, Purgeable, Retention, RetentionPolicies, Store,
    postgres::{self, PostgresStore},
    sqlite::{self, SqliteStore},
};
use hdrhistogram::Histogram;
use jiff::Timestamp;

/// What the service allocates with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// 2026-09-21T00:00:00Z, in seconds: when the first webhook is.
const BEGIN: i64 = 1_790_000_000;
/// Webhooks of one second.
const PER_SECOND: u64 = 5_000;
/// How long before a meeting it is booked at the most, in seconds.
const AHEAD: u64 = 60 * 24 * 3_600;
const HOSTS: u64 = 200;
/// Linux counts the time of processes in hundredths of a second.
const MILLIS_PER_TICK: u64 = 10;

/// How often rounds alone and rounds beside a purge take turns, for each kind.
const TURNS: u64 = 5;
/// Rounds of a turn.
const ROUNDS: u64 = 100;
/// As the service rests.
const REST: u32 = 4;
const REST_LEAST: Duration = Duration::from_millis(10);
const REST_MOST: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ([store, events, round], purges) = match arguments.as_slice() {
        [store, events, round] => ([store, events, round], false),
        [store, events, round, purge] if purge == "purge" => ([store, events, round], true),
        _ => bail!("usage: rounds sqlite:FOLDER|postgres://… EVENTS EVENTS_A_ROUND [purge]"),
    };
    let (events, round) = (events.parse()?, round.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match store.strip_prefix("sqlite:") {
            Some(folder) => {
                let path = PathBuf::from(folder).join("calbridge.db");
                let store = SqliteStore::open(&path, sqlite::Options::default())?;
                run(&store, events, round, purges).await?;
                store.close().await;
                let bytes: u64 = fs::read_dir(folder)?
                    .filter_map(|entry| entry.ok()?.metadata().ok())
                    .map(|metadata| metadata.len())
                    .sum();
                println!("{} bytes of file per event", bytes / events.max(1));
            }
            None => {
                run(&PostgresStore::open(store, postgres::Options::default()).await?, events, round, purges).await?;
            }
        }
        Ok(())
    })
}

async fn run(store: &impl Store, events: u64, round: u64, purges: bool) -> anyhow::Result<()> {
    let (mut spent, mut used) = (Duration::ZERO, Duration::ZERO);
    for first in (0..events).step_by(usize::try_from(round)?) {
        let batch = batch(first, (first + round).min(events))?;
        let prepared = cpu()?;
        let began = Instant::now();
        let committed = store.commit(batch).await?;
        spent += began.elapsed();
        used += cpu()?.saturating_sub(prepared);
        std::hint::black_box(committed);
    }
    let number = f64::from(u32::try_from(events.max(1))?);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / number;
    println!("{events} events in rounds of {round}: {:.1} us each, {:.1} us of CPU", each(spent), each(used));
    if purges { beside(store, events, round).await } else { Ok(()) }
}

fn batch(first: u64, end: u64) -> anyhow::Result<Batch> {
    let now = i64::try_from(first / PER_SECOND)? * 1_000_000 + BEGIN * 1_000_000;
    let intake = Intake::new("default");
    let deliveries = (first..end).map(|number| delivery(&intake, number)).collect();
    Ok(Batch { deliveries, now, ..Batch::default() })
}

/// What is purged beside rounds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    OfTenant(Purgeable),
    Log,
}

/// Rounds behind these events, alone and beside a purge of them.
async fn beside(store: &impl Store, events: u64, round: u64) -> anyhow::Result<()> {
    let mut next = events;
    for kind in [Kind::OfTenant(Purgeable::Bodies), Kind::OfTenant(Purgeable::Deliveries), Kind::Log] {
        let (mut alone, mut both) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
        let (mut rows, mut chunks, mut after) = (0, Histogram::<u64>::new(3)?, Position::default());
        for _ in 0..TURNS {
            next = timed(store, next, round, &mut alone).await?;
            let done = AtomicBool::new(false);
            let rounds = async {
                let end = timed(store, next, round, &mut both).await;
                done.store(true, Ordering::Relaxed);
                end
            };
            let purging = purge(store, (kind, events), &mut after, &done, &mut chunks);
            let (end, gone) = tokio::join!(rounds, purging);
            next = end?;
            rows += gone?;
        }
        let shown = |of: &Histogram<u64>| {
            let at = |quantile| of.value_at_quantile(quantile);
            format!("p50 {} us, p99 {} us, mean {:.0} us", at(0.5), at(0.99), of.mean())
        };
        let ratio = both.mean() / alone.mean();
        println!("{kind:?}: a round alone {}; beside a purge {}; ratio {ratio:.2}", shown(&alone), shown(&both));
        println!("  {rows} rows in {} chunks of {}", chunks.len(), shown(&chunks));
    }
    Ok(())
}

/// Commits rounds of new bookings, and says how long each took.
async fn timed(store: &impl Store, first: u64, round: u64, into: &mut Histogram<u64>) -> anyhow::Result<u64> {
    for number in 0..ROUNDS {
        let batch = batch(first + number * round, first + (number + 1) * round)?;
        let began = Instant::now();
        std::hint::black_box(store.commit(batch).await?);
        into.record(u64::try_from(began.elapsed().as_micros())?)?;
    }
    Ok(first + ROUNDS * round)
}

/// Purges what is not newer than the first `events`, as the service does, until all of it is gone or `done` is said.
async fn purge(
    store: &impl Store,
    (kind, events): (Kind, u64),
    after: &mut Position,
    done: &AtomicBool,
    chunks: &mut Histogram<u64>,
) -> anyhow::Result<usize> {
    let now = (BEGIN + i64::try_from(events / PER_SECOND)?) * 1_000_000;
    let otherwise = Retention { transitions: Some(Duration::ZERO), ..Retention::default() };
    let policies = Arc::new(RetentionPolicies { otherwise, ..RetentionPolicies::default() });
    let keepers = Arc::new(LogKeepers { policies, ..LogKeepers::default() });
    let mut rows = 0;
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        let (gone, more) = match kind {
            Kind::OfTenant(what) => {
                let purge = Purge { tenant: "default".into(), what, period: Duration::ZERO, floor: None, now };
                let purged = store.purge(purge).await?;
                (purged.rows, purged.more)
            }
            Kind::Log => {
                let keepers = Arc::clone(&keepers);
                let purged = store.purge_log(LogPurge { after: *after, period: Duration::ZERO, keepers, now }).await?;
                *after = purged.through;
                (purged.rows, purged.more)
            }
        };
        rows += gone;
        chunks.record(u64::try_from(began.elapsed().as_micros())?)?;
        if !more {
            break;
        }
        tokio::time::sleep((began.elapsed() * REST).clamp(REST_LEAST, REST_MOST)).await;
    }
    Ok(rows)
}

/// The processor time of this process.
fn cpu() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().context("a process without a name")?.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * MILLIS_PER_TICK))
}

fn delivery(intake: &Intake, number: u64) -> NewDelivery {
    let random = mix(number);
    let second = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    let told = BEGIN + i64::try_from(number / PER_SECOND).unwrap_or_default();
    let start = told + i64::try_from(random % AHEAD / 900 * 900).unwrap_or_default();
    let uid = format!("{:022x}", (u128::from(random) << 20) | u128::from(number));
    let mut golden = Golden::new(&uid, i64::try_from(number).unwrap_or_default(), second(told), second(start));
    golden.attendees = vec![Person::new("Ada Guest", &format!("guest{random:x}@customers.example"))];
    golden.organizer.email = format!("host{}@hosts.example", random % HOSTS);
    intake.delivery(number, second(told), golden::body(Trigger::BookingCreated, &golden))
}
