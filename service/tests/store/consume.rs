//! Consumers: in order, at least once, one at a time of each booking; and whatever a store is told, nothing is lost.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use calbridge_service::store::{
    CONSUMERS_MAX, Consumer, ConsumerChoices, ConsumerCommand, ConsumerKey, ConsumerOutcome, ConsumerStatus,
    DeliveryOf, Floors, LogCondition, LogEntry, LogFilter, LogQuery, Outgoing, Position, Said, Store, TurnAnswer,
    TurnRequest,
};
use futures_util::future::join_all;

use crate::{retention::commit_aged, support::*};

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const DAY: i64 = 86_400 * SECOND;
pub(crate) const WAIT: Duration = Duration::from_secs(30);

pub(crate) fn key(name: &str) -> ConsumerKey {
    (TENANT.into(), name.to_owned())
}

pub(crate) fn choices() -> ConsumerChoices {
    ConsumerChoices {
        filter_text: String::new(),
        filter: Arc::default(),
        recorded: false,
        max_in_flight: 100,
        ack_wait: WAIT,
        backoff: vec![Duration::from_secs(2), Duration::from_secs(20)],
        max_deliveries: 3,
        blocks: false,
    }
}

pub(crate) fn new(name: &str, choices: ConsumerChoices) -> Consumer {
    Consumer {
        key: key(name),
        choices,
        paused: false,
        cursor: Position(0),
        scanned: Position(0),
        lease: 0,
        etag: 1,
        create_time: NOW,
        update_time: NOW,
    }
}

pub(crate) async fn command(store: &impl Store, name: &str, command: ConsumerCommand) -> ConsumerOutcome {
    store.command_consumer(key(name), command).await.unwrap()
}

pub(crate) async fn create(store: &impl Store, name: &str, choices: ConsumerChoices) {
    let consumer = new(name, choices);
    let made = command(store, name, ConsumerCommand::Create(Box::new(consumer.clone()))).await;
    assert_eq!(made, ConsumerOutcome::Done(Box::new(consumer)));
}

/// Tells what became of deliveries, and asks for so many entries.
pub(crate) async fn turn(
    store: &impl Store,
    name: &str,
    said: Vec<(DeliveryOf, Said)>,
    room: usize,
    now: i64,
) -> TurnAnswer {
    match command(store, name, ConsumerCommand::Turn(TurnRequest { said, room, now, asked: None, keeps_scan: false }))
        .await
    {
        ConsumerOutcome::Turned(answer) => answer,
        other => unreachable!("{other:?}"),
    }
}

/// The same thing of all of them.
pub(crate) fn say(out: &[Outgoing], said: &Said) -> Vec<(DeliveryOf, Said)> {
    out.iter().map(|out| (out.delivery, said.clone())).collect()
}

pub(crate) fn uids(out: &[Outgoing]) -> Vec<&str> {
    out.iter().map(|out| out.entry.uid()).collect()
}

pub(crate) fn positions(out: &[Outgoing]) -> Vec<Position> {
    out.iter().map(|out| out.delivery.position).collect()
}

pub(crate) async fn status(store: &impl Store, name: &str) -> ConsumerStatus {
    store.consumer(key(name)).await.unwrap().unwrap()
}

/// Out, waiting, dead letters.
pub(crate) async fn counts(store: &impl Store, name: &str) -> (usize, usize, usize) {
    let ConsumerStatus { out, waiting, dead_letters, .. } = status(store, name).await;
    (out, waiting, dead_letters)
}

/// Has the oldest entries become dead letters.
pub(crate) async fn park(store: &impl Store, name: &str, count: usize) -> Vec<Outgoing> {
    let out = turn(store, name, Vec::new(), count, NOW).await.out;
    assert_eq!(out.len(), count);
    let _ = turn(store, name, say(&out, &Said::Park("no\u{e9}".to_owned())), 0, NOW).await;
    out
}

