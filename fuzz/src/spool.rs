//! The spool as a disk gives it back: whatever stands in its directory, a start reads it without a panic, finds every
//! whole record before the first tear, and takes away nothing that it could not read.
//!
//! An input is a segment's bytes, or the steps by which they came about, so that checks are right where a law is about
//! what comes behind them. The reader here follows the description of the format and shares no code with the adapter's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use calbridge_adapter::{MAX_EVENT_BYTES, fuzzing::recover, inspect_spool};
use calbridge_calcom::type_body;
use calbridge_proto::v1::BookingEvent;
use prost::Message as _;
use tempfile::TempDir;

use crate::{cut::Cut, events, seeds};

const NUMBER: u64 = 1;
const LATER: u64 = 2;
/// No segment has a greater number.
const NUMBER_MOST: u64 = u64::MAX / 2;
const HEAD_BYTES: usize = 24;
const RECORD_HEAD_BYTES: usize = 12;
/// The shortest body: kind, length of the tenant, time.
const BODY_BYTES_LEAST: usize = 10;
const BODY_BYTES_MOST: usize = MAX_EVENT_BYTES + 1024;
/// The kinds that are sent on: whole events, and those whose bodies are typed on the way.
const EVENT: u8 = 1;
const UNTYPED: u8 = 3;

// What an input may ask for besides.
const RAW: u8 = 1;
const NOT_NEWEST: u8 = 2;
const STRAY: u8 = 4;
const LOOK: u8 = 8;
const AGAIN: u8 = 16;

thread_local! {
    static FOLDER: TempDir = TempDir::new().expect("a folder");
}

/// A record: tenant, time, event.
type Event = (String, i64, Vec<u8>);

/// What stands in a record of this kind.
type Kept = (u8, Event);

/// What a segment holds by its description.
#[derive(Debug, Default)]
struct Read {
    /// With the place of each.
    events: Vec<(usize, Kept)>,
    /// Records that are none, or of a kind that is not known.
    unreadable: usize,
    /// Up to here nothing is torn; none where it is no segment.
    whole: Option<usize>,
    /// Behind the last record that is one: of the newest segment nobody was answered for what comes then.
    sure: usize,
    /// What is unreadable before it.
    unreadable_before: usize,
    /// Somewhere behind it a record stands that is one: what is between them was damaged, and is no tear.
    is_followed: bool,
}

pub(crate) fn judge(input: &[u8]) {
    let mut cut = Cut(input);
    let wishes = cut.byte();
    let stray = if wishes & STRAY == 0 { None } else { stray(cut.counted()) };
    let (bytes, marks) = if wishes & RAW == 0 { built(&mut cut) } else { (cut.rest().to_vec(), Vec::new()) };
    FOLDER.with(|folder| {
        let folder = folder.path();
        clear(folder);
        fs::write(path(folder, NUMBER), &bytes).expect("written");
        let settled: Vec<_> = marks.iter().flat_map(|mark| mark.to_le_bytes()).collect();
        fs::write(path(folder, NUMBER).with_extension("settled"), settled).expect("written");
        let after = ("acme".to_owned(), 9, b"after".to_vec());
        if wishes & NOT_NEWEST != 0 {
            let record = record(LATER, EVENT, after.0.as_bytes(), after.1, &after.2);
            fs::write(path(folder, LATER), [head(LATER), record].concat()).expect("written");
        }
        let strange = stray.as_ref().map(|(name, _)| fs::write(folder.join(name), [b'x'; HEAD_BYTES]));
        strange.transpose().expect("written");

        let mut read = read(&bytes, NUMBER);
        read.events.retain(|(place, _)| !marks.iter().any(|mark| usize::try_from(*mark) == Ok(*place)));
        let is_newest = wishes & NOT_NEWEST == 0 && stray.as_ref().is_none_or(|(_, number)| *number < Some(NUMBER));
        let mut kept: Vec<_> = read.events.iter().map(|(_, kept)| kept.clone()).collect();
        kept.extend((wishes & NOT_NEWEST != 0).then_some((EVENT, after)));
        if wishes & LOOK != 0 {
            judge_inspection(folder, &kept, &read, stray.is_some_and(|(_, number)| number.is_some()));
        }
        let wanted = by_tenant(kept.into_iter().filter_map(sent).collect());
        for _ in 0..=u8::from(wishes & AGAIN != 0) {
            let found = recover(folder).expect("a start");
            assert_eq!(by_tenant(found), wanted);
            judge_what_is_left(&path(folder, NUMBER), &bytes, &read, is_newest);
        }
    });
}

/// What the service would hear: nothing of what is none to be typed.
fn sent((kind, (tenant, time, bytes)): Kept) -> Option<Event> {
    if kind == EVENT {
        return Some((tenant, time, bytes));
    }
    let mut event = BookingEvent::decode(bytes.as_slice()).ok()?;
    type_body(&event.raw_body.clone()).into_event(&mut event);
    Some((tenant, time, event.encode_to_vec()))
}

