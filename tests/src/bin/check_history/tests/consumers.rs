//! What a consumer may not do, and what crashes excuse.

use super::{
    Asked, Consumer, Fact, History, Item, Letter, Line, Micros, Order, Plan, Position, Scope, View, WAIT, What, at,
    entry, is_found, is_sound, unread,
};

/// Two clients of one consumer at work: what they and the operator wrote down.
#[derive(Clone)]
struct Work {
    consumer: Consumer,
    clients: [Vec<Line>; 2],
    orders: Vec<(Micros, Asked)>,
    dead: Vec<u64>,
}

/// As it names a delivery: where it stands and when it was handed out.
fn id(position: u64, handed: Micros) -> String {
    format!("{position}@{handed}")
}

impl Work {
    fn new(blocks: bool) -> Self {
        let consumer = Consumer {
            name: "c".to_owned(),
            scope: Scope { tenant: "t".to_owned(), ..Scope::default() },
            blocks,
            max_in_flight: 3,
            max_deliveries: 3,
            ack_wait: WAIT,
            clients: vec!["c0".to_owned(), "c1".to_owned()],
        };
        let clients = [(); 2].map(|()| vec![at(0, What::Life(())), at(0, What::Open(3))]);
        Self { consumer, clients, orders: Vec::new(), dead: Vec::new() }
    }

    fn writes(mut self, client: usize, moment: Micros, what: What) -> Self {
        self.clients[client].push(at(moment, what));
        self
    }

    /// Handed out, and seen a moment later.
    fn item(self, client: usize, handed: Micros, position: u64, count: i32) -> Self {
        let item = Item { id: id(position, handed), count, expires: handed + WAIT, entry: entry(position) };
        self.writes(client, handed + 1, What::Item(item))
    }

    fn acks(self, client: usize, moment: Micros, position: u64, handed: Micros) -> Self {
        self.writes(client, moment, What::Ack(vec![id(position, handed)]))
    }

    fn parks(self, client: usize, moment: Micros, position: u64, handed: Micros) -> Self {
        self.writes(client, moment, What::Park(id(position, handed)))
    }

    /// Handed out and acked at once.
    fn done(self, client: usize, handed: Micros, position: u64) -> Self {
        self.item(client, handed, position, 1).acks(client, handed + 2, position, handed)
    }

    /// Takes leave, and has its stream ended: all that it said is heard.
    fn leaves(self, client: usize, moment: Micros) -> Self {
        self.writes(client, moment, What::HalfCloses(())).writes(client, moment + 1, What::Ended("OK".to_owned()))
    }

    fn dies(self, client: usize, moment: Micros) -> Self {
        self.writes(client, moment, What::Life(()))
    }

    fn orders(mut self, moment: Micros, asked: Asked) -> Self {
        self.orders.push((moment, asked));
        self
    }

    /// Given up on after so many deliveries, and listed.
    fn given_up(self, created: Micros, position: u64, count: i32) -> Self {
        self.orders(created + 1, Asked::Letters(vec![Letter { position: Position(position), count, created }]))
    }

    fn replayed(self, moment: Micros, position: u64) -> Self {
        self.orders(moment, Asked::Replay(vec![Position(position)])).orders(moment + 1, Asked::Replayed(1))
    }

    fn deleted(self, moment: Micros, position: u64) -> Self {
        self.orders(moment, Asked::Delete(vec![Position(position)])).orders(moment + 1, Asked::Deleted(1))
    }

    fn keeps_dead(mut self, position: u64) -> Self {
        self.dead.push(position);
        self
    }

    fn history(self) -> History {
        let view = View { cursor: Position(4), in_flight: 0, waiting: 0, dead_letters: self.dead.len() };
        let mut history = self.seen_as(view);
        history.operator.sort_by_key(|order| order.at);
        history
    }