pub(crate) async fn a_tenant_has_no_more_consumers_than_it_may(backend: &impl Backend) {
    let store = backend.open().await;
    let make = async |name: String, tenant: &str| {
        let key: ConsumerKey = (tenant.into(), name);
        let consumer = Consumer { key: key.clone(), ..new("", choices()) };
        store.command_consumer(key, ConsumerCommand::Create(Box::new(consumer))).await.unwrap()
    };
    let (at_once, spare) = (12, 5);
    for number in 0..CONSUMERS_MAX - spare {
        assert!(matches!(make(format!("before-{number}"), TENANT).await, ConsumerOutcome::Done(_)), "{number}");
    }
    let outcomes = join_all((0..at_once).map(|number| make(format!("at-once-{number}"), TENANT))).await;
    let full = outcomes.iter().filter(|outcome| **outcome == ConsumerOutcome::Full).count();
    assert_eq!(full, at_once - spare, "{outcomes:?}");
    assert_eq!(make("before-0".to_owned(), TENANT).await, ConsumerOutcome::Exists, "the better answer");
    assert!(matches!(make("c".to_owned(), "another").await, ConsumerOutcome::Done(_)), "the bound is a tenant's own");

    assert!(matches!(command(&store, "before-0", ConsumerCommand::Delete(None)).await, ConsumerOutcome::Done(_)));
    assert!(matches!(make("in-its-place".to_owned(), TENANT).await, ConsumerOutcome::Done(_)));
    assert_eq!(make("one-more".to_owned(), TENANT).await, ConsumerOutcome::Full);
}

pub(crate) async fn a_consumer_is_made_once_and_changed_by_who_knows_it(backend: &impl Backend) {
    let store = backend.open().await;
    let pause = || ConsumerCommand::Pause(true, NOW + 1);
    assert_eq!(command(&store, "c", pause()).await, ConsumerOutcome::Unknown);
    let nothing = ConsumerCommand::Turn(TurnRequest { room: 1, now: NOW, ..TurnRequest::default() });
    assert_eq!(command(&store, "c", nothing).await, ConsumerOutcome::Unknown);
    assert_eq!(store.consumer(key("c")).await.unwrap(), None);

    let filter = LogFilter(vec![LogCondition::Uid("u1".to_owned()), LogCondition::EventTypeId(7)]);
    let chosen = ConsumerChoices {
        filter_text: "uid = \"u1\" AND event_type_id = 7".to_owned(),
        filter: Arc::new(filter),
        recorded: true,
        blocks: true,
        max_deliveries: u32::MAX,
        ack_wait: Duration::from_micros(1_500),
        ..choices()
    };
    create(&store, "c", chosen.clone()).await;
    let again = ConsumerCommand::Create(Box::new(new("c", choices())));
    assert_eq!(command(&store, "c", again).await, ConsumerOutcome::Exists);
    assert_eq!(status(&store, "c").await.consumer, new("c", chosen.clone()), "as it was chosen");

    let update = |etag| ConsumerCommand::Update(Box::new(choices()), etag, NOW + 2);
    assert_eq!(command(&store, "c", update(Some(7))).await, ConsumerOutcome::OtherEtag);
    let expected = Consumer { etag: 2, update_time: NOW + 2, ..new("c", choices()) };
    assert_eq!(command(&store, "c", update(Some(1))).await, ConsumerOutcome::Done(Box::new(expected.clone())));
    assert_eq!(status(&store, "c").await.consumer, expected);
    let expected = Consumer { etag: 3, paused: true, update_time: NOW + 1, ..expected };
    assert_eq!(command(&store, "c", pause()).await, ConsumerOutcome::Done(Box::new(expected.clone())));

    assert_eq!(command(&store, "c", ConsumerCommand::Delete(Some(2))).await, ConsumerOutcome::OtherEtag);
    assert_eq!(status(&store, "c").await.consumer, expected, "it is still there");
    assert_eq!(command(&store, "c", ConsumerCommand::Delete(Some(3))).await, ConsumerOutcome::Done(Box::new(expected)));
    assert_eq!(store.consumer(key("c")).await.unwrap(), None);
    assert_eq!(command(&store, "c", update(None)).await, ConsumerOutcome::Unknown);
}

