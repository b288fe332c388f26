//! Trains the dictionaries that stored bytes are compressed with, and says what they save.
//!
//!     dictionary FOLDER    writes bodies.zdict, bookings.zdict and rows.zdict
//!
//! A dictionary is never trained again in place: what was packed with one can be read with no other. A new one gets a
//! new name, and an encoding of its own in `service/src/store/pack.rs`.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use calbridge_bench::numbers::mix;
use calbridge_booking::{Horizon, Row, derive, facts};
use calbridge_calcom::{
    golden::{self, Golden, lives},
    type_body,
};
use calbridge_proto::v1::{BookingEvent, Trigger};
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use sha2::{Digest, Sha256};
use zstd::{
    bulk::Compressor,
    dict::{EncoderDictionary, from_samples},
};

/// Each life is told so often, with other people and times.
const TELLINGS: u64 = 24;
/// Bytes of the dictionaries. Larger ones save little more, and are read through for each frame.
const BODIES_BYTES: usize = 16 * 1024;
const BOOKINGS_BYTES: usize = 8 * 1024;
const ROWS_BYTES: usize = 8 * 1024;
/// As the stores pack.
const LEVEL: i32 = 1;

const NAMES: [&str; 8] = [
    "Ada Okafor",
    "Bruno Keller",
    "Chen Wei",
    "Dilan Aydin",
    "Elif Novak",
    "Farid Haddad",
    "Grace Moreau",
    "Hiro Sato",
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder] = arguments.as_slice() else { bail!("usage: dictionary FOLDER") };
    let (mut bodies, mut bookings, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for telling in 0..TELLINGS {
        for (number, life) in (0..).zip(lives::all()) {
            let mut row = Row::default();
            for (trigger, golden) in &life.steps {
                let golden = other(golden, mix(telling << 32 | number));
                let body = golden::body(*trigger, &golden);
                bookings.extend(booking(&mut row, &golden.uid, *trigger, &body));
                bodies.push(body);
                rows.push(row.encode());
            }
        }
    }
    write(folder, "bodies.zdict", &bodies, BODIES_BYTES)?;
    write(folder, "bookings.zdict", &bookings, BOOKINGS_BYTES)?;
    write(folder, "rows.zdict", &rows, ROWS_BYTES)
}

fn write(folder: &str, name: &str, samples: &[Vec<u8>], bytes: usize) -> anyhow::Result<()> {
    let dictionary = from_samples(samples, bytes).context("too few samples")?;
    let (plain, with) = (Compressor::new(LEVEL)?, &EncoderDictionary::copy(&dictionary, LEVEL));
    let with = Compressor::with_prepared_dictionary(with)?;
    let raw: usize = samples.iter().map(Vec::len).sum();
    println!(
        "{name}: {} samples of {} bytes; {} bytes without a dictionary, {} with it",
        samples.len(),
        raw / samples.len(),
        packed(plain, samples)? / samples.len(),
        packed(with, samples)? / samples.len(),
    );
    let path = Path::new(folder).join(name);
    fs::write(&path, dictionary).with_context(|| format!("{} can't be written", path.display()))
}

fn packed(mut compressor: Compressor<'_>, samples: &[Vec<u8>]) -> anyhow::Result<usize> {
    samples.iter().try_fold(0, |total, sample| Ok(total + compressor.compress(sample)?.len()))
}

/// The booking as the log has it after one more webhook.
fn booking(row: &mut Row, uid: &str, trigger: Trigger, body: &[u8]) -> Option<Vec<u8>> {
    let sha256: [u8; 32] = Sha256::digest(body).into();
    let mut event = BookingEvent { tenant: "default".to_owned(), trigger: trigger.into(), ..BookingEvent::default() };
    type_body(body).into_event(&mut event);
    for fact in facts(&event, &sha256).iter().filter(|fact| fact.uid == uid) {
        row.merge(&fact.registers);
    }
    let mut booking = derive(uid, row, Horizon::NONE)?.booking;
    "default".clone_into(&mut booking.tenant);
    uid.clone_into(&mut booking.uid);
    booking.position = format!("{:016x}", mix(row.encode().len() as u64) >> 40);
    booking.update_time = booking.create_time;
    Some(booking.encode_to_vec())
}

/// The same of other people at another time.
fn other(golden: &Golden, random: u64) -> Golden {
    let mut golden = golden.clone();
    let later = SignedDuration::from_secs(i64::try_from(random % 40_000_000).unwrap_or_default());
    let moved = |time: Timestamp| time.saturating_add(later).unwrap_or(time);
    let other_uid = |uid: &str| golden_uid(uid, random);
    golden.ical_uid_of = golden.ical_uid_of.as_deref().map(other_uid);
    golden.reschedule_uid = golden.reschedule_uid.as_deref().map(other_uid);
    golden.uid = golden_uid(&golden.uid, random);
    golden.booking_id += i64::try_from(random % 1_000_000).unwrap_or_default();
    golden.created_at = moved(golden.created_at);
    golden.start = moved(golden.start);
    golden.previous_start = golden.previous_start.map(moved);
    let people = golden.attendees.iter_mut().chain([&mut golden.organizer]);
    for (number, person) in (0..).zip(people) {
        let name = NAMES[usize::try_from((random >> 8).wrapping_add(number) % 8).unwrap_or_default()];
        name.clone_into(&mut person.name);
        person.email = format!("{:x}@example{}.example", mix(random ^ number) >> 24, random % 97);
        person.id += i64::try_from(random % 5_000).unwrap_or_default();
    }
    golden
}

/// 22 characters, as Cal.com's have.
fn golden_uid(uid: &str, random: u64) -> String {
    const LETTERS: &[u8] = b"123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ";
    let seed = uid.bytes().fold(random, |seed, byte| mix(seed ^ u64::from(byte)));
    let letter = |place| {
        let at = usize::try_from(mix(seed ^ place) % 58).unwrap_or_default();
        char::from(LETTERS[at])
    };
    (0..22).map(letter).collect()
}
