//! Durable consumers: what they are, what is out to their clients, and what a turn changes of that. Pure: a store
//! loads a consumer whole, has [`turn::Turn`] decide, and writes what changed, all in one transaction.
//!
//! Invariant: every entry behind the cursor and up to where the log was scanned is settled, or it stands among the
//! items.

mod command;
pub(crate) mod turn;

pub(crate) use self::command::{Loaded, Written, apply};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{LogEntry, LogFilter, Micros, Position};

/// Consumers of a tenant, at the most: each reads the log by itself, holds it back, and is measured every few seconds.
pub const CONSUMERS_MAX: usize = 256;
/// Entries that a consumer holds between its cursor and its scan, at the most: beyond it nothing more is scanned, so
/// that entries behind one that can't be settled don't pile up.
pub const CONSUMER_ITEMS_MAX: usize = 4_096;
/// Entries that one turn hands out, at the most. So many dead letters find room for a replay though a consumer is full,
/// as long as it holds no more than twice [`CONSUMER_ITEMS_MAX`]: it may be full of what waits behind them.
pub const CONSUMER_TURN_MAX: usize = 256;

/// Dead letters that one command replays or lists, at the most.
pub const DEAD_LETTERS_MAX: usize = 1_000;

/// A consumer's name: its tenant and what it is called there.
pub type ConsumerKey = (Arc<str>, String);

/// What whoever made a consumer has chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerChoices {
    /// As it was written.
    pub filter_text: String,
    /// And as it was understood.
    pub filter: Arc<LogFilter>,
    /// Deliveries that change no booking as well.
    pub recorded: bool,
    /// Entries that are out at a time, over all clients.
    pub max_in_flight: usize,
    /// How long an entry may be out.
    pub ack_wait: Duration,
    /// Pauses before the next delivery; the last one stays.
    pub backoff: Vec<Duration>,
    /// Deliveries of one entry.
    pub max_deliveries: u32,
    /// A dead letter holds later entries of its booking back.
    pub blocks: bool,
}

impl ConsumerChoices {
    /// Whether it means deliveries that change no booking at all: they were asked for, and the filter leaves some.
    pub(crate) fn means_recorded(&self) -> bool {
        self.recorded && self.filter.means_recorded()
    }
}

/// A consumer as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Consumer {
    /// Whose, and its name.
    pub key: ConsumerKey,
    /// What was chosen.
    pub choices: ConsumerChoices,
    /// Nothing goes out.
    pub paused: bool,
    /// Everything up to here is settled.
    pub cursor: Position,
    /// Up to here the log was scanned: what is not settled of it stands among the items.
    pub scanned: Position,
    /// The last lease that was given out; never given out again, not even after a seek.
    pub lease: i64,
    /// Changes with each update.
    pub etag: i64,
    /// When it was made.
    pub create_time: Micros,
    /// When it was changed last.
    pub update_time: Micros,
}

/// An entry that is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerItem {
    /// The booking that it speaks of; empty: of none.
    pub uid: String,
    /// How often it has been out.
    pub deliveries: u32,
    /// Where it stands.
    pub state: ItemState,
}

/// Where an entry stands that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemState {
    /// It goes out when this time has come, and when nothing before it of its booking is left.
    Waiting {
        /// When.
        due: Micros,
    },
    /// It is out to a client.
    Out {
        /// Which delivery of it: fences off acks of earlier ones.
        lease: i64,
        /// Until when.
        expires: Micros,
    },
}

/// A consumer with all that is not settled of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerState {
    /// Itself.
    pub consumer: Consumer,
    /// By their positions.
    pub items: BTreeMap<Position, ConsumerItem>,
    /// Bookings of its items that have dead letters, where those hold later entries back.
    pub held: BTreeSet<String>,
}

/// One delivery of an entry, as its client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryOf {
    /// The entry.
    pub position: Position,
    /// Which delivery of it.
    pub lease: i64,
}

/// What a client says of an entry that is out to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is dealt with.
    Ack,
    /// It counts as dealt with.
    Skip,
    /// Deliver it again, after this pause or by the consumer's own ladder.
    Retry(Option<Duration>, String),
    /// It is a dead letter.
    Park(String),
    /// The client needs longer.
    Extend,
    /// The client has gone.
    Release,
    /// It never went out: the client had gone, or was too slow. It counts as not delivered.
    Return,
}

/// What a client asks of its consumer.
#[derive(Debug, Clone, Default)]
pub struct TurnRequest {
    /// What it says, in order.
    pub said: Vec<(DeliveryOf, Said)>,
    /// How many entries it has room for.
    pub room: usize,
    /// The service's clock when it asked.
    pub now: Micros,
    /// The same moment for who measures how long the turn waited for others. A test that tells the time leaves it out.
    pub asked: Option<Instant>,
    /// How far the log was scanned is to be written down, though nothing was found.
    pub keeps_scan: bool,
}

