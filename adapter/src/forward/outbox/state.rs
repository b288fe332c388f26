//! Which event is where: with a replica, or waiting for one. Pure but for the wakers; the clock is a count of ticks.
//!
//! An event is with one replica at a time. It leaves when it is answered or given up, whichever comes first; a commit
//! counts from whichever replica it comes, a refusal only from the one that has the event.

mod placement;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use calbridge_proto::v1::SubmitEventsResponse;
use calbridge_telemetry::Check;
use tokio::sync::oneshot;

use super::{
    REPLICAS_MOST, StreamId,
    replica::{Phase, Replica, Standing},
    verdict::{Verdict, judge},
};
use crate::{
    forward::{Accepted, Refused, codec::Frame},
    peer::Peer,
};

/// How many streams may end with one event on them before it is refused: an event that breaks every stream it is on
/// would otherwise hold up all the others until its deadline.
const BREAKS_MOST: u8 = 3;

/// What became of an event, and which replica had it at the end.
pub(super) type Settled = (Result<Accepted, Refused>, Option<Arc<Peer>>);

/// Everything behind the outbox's lock.
pub(super) struct State {
    pub(super) capacity: usize,
    /// Ticks without any open stream after which new events are refused at once.
    patience: u64,
    next_sequence: u64,
    next_stream: u64,
    /// Where the next search for a replica begins, so that equals take turns.
    turn: usize,
    pub(super) tick: u64,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    /// Events that no replica has, in the order they came, with numbers of events that were given up.
    pub(super) unplaced: VecDeque<u64>,
    /// A replica keeps its place for as long as it is known.
    pub(super) replicas: Vec<Option<Replica>>,
    /// The tick since which no stream has been open; none while one is.
    down_since: Option<u64>,
    /// Events that went on to another replica since the last tick.
    moved: u64,
    /// Nothing is taken in; streams end when all is sent.
    ending: bool,
    check: Check,
    /// The check stays not ready.
    unready: bool,
}

/// An event between its submission and its answer.
pub(super) struct Waiting {
    event: Bytes,
    /// The place of the replica that has it.
    pub(super) at: Option<usize>,
    /// It is on that replica's stream.
    sent: bool,
    breaks: u8,
    /// A bit for each place whose replica was not able to take it.
    refused_by: u64,
    answer: oneshot::Sender<Settled>,
}

#[cfg(test)]
impl Waiting {
    pub(super) fn is_sent(&self) -> bool {
        self.sent
    }
}

/// What the log and the metrics should tell of one tick.
#[derive(Debug, Default)]
pub(crate) struct Ticked {
    /// Replicas that stopped answering, and whose events went to others.
    pub(crate) abandoned: Vec<Arc<Peer>>,
    /// Events that went on to another replica.
    pub(crate) moved: u64,
}

impl State {
    pub(super) fn new(capacity: usize, patience: u64, check: Check) -> Self {
        Self {
            capacity,
            patience,
            next_sequence: 1,
            next_stream: 1,
            turn: 0,
            tick: 0,
            waiting: BTreeMap::new(),
            unplaced: VecDeque::new(),
            replicas: Vec::new(),
            down_since: Some(0),
            moved: 0,
            ending: false,
            check,
            unready: false,
        }
    }