pub(crate) async fn a_turn_hands_out_in_order_and_settles(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", ConsumerChoices { max_in_flight: 3, ..choices() }).await;
    let nothing = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!(nothing, TurnAnswer { extended: NOW + 30 * SECOND, ..TurnAnswer::default() });
    let of_other = Webhook { tenant: "other", ..created("x1", 1) };
    commit(&store, &[created("u1", 1), of_other, created("u2", 2), created("u3", 3), created("u4", 4)]).await;
    let log = store.log(all()).await.unwrap().entries;

    let first = turn(&store, "c", Vec::new(), 2, NOW).await;
    let handed: Vec<_> = first.out.iter().map(|out| (out.delivery.position, out.entry.clone())).collect();
    assert_eq!(handed, log[..2], "the entries of the log");
    assert!(first.out.iter().all(|out| out.deliveries == 1 && out.expires == NOW + 30 * SECOND));
    assert_eq!((first.more, first.due, first.cursor), (true, Some(NOW + 30 * SECOND), Position(log[0].0.0 - 1)));
    assert_eq!(counts(&store, "c").await, (2, 2, 0));

    // Behind it is one that is not settled, so the cursor stays. No more than three are out.
    let second = turn(&store, "c", say(&first.out[1..], &Said::Ack), 10, NOW).await;
    assert_eq!((uids(&second.out), second.cursor), (vec!["u3", "u4"], first.cursor));
    let full = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!((full.out.len(), full.more), (0, false));
    let third = turn(&store, "c", say(&first.out[..1], &Said::Skip), 10, NOW).await;
    assert_eq!((third.out.len(), third.cursor), (0, Position(log[2].0.0 - 1)));
    let done = turn(&store, "c", say(&second.out, &Said::Ack), 10, NOW).await;
    assert_eq!((done.cursor, done.due, done.more), (store.head().await.unwrap(), None, false));
    assert_eq!(counts(&store, "c").await, (0, 0, 0));
    let late = turn(&store, "c", say(&second.out, &Said::Ack), 10, NOW).await;
    assert_eq!(late.lost, second.out.iter().map(|out| out.delivery).collect::<Vec<_>>());
}

pub(crate) fn all() -> LogQuery {
    LogQuery { tenant: TENANT.into(), after: Position(0), filter: Arc::default(), recorded: true }
}

pub(crate) async fn of_one_booking_one_entry_is_out_at_a_time(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1), created("u2", 2), cancelled("u1", 3), cancelled("u2", 4)]).await;
    let first = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!(uids(&first.out), ["u1", "u2"]);
    let second = turn(&store, "c", say(&first.out[1..], &Said::Ack), 10, NOW).await;
    assert_eq!(uids(&second.out), ["u2"], "what holds one booking up holds no other");
    let failed = turn(&store, "c", say(&first.out[..1], &Said::Retry(None, String::new())), 10, NOW).await;
    assert_eq!(uids(&failed.out), [""; 0], "nothing overtakes what is to come again");
    let again = turn(&store, "c", Vec::new(), 10, NOW + 3 * SECOND).await;
    assert_eq!((uids(&again.out), again.out[0].deliveries), (vec!["u1"], 2));
    assert_eq!(again.out[0].entry, first.out[0].entry, "the same entry, read again");
    let last = turn(&store, "c", say(&again.out, &Said::Ack), 10, NOW + 3 * SECOND).await;
    assert_eq!(uids(&last.out), ["u1"]);
    assert_eq!(last.out[0].entry, store.log(all()).await.unwrap().entries[2].1, "the cancellation");
}

