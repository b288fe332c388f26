use std::{collections::HashMap, sync::Arc};

use calbridge_proto::v1;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::store::{
    LogFilter,
    consume::{Consumer, ConsumerChoices, ConsumerCommand, ConsumerOutcome, Loaded, Written, apply},
};

const SECOND: Micros = 1_000_000;

fn choices() -> ConsumerChoices {
    ConsumerChoices {
        filter_text: String::new(),
        filter: Arc::new(LogFilter::default()),
        recorded: false,
        max_in_flight: 8,
        ack_wait: Duration::from_secs(30),
        backoff: vec![Duration::from_secs(1), Duration::from_secs(10)],
        max_deliveries: 3,
        blocks: false,
    }
}

fn state(choices: ConsumerChoices) -> ConsumerState {
    let consumer = Consumer {
        key: (Arc::from("acme"), "c".to_owned()),
        choices,
        paused: false,
        cursor: Position(0),
        scanned: Position(0),
        lease: 0,
        etag: 1,
        create_time: 0,
        update_time: 0,
    };
    ConsumerState { consumer, items: BTreeMap::new(), held: BTreeSet::new() }
}

fn entry(position: i64, uid: &str) -> LogEntry {
    let made = v1::Transition { position: Position(position).to_token(), uid: uid.to_owned(), ..Default::default() };
    LogEntry::Transition(Box::new(made))
}

/// A log whose n-th entry, from one on, speaks of the n-th of these bookings.
struct Log<'a>(&'a [&'a str]);

impl Log<'_> {
    fn page(&self, query: &LogQuery) -> LogPage {
        let all = (1..).zip(self.0).map(|(n, uid)| (Position(n), entry(n, uid)));
        let entries: Vec<_> = all.filter(|(position, _)| *position > query.after).take(3).collect();
        let end = Position(i64::try_from(self.0.len()).unwrap());
        let through = if entries.len() < 3 { end } else { entries[2].0 };
        LogPage { entries, through, more: through < end, purged: Position(0) }
    }

    /// A turn as a store takes it.
    fn turn(&self, state: &mut ConsumerState, request: &TurnRequest) -> (TurnAnswer, TurnChanges) {
        let mut turn = Turn::begin(state, request);
        while let Some(query) = turn.wants() {
            turn.scan(self.page(&query), []);
        }
        let mut chosen = turn.choose();
        while let Some(unread) = chosen.unread() {
            assert!(unread.len() <= UNREAD_MAX);
            let at = |position: &Position| entry(position.0, self.0[usize::try_from(position.0 - 1).unwrap()]);
            let found = unread.iter().map(|position| (*position, at(position))).collect();
            chosen.take(unread, found);
        }
        turn.finish(chosen)
    }
}

fn wants(room: usize, now: Micros) -> TurnRequest {
    TurnRequest { said: Vec::new(), room, now, asked: None, keeps_scan: false }
}

fn says(said: Vec<(DeliveryOf, Said)>, room: usize, now: Micros) -> TurnRequest {
    TurnRequest { said, room, now, asked: None, keeps_scan: false }
}

fn positions(answer: &TurnAnswer) -> Vec<i64> {
    answer.out.iter().map(|out| out.delivery.position.0).collect()
}

#[test]
fn the_next_of_a_booking_waits_and_others_flow_on() {
    let log = Log(&["a", "a", "b", "a", ""]);
    let mut state = state(choices());
    let (first, _) = log.turn(&mut state, &wants(8, 0));
    assert_eq!(positions(&first), [1, 3, 5], "one of each booking, and what speaks of none");
    let (none, _) = log.turn(&mut state, &wants(8, 1));
    assert_eq!((positions(&none), none.cursor), (vec![], Position(0)));
    let acked = first.out.iter().map(|out| (out.delivery, Said::Ack)).collect();
    let (second, changes) = log.turn(&mut state, &says(acked, 8, 2));
    assert_eq!((positions(&second), second.cursor), (vec![2], Position(1)));
    assert_eq!(changes.settled, BTreeSet::from([1, 3, 5].map(Position)));
}

#[test]
fn a_turn_reads_a_bounded_part_of_the_log_and_the_next_goes_on() {
    let uids: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
    let log = Log(&uids);
    let mut wide = state(ConsumerChoices { max_in_flight: 100, ..choices() });
    let (first, changes) = log.turn(&mut wide, &wants(100, 0));
    assert_eq!((first.out.len(), first.more, changes.is_cut), (3 * PAGES_MAX, true, true));
    let (second, changes) = log.turn(&mut wide, &wants(100, 0));
    assert_eq!((second.out.len(), second.more, changes.is_cut), (8, false, false));
    // Whoever is full is not asked to come again before something is settled.
    let mut full = state(ConsumerChoices { max_in_flight: 2, ..choices() });
    let (answer, _) = log.turn(&mut full, &wants(100, 0));
    assert_eq!((answer.out.len(), answer.more), (2, false));
}