    pub(super) fn submit(&mut self, event: Bytes) -> Result<(u64, oneshot::Receiver<Settled>), Refused> {
        if self.ending {
            return Err(Refused::away("shutting_down"));
        }
        if self.down_since.is_some_and(|since| self.tick - since >= self.patience) {
            return Err(Refused::away("service_away"));
        }
        if self.waiting.len() >= self.capacity {
            return Err(Refused::busy("overloaded"));
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let (answer, settled) = oneshot::channel();
        let at = self.choose(0, Standing::Last);
        self.waiting.insert(sequence, Waiting { event, at, sent: false, breaks: 0, refused_by: 0, answer });
        match at {
            Some(slot) => self.put(sequence, slot),
            None => self.put_aside(sequence),
        }
        Ok((sequence, settled))
    }

    /// Nobody waits for it any more; the replica that has it.
    pub(super) fn give_up(&mut self, sequence: u64) -> Option<Arc<Peer>> {
        let at = self.waiting.remove(&sequence)?.at?;
        self.replica(at).map(|replica| Arc::clone(&replica.peer))
    }

    /// A place for one more replica; none where all are taken.
    pub(super) fn add(&mut self, peer: Arc<Peer>) -> Option<usize> {
        let free = self.replicas.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.replicas.len());
        if slot >= REPLICAS_MOST {
            return None;
        }
        if slot == self.replicas.len() {
            self.replicas.push(None);
        }
        self.replicas[slot] = Some(Replica::new(peer));
        // What the one before at this place refused, this one has not seen.
        self.waiting.values_mut().for_each(|waiting| waiting.refused_by &= !(1 << slot));
        Some(slot)
    }

    pub(super) fn remove(&mut self, slot: usize) {
        self.close(slot);
        self.replicas[slot] = None;
    }

    /// A stream is about to be opened; it sends nothing until it is.
    pub(super) fn attach(&mut self, slot: usize) -> StreamId {
        let id = StreamId { slot, stream: self.next_stream };
        self.next_stream += 1;
        if let Some(replica) = self.replica_mut(slot) {
            replica.renew(id.stream);
        }
        id
    }

    /// The stream is open: what no replica has goes on it.
    pub(super) fn opened(&mut self, id: StreamId) {
        let Some(replica) = self.current(id) else { return };
        replica.phase = Phase::Open;
        self.down_since = None;
        for sequence in std::mem::take(&mut self.unplaced) {
            self.place(sequence);
        }
    }

    /// Nothing more goes on the replica's stream, which ends when all on it is sent.
    pub(super) fn drain(&mut self, slot: usize) {
        let Some(replica) = self.replica_mut(slot) else { return };
        if replica.phase == Phase::Open {
            replica.phase = Phase::Draining;
            replica.wake();
            self.tell();
        }
    }

    /// The stream is over: what is unanswered on it goes to the others.
    pub(super) fn close(&mut self, slot: usize) {
        let Some(replica) = self.replica_mut(slot) else { return };
        replica.renew(0);
        self.tell();
        for sequence in self.with(slot) {
            let Some(waiting) = self.waiting.get_mut(&sequence) else { continue };
            waiting.breaks += u8::from(waiting.sent);
            if waiting.breaks >= BREAKS_MOST {
                self.settle(sequence, slot, Err(Refused::away("unanswered")));
            } else {
                self.place(sequence);
            }
        }
    }

    /// What a replica's health says.
    pub(super) fn report(&mut self, id: StreamId, serves: bool) {
        if let Some(replica) = self.current(id) {
            replica.serves = Some(serves);
            self.tell();
        }
    }

    /// Hands an answer to whoever waits for it, or the event to another replica; a late answer is for nobody. Whether
    /// the replica had been given up as silent.
    pub(super) fn answer(&mut self, id: StreamId, answer: SubmitEventsResponse) -> bool {
        let tick = self.tick;
        let Some(replica) = self.current(id) else { return false };
        let regained = replica.answered(tick);
        let sequence = answer.sequence;
        match judge(answer) {
            Verdict::Committed(accepted) => {
                replica.committed();
                // Where it has gone on to another replica meanwhile, it is committed all the same.
                self.settle(sequence, id.slot, Ok(accepted));
            }
            Verdict::Unable { refused, leaving } => {
                replica.unable(tick, leaving);
                self.refused(id.slot, sequence, refused, leaving);
            }
            Verdict::NotHere(refused) => self.refused(id.slot, sequence, refused, false),
            Verdict::Final(refused) => {
                if self.waiting.get(&sequence).is_some_and(|waiting| waiting.at == Some(id.slot)) {
                    self.settle(sequence, id.slot, Err(refused));
                }
            }
        }
        regained
    }

