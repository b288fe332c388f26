//! What an event costs in a store alone: rounds of new bookings, without network, ingest or hint.
//!
//! Prints microseconds and bytes of file per event. It decides nothing.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use calbridge_bench::{deliveries::Intake, numbers::mix};
use calbridge_calcom::golden::{self, Golden, Person};
use calbridge_proto::v1::Trigger;
use calbridge_service::store::{
    Batch, NewDelivery, Store,
    postgres::{self, PostgresStore},
    sqlite::{self, SqliteStore},
};
use jiff::Timestamp;

/// What the service allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 2026-09-21T00:00:00Z, in seconds: when the first webhook is.
const BEGIN: i64 = 1_790_000_000;
/// Webhooks of one second.
const PER_SECOND: u64 = 5_000;
/// How long before a meeting it is booked at the most, in seconds.
const AHEAD: u64 = 60 * 24 * 3_600;
const HOSTS: u64 = 200;
/// Linux counts the time of processes in hundredths of a second.
const MILLIS_PER_TICK: u64 = 10;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, events, round] = arguments.as_slice() else {
        bail!("usage: rounds sqlite:FOLDER|postgres://… EVENTS EVENTS_A_ROUND");
    };
    let (events, round) = (events.parse()?, round.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match store.strip_prefix("sqlite:") {
            Some(folder) => {
                let path = PathBuf::from(folder).join("calbridge.db");
                let store = SqliteStore::open(&path, sqlite::Options::default())?;
                run(&store, events, round).await?;
                store.close().await;
                let bytes: u64 = fs::read_dir(folder)?
                    .filter_map(|entry| entry.ok()?.metadata().ok())
                    .map(|metadata| metadata.len())
                    .sum();
                println!("{} bytes of file per event", bytes / events.max(1));
            }
            None => run(&PostgresStore::open(store, postgres::Options::default()).await?, events, round).await?,
        }
        Ok(())
    })
}

async fn run(store: &impl Store, events: u64, round: u64) -> anyhow::Result<()> {
    let intake = Intake::new("default");
    let (mut spent, mut used) = (Duration::ZERO, Duration::ZERO);
    for first in (0..events).step_by(usize::try_from(round)?) {
        let deliveries: Vec<NewDelivery> =
            (first..(first + round).min(events)).map(|number| delivery(&intake, number)).collect();
        let now = i64::try_from(first / PER_SECOND)? * 1_000_000 + BEGIN * 1_000_000;
        let prepared = cpu()?;
        let began = Instant::now();
        let committed = store.commit(Batch { deliveries, now, ..Batch::default() }).await?;
        spent += began.elapsed();
        used += cpu()?.saturating_sub(prepared);
        std::hint::black_box(committed);
    }
    let number = f64::from(u32::try_from(events.max(1))?);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / number;
    println!("{events} events in rounds of {round}: {:.1} us each, {:.1} us of CPU", each(spent), each(used));
    Ok(())
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
