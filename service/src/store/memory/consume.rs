//! Consumers: each with what is not settled of it, and its dead letters.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use super::kept::Kept;
use crate::store::{
    Consumer, ConsumerCommand, ConsumerItem, ConsumerKey, ConsumerOutcome, ConsumerState, ConsumerStatus, DeadLetter,
    Floors, ItemState, LogEntry, Micros, Position, StoreError, TurnAnswer, TurnRequest,
    consume::{
        Loaded, Written, apply,
        turn::{Parked, Turn},
    },
    found::collect,
    time::micros,
};

/// A consumer, whole.
#[derive(Debug)]
pub(super) struct KeptConsumer {
    consumer: Consumer,
    items: BTreeMap<Position, ConsumerItem>,
    dead: BTreeMap<Position, KeptDead>,
}

#[derive(Debug)]
struct KeptDead {
    letter: DeadLetter,
    /// It stands among the items again.
    replayed: bool,
}

impl Kept {
    pub(super) fn floors(&self, tenant: Option<&str>) -> BTreeMap<String, Floors> {
        let mut floors: BTreeMap<String, Floors> = BTreeMap::new();
        let consumers = self.consumers.values().map(|kept| &kept.consumer);
        for consumer in consumers.filter(|consumer| tenant.is_none_or(|tenant| *consumer.key.0 == *tenant)) {
            let of = floors.entry(consumer.key.0.to_string()).or_default();
            *of = of.held_at(consumer.cursor, consumer.choices.means_recorded());
        }
        floors
    }

    pub(super) fn command_consumer(&mut self, key: ConsumerKey, command: &ConsumerCommand) -> ConsumerOutcome {
        let state = self.consumers.get(&key).map(KeptConsumer::state);
        let (outcome, written) = match (command, state) {
            (ConsumerCommand::Turn(_), None) => (ConsumerOutcome::Unknown, Written::default()),
            (ConsumerCommand::Turn(request), Some(state)) => {
                let (answer, written) = self.turn(state, request);
                (ConsumerOutcome::Turned(answer), written)
            }
            (_, state) => {
                let dead = self.consumers.get(&key).map(|kept| kept.dead(command)).unwrap_or_default();
                let kept = self.consumers.keys().filter(|(tenant, _)| *tenant == key.0).count();
                apply(command, Loaded { state, dead, kept })
            }
        };
        self.write_consumer(key, written);
        outcome
    }

    fn turn(&self, mut state: ConsumerState, request: &TurnRequest) -> (TurnAnswer, Written) {
        let (key, before) = (state.consumer.key.clone(), state.consumer.scanned);
        let mut turn = Turn::begin(&mut state, request);
        while let Some(query) = turn.wants() {
            let page = self.log(&query);
            let held = self.consumers.get(&key).map(|kept| kept.held(turn.may_be_held(&page))).unwrap_or_default();
            turn.scan(page, held);
        }
        let mut chosen = turn.choose();
        while let Some(unread) = chosen.unread() {
            let found = unread.iter().filter_map(|at| Some((*at, self.unsettled(&key, *at)?))).collect();
            chosen.take(unread, found);
        }
        let (answer, changes) = turn.finish(chosen);
        let written = Written::of_turn(before, &state, changes);
        (answer, written)
    }

    /// As the log has it, or the dead letter that it was.
    fn unsettled(&self, key: &ConsumerKey, position: Position) -> Option<LogEntry> {
        let of_log = self.entry_at(position);
        of_log.or_else(|| self.consumers.get(key)?.dead.get(&position).map(|dead| dead.letter.entry.clone()))
    }