    /// A tenth of a second is over: what a silent replica has goes to those that answer.
    pub(super) fn tick(&mut self) -> Ticked {
        self.tick += 1;
        let tick = self.tick;
        let stalled: Vec<usize> = (0..self.replicas.len())
            .filter(|slot| self.replica_mut(*slot).is_some_and(|replica| replica.look(tick)))
            .collect();
        let mut abandoned = Vec::new();
        // Where all are silent the store behind them may be; moving events about would only add to its work.
        if !stalled.is_empty() && self.choose(0, Standing::Doubtful).is_some() {
            for slot in stalled {
                abandoned.extend(self.abandon(slot));
            }
        }
        Ticked { abandoned, moved: std::mem::take(&mut self.moved) }
    }

    pub(super) fn end(&mut self) {
        self.ending = true;
        self.replicas.iter_mut().flatten().for_each(Replica::wake);
    }

    /// The check is not ready from now on, whatever the replicas say.
    pub(super) fn stay_unready(&mut self) {
        self.unready = true;
        self.tell();
    }

    /// What the stream sends next.
    pub(super) fn next_frame(&mut self, id: StreamId) -> Next {
        let ending = self.ending;
        let Some(replica) = self.replicas.get_mut(id.slot).and_then(Option::as_mut) else { return Next::Over };
        if replica.stream != id.stream {
            return Next::Over;
        }
        while let Some(sequence) = replica.unsent.pop_front() {
            // Given up, or handed to another, before it was sent; listed twice where it has come back since.
            let Some(waiting) = self.waiting.get_mut(&sequence) else { continue };
            if waiting.at != Some(id.slot) || waiting.sent {
                continue;
            }
            waiting.sent = true;
            replica.sent();
            return Next::Frame(Frame { sequence, event: waiting.event.clone() });
        }
        if ending || replica.phase == Phase::Draining { Next::Over } else { Next::Nothing }
    }

    /// Wakes with the stream's waker when there is something to send.
    pub(super) fn wait(&mut self, id: StreamId, waker: &std::task::Waker) {
        if let Some(replica) = self.current(id) {
            replica.waker = Some(waker.clone());
        }
    }

    fn replica(&self, slot: usize) -> Option<&Replica> {
        self.replicas.get(slot).and_then(Option::as_ref)
    }

    fn replica_mut(&mut self, slot: usize) -> Option<&mut Replica> {
        self.replicas.get_mut(slot).and_then(Option::as_mut)
    }

    /// The replica, if this is still its stream.
    pub(super) fn current(&mut self, id: StreamId) -> Option<&mut Replica> {
        self.replica_mut(id.slot).filter(|replica| replica.stream == id.stream)
    }

    /// The event is done with, by what the replica at this place said.
    fn settle(&mut self, sequence: u64, by: usize, verdict: Result<Accepted, Refused>) {
        if let Some(waiting) = self.waiting.remove(&sequence) {
            let peer = self.replica(by).map(|replica| Arc::clone(&replica.peer));
            // Whoever waited may have just given up.
            let _ = waiting.answer.send((verdict, peer));
        }
    }

    /// Keeps what depends on the set of open streams true: since when there is none, and whether we are ready.
    fn tell(&mut self) {
        let open = || self.replicas.iter().flatten().filter(|replica| replica.phase == Phase::Open);
        if open().next().is_none() {
            self.down_since = self.down_since.or(Some(self.tick));
        }
        if !self.unready && open().any(|replica| replica.serves == Some(true)) {
            if !self.check.is_ready() {
                self.check.ready();
            }
        } else {
            self.check.not_ready();
        }
    }
}

/// What a stream does next.
pub(super) enum Next {
    Frame(Frame),
    Nothing,
    Over,
}
