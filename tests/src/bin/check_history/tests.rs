//! Histories made by hand: one that is as it must be, and each fault that the laws are to find. A checker that finds
//! nothing proves nothing.

mod consumers;
mod deliveries;
mod watchers;

use crate::{
    entry::{Entry, Micros, Position},
    history::{Answer, Asked, Body, Fact, History, Item, Letter, Line, Order, View, What, lines},
    judge,
    plan::{Consumer, Plan, Scope, Watcher},
};

/// The log of all of them: two bookings that appear, and change one after the other.
const LOG: [(u64, &str, i32, i32); 4] = [(1, "u1", 0, 3), (2, "u2", 0, 3), (3, "u1", 3, 7), (4, "u2", 3, 9)];
/// How long the consumer's leases are.
const WAIT: Micros = 1_000;

fn entry(position: u64) -> Entry {
    let (_, uid, from, to) = LOG[usize::try_from(position - 1).unwrap()];
    let kind = if from == 0 { 1 } else { 2 };
    Entry { position: Position(position), tenant: "t".to_owned(), uid: uid.to_owned(), kind, from, to }
}

fn fact(position: u64) -> Fact {
    Fact::Log { entry: entry(position), delivery: format!("d{position}") }
}

fn at(at: Micros, what: What) -> Line {
    Line { at, what }
}

/// The body of a delivery.
fn body(delivery: &str) -> Body {
    Body { tenant: "t".to_owned(), body: format!("body of {delivery}") }
}

fn kept(delivery: &str) -> Fact {
    Fact::Delivery { body: body(delivery), delivery: delivery.to_owned() }
}

fn answer(delivery: &str, outcome: &str) -> Answer {
    Answer { body: body(delivery), delivery: delivery.to_owned(), outcome: outcome.to_owned() }
}

/// Nobody reads; the store has its log.
fn unread() -> History {
    let deliveries = ["d1", "d2", "d3", "d4", "d9"];
    let truth = LOG.iter().map(|(position, ..)| fact(*position)).chain(deliveries.map(kept)).collect();
    let answers = vec![answer("d1", "applied"), answer("d9", "duplicate")];
    History { truth, answers, sent: deliveries.map(body).to_vec(), ..History::default() }
}

fn faults(history: &History) -> Vec<String> {
    judge(history).violations
}

/// The one fault of a history has these words.
#[track_caller]
fn is_found(history: &History, words: &str) {
    let faults = faults(history);
    assert!(faults.len() == 1 && faults[0].contains(words), "{words:?} is to be found, not {faults:#?}");
}

#[track_caller]
fn is_sound(history: &History) {
    assert_eq!(faults(history), [""; 0]);
}

#[test]
fn the_truth_itself_must_be_a_log() {
    is_sound(&unread());
    let mut swapped = unread();
    swapped.truth.swap(1, 0);
    is_found(&swapped, "not in order at 1");
    let mut torn = unread();
    torn.truth.remove(0);
    torn.answers.clear();
    is_found(&torn, "3 (t/u1, kind 2, 3 to 7) does not begin where its booking stood, which is 0");
    let mut promised = unread();
    promised.answers.push(answer("d5", "recorded"));
    promised.truth.push(kept("d5"));
    promised.sent.push(body("d5"));
    is_found(&promised, "d5 was told recorded, and the log has nothing");
}

#[test]
fn a_line_that_was_not_written_whole_was_not_written() {
    let text = "{\"at\":1,\"life\":null}\n{\"at\":2,\"heartbeat\":\"00000000000000ff\"}\n{\"at\":3,\"hea";
    let read: Vec<Line> = lines("w.jsonl", text).unwrap();
    assert!(matches!(read[1], Line { at: 2, what: What::Heartbeat(Position(255)) }));
    assert_eq!(read.len(), 2);
    let why = lines::<Line>("w.jsonl", "{\"at\":1,\"life\":null}\n{\"at\":2}\n").unwrap_err();
    assert!(why.starts_with("w.jsonl, line 2"), "{why}");
}

#[test]
fn a_filter_says_what_its_documentation_says() {
    let means = |filter: &str, entry: &Entry| {
        let scope = Scope { tenant: "t".to_owned(), filter: filter.to_owned(), recorded: true };
        scope.means(entry)
    };
    let cancelled = entry(3);
    let recorded = Entry { kind: 0, from: 0, to: 0, ..entry(3) };
    for (filter, of_change, of_recorded) in [
        ("", true, true),
        ("uid = u1", true, true),
        ("uid = u2", false, false),
        ("kind = STATUS_CHANGED AND status = CANCELLED", true, false),
        ("kind != APPEARED", true, false),
        ("status != CANCELLED", false, false),
    ] {
        assert_eq!(means(filter, &cancelled), Ok(of_change), "{filter}");
        assert_eq!(means(filter, &recorded), Ok(of_recorded), "{filter}");
    }
    assert_eq!(means("", &Entry { tenant: "other".to_owned(), ..entry(1) }), Ok(false));
    for unknown in ["status > CANCELLED", "status = GONE", "title = x", "kind"] {
        assert!(means(unknown, &cancelled).is_err(), "{unknown}");
    }
    let changes = Scope { tenant: "t".to_owned(), ..Scope::default() };
    assert_eq!(changes.means(&recorded), Ok(false));
}