#[test]
fn a_failure_waits_its_ladder_and_the_last_one_parks() {
    let log = Log(&["a", "a"]);
    let mut state = state(choices());
    let mut now = 0;
    for (deliveries, pause) in [(1, SECOND), (2, 10 * SECOND)] {
        let (answer, _) = log.turn(&mut state, &wants(8, now));
        assert_eq!((positions(&answer), answer.out[0].deliveries), (vec![1], deliveries));
        let said = vec![(answer.out[0].delivery, Said::Retry(None, "no".to_owned()))];
        let (waiting, _) = log.turn(&mut state, &says(said, 8, now));
        let due = waiting.due.unwrap();
        assert!((now + pause / 2..=now + pause).contains(&due), "{due}");
        assert_eq!(positions(&waiting), Vec::<i64>::new());
        now = due;
    }
    let (answer, _) = log.turn(&mut state, &wants(8, now));
    let said = vec![(answer.out[0].delivery, Said::Retry(None, "no".to_owned()))];
    let (answer, changes) = log.turn(&mut state, &says(said, 8, now));
    let parked =
        Parked { position: Position(1), uid: "a".to_owned(), deliveries: 3, reason: "no".to_owned(), time: now };
    assert_eq!((changes.parked, changes.settled), (vec![parked], BTreeSet::from([Position(1)])));
    assert_eq!((positions(&answer), answer.cursor), (vec![2], Position(1)), "the booking goes on");
}

#[test]
fn a_lease_begins_with_its_turn_and_not_while_that_waits_for_others() {
    let log = Log(&["a"]);
    let waited = Duration::from_secs(40);
    let asked = Instant::now().checked_sub(waited).unwrap();
    let request = TurnRequest { asked: Some(asked), ..wants(8, 0) };
    let (answer, _) = log.turn(&mut state(choices()), &request);
    let ends = choices().ack_wait + waited;
    assert!(answer.out[0].expires >= Micros::try_from(ends.as_micros()).unwrap(), "{:?}", answer.out);
}

#[test]
fn a_dead_letter_holds_its_booking_back_where_that_was_chosen() {
    let log = Log(&["a", "a", "b"]);
    let mut state = state(ConsumerChoices { blocks: true, max_in_flight: 1, ..choices() });
    let (answer, _) = log.turn(&mut state, &wants(8, 0));
    let park = vec![(answer.out[0].delivery, Said::Park("bad".to_owned()))];
    let (answer, _) = log.turn(&mut state, &says(park, 8, 0));
    assert_eq!((positions(&answer), answer.cursor), (vec![3], Position(1)));
    state.held.clear();
    let acked = vec![(answer.out[0].delivery, Said::Ack)];
    assert_eq!(positions(&log.turn(&mut state, &says(acked, 8, 0)).0), [2]);
}

#[test]
fn a_lease_ends_is_extended_and_fences_off_what_comes_late() {
    let log = Log(&["a"]);
    let mut state = state(choices());
    let (first, _) = log.turn(&mut state, &wants(8, 0));
    let delivery = first.out[0].delivery;
    assert_eq!((first.out[0].expires, first.due), (30 * SECOND, Some(30 * SECOND)));
    let (extended, _) = log.turn(&mut state, &says(vec![(delivery, Said::Extend)], 8, 20 * SECOND));
    assert_eq!(extended.due, Some(50 * SECOND));
    let (again, _) = log.turn(&mut state, &wants(8, 50 * SECOND));
    assert_eq!((positions(&again), again.out[0].deliveries), (vec![1], 2));
    assert_ne!(again.out[0].delivery, delivery);
    let (late, changes) = log.turn(&mut state, &says(vec![(delivery, Said::Ack)], 8, 51 * SECOND));
    assert_eq!((late.lost, changes.settled.len()), (vec![delivery], 0));
    let (waits, _) = log.turn(&mut state, &says(vec![(again.out[0].delivery, Said::Release)], 8, 52 * SECOND));
    assert_eq!((positions(&waits), waits.more), (vec![], false), "not again and again at once");
    let (last, _) = log.turn(&mut state, &wants(8, 62 * SECOND));
    assert_eq!((positions(&last), last.out[0].deliveries), (vec![1], 3));
    let (parked, changes) = log.turn(&mut state, &wants(8, 92 * SECOND));
    assert_eq!((positions(&parked), changes.parked[0].reason.as_str()), (vec![], NO_ANSWER));
    assert_eq!(parked.cursor, Position(1));
}

