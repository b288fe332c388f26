//! What an event costs in a store alone: rounds of new bookings, without network, ingest or hint.
//!
//! Prints microseconds and bytes of file per event. It decides nothing.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use calbridge_bench::numbers::mix;
use calbridge_booking::Subject;
use calbridge_calcom::golden::{self, Golden, Person};
use calbridge_proto::v1::{BookingEvent, Trigger};
use calbridge_service::store::{
    Batch, DeliveryKey, Identity, NewDelivery, Store,
    postgres::{self, PostgresStore},
    sqlite::{self, SqliteStore},
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

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
    let (mut spent, mut used) = (Duration::ZERO, Duration::ZERO);
    for first in (0..events).step_by(usize::try_from(round)?) {
        let deliveries: Vec<NewDelivery> = (first..(first + round).min(events)).map(delivery).collect();
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

fn delivery(number: u64) -> NewDelivery {
    let random = mix(number);
    let second = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    let told = BEGIN + i64::try_from(number / PER_SECOND).unwrap_or_default();
    let start = told + i64::try_from(random % AHEAD / 900 * 900).unwrap_or_default();
    let uid = format!("{:022x}", (u128::from(random) << 20) | u128::from(number));
    let mut golden = Golden::new(&uid, i64::try_from(number).unwrap_or_default(), second(told), second(start));
    golden.attendees = vec![Person::new("Ada Guest", &format!("guest{random:x}@customers.example"))];
    golden.organizer.email = format!("host{}@hosts.example", random % HOSTS);
    let body = golden::body(Trigger::BookingCreated, &golden);
    prepare(body, number)
}

fn prepare(body: Vec<u8>, number: u64) -> NewDelivery {
    let body_sha256 = Sha256::digest(&body).into();
    let time = calbridge_calcom::created_at(&body).map_or(0, |time| time.seconds * 1_000_000);
    let mut event = BookingEvent {
        tenant: "default".to_owned(),
        webhook_version: "2021-10-20".to_owned(),
        content_type: "application/json".to_owned(),
        secret_id: "main".to_owned(),
        request_id: id(number, 1).to_string(),
        ..Default::default()
    };
    calbridge_calcom::type_body(&body).into_event(&mut event);
    event.raw_body = body.into();
    let booking_uid = match calbridge_booking::subject(&event) {
        Subject::States { uid } | Subject::Recorded { uid: Some(uid) } => Some(uid.to_owned()),
        Subject::Recorded { uid: None } | Subject::Unparsed => None,
    };
    NewDelivery {
        key: DeliveryKey { tenant: "default".into(), time, identity: Identity::Body(body_sha256) },
        delivery_id: id(number, 2),
        facts: calbridge_booking::facts(&event, &body_sha256),
        leaves_siblings_silent: false,
        event,
        body_sha256,
        booking_uid,
        trace_id: String::new(),
    }
}

/// Rising like the ids of a clock.
fn id(number: u64, of: u64) -> Uuid {
    let millis = u64::try_from(BEGIN).unwrap_or_default() * 1_000 + number / 5;
    Uuid::from_u64_pair((millis << 16) | 0x7000 | (number % 5), mix(number ^ (of << 60)) | (1 << 63))
}
