//! Which replica an event goes to, first and again. An event that no replica can have waits for one.

use std::{collections::VecDeque, sync::Arc};

use super::State;
use crate::{
    forward::{
        Refused,
        outbox::replica::{Phase, Standing},
    },
    peer::Peer,
};

impl State {
    /// The fittest open replica, of equals the one with the least to answer, of those each in turn; none that is worse
    /// than `worst`, and none that has refused.
    ///
    /// All are looked at: there are few, and "the least of all" follows a replica that comes or slows down at once,
    /// where two drawn by lot would take longer.
    pub(super) fn choose(&mut self, refused_by: u64, worst: Standing) -> Option<usize> {
        let count = self.replicas.len();
        let mut best = None;
        for offset in 0..count {
            let slot = (self.turn + offset) % count;
            let Some(replica) = self.replica(slot) else { continue };
            if replica.phase != Phase::Open || (refused_by >> slot) & 1 == 1 {
                continue;
            }
            let rank = (replica.standing(self.tick), replica.load());
            if rank.0 <= worst && best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, slot));
            }
        }
        let (_, slot) = best?;
        self.turn = slot + 1;
        Some(slot)
    }

    /// Gives the event to a replica, to one that has refused it only where no other is open; else it waits for one.
    pub(super) fn place(&mut self, sequence: u64) {
        let Some(refused_by) = self.waiting.get(&sequence).map(|waiting| waiting.refused_by) else { return };
        let slot = self.choose(refused_by, Standing::Last).or_else(|| self.choose(0, Standing::Last));
        self.give(sequence, slot);
    }

    fn give(&mut self, sequence: u64, to: Option<usize>) {
        let Some(waiting) = self.waiting.get_mut(&sequence) else { return };
        let from = std::mem::replace(&mut waiting.at, to);
        waiting.sent = false;
        match to {
            Some(slot) => {
                self.moved += u64::from(from.is_some());
                self.put(sequence, slot);
            }
            None => self.put_aside(sequence),
        }
    }

    pub(super) fn put(&mut self, sequence: u64, slot: usize) {
        let Self { waiting, replicas, tick, capacity, .. } = self;
        let Some(replica) = replicas.get_mut(slot).and_then(Option::as_mut) else { return };
        replica.push(sequence, *tick);
        let is_there = |sequence: &u64| waiting.get(sequence).is_some_and(|event| event.at == Some(slot));
        forget_gone(&mut replica.unsent, *capacity, is_there);
    }

    pub(super) fn put_aside(&mut self, sequence: u64) {
        let Self { waiting, unplaced, capacity, .. } = self;
        unplaced.push_back(sequence);
        forget_gone(unplaced, *capacity, |sequence| waiting.contains_key(sequence));
    }

    /// The replica was not able to take the event: another is asked that has not been, as long as there is one. Where
    /// the only one is about to go, the event waits for what comes in its place.
    pub(super) fn refused(&mut self, slot: usize, sequence: u64, refused: Refused, leaving: bool) {
        let Some(waiting) = self.waiting.get_mut(&sequence).filter(|waiting| waiting.at == Some(slot)) else { return };
        waiting.refused_by |= 1 << slot;
        let refused_by = waiting.refused_by;
        match self.choose(refused_by, Standing::Doubtful) {
            Some(other) => self.give(sequence, Some(other)),
            None if leaving && self.choose(1 << slot, Standing::Last).is_none() => self.give(sequence, None),
            None => self.settle(sequence, slot, Err(refused)),
        }
    }

    /// Gives the events of a silent replica to those that answer; the replica, if that is new.
    pub(super) fn abandon(&mut self, slot: usize) -> Option<Arc<Peer>> {
        for sequence in self.with(slot) {
            let refused_by = self.waiting.get(&sequence).map_or(0, |waiting| waiting.refused_by);
            if let Some(other) = self.choose(refused_by, Standing::Doubtful) {
                self.give(sequence, Some(other));
            }
        }
        let tick = self.tick;
        let replica = self.replica_mut(slot)?;
        replica.give_up_long_stall(tick);
        let new = !std::mem::replace(&mut replica.abandoned, true);
        new.then(|| Arc::clone(&replica.peer))
    }

    /// The events that a replica has, the oldest first.
    pub(super) fn with(&self, slot: usize) -> Vec<u64> {
        self.waiting.iter().filter(|(_, waiting)| waiting.at == Some(slot)).map(|(sequence, _)| *sequence).collect()
    }
}

/// A list that nobody reads keeps the numbers of events that are gone: they may double it, and no more. Between two
/// passes as many events come as there are places, so each pays for a look at two numbers.
fn forget_gone(list: &mut VecDeque<u64>, capacity: usize, waits: impl Fn(&u64) -> bool) {
    if list.len() > capacity.saturating_mul(2) {
        list.retain(waits);
    }
}