pub(crate) async fn what_fails_climbs_the_ladder_to_the_dead_letters(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1), created("u2", 2)]).await;
    let (mut now, mut left) = (NOW, Vec::new());
    for (deliveries, pause) in [(1, 2), (2, 20)] {
        let answer = turn(&store, "c", Vec::new(), 1, now).await;
        assert_eq!((uids(&answer.out), answer.out[0].deliveries), (vec!["u1"], deliveries));
        let failed = turn(&store, "c", say(&answer.out, &Said::Retry(None, "busy".to_owned())), 0, now).await;
        let due = failed.due.unwrap();
        assert!(due >= now + pause * SECOND / 2 && due <= now + pause * SECOND, "between half of the pause and all");
        now = due;
        left = answer.out;
    }
    let last = turn(&store, "c", Vec::new(), 1, now).await;
    let given_up = turn(&store, "c", say(&last.out, &Said::Retry(None, "still busy".to_owned())), 1, now).await;
    assert_eq!(uids(&given_up.out), ["u2"]);
    assert_eq!(given_up.cursor, left[0].delivery.position, "the cursor passed it in the same turn");
    assert_eq!(counts(&store, "c").await, (1, 0, 1));
    let letters = store.dead_letters(key("c"), Position(0), 10).await.unwrap();
    let [letter] = &letters[..] else { unreachable!("{letters:?}") };
    assert_eq!((letter.position, &letter.entry), (last.out[0].delivery.position, &last.out[0].entry));
    assert_eq!((letter.deliveries, letter.reason.as_str(), letter.create_time), (3, "still busy", now));
}

pub(crate) async fn a_lease_that_ended_is_fenced_off(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1), created("u2", 2)]).await;
    let first = turn(&store, "c", Vec::new(), 10, NOW).await;
    let extended = turn(&store, "c", say(&first.out[1..], &Said::Extend), 10, NOW + 20 * SECOND).await;
    assert_eq!((extended.out.len(), extended.lost.len()), (0, 0));
    let second = turn(&store, "c", Vec::new(), 10, NOW + 30 * SECOND).await;
    assert_eq!((uids(&second.out), second.out[0].deliveries), (vec!["u1"], 2));
    assert!(second.out[0].delivery.lease > first.out[1].delivery.lease, "no lease is given out twice");
    for said in [Said::Ack, Said::Park("late".to_owned()), Said::Extend] {
        let late = turn(&store, "c", say(&first.out[..1], &said), 10, NOW + 31 * SECOND).await;
        assert_eq!(late.lost, [first.out[0].delivery], "{said:?}");
    }
    let both = [say(&second.out, &Said::Ack), say(&first.out[1..], &Said::Release)].concat();
    let done = turn(&store, "c", both, 10, NOW + 31 * SECOND).await;
    assert_eq!((uids(&done.out), done.lost.len()), (vec!["u2"], 0), "a client that went gives back what it had");
}

pub(crate) async fn what_is_sought_is_handed_out_again(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1), created("u2", 2), created("u3", 3)]).await;
    let parked = park(&store, "c", 1).await;
    let second = turn(&store, "c", Vec::new(), 1, NOW).await;
    let ConsumerOutcome::Done(sought) = command(&store, "c", ConsumerCommand::Seek(Position(0), NOW)).await else {
        unreachable!("it is there")
    };
    assert_eq!((sought.cursor, sought.etag), (Position(0), 2));
    assert_eq!(counts(&store, "c").await, (0, 0, 1));
    let again = turn(&store, "c", say(&second.out, &Said::Ack), 10, NOW).await;
    assert_eq!((uids(&again.out), again.lost.len()), (vec!["u1", "u2", "u3"], 1), "all of it, and old leases are void");
    assert!(again.out.iter().all(|out| out.delivery.lease > second.out[0].delivery.lease && out.deliveries == 1));
    // Not the dead letter was handed out, and so it stays.
    let _ = turn(&store, "c", say(&again.out, &Said::Ack), 10, NOW).await;
    assert_eq!(counts(&store, "c").await, (0, 0, 1));
    let letters = store.dead_letters(key("c"), Position(0), 10).await.unwrap();
    assert_eq!(letters[0].position, parked[0].delivery.position);

    // One that was being replayed is a dead letter as before.
    let all = ConsumerCommand::ReplayDeadLetters(Vec::new(), NOW);
    assert_eq!(command(&store, "c", all).await, ConsumerOutcome::Counted(1));
    assert_eq!(counts(&store, "c").await, (0, 1, 0));
    let end = store.head().await.unwrap();
    let _ = command(&store, "c", ConsumerCommand::Seek(end, NOW)).await;
    assert_eq!(counts(&store, "c").await, (0, 0, 1));
    let nothing = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!((nothing.out.len(), nothing.cursor, nothing.more), (0, end, false));
}