fn judge_inspection(folder: &Path, wanted: &[Kept], read: &Read, is_strange: bool) {
    let mut events = Vec::new();
    let summary = inspect_spool(folder, |event| events.push(event)).expect("it can be looked at");
    let decoded = |event: &Event| BookingEvent::decode(event.2.as_slice()).unwrap_or_default();
    let wanted = wanted.iter().map(|(_, event)| event);
    let told: Vec<_> = events.iter().map(|event| (&event.tenant, &event.request_id, event.body_bytes)).collect();
    let bodies: Vec<_> = wanted.map(|event| (&event.0, decoded(event))).collect();
    let meant: Vec<_> =
        bodies.iter().map(|(tenant, event)| (*tenant, &event.request_id, event.raw_body.len())).collect();
    assert_eq!(told, meant);
    assert_eq!(summary.events(), bodies.len());
    assert_eq!(summary.unreadable, read.unreadable + usize::from(read.whole.is_none()) + usize::from(is_strange));
}

/// Of what was not read nothing is gone, but for a tail that nobody was answered for.
fn judge_what_is_left(path: &Path, bytes: &[u8], read: &Read, is_newest: bool) {
    let left = fs::read(path).ok();
    let is_cut = is_newest && !read.is_followed;
    let kept = match read.whole {
        Some(_) if is_cut => &bytes[..read.sure],
        _ => bytes,
    };
    let is_torn = read.whole.is_some_and(|whole| whole < bytes.len());
    // Begun and not finished, or all of it settled.
    let is_done = match read.whole {
        None => is_newest && is_unfinished(bytes),
        Some(_) if is_cut => read.events.is_empty() && read.unreadable_before == 0,
        Some(_) => read.events.is_empty() && read.unreadable == 0 && !is_torn,
    };
    assert_eq!(left.as_deref(), (!is_done).then_some(kept), "what is left of {bytes:?}");
}

/// A head that its process did not come to write, and nothing behind it.
fn is_unfinished(bytes: &[u8]) -> bool {
    bytes.len() < HEAD_BYTES || bytes.iter().all(|byte| *byte == 0)
}

/// The steps of an input: a segment, and which places of it are marked as settled.
fn built(cut: &mut Cut<'_>) -> (Vec<u8>, Vec<u32>) {
    let (mut bytes, mut places, mut marks) = (head(NUMBER), Vec::new(), Vec::new());
    while !cut.is_empty() {
        let place = u32::try_from(bytes.len()).expect("a short segment");
        match cut.byte() {
            b'j' => bytes.extend_from_slice(cut.counted()),
            b'c' => bytes.truncate(bytes.len().saturating_sub(usize::from(cut.byte()))),
            b's' => marks.extend(places.get(usize::from(cut.byte()))),
            b'n' => marks.push(u32::from(cut.byte())),
            step => {
                let (tenant, time, event) = (cut.counted(), cut.number(), cut.counted());
                let number = if step == b'f' { LATER } else { NUMBER };
                let kind = if step == b'k' { cut.byte() } else { EVENT };
                let mut record = record(number, kind, tenant, time, event);
                if step == b'd' {
                    let at = usize::from(cut.byte()) % record.len();
                    record[at] ^= cut.byte();
                }
                places.push(place);
                bytes.extend(record);
            }
        }
    }
    (bytes, marks)
}

/// A file that is not the spool's, and its number where its name is one of a segment.
fn stray(name: &[u8]) -> Option<(String, Option<u64>)> {
    let name = str::from_utf8(name).ok()?;
    let is_name = (1..=64).contains(&name.len()) && !name.contains(['/', '\0']) && name != "." && name != "..";
    let is_ours = name == "lock" || [NUMBER, LATER].iter().any(|number| name.starts_with(&format!("{number:016x}")));
    let number = name.strip_suffix(".segment").and_then(|number| u64::from_str_radix(number, 16).ok());
    let number = number.filter(|number| *number <= NUMBER_MOST && format!("{number:016x}.segment") == name);
    (is_name && !is_ours).then(|| (name.to_owned(), number))
}

fn read(bytes: &[u8], number: u64) -> Read {
    let mut read = Read::default();
    if bytes.get(..HEAD_BYTES) != Some(&head(number)) {
        return read;
    }
    let mut at = HEAD_BYTES;
    read.sure = at;
    while let Some(length) = length(&bytes[at..], number) {
        let (place, body) = (at, at + RECORD_HEAD_BYTES);
        let Some(found) = bytes.get(body..body + length) else { break };
        at = body + length;
        let is_checked = crc32fast::hash(found).to_le_bytes() == bytes[body - 4..body];
        match event(found).filter(|_| is_checked) {
            Some(kept @ (EVENT | UNTYPED, _)) => read.events.push((place, kept)),
            // Of a later release.
            Some(_) => read.unreadable += 1,
            None => {
                read.unreadable += 1;
                continue;
            }
        }
        (read.sure, read.unreadable_before) = (at, read.unreadable);
    }
    read.whole = Some(at);
    read.is_followed = (read.sure..bytes.len()).any(|begin| is_record(&bytes[begin..], number));
    read
}

