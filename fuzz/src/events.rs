//! Events: whatever they say, in whatever order and how often ever, the bookings end in the same rows. They come as
//! bodies that are typed here, or as messages of a caller who has typed them himself.

use std::collections::BTreeMap;

use calbridge_booking::{Derived, Fact, Horizon, Row, Subject, derive, facts, subject, transition};
use calbridge_calcom::type_body;
use calbridge_proto::v1::BookingEvent;
use calbridge_service::fuzzing::submitted;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::{cut::Cut, seeds};

/// Between two bodies: no JSON has it.
const BETWEEN: u8 = 0x1e;
/// More show nothing that these don't.
const EVENTS_MOST: usize = 4;
/// Bookings that one event may speak of.
const FACTS_MOST: usize = 3;
/// When they are submitted, in microseconds since 1970-01-01T00:00:00Z.
const NOW: i64 = 1_790_000_000_000_000;
/// The input holds bodies.
const BODIES: u8 = b'b';
/// The input holds messages, each behind its length.
const MESSAGES: u8 = b'm';

type Rows = BTreeMap<String, Row>;

pub(crate) fn judge(input: &[u8]) {
    let mut cut = Cut(input);
    let events: Vec<_> = if cut.byte() == MESSAGES {
        messages(&mut cut)
    } else {
        cut.rest().split(|byte| *byte == BETWEEN).take(EVENTS_MOST).map(typed).collect()
    };
    let told: Vec<_> = events.iter().map(judge_facts).collect();
    let rows = fold(told.iter());
    assert_eq!(fold(told.iter().rev()), rows, "the order does not show");
    let middle = told.iter().skip(1).chain(told.first());
    assert_eq!(fold(middle.chain(told.iter())), rows, "nor does the number");
    for (uid, row) in &rows {
        assert_eq!(Row::decode(&row.encode()).as_ref(), Ok(row), "a row can be kept");
        for horizon in [Horizon::NONE, Horizon::ALL] {
            judge_derived(derive(uid, row, horizon));
        }
    }
}

/// What a body says, and its digest.
pub(crate) fn typed(body: &[u8]) -> (BookingEvent, [u8; 32]) {
    let mut event =
        BookingEvent { tenant: "acme".to_owned(), raw_body: body.to_vec().into(), ..BookingEvent::default() };
    type_body(body).into_event(&mut event);
    (event, Sha256::digest(body).into())
}

fn messages(cut: &mut Cut<'_>) -> Vec<(BookingEvent, [u8; 32])> {
    let mut events = Vec::new();
    while !cut.is_empty() && events.len() < EVENTS_MOST {
        let length = usize::from(cut.byte()) << 8 | usize::from(cut.byte());
        let bytes = cut.many(length);
        if let Ok(event) = BookingEvent::decode(bytes) {
            let sha256 = Sha256::digest(bytes).into();
            if let Some(delivery) = submitted(event.clone(), NOW) {
                assert_eq!(delivery.facts, facts(&event, &delivery.body_sha256));
                assert!(delivery.facts.is_empty() || delivery.is_typed);
            }
            events.push((event, sha256));
        }
    }
    events
}

fn judge_facts((event, sha256): &(BookingEvent, [u8; 32])) -> Vec<Fact> {
    let told = facts(event, sha256);
    assert_eq!(told, facts(event, sha256), "an event says the same again");
    assert!(told.len() <= FACTS_MOST);
    let about = subject(event);
    match about {
        Subject::States { uid } => assert_eq!(told[0].uid, uid, "its own booking comes first"),
        _ => assert!(told.is_empty(), "{about:?} states nothing"),
    }
    for (place, fact) in told.iter().enumerate() {
        assert!(told[..place].iter().all(|other| other.uid != fact.uid), "one fact a booking");
    }
    told
}

fn fold<'a>(told: impl Iterator<Item = &'a Vec<Fact>>) -> Rows {
    let mut rows = Rows::new();
    for fact in told.flatten() {
        rows.entry(fact.uid.clone()).or_default().merge(&fact.registers);
    }
    rows
}

fn judge_derived(derived: Option<Derived>) {
    let Some(derived) = derived else { return };
    assert_eq!(transition(Some(&derived), &derived), None, "nothing has changed");
    assert!(transition(None, &derived).is_some(), "it has appeared");
    let message = derived.booking.encode_to_vec();
    assert_eq!(calbridge_proto::v1::Booking::decode(message.as_slice()).as_ref(), Ok(&derived.booking));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for life in seeds::lives() {
        for bodies in life.windows(2) {
            seeds.push([&[BODIES][..], &bodies.join(&BETWEEN)].concat());
        }
        let mut messages = vec![MESSAGES];
        for body in &life {
            let event = BookingEvent { raw_body: b"{}"[..].into(), ..typed(body).0 };
            let event = event.encode_to_vec();
            messages.extend_from_slice(&u16::try_from(event.len()).expect("a short event").to_be_bytes());
            messages.extend_from_slice(&event);
        }
        seeds.push(messages);
    }
    seeds.retain(|seed| seed.len() <= 4096);
    seeds
}