    fn seen_as(self, view: View) -> History {
        let Self { consumer, clients, orders, dead } = self;
        let order = |(at, what)| Order { at, tenant: "t".to_owned(), consumer: "c".to_owned(), what };
        let mut history = unread();
        history.operator = orders.into_iter().chain([(Micros::MAX, Asked::View(view))]).map(order).collect();
        history.files = ["c0", "c1"].map(str::to_owned).into_iter().zip(clients).collect();
        history.plan = Plan { watchers: Vec::new(), consumers: vec![consumer] };
        let letter =
            |position| Fact::Letter { tenant: "t".to_owned(), consumer: "c".to_owned(), position: Position(position) };
        history.truth.extend(dead.into_iter().map(letter));
        history
    }
}

/// All but the first entry, one after the other, from a moment on.
fn but_the_first(work: Work, from: Micros) -> Work {
    work.done(1, from, 2).done(1, from + 10, 4).done(1, from + 20, 3)
}

/// Everything, one after the other.
fn plain() -> Work {
    but_the_first(Work::new(false).done(0, 10, 1), 20)
}

#[test]
fn what_is_acked_one_after_the_other_is_as_it_must_be() {
    is_sound(&plain().history());
    is_sound(&Work { consumer: Consumer { blocks: true, ..plain().consumer }, ..plain() }.history());
}

#[test]
fn what_comes_again_for_a_reason_is_as_it_must_be() {
    let given_back = Work::new(false).item(0, 10, 1, 1).writes(0, 12, What::Retry(id(1, 10))).item(1, 20, 1, 2);
    is_sound(&but_the_first(given_back.acks(1, 22, 1, 20), 30).history());
    let lapsed = Work::new(false).item(0, 10, 1, 1).item(1, 10 + WAIT, 1, 2);
    let late = lapsed.acks(1, 20 + WAIT, 1, 10 + WAIT).acks(0, 30 + WAIT, 1, 10);
    let told = late.writes(0, 40 + WAIT, What::Lost(vec![id(1, 10)]));
    is_sound(&but_the_first(told, 50 + WAIT).history());
    let died = Work::new(false).item(0, 10, 1, 1).acks(0, 12, 1, 10).dies(0, 20).item(1, 30, 1, 2);
    is_sound(&but_the_first(died.acks(1, 32, 1, 30), 40).history());
    let unseen = Work::new(false).item(0, 10, 1, 1).dies(0, 20).item(1, 30, 1, 3);
    is_sound(&but_the_first(unseen.acks(1, 32, 1, 30), 40).history());
}

#[test]
fn one_that_is_lost_is_found() {
    is_found(&but_the_first(Work::new(false), 20).history(), "1 (t/u1, kind 1, 0 to 3) was never handed out");
}

#[test]
fn one_in_limbo_is_found() {
    let words = "1 (t/u1, kind 1, 0 to 3) is in limbo";
    let behind = |work: Work| work.done(1, 20, 2).done(1, 30, 4);
    for last in [What::Retry(id(1, 10)), What::Park(id(1, 10)), What::Extend(vec![id(1, 10)])] {
        let mut history = behind(Work::new(false).item(0, 10, 1, 1).writes(0, 12, last)).history();
        history.truth.remove(2);
        is_found(&history, words);
    }
    let mut history = behind(Work::new(false).item(0, 10, 1, 1).dies(0, 20)).history();
    history.truth.remove(2);
    is_found(&history, words);
}

#[test]
fn one_out_to_two_clients_is_found() {
    let twice = Work::new(false).item(0, 10, 1, 1).item(1, 20, 1, 2).acks(1, 25, 1, 20).acks(0, 30, 1, 10);
    is_found(&but_the_first(twice.clone(), 40).history(), "was out to c0, for another 989 µs, and was handed to c1");
    let died = Work::new(false).item(0, 10, 1, 1).dies(0, 20).item(1, 20, 1, 2).acks(1, 25, 1, 20);
    is_sound(&but_the_first(died, 40).history());
}