/// Whether a whole record begins here.
fn is_record(bytes: &[u8], number: u64) -> bool {
    let body = length(bytes, number).and_then(|length| bytes.get(RECORD_HEAD_BYTES..RECORD_HEAD_BYTES + length));
    body.is_some_and(|body| crc32fast::hash(body).to_le_bytes() == bytes[8..12] && event(body).is_some())
}

/// How long the body of a record is, where one begins.
fn length(bytes: &[u8], number: u64) -> Option<usize> {
    let head = bytes.get(..RECORD_HEAD_BYTES)?;
    let is_checked = crc32fast::hash(&[&head[..4], &number.to_le_bytes()].concat()).to_le_bytes() == head[4..8];
    let length = usize::try_from(u32::from_le_bytes(head[..4].try_into().ok()?)).ok()?;
    (is_checked && (BODY_BYTES_LEAST..=BODY_BYTES_MOST).contains(&length)).then_some(length)
}

/// A record's kind, and what else stands in it.
fn event(body: &[u8]) -> Option<Kept> {
    let tenant = usize::from(body[1]);
    let time = body.get(2 + tenant..10 + tenant)?;
    let name = str::from_utf8(&body[2..2 + tenant]).ok()?;
    let event = (name.to_owned(), i64::from_le_bytes(time.try_into().ok()?), body[10 + tenant..].to_vec());
    Some((body[0], event))
}

fn head(number: u64) -> Vec<u8> {
    let head = [&b"CALSPOOL"[..], &1_u32.to_le_bytes(), &number.to_le_bytes()].concat();
    let check = crc32fast::hash(&head).to_le_bytes();
    [head, check.into()].concat()
}

fn record(number: u64, kind: u8, tenant: &[u8], time: i64, event: &[u8]) -> Vec<u8> {
    let body = [&[kind, u8::try_from(tenant.len()).expect("a name")], tenant, &time.to_le_bytes(), event].concat();
    let length = u32::try_from(body.len()).expect("a short record").to_le_bytes();
    let checks = [crc32fast::hash(&[&length[..], &number.to_le_bytes()].concat()), crc32fast::hash(&body)];
    [&length[..], &checks[0].to_le_bytes(), &checks[1].to_le_bytes(), &body].concat()
}

/// Of one tenant the oldest comes first; between two there is no order.
fn by_tenant(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by(|(one, since, ..), (other, after, ..)| (one, since).cmp(&(other, after)));
    events
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.segment"))
}

fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        fs::remove_file(entry.expect("an entry").path()).expect("it is ours");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let counted = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap_or(0)], bytes].concat();
    let step = |step: u8, tenant: &str, event: &[u8]| {
        [vec![step], counted(tenant.as_bytes()), 7_i64.to_le_bytes().to_vec(), counted(event)].concat()
    };
    let (one, two) = (step(b'r', "acme", b"one"), step(b'r', "other", b"two"));
    let mut typed = events::typed(&seeds::bodies()[0]).0;
    (typed.payload, typed.raw_body) = (None, b"{}"[..].into());
    let untyped = BookingEvent {
        raw_body: br#"{"triggerEvent":"PING","createdAt":"2026-01-01T00:00:00.000Z","payload":{}}"#[..].into(),
        ..BookingEvent::default()
    };
    let steps = [
        vec![],
        [&one[..], &two, &one].concat(),
        [&one[..], b"c\x01"].concat(),
        [&one[..], &two, b"j\x0312\x00"].concat(),
        [&one[..], &step(b'd', "acme", b"three"), b"\x20\x01", &two].concat(),
        [&one[..], &step(b'k', "acme", b"four"), b"\x02", &two].concat(),
        [&one[..], &two, b"s\x00s\x01"].concat(),
        [&one[..], &step(b'f', "acme", b"five"), &two].concat(),
        step(b'r', "acme", &typed.encode_to_vec()[..200.min(typed.encoded_len())]),
        [step(b'k', "acme", &untyped.encode_to_vec()), b"\x03".to_vec(), one.clone()].concat(),
        [&step(b'k', "acme", b"\xff")[..], b"\x03", &one].concat(),
        [b"c\x17".to_vec(), one.clone()].concat(),
        [&one[..], &step(b'd', "acme", b"three"), b"\x00\x01", &two].concat(),
    ];
    let mut seeds = Vec::new();
    for steps in &steps {
        seeds.push([&[LOOK | AGAIN], steps.as_slice()].concat());
        seeds.push([&[NOT_NEWEST | AGAIN], steps.as_slice()].concat());
        seeds.push([&[RAW | LOOK], built(&mut Cut(steps)).0.as_slice()].concat());
    }
    for name in ["00000000000000ff.segment", "notes.txt", "00000000000000ff.settled"] {
        seeds.push([vec![STRAY | LOOK | AGAIN], counted(name.as_bytes()), one.clone()].concat());
    }
    seeds
}
