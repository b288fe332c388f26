use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const REPLICAS: u16 = 3;
const CAPACITY: usize = 8;

/// What can happen, to which replica or event.
#[derive(Debug, Clone, Copy)]
enum Step {
    Submit,
    GiveUp(prop::sample::Index),
    /// The streams send what they have.
    Send,
    /// A replica commits one of those that it was sent and has not answered.
    Commit(usize, prop::sample::Index),
    Refuse(usize, prop::sample::Index, &'static str),
    Break(usize),
    Open(usize),
    Drain(usize),
    Health(usize, bool),
    Ticks(u32),
    /// A replica is gone, and another takes its place.
    Replace(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let replica = 0..usize::from(REPLICAS);
    let index = any::<prop::sample::Index>;
    let word = prop::sample::select(vec!["OVERLOADED", "STORE_UNAVAILABLE", "SHUTTING_DOWN", "INVALID_FIELD"]);
    prop_oneof![
        6 => Just(Step::Submit),
        1 => index().prop_map(Step::GiveUp),
        5 => Just(Step::Send),
        4 => (replica.clone(), index()).prop_map(|(at, which)| Step::Commit(at, which)),
        2 => (replica.clone(), index(), word).prop_map(|(at, which, word)| Step::Refuse(at, which, word)),
        2 => replica.clone().prop_map(Step::Break),
        4 => replica.clone().prop_map(Step::Open),
        1 => replica.clone().prop_map(Step::Drain),
        1 => (replica.clone(), any::<bool>()).prop_map(|(at, serves)| Step::Health(at, serves)),
        2 => (1..8_u32).prop_map(Step::Ticks),
        1 => replica.prop_map(Step::Replace),
    ]
}

/// The rig, who waits, and what each stream was sent and has not answered.
struct World {
    rig: Rig,
    tickets: BTreeMap<u64, Ticket>,
    owed: Vec<Vec<u64>>,
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Submit => {
                if let Ok(ticket) = self.rig.outbox.submit(event("x")) {
                    self.tickets.insert(ticket.sequence, ticket);
                }
            }
            Step::GiveUp(which) => {
                if let Some(sequence) = pick(&self.tickets.keys().copied().collect::<Vec<_>>(), which) {
                    self.tickets.remove(&sequence);
                }
            }
            Step::Send => self.send(),
            Step::Commit(at, which) => {
                if let Some(sequence) = self.answered(at, which) {
                    self.rig.commit(at, sequence);
                    self.check_commit(sequence);
                }
            }
            Step::Refuse(at, which, word) => {
                if let Some(sequence) = self.answered(at, which) {
                    self.rig.refuse(at, sequence, word);
                }
            }
            Step::Break(at) => {
                self.rig.close(at);
                self.owed[at].clear();
            }
            Step::Open(at) => {
                if self.rig.links[at].stream.is_none() {
                    self.rig.stream(at);
                }
            }
            Step::Drain(at) => self.rig.links[at].place.drain(),
            Step::Health(at, serves) => {
                if self.rig.links[at].stream.is_some() {
                    self.rig.outbox.report(self.rig.id(at), serves);
                }
            }
            Step::Ticks(count) => drop(self.rig.ticks(count)),
            Step::Replace(at) => {
                let port = REPLICAS;
                self.rig.links.remove(at);
                self.owed.remove(at);
                self.rig.add(port);
                self.owed.push(Vec::new());
            }
        }
    }

    fn send(&mut self) {
        for at in 0..self.rig.links.len() {
            if self.rig.links[at].stream.is_some() {
                self.owed[at].extend(self.rig.sent(at));
            }
        }
    }

    fn answered(&mut self, at: usize, which: prop::sample::Index) -> Option<u64> {
        let sequence = pick(&self.owed[at], which)?;
        let first = self.owed[at].iter().position(|owed| *owed == sequence)?;
        Some(self.owed[at].remove(first))
    }

    /// What is committed is told to who waits for it, with its own answer.
    fn check_commit(&mut self, sequence: u64) {
        let Some(mut ticket) = self.tickets.remove(&sequence) else { return };
        match settled(&mut ticket).expect("an answer was lost") {
            Ok(accepted) => assert_eq!(accepted.delivery_id, format!("d{sequence}")),
            Err(refused) => assert_ne!(refused.reason, "deadline_exceeded"),
        }
    }

    /// Each event that waits is in exactly one place, and nothing is kept for nobody.
    fn check(&mut self) {
        self.tickets.retain(|_, ticket| settled(ticket).is_none());
        let state = self.rig.outbox.lock();
        let waiting: Vec<u64> = state.waiting.keys().copied().collect();
        assert_eq!(waiting, self.tickets.keys().copied().collect::<Vec<_>>());
        assert!(waiting.len() <= CAPACITY);
        for (sequence, event) in &state.waiting {
            let lists = state.replicas.iter().enumerate().filter(|(slot, replica)| {
                let listed = replica.as_ref().is_some_and(|replica| replica.unsent.contains(sequence));
                listed && event.at == Some(*slot) && !event.is_sent()
            });
            let unsent = lists.count();
            let aside = usize::from(event.at.is_none() && state.unplaced.contains(sequence));
            let on_the_wire = usize::from(event.is_sent());
            assert_eq!(unsent + aside + on_the_wire, 1, "event {sequence} is nowhere, or in two places");
        }
    }
}

fn pick(from: &[u64], which: prop::sample::Index) -> Option<u64> {
    (!from.is_empty()).then(|| *which.get(from))
}

proptest! {
    /// Whatever opens, breaks, stalls, refuses, comes and goes: nobody gets another's answer, nothing is lost on the
    /// way, and once one replica works, all that still wait are answered.
    #[test]
    fn every_event_is_answered_once(steps in proptest::collection::vec(step(), 1..120)) {
        let owed = vec![Vec::new(); REPLICAS.into()];
        let mut world = World { rig: Rig::new(REPLICAS, CAPACITY), tickets: BTreeMap::new(), owed };
        for step in steps {
            world.take(step);
            world.check();
        }
        for at in 0..usize::from(REPLICAS) {
            world.take(Step::Break(at));
        }
        world.check();
        world.rig.stream(0);
        world.send();
        let left: Vec<u64> = world.tickets.keys().copied().collect();
        let mut sent = world.owed[0].clone();
        sent.sort_unstable();
        prop_assert_eq!(sent, left, "all that wait are with the one that works, once each");
        for sequence in std::mem::take(&mut world.owed[0]) {
            world.rig.commit(0, sequence);
            let accepted = settled(world.tickets.get_mut(&sequence).unwrap()).unwrap().unwrap();
            prop_assert_eq!(accepted.delivery_id, format!("d{sequence}"));
        }
        world.tickets.clear();
        prop_assert!(world.rig.outbox.lock().waiting.is_empty());
        prop_assert_eq!(world.rig.sent(0), Vec::<u64>::new());
    }
}
