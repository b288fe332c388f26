//! What one event costs in the domain, without store or network: into a booking's row, decoding and encoding included;
//! in its pieces; after ever more earlier deliveries of the same booking; and with ever more seats.
//!
//! Prints a table, and with `--json FILE` writes the same as JSON. It decides nothing.

use std::fs;

use anyhow::{Context, bail};
use calbridge_bench::{Case, Cost, measure};
use calbridge_booking::{Change, Derived, Fact, Horizon, Row, derive, facts, transition};
use calbridge_calcom::{
    golden::{self, Golden, Path, Person},
    type_body,
};
use calbridge_proto::v1::{BookingEvent, Trigger};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The programs that we ship allocate with it too, and a row is mostly small allocations.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const UID: &str = "fKzeAR64jXo9UTXpt7sZsC";
const NEW_UID: &str = "sCEmEqGapo2Dc3bUdBeWp7";

/// What happens to the booking, and which part of the sender tells it.
const LIFE: [(Trigger, Path); 9] = [
    (Trigger::BookingRequested, Path::Direct),
    (Trigger::BookingPaymentInitiated, Path::Direct),
    (Trigger::BookingPaid, Path::Payment),
    (Trigger::BookingCreated, Path::Direct),
    (Trigger::BookingLocationUpdated, Path::Direct),
    (Trigger::MeetingStarted, Path::Direct),
    (Trigger::BookingNoShowUpdated, Path::Direct),
    (Trigger::MeetingEnded, Path::Direct),
    (Trigger::BookingCancelled, Path::Direct),
];

const EARLIER_DELIVERIES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const SEATS: [usize; 3] = [1, 10, 100];

/// What is timed of a scene. `event` is decode, merge and encode; `round` all that the service does with a row.
const PIECES: [&str; 8] = ["event", "decode", "merge", "encode", "facts", "derive", "transition", "round"];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = match arguments.as_slice() {
        [] => None,
        [flag, file] if flag == "--json" => Some(file),
        _ => bail!("usage: merge [--json FILE]"),
    };
    let parts = [
        Part::run("an event of a booking's life, after all that came before", life()?),
        Part::run("one more event, by the number of earlier deliveries of the booking", growing()?),
        Part::run("one more seat, by the number of seats then taken", seated()?),
    ];
    for part in &parts {
        part.print();
    }
    if let Some(file) = file {
        let report = json!({ "unit": "µs", "parts": parts.iter().map(Part::json).collect::<Vec<_>>() });
        fs::write(file, format!("{report:#}\n")).with_context(|| format!("writing {file}"))?;
    }
    Ok(())
}

/// A webhook, typed, with the digest of its body.
struct Delivery {
    event: BookingEvent,
    sha256: [u8; 32],
}

impl Delivery {
    fn new(trigger: Trigger, golden: &Golden) -> Self {
        let body = golden::body(trigger, golden);
        let mut event = BookingEvent::default();
        type_body(&body).into_event(&mut event);
        Self { event, sha256: Sha256::digest(&body).into() }
    }

    fn facts(&self) -> Vec<Fact> {
        facts(&self.event, &self.sha256)
    }

    /// Merges what is said of the booking `uid`.
    fn tell(&self, uid: &str, row: &mut Row) {
        for fact in self.facts().iter().filter(|fact| fact.uid == uid) {
            row.merge(&fact.registers);
        }
    }
}

/// A delivery about to meet the stored row of one booking of which it speaks.
struct Scene {
    name: String,
    uid: &'static str,
    state: Vec<u8>,
    delivery: Delivery,
}