pub(crate) async fn a_paused_consumer_hears_and_hands_nothing_out(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1), created("u2", 2)]).await;
    let first = turn(&store, "c", Vec::new(), 1, NOW).await;
    let _ = command(&store, "c", ConsumerCommand::Pause(true, NOW)).await;
    let paused = turn(&store, "c", say(&first.out, &Said::Ack), 10, NOW).await;
    assert_eq!((paused.out.len(), paused.lost.len(), paused.paused), (0, 0, true));
    let _ = command(&store, "c", ConsumerCommand::Pause(false, NOW)).await;
    let on = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!((uids(&on.out), on.paused), (vec!["u2"], false));
}

pub(crate) async fn a_deleted_consumer_leaves_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    for name in ["c", "d"] {
        create(&store, name, choices()).await;
    }
    commit(&store, &[created("u1", 1), created("u2", 2), created("u3", 3)]).await;
    for name in ["c", "d"] {
        park(&store, name, 1).await;
        let _ = turn(&store, name, Vec::new(), 1, NOW).await;
    }
    let gone = command(&store, "c", ConsumerCommand::Delete(None)).await;
    assert!(matches!(gone, ConsumerOutcome::Done(_)), "{gone:?}");
    assert_eq!(store.dead_letters(key("c"), Position(0), 10).await.unwrap(), []);
    create(&store, "c", choices()).await;
    assert_eq!(counts(&store, "c").await, (0, 0, 0));
    assert_eq!(counts(&store, "d").await, (1, 1, 1), "the other's");
    assert_eq!(uids(&turn(&store, "c", Vec::new(), 10, NOW).await.out), ["u1", "u2", "u3"]);
}

pub(crate) async fn the_floor_is_the_least_cursor(backend: &impl Backend) {
    let store = backend.open().await;
    let floors = async |tenant: &str| {
        let (all, one) = (store.floors(None).await.unwrap(), store.floors(Some(tenant)).await.unwrap());
        let of_all: BTreeMap<_, _> = all.into_iter().filter(|(whose, _)| whose == tenant).collect();
        assert_eq!(one, of_all);
        one.get(tenant).copied().unwrap_or_default()
    };
    assert_eq!(floors(TENANT).await, Floors::default());
    commit(&store, &[created("u1", 1), created("u2", 2)]).await;
    create(&store, "c", choices()).await;
    create(&store, "d", ConsumerChoices { recorded: true, ..choices() }).await;
    let all = turn(&store, "c", Vec::new(), 10, NOW).await.out;
    let _ = turn(&store, "c", say(&all, &Said::Ack), 0, NOW).await;
    let of = |transitions, deliveries| Floors { transitions: Some(transitions), deliveries };
    assert_eq!(floors(TENANT).await, of(Position(0), Some(Position(0))));
    let out = turn(&store, "d", Vec::new(), 1, NOW).await.out;
    let _ = turn(&store, "d", say(&out, &Said::Ack), 0, NOW).await;
    let first = out[0].delivery.position;
    assert_eq!(floors(TENANT).await, of(first, Some(first)));
    let _ = command(&store, "d", ConsumerCommand::Delete(None)).await;
    assert_eq!(floors(TENANT).await, of(store.head().await.unwrap(), None));
    let filter = Arc::new(LogFilter(vec![LogCondition::EventTypeId(7)]));
    create(&store, "e", ConsumerChoices { recorded: true, filter, ..choices() }).await;
    assert_eq!(floors(TENANT).await, of(Position(0), None), "what its filter means of deliveries is none");
    assert_eq!(floors("other").await, Floors::default());
}

