//! What the service keeps, as whole operations: a store commits a batch in one transaction or not at all.
//!
//! `commit` is the only writer. Positions rise in commit order and are never handed out twice, so a reader that follows
//! them misses nothing. SQL lives below this file and nowhere else.

mod batch;
pub(crate) mod candidates;
pub(crate) mod changes;
pub(crate) mod clock;
pub(crate) mod consume;
pub(crate) mod filter;
pub(crate) mod fold;
pub(crate) mod found;
pub(crate) mod lineage;
pub(crate) mod log;
pub mod maintain;
pub mod memory;
pub(crate) mod mentioned;
pub(crate) mod observe;
pub(crate) mod pack;
mod pages;
mod position;
pub mod postgres;
pub(crate) mod postings;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod round;
pub mod sqlite;
pub(crate) mod terms;
pub(crate) mod time;
pub(crate) mod view;

use std::{
    collections::{BTreeMap, HashSet},
    future::{self, Future},
    sync::Arc,
};

use calbridge_proto::v1;
use tokio::sync::watch;
use uuid::Uuid;

pub use self::{
    batch::{
        Batch, BookingKey, ClockRound, Committed, DeliveryKey, DuplicateNote, FirstResult, Identity, NewDelivery,
        Replay, Replayed, Written,
    },
    clock::ClockPolicies,
    consume::{
        CONSUMER_ITEMS_MAX, CONSUMER_TURN_MAX, CONSUMERS_MAX, Consumer, ConsumerChoices, ConsumerCommand, ConsumerItem,
        ConsumerKey, ConsumerOutcome, ConsumerState, ConsumerStatus, DEAD_LETTERS_MAX, DeadLetter, DeliveryOf,
        ItemState, Outgoing, Said, TurnAnswer, TurnRequest,
    },
    filter::{Comparison, Condition, Filter},
    log::{LOG_BYTES_MAX, LOG_ENTRIES_MAX, LOG_LOOKS_MAX, LogCondition, LogEntry, LogFilter, LogPage, LogQuery},
    pack::PackedBody,
    pages::{BookingCursor, BookingOrder, BookingPage, BookingQuery, LineagePage, RowPage, StoredRow},
    position::Position,
    retention::{
        CONSUMER_LAG_MAX, Floors, LogKeepers, LogPurge, LogPurged, PURGE_BYTES_MAX, PURGE_ROWS_MAX,
        PURGE_TIMELINES_MAX, Purge, Purgeable, Purged, Retention, RetentionPolicies, Watermarks,
    },
};

/// Microseconds since 1970-01-01T00:00:00Z: the form in which times are stored.
pub type Micros = i64;

/// The largest raw body that a store keeps: what reading one back may cost at most. The ingest admits none beyond it.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A list ends early, but not before its second entry, once its entries are more bytes than this: a thousand bookings
/// may be a thousand times what one body holds. An API that answers fewer bytes a page always sees that there is more.
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many further copies of one delivery are noted in the timeline. Beyond it only its `duplicate_count` rises, so
/// that a replayed body, signed well, can't grow the store without bound.
pub const DUPLICATE_NOTES_MAX: i64 = 32;

/// How many rows one page looks at: where an index finds many that a filter does not mean, a page comes early and
/// short instead of late. A look costs about a microsecond.
pub const PAGE_LOOKS_MAX: usize = 50_000;

/// Postings that a page passes by, since they find a booking no more: each costs some tenth of a look.
pub(crate) const PAGE_PASSES_MAX: usize = 8 * PAGE_LOOKS_MAX;

/// How many of them it decodes, which costs some ten times as much.
pub const PAGE_DECODED_MAX: usize = 5_000;

/// How many rows are sorted for a page: an index that does not have the order asked for is used where no more are
/// behind it.
pub const SORTED_ROWS_MAX: usize = 5_000;

/// How far the head of a copy is moved: more positions than a store hands out in two years of full load, so beyond all
/// that were since the copy was made. There are eight million times as many.
pub const HEAD_STEP: u64 = 1 << 40;

/// How many steps along the links of a lineage are taken, and how many bookings a lineage is read to. Each step is one
/// indexed read; nobody moves a booking a thousand times.
pub const LINEAGE_MAX: usize = 1_000;

/// How many bookings the clock completes in one transaction.
pub const CLOCK_BOOKINGS_MAX: usize = 256;