/// One booking from request to cancellation, and the one that took its place.
fn life() -> anyhow::Result<Vec<Scene>> {
    let mut row = Row::default();
    let mut scenes = Vec::new();
    for number in 0..LIFE.len() {
        let (trigger, golden) = telling(number)?;
        let delivery = Delivery::new(trigger, &golden);
        let state = row.encode();
        delivery.tell(UID, &mut row);
        scenes.push(Scene { name: golden::trigger_name(trigger).to_lowercase(), uid: UID, state, delivery });
    }
    let moved = booking(100)?.moved(NEW_UID, 9_002, minute(100)?, minute(5_000)?);
    for (name, uid, state) in [
        ("booking_rescheduled, the old one", UID, row.encode()),
        ("booking_rescheduled, the new one", NEW_UID, Row::default().encode()),
    ] {
        let delivery = Delivery::new(Trigger::BookingRescheduled, &moved);
        scenes.push(Scene { name: name.to_owned(), uid, state, delivery });
    }
    Ok(scenes)
}

/// A whole life and then so many deliveries more, its events in turn, each with a newer `createdAt`.
fn growing() -> anyhow::Result<Vec<Scene>> {
    let scene = |earlier: usize| {
        let mut row = Row::default();
        for number in 0..LIFE.len() + earlier {
            let (trigger, golden) = telling(number)?;
            Delivery::new(trigger, &golden).tell(UID, &mut row);
        }
        let delivery = Delivery::new(Trigger::BookingCreated, &booking(1_000_000)?);
        Ok(Scene { name: format!("{earlier} earlier"), uid: UID, state: row.encode(), delivery })
    };
    EARLIER_DELIVERIES.into_iter().map(scene).collect()
}

/// A booking whose attendees come one by one; each webhook lists the newcomer first and then whoever sits there.
fn seated() -> anyhow::Result<Vec<Scene>> {
    let scene = |seats: usize| {
        let guest = |seat| Person::new(&format!("Guest {seat}"), &format!("guest-{seat}@harbour.example"));
        let mut golden = Golden { seats_per_time_slot: Some(100), attendees: Vec::new(), ..booking(0)? };
        let mut row = Row::default();
        for seat in 1..seats {
            take_seat(&mut golden, guest(seat), seat)?;
            Delivery::new(Trigger::BookingCreated, &golden).tell(UID, &mut row);
        }
        take_seat(&mut golden, guest(seats), seats)?;
        let delivery = Delivery::new(Trigger::BookingCreated, &golden);
        Ok(Scene { name: format!("{seats} seats"), uid: UID, state: row.encode(), delivery })
    };
    SEATS.into_iter().map(scene).collect()
}

fn take_seat(golden: &mut Golden, guest: Person, seat: usize) -> anyhow::Result<()> {
    golden.created_at = minute(i64::try_from(seat)?)?;
    golden.seat_id = Some(format!("8c2f1f0e-7a44-4c1d-9a53-{seat:012}"));
    golden.attendees.insert(0, guest);
    Ok(())
}

/// The events of a life in turn, over and over, each told a minute after the one before.
fn telling(number: usize) -> anyhow::Result<(Trigger, Golden)> {
    let (trigger, path) = LIFE[number % LIFE.len()];
    Ok((trigger, Golden { path, ..booking(i64::try_from(number)?)? }))
}

/// A paid hour of two guests with a host, told so many minutes after the first telling.
fn booking(told: i64) -> anyhow::Result<Golden> {
    let golden = Golden::new(UID, 9_001, minute(told)?, minute(600)?);
    Ok(Golden {
        minutes: 60,
        attendees: vec![
            Person::new("Tomas Okafor", "tomas@lighthouse.example"),
            Person::new("Ines Halvorsen", "Ines.Halvorsen@harbour.example"),
        ],
        notes: "We would like to talk about the two boats and what their winter quarters cost.".to_owned(),
        price_minor: 4_500,
        payment_id: Some(611),
        metadata: [("campaign", "spring"), ("crm_id", "0065g00000Zk3x1AAB")]
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .into(),
        ..golden
    })
}

fn minute(number: i64) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_second(1_790_000_040 + number * 60)?)
}

/// The measured scenes that belong together: each is compared with the first.
struct Part {
    title: &'static str,
    scenes: Vec<Measured>,
}

