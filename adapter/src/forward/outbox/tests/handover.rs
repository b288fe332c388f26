use super::*;

/// Ticks after which a silent replica is given up.
const STALL: u32 = 5;

#[test]
fn the_load_is_shared_by_those_that_are_proven() {
    let mut rig = Rig::open(3, 100);
    rig.prove();
    let tickets: Vec<Ticket> = (0..30).map(|_| rig.submit("x")).collect();
    assert_eq!([0, 1, 2].map(|at| rig.sent(at).len()), [10; 3]);
    drop(tickets);
}

#[test]
fn who_answers_faster_gets_more() {
    let mut rig = Rig::open(2, 100);
    rig.prove();
    let mut tickets: Vec<Ticket> = (0..4).map(|_| rig.submit("x")).collect();
    assert_eq!(rig.sent(0).len(), 2);
    for _ in 0..10 {
        for sequence in rig.sent(1) {
            rig.commit(1, sequence);
        }
        tickets.push(rig.submit("x"));
    }
    assert!(rig.sent(0).is_empty(), "it still has the two");
}

#[test]
fn one_that_is_not_proven_is_tried_with_one_event() {
    let mut rig = Rig::open(1, 100);
    rig.prove();
    rig.add(2);
    rig.stream(1);
    let mut tickets: Vec<Ticket> = (0..9).map(|_| rig.submit("x")).collect();
    assert_eq!((rig.sent(0).len(), rig.sent(1).len()), (8, 1));
    let tried = tickets.iter().position(|ticket| rig.outbox.lock().waiting[&ticket.sequence].at == Some(1)).unwrap();
    rig.commit(1, tickets[tried].sequence);
    tickets.extend((0..8).map(|_| rig.submit("x")));
    assert_eq!((rig.sent(0).len(), rig.sent(1).len()), (0, 8), "then it catches up");
}

#[test]
fn a_broken_stream_hands_its_events_to_the_others_at_once() {
    let mut rig = Rig::open(2, 100);
    rig.prove();
    let mut tickets: Vec<Ticket> = (0..6).map(|_| rig.submit("x")).collect();
    let (first, second) = (rig.sent(0), rig.sent(1));
    let unsent = rig.submit("not even sent");
    rig.close(0);
    let mut handed = rig.sent(1);
    handed.retain(|sequence| *sequence != unsent.sequence);
    assert_eq!(handed, first, "in the order they came, with the numbers they had");
    for sequence in first.into_iter().chain(second) {
        rig.commit(1, sequence);
    }
    assert!(tickets.iter_mut().all(|ticket| settled(ticket).is_some_and(|answer| answer.is_ok())));
    assert!(rig.outbox.tick().moved >= 3);
}

#[test]
fn a_silent_replica_is_left_and_taken_back_when_it_answers() {
    let mut rig = Rig::open(2, 100);
    rig.prove();
    let mut tickets: Vec<Ticket> = (0..4).map(|_| rig.submit("x")).collect();
    let (silent, answered) = (rig.sent(0), rig.sent(1));
    for sequence in answered {
        rig.commit(1, sequence);
    }
    assert_eq!(rig.ticks(STALL - 1), [0; 0]);
    assert_eq!(rig.ticks(1), [1], "it is said which");
    assert_eq!(rig.ticks(3), [0; 0], "and once");
    assert_eq!(rig.sent(1), silent, "the other has its events");
    tickets.extend((0..5).map(|_| rig.submit("x")));
    assert_eq!((rig.sent(0).len(), rig.sent(1).len()), (0, 5));
    assert!(rig.commit(0, silent[0]), "it is back");
    assert!(!rig.commit(0, silent[1]));
    rig.commit(1, silent[0]);
    for ticket in &mut tickets[..4] {
        assert!(settled(ticket).unwrap().is_ok());
    }
    let _more = rig.submit("x");
    assert_eq!(rig.sent(0).len(), 1, "it gets events as before");
}

#[test]
fn one_that_is_slow_but_answers_is_not_left() {
    let mut rig = Rig::open(2, 100);
    rig.prove();
    let tickets: Vec<Ticket> = (0..40).map(|_| rig.submit("x")).collect();
    let (first, second) = (rig.sent(0), rig.sent(1));
    for sequence in second {
        rig.commit(1, sequence);
    }
    for sequence in first {
        rig.ticks(STALL - 1);
        assert!(!rig.commit(0, sequence));
    }
    assert_eq!(rig.sent(0), [0; 0]);
    drop(tickets);
}

#[test]
fn where_all_are_silent_nothing_moves() {
    for replicas in [1_u16, 3] {
        let mut rig = Rig::open(replicas, 100);
        let tickets: Vec<Ticket> = (0..9).map(|_| rig.submit("x")).collect();
        let sent = |rig: &mut Rig| (0..usize::from(replicas)).map(|at| rig.sent(at).len()).sum::<usize>();
        assert_eq!(sent(&mut rig), 9);
        assert_eq!(rig.ticks(100), [0; 0]);
        assert_eq!(sent(&mut rig), 0, "each is sent once");
        let more = rig.submit("x");
        assert_eq!(sent(&mut rig), 1, "and new ones go somewhere all the same");
        drop((tickets, more));
    }
}