#[test]
fn one_that_was_settled_and_comes_again_is_found() {
    let heard = Work::new(false).done(0, 10, 1).leaves(0, 20).item(1, 30, 1, 2).acks(1, 32, 1, 30);
    is_found(&but_the_first(heard, 40).history(), "Ack of 1 (t/u1, kind 1, 0 to 3) by c0 was heard, and it came again");
    let passed = plain().dies(0, 40).item(1, 50, 1, 2).acks(1, 52, 1, 50);
    is_found(&passed.history(), "3 (t/u1, kind 2, 3 to 7) was handed to c1 before 1 of the same booking was settled");
}

#[test]
fn one_that_overtakes_another_of_its_booking_is_found() {
    let words = "3 (t/u1, kind 2, 3 to 7) was handed to c1 before 1 of the same booking was settled";
    let overtaken = Work::new(false).item(0, 10, 1, 1).done(1, 20, 3).acks(0, 30, 1, 10).done(1, 40, 2).done(1, 50, 4);
    is_found(&overtaken.history(), words);
    let first = Work::new(false).done(1, 5, 3).done(0, 10, 1).done(1, 40, 2).done(1, 50, 4);
    is_found(&first.history(), words);
    let given_back = Work::new(false).item(0, 10, 1, 1).writes(0, 12, What::Retry(id(1, 10))).done(1, 15, 3);
    let given_back = given_back.item(0, 20, 1, 2).acks(0, 22, 1, 20).done(1, 40, 2).done(1, 50, 4);
    is_found(&given_back.history(), words);
}

#[test]
fn a_dead_letter_lets_its_booking_go_on_or_holds_it_back_as_was_chosen() {
    let parked = |blocks| Work::new(blocks).item(0, 10, 1, 1).parks(0, 12, 1, 10).given_up(13, 1, 1);
    is_sound(&but_the_first(parked(false), 20).keeps_dead(1).history());
    let words = "3 (t/u1, kind 2, 3 to 7) was handed to c1 before 1 of the same booking was settled";
    is_found(&but_the_first(parked(true), 20).keeps_dead(1).history(), words);
    is_sound(&but_the_first(parked(true).deleted(15, 1), 20).history());
    let replayed = |blocks| parked(blocks).replayed(15, 1).item(0, 16, 1, 1);
    is_sound(&but_the_first(replayed(true).acks(0, 18, 1, 16), 20).history());
    // Where it goes on, it does not while the letter is replayed.
    is_sound(&but_the_first(replayed(false).acks(0, 18, 1, 16), 20).history());
    is_found(&but_the_first(replayed(false), 20).acks(0, 60, 1, 16).history(), words);
    // What was out before the replay may have been.
    let before = parked(false).item(1, 14, 3, 1).replayed(15, 1).item(0, 16, 1, 1).acks(0, 17, 1, 16);
    is_sound(&before.acks(1, 18, 3, 14).done(1, 20, 2).done(1, 30, 4).history());
}

#[test]
fn a_dead_letter_without_a_reason_or_an_end_is_found() {
    let given_up = |count| Work::new(false).item(0, 10, 1, 1).dies(0, 12).given_up(13, 1, count);
    is_sound(&but_the_first(given_up(3), 20).keeps_dead(1).history());
    is_found(&but_the_first(given_up(2), 20).keeps_dead(1).history(), "a dead letter after 2 deliveries");
    let deleted = but_the_first(given_up(3).deleted(15, 1), 20);
    is_found(&deleted.clone().keeps_dead(1).history(), "was deleted, and is still there");
    let again = deleted.item(0, 60, 1, 1).acks(0, 62, 1, 60).history();
    assert!(super::faults(&again).iter().any(|fault| fault.contains("came again after its dead letter was deleted")));
    let both = but_the_first(Work::new(false).done(0, 10, 1), 20).leaves(0, 60).keeps_dead(1);
    is_found(&both.history(), "is a dead letter, though its Ack was heard");
    let short = but_the_first(given_up(3), 20).keeps_dead(1);
    let short = short.orders(60, Asked::Replay(vec![Position(1)])).orders(61, Asked::Replayed(0));
    is_found(&short.history(), "of 1 dead letters it found 0");
}