/// Why the store could not do it. Nothing was committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another try may succeed: full, locked, closed, or its machine is away.
    #[error("the store is unavailable: {why}")]
    Unavailable {
        /// What keeps it; without personal data.
        why: String,
        /// The database's own code for it, where it gave one.
        code: Option<String>,
    },
    /// The stored bytes are not what this program wrote.
    #[error("the store holds a damaged {what}: {why}")]
    Damaged {
        /// Which kind of row.
        what: &'static str,
        /// What is wrong with it; without personal data.
        why: String,
    },
}

impl StoreError {
    /// Unavailable for a reason that no database gave.
    #[must_use]
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into(), code: None }
    }

    /// As `error.type` has it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Damaged { .. } => "damaged",
        }
    }
}

/// Whole operations over everything that is kept.
pub trait Store: Send + Sync + 'static {
    /// Among how many rounds the events are shared that are not answered yet. The fewer there are, the less an event
    /// costs; the more there are, the less those who gather, write and answer wait for each other.
    const ROUNDS_AT_ONCE: usize = 2;

    /// Commits a round to stable storage and says what became of each delivery, in order.
    fn commit(&self, batch: Batch) -> impl Future<Output = Result<Vec<Committed>, StoreError>> + Send;

    /// The same for a caller that has a next round: answers as soon as that one may begin.
    fn write(&self, batch: Batch) -> impl Future<Output = Written> + Send {
        async { Written::soon(future::ready(self.commit(batch).await)) }
    }

    /// The first results of those keys that are kept, in order; `None` where a key is not. One indexed read.
    fn confirm(
        &self,
        keys: Vec<DeliveryKey>,
    ) -> impl Future<Output = Result<Vec<Option<FirstResult>>, StoreError>> + Send;

    /// Bookings of which the log and the clock say different things at `now`, at most [`CLOCK_BOOKINGS_MAX`]: their end
    /// has passed and nobody said so, or it was said and a policy or a clock went back. Those that are left aside stand
    /// in nobody's way.
    fn clock_due(
        &self,
        now: Micros,
        clock: Arc<ClockPolicies>,
        aside: Arc<HashSet<BookingKey>>,
    ) -> impl Future<Output = Result<Vec<BookingKey>, StoreError>> + Send;

    /// Lets the clock speak of these bookings, in one transaction. Answers the changes, without the bookings after
    /// them.
    fn hear_clock(&self, round: ClockRound) -> impl Future<Output = Result<Vec<v1::Transition>, StoreError>> + Send;

    /// Merges a kept delivery again; `None` where it is not kept.
    fn replay(&self, replay: Replay) -> impl Future<Output = Result<Option<Replayed>, StoreError>> + Send;

    /// The newest position that was handed out.
    fn head(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// One visible booking, with every field of the API filled; `origin_uid` by a bounded walk along its links. Where
    /// reschedules are to be followed, the last one that `rescheduled_to_uid` leads to.
    fn booking(
        &self,
        tenant: &str,
        uid: &str,
        follow_reschedules: bool,
    ) -> impl Future<Output = Result<Option<v1::Booking>, StoreError>> + Send;

    /// A page of visible bookings, no more than [`PAGE_BYTES_MAX`] and an entry, from [`PAGE_LOOKS_MAX`] at the most.
    fn bookings(&self, query: BookingQuery) -> impl Future<Output = Result<BookingPage, StoreError>> + Send;

    /// The visible bookings of the lineage that `uid` belongs to, oldest first, behind the first `skip` of them; at
    /// most [`LINEAGE_MAX`] in all, and no more than [`PAGE_BYTES_MAX`] and an entry at a time.
    fn lineage(
        &self,
        tenant: &str,
        uid: &str,
        skip: usize,
    ) -> impl Future<Output = Result<LineagePage, StoreError>> + Send;

    /// What spoke of a booking behind `after`, oldest first, at most `limit` entries and no more than
    /// [`PAGE_BYTES_MAX`] and an entry.
    fn timeline(
        &self,
        tenant: &str,
        uid: &str,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Position, v1::TimelineEntry)>, StoreError>> + Send;

    /// A tenant's deliveries before `before` (`None`: from the newest), newest first, at most `limit` and no more than
    /// [`PAGE_BYTES_MAX`] and an entry.
    fn deliveries(
        &self,
        tenant: &str,
        before: Option<Position>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Position, v1::Delivery)>, StoreError>> + Send;

    /// One delivery, with its raw body where asked for and not purged.
    fn delivery(
        &self,
        tenant: &str,
        delivery_id: Uuid,
        with_body: bool,
    ) -> impl Future<Output = Result<Option<v1::Delivery>, StoreError>> + Send;

    /// Every tenant's deliveries, or one tenant's, behind `after`, with their bodies, oldest first; at most `limit` and
    /// no more than [`PAGE_BYTES_MAX`] and an entry. Those whose bodies were purged are left out.
    fn journal(
        &self,
        tenant: Option<String>,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Position, v1::Delivery)>, StoreError>> + Send;

    /// The log behind a position, as far as it is on stable storage: a page of what the query means.
    fn log(&self, query: LogQuery) -> impl Future<Output = Result<LogPage, StoreError>> + Send;

    /// How far [`Self::log`] can be read, as it moves on. Of what other processes commit it tells within milliseconds.
    fn follow(&self) -> watch::Receiver<Position>;

    /// One row, hidden or not.
    fn row(&self, key: BookingKey) -> impl Future<Output = Result<Option<StoredRow>, StoreError>> + Send;

    /// Every tenant's rows, or one tenant's, behind the booking `after`, by tenant and uid; hidden ones too.
    fn rows(
        &self,
        tenant: Option<String>,
        after: Option<BookingKey>,
        limit: usize,
    ) -> impl Future<Output = Result<RowPage, StoreError>> + Send;

    /// The next tenant behind this name, in the order of bytes, of whom anything is kept.
    fn next_tenant(&self, behind: &str) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Takes away what a tenant has past its retention, oldest first: at most [`PURGE_ROWS_MAX`] rows and what belongs
    /// to them. Nothing where another service purges.
    fn purge(&self, purge: Purge) -> impl Future<Output = Result<Purged, StoreError>> + Send;

    /// Walks along [`PURGE_ROWS_MAX`] transitions at the most, and takes away those that are past their retention, each
    /// with its line where nothing else is kept of that. Nothing where another service purges.
    fn purge_log(&self, purge: LogPurge) -> impl Future<Output = Result<LogPurged, StoreError>> + Send;

    /// Takes a chunk of the dead letters away that consumers have left which are gone; a store that removes them with
    /// their consumer has none.
    fn purge_letters(&self) -> impl Future<Output = Result<Purged, StoreError>> + Send {
        future::ready(Ok(Purged::default()))
    }

    /// What is gone of a tenant's.
    fn watermarks(&self, tenant: &str) -> impl Future<Output = Result<Watermarks, StoreError>> + Send;

    /// Up to where all consumers of each tenant have read, or of the one that is named; those without any are left out.
    fn floors(&self, tenant: Option<&str>)
    -> impl Future<Output = Result<BTreeMap<String, Floors>, StoreError>> + Send;

    /// Does what is asked of a consumer, in one transaction. What it hands out is on stable storage; what it was told
    /// need not be yet: of that a crash may take back the last moment, and it is handed out again.
    fn command_consumer(
        &self,
        key: ConsumerKey,
        command: ConsumerCommand,
    ) -> impl Future<Output = Result<ConsumerOutcome, StoreError>> + Send;

    /// One consumer and how it is doing.
    fn consumer(&self, key: ConsumerKey) -> impl Future<Output = Result<Option<ConsumerStatus>, StoreError>> + Send;

    /// Every tenant's consumers, or one tenant's, behind the consumer `after`, by tenant and name.
    fn consumers(
        &self,
        tenant: Option<String>,
        after: Option<ConsumerKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<ConsumerStatus>, StoreError>> + Send;

    /// The dead letters of a consumer behind a position, oldest first, but for those that are being replayed; at most
    /// `limit` and no more than [`PAGE_BYTES_MAX`] and one more.
    fn dead_letters(
        &self,
        key: ConsumerKey,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, StoreError>> + Send;

    /// Behind which position the transitions lie that a tenant's bookings made at a time or later; the end of the log
    /// where there is none.
    fn position_before(&self, time: Micros) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// Whether a write would reach stable storage now.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits for the round under way, then closes every connection. Later calls are `Unavailable`.
    fn close(&self) -> impl Future<Output = ()> + Send;
}