struct Measured {
    name: String,
    row_bytes: usize,
    /// In the order of [`PIECES`].
    costs: Vec<Cost>,
}

impl Part {
    fn run(title: &'static str, scenes: Vec<Scene>) -> Self {
        let costs = measure(scenes.iter().flat_map(cases).collect());
        let scenes = scenes.into_iter().zip(costs.chunks_exact(PIECES.len()));
        let scenes = scenes
            .map(|(scene, costs)| Measured { name: scene.name, row_bytes: scene.state.len(), costs: costs.to_vec() })
            .collect();
        Self { title, scenes }
    }

    fn print(&self) {
        println!("{}", self.title);
        print!("{:34}{:>6}{:>8}{:>8}{:>7}", "median µs", "bytes", "event", "p99", "ratio");
        PIECES[1..].iter().for_each(|piece| print!("{piece:>11}"));
        println!();
        for scene in &self.scenes {
            let event = scene.costs[0];
            let ratio = self.ratio(scene);
            print!("{:34}{:>6}{:>8.2}{:>8.2}{ratio:>7.2}", scene.name, scene.row_bytes, event.p50, event.p99);
            scene.costs[1..].iter().for_each(|cost| print!("{:>11.2}", cost.p50));
            println!();
        }
        println!();
    }

    fn json(&self) -> Value {
        let scene = |scene: &Measured| {
            let costs = PIECES.iter().zip(&scene.costs);
            let costs = costs.map(|(piece, cost)| ((*piece).to_owned(), json!({ "p50": cost.p50, "p99": cost.p99 })));
            json!({
                "name": scene.name,
                "row_bytes": scene.row_bytes,
                "ratio": self.ratio(scene),
                "costs": costs.collect::<serde_json::Map<_, _>>(),
            })
        };
        json!({ "title": self.title, "scenes": self.scenes.iter().map(scene).collect::<Vec<_>>() })
    }

    /// Of an event's median to that of the first scene.
    fn ratio(&self, scene: &Measured) -> f64 {
        scene.costs[0].p50 / self.scenes[0].costs[0].p50
    }
}

/// The cases of a scene, in the order of [`PIECES`].
fn cases(scene: &Scene) -> [Case<'_>; PIECES.len()] {
    let Scene { uid, state, delivery, .. } = scene;
    let before = decode(state);
    let fact = delivery.facts().into_iter().find(|fact| fact.uid == *uid).expect("the delivery speaks of the booking");
    let registers = fact.registers;
    let after = merged(before.clone(), &registers);
    let visible = (see(uid, &before), see(uid, &after).expect("a booking that is told can be seen"));
    let (told, said, seen) = (registers.clone(), registers.clone(), after.clone());
    [
        Case::new(|| (), move |()| merged(decode(state), &told).encode()),
        Case::new(|| (), |()| decode(state)),
        Case::new(move || before.clone(), move |row| merged(row, &said)),
        Case::new(|| (), move |()| after.encode()),
        Case::new(|| (), |()| delivery.facts()),
        Case::new(|| (), move |()| see(uid, &seen)),
        Case::new(|| (), move |()| transition(visible.0.as_ref(), &visible.1)),
        Case::new(|| (), move |()| round(uid, state, &registers)),
    ]
}

fn decode(state: &[u8]) -> Row {
    Row::decode(state).expect("the state was encoded")
}

fn merged(mut row: Row, registers: &Row) -> Row {
    row.merge(registers);
    row
}

fn see(uid: &str, row: &Row) -> Option<Derived> {
    derive(uid, row, Horizon::NONE)
}

fn round(uid: &str, state: &[u8], registers: &Row) -> (Option<Change>, Vec<u8>) {
    let row = decode(state);
    let before = see(uid, &row);
    let row = merged(row, registers);
    let change = see(uid, &row).and_then(|after| transition(before.as_ref(), &after));
    (change, row.encode())
}