pub(crate) async fn a_consumer_goes_on_where_it_was_when_opened_again(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1), created("u2", 2), created("u3", 3)]).await;
    park(&store, "c", 1).await;
    let first = turn(&store, "c", Vec::new(), 1, NOW).await;
    let before = status(&store, "c").await;
    store.close().await;
    drop(store);
    let store = backend.open().await;
    assert_eq!(status(&store, "c").await, before);
    let second = turn(&store, "c", Vec::new(), 10, NOW + SECOND).await;
    assert_eq!(uids(&second.out), ["u3"], "what was out is out until its lease ends");
    let third = turn(&store, "c", say(&second.out, &Said::Ack), 10, NOW + 30 * SECOND).await;
    assert_eq!((uids(&third.out), third.out[0].deliveries), (vec!["u2"], 2));
    let late = turn(&store, "c", say(&first.out, &Said::Ack), 10, NOW + 30 * SECOND).await;
    assert_eq!(late.lost.len(), 1);
}

pub(crate) async fn a_consumer_gets_what_it_asked_for(backend: &impl Backend) {
    let store = backend.open().await;
    let of_u1 = LogFilter(vec![LogCondition::Uid("u1".to_owned())]);
    create(&store, "all", ConsumerChoices { recorded: true, ..choices() }).await;
    create(&store, "u1", ConsumerChoices { filter: Arc::new(of_u1), ..choices() }).await;
    commit(&store, &[created("u1", 1), recording("u1", 2), created("u2", 3), recording("", 4), unparsed(b"x")]).await;
    let some = turn(&store, "u1", Vec::new(), 10, NOW).await;
    assert_eq!(uids(&some.out), ["u1"]);
    let done = turn(&store, "u1", say(&some.out, &Said::Ack), 10, NOW).await;
    assert_eq!(done.cursor, store.head().await.unwrap(), "past what it did not ask for");

    let first = turn(&store, "all", Vec::new(), 10, NOW).await;
    assert_eq!(uids(&first.out), ["u1", "u2", ""]);
    let second = turn(&store, "all", say(&first.out, &Said::Ack), 10, NOW).await;
    let LogEntry::Recorded(delivery) = &second.out[0].entry else { unreachable!("{second:?}") };
    assert_eq!((delivery.booking_uid.as_str(), &delivery.raw_body), ("u1", &recording("u1", 2).body));
}

pub(crate) async fn a_long_log_is_scanned_turn_by_turn(backend: &impl Backend) {
    let store = backend.open().await;
    let of_last = LogFilter(vec![LogCondition::Uid("last".to_owned())]);
    create(&store, "c", ConsumerChoices { filter: Arc::new(of_last), ..choices() }).await;
    for round in 0..13 {
        let webhooks: Vec<_> = (0..100).map(|n| created(&format!("u{}", round * 100 + n), 1)).collect();
        commit(&store, &webhooks).await;
    }
    commit(&store, &[created("last", 1)]).await;
    for _ in 0..10 {
        let answer = turn(&store, "c", Vec::new(), 10, NOW).await;
        if !answer.out.is_empty() {
            assert_eq!((uids(&answer.out), answer.more), (vec!["last"], false));
            return;
        }
        assert!(answer.more, "it says that there is more to be read");
    }
    unreachable!("each turn goes on where the one before it came to");
}

pub(crate) async fn a_time_is_found_in_the_log(backend: &impl Backend) {
    let store = backend.open().await;
    assert_eq!(store.position_before(NOW).await.unwrap(), Position(0));
    let mut made = BTreeMap::new();
    for days in [50, 40, 30, 20, 10] {
        let round = [created(&format!("u{days}"), 1), created(&format!("v{days}"), 1)];
        made.insert(days, commit_aged(&store, days, &round).await[0].first.position);
        commit_aged(&store, days, &[recording("u1", days), unparsed(b"x")]).await;
    }
    assert_eq!(store.position_before(0).await.unwrap(), Position(0));
    for (days, first) in made {
        for time in [NOW - days * DAY, NOW - (days + 1) * DAY] {
            assert_eq!(store.position_before(time).await.unwrap(), Position(first.0 - 1), "{days} days ago");
        }
    }
    assert_eq!(store.position_before(NOW).await.unwrap(), store.head().await.unwrap(), "the end, where none is later");
}
