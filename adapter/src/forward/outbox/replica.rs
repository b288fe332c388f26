//! What the outbox knows of one replica, and how fit that makes it for the next event. Pure: time is counted in ticks.
//!
//! A replica is trusted from the first commit on a stream to the first refusal. One that is not trusted is tried with
//! one event at a time, so that a new replica, one that fails at once, and one that hangs cost one event each.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use tokio_util::sync::CancellationToken;

use super::ticks;
use crate::peer::Peer;

/// How long a replica may owe an answer and give none before its events go to the others. A round of the service takes
/// some milliseconds and a slow one some tens; with the commit elsewhere it costs the waiting less than a second.
const STALL: u64 = ticks(500);

/// How long a replica that refused is passed over: the next event should not pay for the same refusal.
const AVOID: u64 = ticks(300);

/// After so long without an answer the stream is opened anew: what was sent on it may be lost.
const REOPEN: u64 = ticks(5000);

/// One replica.
pub(super) struct Replica {
    pub(super) peer: Arc<Peer>,
    /// Unique among all streams of this process; what belongs to another is out of date.
    pub(super) stream: u64,
    pub(super) phase: Phase,
    /// What the stream has yet to send, with numbers of events that were given up or handed over in between.
    pub(super) unsent: VecDeque<u64>,
    /// Wakes the stream when there is something to send.
    pub(super) waker: Option<Waker>,
    /// Sent on this stream and not answered on it, whether or not somebody still waits.
    owed: usize,
    /// The tick since which it owes something and has answered nothing.
    quiet_since: u64,
    stalled_since: Option<u64>,
    /// Its events were given to others because it stalled.
    pub(super) abandoned: bool,
    trusted: bool,
    avoided_until: u64,
    /// It said that it shuts down.
    leaving: bool,
    /// What its health says, once it has been asked.
    pub(super) serves: Option<bool>,
    /// Ends the stream from our side, answered or not.
    pub(super) over: CancellationToken,
}

/// What becomes of a replica's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none, or the service has not said yet that it is open.
    Closed,
    /// Events may go on it.
    Open,
    /// What is on it is finished, nothing else is begun.
    Draining,
}

/// How fit for another event, the fittest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// As good as can be known.
    Fit,
    /// Unproven, or it said that it can't at the moment: only where no other is left.
    Doubtful,
    /// It does not answer, or is about to go.
    Last,
}

impl Replica {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        Self {
            peer,
            stream: 0,
            phase: Phase::Closed,
            unsent: VecDeque::new(),
            waker: None,
            owed: 0,
            quiet_since: 0,
            stalled_since: None,
            abandoned: false,
            trusted: false,
            avoided_until: 0,
            leaving: false,
            serves: None,
            over: CancellationToken::new(),
        }
    }

    /// Forgets the stream before, for a new one or none. What it had refused, and that it did not answer, counts on.
    pub(super) fn renew(&mut self, stream: u64) {
        let fresh = Self {
            stream,
            avoided_until: self.avoided_until,
            abandoned: self.abandoned,
            ..Self::new(Arc::clone(&self.peer))
        };
        let before = std::mem::replace(self, fresh);
        // That stream, if it is still being polled, finds that it is not the one any more.
        before.over.cancel();
        if let Some(waker) = before.waker {
            waker.wake();
        }
    }

    pub(super) fn standing(&self, tick: u64) -> Standing {
        if self.stalled_since.is_some() || self.leaving {
            Standing::Last
        } else if self.serves == Some(false) || tick < self.avoided_until || (!self.trusted && self.load() > 0) {
            Standing::Doubtful
        } else {
            Standing::Fit
        }
    }

    /// What it has yet to answer.
    pub(super) fn load(&self) -> usize {
        self.owed + self.unsent.len()
    }

    /// One more event is its own.
    pub(super) fn push(&mut self, sequence: u64, tick: u64) {
        if self.load() == 0 {
            self.quiet_since = tick;
        }
        self.unsent.push_back(sequence);
        self.wake();
    }

    /// One event is on the wire.
    pub(super) fn sent(&mut self) {
        self.owed += 1;
    }

    /// It answered something; whether its events had been given to others.
    pub(super) fn answered(&mut self, tick: u64) -> bool {
        self.owed = self.owed.saturating_sub(1);
        self.quiet_since = tick;
        self.stalled_since = None;
        std::mem::take(&mut self.abandoned)
    }

    /// It committed something.
    pub(super) fn committed(&mut self) {
        self.trusted = true;
        self.avoided_until = 0;
    }

    /// It could not take something.
    pub(super) fn unable(&mut self, tick: u64, leaving: bool) {
        self.trusted = false;
        self.avoided_until = tick + AVOID;
        self.leaving |= leaving;
    }

    /// Looks how long it has been quiet; whether it is stalled.
    pub(super) fn look(&mut self, tick: u64) -> bool {
        let quiet = self.phase != Phase::Closed && self.load() > 0 && tick - self.quiet_since >= STALL;
        if quiet && self.stalled_since.is_none() {
            self.stalled_since = Some(tick);
            self.trusted = false;
        }
        self.stalled_since.is_some()
    }

    /// Ends a stream that has been stalled for long, so that a fresh one is opened.
    pub(super) fn give_up_long_stall(&mut self, tick: u64) {
        if self.stalled_since.is_some_and(|since| tick - since >= REOPEN) {
            self.over.cancel();
        }
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