#[test]
fn what_a_client_had_goes_to_others_at_once_and_what_it_never_had_does_not_count() {
    let log = Log(&["a"]);
    let mut state = state(choices());
    let (first, _) = log.turn(&mut state, &wants(8, 0));
    let (second, _) = log.turn(&mut state, &says(vec![(first.out[0].delivery, Said::Release)], 8, 0));
    assert_eq!((positions(&second), second.out[0].deliveries), (vec![1], 2));
    let mut out = second.out[0].delivery;
    for _ in 0..5 {
        let (again, changes) = log.turn(&mut state, &says(vec![(out, Said::Return)], 8, 0));
        assert_eq!((positions(&again), again.out[0].deliveries, changes.parked.len()), (vec![1], 2, 0));
        out = again.out[0].delivery;
    }
    let (late, _) = log.turn(&mut state, &says(vec![(first.out[0].delivery, Said::Return)], 8, 0));
    assert_eq!((late.lost.len(), late.out.len()), (0, 0), "of an earlier delivery it says nothing");
}

#[test]
fn a_scan_that_found_nothing_is_written_down_when_it_is_far_or_asked_for() {
    let log = Log(&["a"; 100]);
    for (through, keeps_scan, is_written) in [(0, true, false), (1, false, false), (1, true, true), (99, false, true)] {
        let mut state = state(choices());
        state.consumer.scanned = Position(100 - through);
        let request = TurnRequest { keeps_scan, ..wants(8, 0) };
        let mut turn = Turn::begin(&mut state, &request);
        while let Some(query) = turn.wants() {
            turn.scan(LogPage { entries: Vec::new(), ..log.page(&query) }, []);
        }
        let chosen = turn.choose();
        let changes = turn.finish(chosen).1;
        let written = Written::of_turn(Position(100 - through), &state, changes);
        assert_eq!(written.consumer.is_some(), is_written, "{through} {keeps_scan}");
    }
}

/// A consumer that is full of what waits behind a dead letter.
#[test]
fn a_dead_letter_has_room_though_its_consumer_is_full() {
    let mut state = state(ConsumerChoices { blocks: true, ..choices() });
    let waits = |uid: &str| ConsumerItem { uid: uid.to_owned(), deliveries: 0, state: ItemState::Waiting { due: 0 } };
    for position in 0..CONSUMER_ITEMS_MAX + 200 {
        state.items.insert(Position(1_000 + i64::try_from(position).unwrap()), waits("a"));
    }
    let replay = |state: &ConsumerState| {
        let dead = (1..=500).map(|position| (Position(position), "a".to_owned())).collect();
        let loaded = Loaded { state: Some(state.clone()), dead, kept: 1 };
        apply(&ConsumerCommand::ReplayDeadLetters(Vec::new(), 0), loaded)
    };
    let (outcome, written) = replay(&state);
    assert_eq!(outcome, ConsumerOutcome::Counted(CONSUMER_TURN_MAX));
    assert_eq!(written.items.first().unwrap().0, Position(1), "the oldest, which all wait for");
    for position in 0..CONSUMER_ITEMS_MAX {
        state.items.insert(Position(100_000 + i64::try_from(position).unwrap()), waits("a"));
    }
    assert_eq!(replay(&state).0, ConsumerOutcome::Counted(0), "and that has an end, too");
}

#[test]
fn what_is_out_and_what_is_held_is_bounded() {
    let uids: Vec<String> = (0..10_000).map(|n| format!("u{n}")).collect();
    let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
    let log = Log(&uids);
    let mut state_of = state(ConsumerChoices { max_in_flight: 5, ..choices() });
    assert_eq!(log.turn(&mut state_of, &wants(3, 0)).0.out.len(), 3, "the client's own room");
    assert_eq!(log.turn(&mut state_of, &wants(8, 0)).0.out.len(), 2, "what the consumer has left");
    assert!(state_of.items.len() < 10, "no more is scanned than is needed");

    let same = vec!["a"; 10_000];
    let mut blocked = state(choices());
    assert_eq!(Log(&same).turn(&mut blocked, &wants(8, 0)).0.out.len(), 1);
    assert!(blocked.items.len() < CONSUMER_ITEMS_MAX + 3, "{}", blocked.items.len());
    let mut paused = state(choices());
    paused.consumer.paused = true;
    let (answer, _) = log.turn(&mut paused, &wants(8, 0));
    assert_eq!((answer.out.len(), answer.paused), (0, true));
    let wordy = "ä".repeat(REASON_BYTES);
    let (first, _) = log.turn(&mut state_of, &wants(8, 40 * SECOND));
    let park = vec![(first.out[0].delivery, Said::Park(wordy))];
    assert_eq!(log.turn(&mut state_of, &says(park, 0, 40 * SECOND)).1.parked[0].reason.len(), REASON_BYTES);
}