impl TurnRequest {
    /// The time when the turn begins, which is when it has the consumer for itself. What it waited for others is no
    /// part of a lease; were it, a client would have less time than it was promised, and one whose service waits longer
    /// than a lease none at all.
    pub(crate) fn begins(&self) -> Micros {
        let waited = self.asked.map_or(Duration::ZERO, |asked| asked.elapsed());
        self.now.saturating_add(Micros::try_from(waited.as_micros()).unwrap_or(Micros::MAX))
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TurnAnswer {
    /// Goes out to this client now.
    pub out: Vec<Outgoing>,
    /// What was said of these came too late.
    pub lost: Vec<DeliveryOf>,
    /// When there may be more to do, if nothing is committed and nobody else says anything.
    pub due: Option<Micros>,
    /// There is more to go out at once, for a client with room.
    pub more: bool,
    /// Everything up to here is settled.
    pub cursor: Position,
    /// Nothing goes out.
    pub paused: bool,
    /// Until when it is out what was extended.
    pub extended: Micros,
    /// So many became dead letters.
    pub parked: usize,
}

/// An entry on its way to a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// This delivery.
    pub delivery: DeliveryOf,
    /// From one on.
    pub deliveries: u32,
    /// When the lease ends.
    pub expires: Micros,
    /// The entry.
    pub entry: LogEntry,
}

/// What a consumer gave up on.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The entry.
    pub position: Position,
    /// How often it had been out.
    pub deliveries: u32,
    /// As its client said.
    pub reason: String,
    /// When it was given up on.
    pub create_time: Micros,
    /// The entry as it was then.
    pub entry: LogEntry,
}

/// What is asked of one consumer, in one transaction.
#[derive(Debug, Clone)]
pub enum ConsumerCommand {
    /// To be kept, unless its tenant has one of that name, or [`CONSUMERS_MAX`] of others.
    Create(Box<Consumer>),
    /// To be made otherwise, unless it has another etag.
    Update(Box<ConsumerChoices>, Option<i64>, Micros),
    /// To hand nothing out, or to go on.
    Pause(bool, Micros),
    /// To go on behind this position. What was out or waited is forgotten.
    Seek(Position, Micros),
    /// To be gone, with its dead letters, unless it has another etag.
    Delete(Option<i64>),
    /// To hear its client and to hand out what may go out.
    Turn(TurnRequest),
    /// To hand these dead letters out again, or all: no more than [`DEAD_LETTERS_MAX`] at a time, and than it has room
    /// for beside its items.
    ReplayDeadLetters(Vec<Position>, Micros),
    /// To forget these dead letters, or all.
    DeleteDeadLetters(Vec<Position>),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum ConsumerOutcome {
    /// As it is now.
    Done(Box<Consumer>),
    /// Its tenant has one of that name.
    Exists,
    /// Its tenant has as many as it may.
    Full,
    /// There is none.
    Unknown,
    /// Another update came first.
    OtherEtag,
    /// What a turn brought.
    Turned(TurnAnswer),
    /// So many dead letters were replayed, or forgotten.
    Counted(usize),
}

/// A consumer and how it is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerStatus {
    /// Itself.
    pub consumer: Consumer,
    /// Entries that are out.
    pub out: usize,
    /// Entries that wait.
    pub waiting: usize,
    /// Dead letters, but for those that are being replayed.
    pub dead_letters: usize,
    /// When the first entry behind its cursor was committed: its own oldest that is not settled, or, where it has none,
    /// the first of the log, whosever it is, that no turn has looked at.
    pub behind_since: Option<Micros>,
}

/// Behind which tenant and name a list of consumers begins.
pub(crate) fn behind(tenant: Option<&str>, after: Option<ConsumerKey>) -> ConsumerKey {
    after.unwrap_or_else(|| (Arc::from(tenant.unwrap_or_default()), String::new()))
}

impl ConsumerItem {
    /// As it is kept: the lease, zero where it waits, and when that ends or it is due.
    pub(crate) fn columns(&self) -> (i64, Micros) {
        match self.state {
            ItemState::Waiting { due } => (0, due),
            ItemState::Out { lease, expires } => (lease, expires),
        }
    }

    /// Reads what [`Self::columns`] wrote.
    pub(crate) fn of_columns(uid: String, deliveries: u32, lease: i64, time: Micros) -> Self {
        let state = if lease == 0 { ItemState::Waiting { due: time } } else { ItemState::Out { lease, expires: time } };
        Self { uid, deliveries, state }
    }
}

/// Behind which position whatever was committed at a time or later lies, in a log that goes to `head`: commit times
/// rise with the positions, but for clocks that differ.
pub(crate) struct TimeSearch {
    time: Micros,
    below: Position,
    above: Position,
}

impl TimeSearch {
    pub(crate) fn new(time: Micros, head: Position) -> Self {
        Self { time, below: Position(0), above: head }
    }

    /// Where to look next; none where it is found.
    pub(crate) fn next(&self) -> Option<Position> {
        let middle = self.below.0 + (self.above.0 - self.below.0 + 1) / 2;
        (self.below < self.above).then_some(Position(middle))
    }

    /// What stands there: the first transition at that position or behind it, and when it was committed.
    pub(crate) fn told(&mut self, at: Position, found: Option<(Position, Micros)>) {
        match found {
            Some((position, time)) if time < self.time => self.below = position.min(self.above),
            _ => self.above = Position(at.0 - 1),
        }
    }

    /// Behind here.
    pub(crate) fn found(&self) -> Position {
        self.below
    }
}

impl ConsumerCommand {
    /// The dead letters that it speaks of (none named: all), and how many it takes at the most.
    pub(crate) fn dead_letters(&self) -> Option<(&[Position], usize)> {
        match self {
            Self::ReplayDeadLetters(positions, _) | Self::DeleteDeadLetters(positions) => {
                Some((positions, DEAD_LETTERS_MAX))
            }
            _ => None,
        }
    }
}