#[test]
fn a_long_silence_ends_the_stream_where_there_are_others() {
    for (replicas, ends) in [(1, false), (2, true)] {
        let mut rig = Rig::open(replicas, 100);
        let tickets: Vec<Ticket> = (0..replicas).map(|_| rig.submit("x")).collect();
        assert_eq!(rig.sent(0).len(), 1);
        rig.ticks(STALL);
        for at in 1..replicas.into() {
            for sequence in rig.sent(at) {
                rig.commit(at, sequence);
            }
        }
        assert!(!rig.links[0].stream.as_ref().unwrap().2.is_cancelled());
        rig.ticks(1);
        for at in 1..replicas.into() {
            let sequences = rig.sent(at);
            assert_eq!(sequences.len(), 1, "what the silent one had");
            rig.commit(at, sequences[0]);
        }
        rig.ticks(60);
        assert_eq!(rig.links[0].stream.as_ref().unwrap().2.is_cancelled(), ends);
        drop(tickets);
    }
}

/// An event that each of three replicas is asked for in turn, and refuses with one of these words.
fn refused_by_each(rig: &mut Rig, words: [&str; 3]) -> Ticket {
    let mut ticket = rig.submit("x");
    let mut seen = Vec::new();
    for word in words {
        assert_eq!(settled(&mut ticket), None, "another is asked first");
        let at = (0..3).find(|at| rig.sent(*at) == [ticket.sequence]).unwrap();
        seen.push(at);
        rig.refuse(at, ticket.sequence, word);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2], "each once");
    ticket
}

#[test]
fn a_refusal_that_another_may_not_share_is_tried_there() {
    let mut rig = Rig::open(3, 100);
    rig.prove();
    let mut ticket = refused_by_each(&mut rig, ["OVERLOADED", "STORE_UNAVAILABLE", "SHUTTING_DOWN"]);
    assert_eq!(reason(&mut ticket), "shutting_down");
    let mut invalid = rig.submit("x");
    let at = (0..3).find(|at| !rig.sent(*at).is_empty()).unwrap();
    rig.refuse(at, invalid.sequence, "INVALID_FIELD");
    assert_eq!(reason(&mut invalid), "invalid_field");
}

#[test]
fn a_tenant_that_one_replica_does_not_know_yet_is_tried_at_the_others() {
    let mut rig = Rig::open(3, 100);
    rig.prove();
    let mut ticket = refused_by_each(&mut rig, ["SCOPE_MISSING"; 3]);
    assert_eq!(reason(&mut ticket), "scope_missing");
    assert_eq!([0, 1, 2].map(|at| rig.standing(at)), [Standing::Fit; 3], "they take what is not of that tenant");
}

#[test]
fn one_that_refuses_is_passed_over_then_tried_with_one() {
    let mut rig = Rig::open(2, 100);
    rig.prove();
    let first = rig.submit("x");
    let at = (0..2).find(|at| !rig.sent(*at).is_empty()).unwrap();
    let other = 1 - at;
    rig.refuse(at, first.sequence, "STORE_UNAVAILABLE");
    assert_eq!(rig.standing(at), Standing::Doubtful);
    let mut tickets: Vec<Ticket> = (0..5).map(|_| rig.submit("x")).collect();
    assert_eq!((rig.sent(at).len(), rig.sent(other).len()), (0, 6));
    rig.ticks(3);
    tickets.extend((0..5).map(|_| rig.submit("x")));
    assert_eq!((rig.sent(at).len(), rig.sent(other).len()), (1, 4));
}

#[test]
fn one_that_is_about_to_go_gets_nothing_more() {
    let mut rig = Rig::open(2, 100);
    rig.prove();
    let tickets: Vec<Ticket> = (0..4).map(|_| rig.submit("x")).collect();
    let (leaving, _) = (rig.sent(0), rig.sent(1));
    rig.refuse(0, leaving[0], "SHUTTING_DOWN");
    assert_eq!(rig.standing(0), Standing::Last);
    rig.commit(0, leaving[1]);
    let more: Vec<Ticket> = (0..20).map(|_| rig.submit("x")).collect();
    rig.ticks(STALL - 1);
    assert_eq!((rig.sent(0).len(), rig.sent(1).len()), (0, 21));
    drop((tickets, more));
}

#[test]
fn what_the_only_one_refuses_when_it_goes_waits_for_its_successor() {
    let mut rig = Rig::open(1, 100);
    rig.prove();
    let mut ticket = rig.submit("x");
    assert_eq!(rig.sent(0), [ticket.sequence]);
    rig.refuse(0, ticket.sequence, "SHUTTING_DOWN");
    assert_eq!(settled(&mut ticket), None);
    assert_eq!(rig.sent(0), [0; 0], "not to the one that goes");
    rig.close(0);
    rig.stream(0);
    assert_eq!(rig.sent(0), [ticket.sequence]);
    assert!(!rig.commit(0, ticket.sequence));
    assert!(settled(&mut ticket).unwrap().is_ok());
}

#[test]
fn one_that_is_drained_finishes_what_it_has() {
    let mut rig = Rig::open(2, 100);
    rig.prove();
    let mut tickets: Vec<Ticket> = (0..4).map(|_| rig.submit("x")).collect();
    rig.links[0].place.drain();
    tickets.extend((0..4).map(|_| rig.submit("x")));
    let (draining, other) = (rig.sent(0), rig.sent(1));
    assert_eq!((draining.len(), other.len()), (2, 6));
    assert_eq!(rig.links[0].stream.as_mut().unwrap().1.next().now_or_never(), Some(None), "its stream ends");
    rig.commit(0, draining[0]);
    let place = rig.links.remove(0);
    drop(place);
    assert_eq!(rig.sent(0), [draining[1]], "what it did not answer goes on");
    rig.add(3);
    assert_eq!(rig.outbox.lock().replicas.len(), 2, "its place is free again");
}

#[test]
fn the_replicas_are_bounded() {
    let mut rig = Rig::new(64, 10);
    assert!(rig.outbox.add(peer(65)).is_none());
    rig.links.pop();
    assert!(rig.outbox.add(peer(65)).is_some());
}