#[test]
fn what_one_turn_hands_out_is_bounded_in_bytes_whether_it_was_scanned_or_comes_back() {
    let large = "u".repeat(LOG_BYTES_MAX);
    let uids: Vec<String> = (0..8).map(|n| format!("{large}{n}")).collect();
    let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
    let log = Log(&uids);
    let mut state = state(choices());
    let (first, _) = log.turn(&mut state, &wants(8, 0));
    assert_eq!((positions(&first), first.more), (vec![1, 2, 3, 4], true));
    let (second, _) = log.turn(&mut state, &wants(8, 0));
    assert_eq!((positions(&second), second.more), (vec![5, 6, 7, 8], false), "none of which the scan had left");
    let returned = first.out.iter().chain(&second.out).map(|out| (out.delivery, Said::Return)).collect();
    let (again, _) = log.turn(&mut state, &says(returned, 8, 1));
    assert_eq!((positions(&again), again.more), (vec![1, 2, 3, 4], true));
    assert!(again.out.iter().all(|out| out.deliveries == 1), "what waits for a turn was not handed out");
}

/// What a client does next, by chance.
fn deed() -> impl Strategy<Value = (u8, prop::sample::Index, i64)> {
    (0_u8..8, any::<prop::sample::Index>(), 0..20 * SECOND)
}

proptest! {
    #[test]
    fn whatever_clients_do_each_is_settled_once_and_in_order(
        uids in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 1..40),
        deeds in prop::collection::vec(deed(), 0..200),
        blocks: bool,
    ) {
        let log = Log(&uids);
        let mut state = state(ConsumerChoices { blocks, ..choices() });
        let (mut now, mut out, mut ended) = (0, Vec::<DeliveryOf>::new(), HashMap::<Position, &str>::new());
        // In the end everybody acks.
        let deeds = deeds.into_iter().map(|(what, which, pause)| (what, Some(which), pause));
        for (what, which, pause) in deeds.chain((0..2_000).map(|_| (0, None, SECOND))) {
            now += pause;
            let said = if out.is_empty() { Vec::new() } else {
                let at = which.map_or(0, |which| which.index(out.len()));
                let delivery = out[at];
                let said = match what {
                    0..=3 => Said::Ack,
                    4 => Said::Retry(None, String::new()),
                    5 => Said::Park(String::new()),
                    6 => Said::Extend,
                    _ => Said::Release,
                };
                if what != 6 {
                    out.swap_remove(at);
                }
                vec![(delivery, said)]
            };
            let before = state.clone();
            let (answer, changes) = log.turn(&mut state, &says(said, 4, now));
            for position in &changes.settled {
                prop_assert!(ended.insert(*position, "").is_none(), "settled twice");
                prop_assert!(before.items.contains_key(position));
            }
            for lost in &answer.lost {
                out.retain(|delivery| delivery != lost);
            }
            for sent in &answer.out {
                let (position, uid) = (sent.delivery.position, sent.entry.uid());
                prop_assert!(!ended.contains_key(&position), "out after it was settled");
                prop_assert!(sent.deliveries <= 3);
                let earlier = (1..position.0).filter(|n| uids[usize::try_from(n - 1).unwrap()] == uid);
                let earlier_ended = uid.is_empty() || earlier.map(Position).all(|at| ended.contains_key(&at));
                prop_assert!(earlier_ended, "before an earlier one of its booking");
                out.push(sent.delivery);
            }
            let unsettled = (1..1_000).map(Position).find(|position| !ended.contains_key(position)).unwrap();
            prop_assert!(answer.cursor < unsettled, "nothing unsettled is behind the cursor");
            let is_out = |item: &&ConsumerItem| matches!(item.state, ItemState::Out { .. });
            prop_assert!(state.items.values().filter(is_out).count() <= 8);
        }
        if !blocks {
            prop_assert_eq!(ended.len(), uids.len(), "all of it comes to an end");
            prop_assert_eq!(state.consumer.cursor, Position(i64::try_from(uids.len()).unwrap()));
        }
    }
}