#[test]
fn deliveries_that_are_not_counted_are_found() {
    let given_back = |count| {
        let work = Work::new(false).item(0, 10, 1, 1).writes(0, 12, What::Retry(id(1, 10))).item(1, 20, 1, count);
        but_the_first(work.acks(1, 22, 1, 20), 30).history()
    };
    is_sound(&given_back(2));
    is_found(&given_back(1), "with the counts [1, 1]");
    is_found(&given_back(4), "with the counts [1, 4]");
}

#[test]
fn more_than_may_be_out_is_found() {
    let all = |work: Work| work.item(0, 10, 1, 1).item(1, 11, 2, 1).acks(0, 20, 1, 10).acks(1, 21, 2, 11);
    let all = |work: Work| all(work).done(1, 30, 3).done(1, 40, 4).history();
    is_sound(&all(Work::new(false)));
    let narrow = Work::new(false);
    let narrow = Work { consumer: Consumer { max_in_flight: 1, ..narrow.consumer }, ..narrow };
    is_found(&all(narrow), "2 entries were out at a time, of 1");
    let mut greedy = Work::new(false);
    greedy.clients[0][1] = at(0, What::Open(1));
    let greedy = greedy.item(0, 10, 1, 1).item(0, 11, 2, 1).acks(0, 20, 1, 10).acks(0, 21, 2, 11);
    is_found(
        &greedy.done(1, 30, 3).done(1, 40, 4).history(),
        "2 entries were out to c0 at a time, which had room for 1",
    );
}

#[test]
fn more_repeats_of_a_crash_than_were_out_are_found() {
    // With room for one it acked the first before it was handed the second: the first ack was heard.
    let crash = |most| {
        let mut work = Work::new(false);
        work.clients[0][1] = at(0, What::Open(most));
        let work = work.done(0, 10, 1).done(0, 20, 2).dies(0, 30);
        let work = work.item(1, 40, 1, 2).acks(1, 42, 1, 40).item(1, 50, 2, 2).acks(1, 52, 2, 50);
        work.done(1, 60, 3).done(1, 70, 4).history()
    };
    is_sound(&crash(2));
    is_found(&crash(1), "a stream of c0 with 1 out at the most broke, and 2 entries came again");
}

#[test]
fn a_lease_that_is_lost_too_early_is_found() {
    let early = Work::new(false).done(0, 10, 1).writes(0, 20, What::Lost(vec![id(1, 10)])).dies(0, 30);
    let early = early.item(1, 40, 1, 2).acks(1, 42, 1, 40);
    is_found(&but_the_first(early, 50).history(), "was lost 990 µs before its end");
}

#[test]
fn what_the_consumer_says_of_itself_must_be_so() {
    let view = View { cursor: Position(4), in_flight: 0, waiting: 0, dead_letters: 0 };
    is_found(&plain().seen_as(View { in_flight: 1, ..view.clone() }), "it says that 1 entries are out and 0 wait");
    is_found(&plain().seen_as(View { waiting: 2, ..view.clone() }), "0 entries are out and 2 wait");
    is_found(&plain().seen_as(View { dead_letters: 1, ..view.clone() }), "1 dead letters, the store has 0");
    is_found(&plain().seen_as(View { cursor: Position(3), ..view }), "its cursor is at 3, its last entry at 4");
    let mut unsettled = plain().history();
    let (tenant, consumer) = ("t".to_owned(), "c".to_owned());
    unsettled.truth.push(Fact::Unsettled { tenant, consumer, position: Position(4) });
    is_found(&unsettled, "the store still holds 4 for it");
}

#[test]
fn what_is_not_its_own_is_found() {
    let mut other = plain();
    "kind = STATUS_CHANGED".clone_into(&mut other.consumer.scope.filter);
    let faults = super::faults(&other.history());
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.contains("is nothing of its own")), "{faults:?}");
}