    fn write_consumer(&mut self, key: ConsumerKey, written: Written) {
        if written.deleted {
            self.consumers.remove(&key);
            return;
        }
        let parked: Vec<_> = written
            .parked
            .into_iter()
            .filter_map(|parked| {
                let entry = self.unsettled(&key, parked.position)?;
                let Parked { position, deliveries, reason, time, .. } = parked;
                Some(DeadLetter { position, deliveries, reason, create_time: time, entry })
            })
            .collect();
        let Some(kept) = self.consumers.get_mut(&key) else {
            if let Some(consumer) = written.consumer {
                self.consumers.insert(key, KeptConsumer { consumer, items: BTreeMap::new(), dead: BTreeMap::new() });
            }
            return;
        };
        if let Some(consumer) = written.consumer {
            kept.consumer = consumer;
        }
        if written.forgets_items {
            kept.items.clear();
            kept.dead.values_mut().for_each(|dead| dead.replayed = false);
        }
        kept.items.extend(written.items);
        for position in written.settled {
            kept.items.remove(&position);
            kept.dead.retain(|at, dead| *at != position || !dead.replayed);
        }
        kept.dead.extend(parked.into_iter().map(|letter| (letter.position, KeptDead { letter, replayed: false })));
        for position in written.replayed {
            if let Some(dead) = kept.dead.get_mut(&position) {
                dead.replayed = true;
            }
        }
        for position in written.forgotten {
            kept.dead.remove(&position);
        }
    }

    pub(super) fn consumer(&self, key: &ConsumerKey) -> Option<ConsumerStatus> {
        self.consumers.get(key).map(|kept| self.status(kept))
    }

    pub(super) fn consumers(
        &self,
        tenant: Option<&str>,
        after: Option<&ConsumerKey>,
        limit: usize,
    ) -> Vec<ConsumerStatus> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let wanted = self.consumers.range::<ConsumerKey, _>((behind, Bound::Unbounded));
        let wanted = wanted.map(|(_, kept)| kept);
        let wanted = wanted.filter(|kept| tenant.is_none_or(|tenant| *kept.consumer.key.0 == *tenant));
        wanted.take(limit).map(|kept| self.status(kept)).collect()
    }

    fn status(&self, kept: &KeptConsumer) -> ConsumerStatus {
        let out = kept.items.values().filter(|item| matches!(item.state, ItemState::Out { .. })).count();
        let behind = (Bound::Excluded(kept.consumer.cursor), Bound::Unbounded);
        let made = self.transitions.range(behind).next().and_then(|(_, made)| made.commit_time.as_ref());
        let received =
            self.deliveries.range(behind).next().and_then(|(_, delivery)| delivery.shown.receive_time.as_ref());
        let received = received.filter(|_| kept.consumer.choices.recorded);
        ConsumerStatus {
            consumer: kept.consumer.clone(),
            out,
            waiting: kept.items.len() - out,
            dead_letters: kept.dead.values().filter(|dead| !dead.replayed).count(),
            behind_since: made.into_iter().chain(received).map(micros).min(),
        }
    }

    pub(super) fn dead_letters(
        &self,
        key: &ConsumerKey,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let Some(kept) = self.consumers.get(key) else { return Ok(Vec::new()) };
        let behind = kept.dead.iter().filter(|(position, dead)| **position > after && !dead.replayed);
        collect(behind.take(limit).map(|(_, dead)| Ok(dead.letter.clone())), |letter| letter.entry.bytes())
    }

    pub(super) fn position_before(&self, time: Micros) -> Position {
        let made_at = |made: &calbridge_proto::v1::Transition| made.commit_time.as_ref().map_or(0, micros);
        let first = self.transitions.iter().find(|(_, made)| made_at(made) >= time);
        first.map_or(self.head, |(position, _)| Position(position.0 - 1))
    }
}

impl KeptConsumer {
    fn state(&self) -> ConsumerState {
        let held = if self.consumer.choices.blocks {
            self.held(self.items.values().map(|item| item.uid.clone()))
        } else {
            BTreeSet::new()
        };
        ConsumerState { consumer: self.consumer.clone(), items: self.items.clone(), held }
    }

    /// Those of these bookings that have a dead letter.
    fn held(&self, uids: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let letters = self.dead.values().filter(|dead| !dead.replayed);
        let dead: BTreeSet<&str> = letters.map(|dead| dead.letter.entry.uid()).collect();
        uids.into_iter().filter(|uid| dead.contains(uid.as_str())).collect()
    }

    /// The dead letters that a command speaks of.
    fn dead(&self, command: &ConsumerCommand) -> Vec<(Position, String)> {
        let Some((wanted, most)) = command.dead_letters() else { return Vec::new() };
        let letters = self.dead.iter().filter(|(_, dead)| !dead.replayed);
        let wanted = letters.filter(|(position, _)| wanted.is_empty() || wanted.contains(position)).take(most);
        wanted.map(|(position, dead)| (*position, dead.letter.entry.uid().to_owned())).collect()
    }
}
