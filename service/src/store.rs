//! What the service keeps, as whole operations: a store commits a batch in one transaction or not at all.
//!
//! `commit` is the only writer. Positions rise in commit order and are never handed out twice, so a reader that follows
//! them misses nothing. SQL lives below this file and nowhere else.

pub(crate) mod candidates;
pub(crate) mod changes;
pub(crate) mod clock;
pub(crate) mod filter;
pub(crate) mod fold;
pub(crate) mod found;
pub(crate) mod lineage;
pub mod maintain;
pub mod memory;
pub(crate) mod mentioned;
pub(crate) mod observe;
pub(crate) mod pack;
mod position;
pub mod postgres;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod round;
pub mod sqlite;
pub(crate) mod terms;
pub(crate) mod time;
pub(crate) mod view;

use std::{
    future::{self, Future},
    pin::Pin,
    sync::Arc,
};

use calbridge_booking::Fact;
use calbridge_proto::v1;
use uuid::Uuid;

pub use self::{
    clock::ClockPolicies,
    filter::{Comparison, Condition, Filter},
    position::Position,
    retention::{
        CONSUMER_LAG_MAX, LogKeepers, LogPurge, LogPurged, PURGE_BYTES_MAX, PURGE_ROWS_MAX, PURGE_TIMELINES_MAX, Purge,
        Purgeable, Purged, Retention, RetentionPolicies, Watermarks,
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

/// How many of them it decodes, which costs some ten times as much.
pub const PAGE_DECODED_MAX: usize = 5_000;

/// How many rows are sorted for a page: an index that does not have the order asked for is used where no more are
/// behind it.
pub const SORTED_ROWS_MAX: usize = 5_000;

/// How many steps along the links of a lineage are taken, and how many bookings a lineage is read to. Each step is one
/// indexed read; nobody moves a booking a thousand times.
pub const LINEAGE_MAX: usize = 1_000;

/// How many bookings the clock completes in one transaction.
pub const CLOCK_BOOKINGS_MAX: usize = 256;

/// What makes two requests the same delivery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey {
    /// Who receives.
    pub tenant: Arc<str>,
    /// A time that is a function of the identity alone (`createdAt` of the body, the time inside a request id, or
    /// zero): it leads the unique index, so that new keys land side by side on disk.
    pub time: Micros,
    /// What decides.
    pub identity: Identity,
}

/// The deciding half of a delivery's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// SHA-256 of the raw body.
    Body([u8; 32]),
    /// The adapter's request id: an unparsed body may be the same five bytes every time.
    Request(Uuid),
}

impl Identity {
    /// As it is stored: 32 bytes of a hash or 16 of an id, so the two kinds never meet.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Body(sha256) => sha256,
            Self::Request(id) => id.as_bytes(),
        }
    }
}

/// One event on its way into the store.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Its identity.
    pub key: DeliveryKey,
    /// The id it gets if it is new.
    pub delivery_id: Uuid,
    /// The event as submitted.
    pub event: v1::BookingEvent,
    /// SHA-256 of the raw body.
    pub body_sha256: [u8; 32],
    /// The booking that the body is about, if it names one.
    pub booking_uid: Option<String>,
    /// What the event says, booking by booking; empty for recorded and unparsed ones.
    pub facts: Vec<Fact>,
    /// Other bookings of its series may have changed without a word.
    pub leaves_siblings_silent: bool,
    /// W3C trace id in hex; empty where the way is not traced.
    pub trace_id: String,
}

/// A further copy of a delivery that is already kept: noted in the timeline, nothing more.
#[derive(Debug, Clone)]
pub struct DuplicateNote {
    /// The delivery it repeats.
    pub first: FirstResult,
    /// Who receives.
    pub tenant: Arc<str>,
    /// When the adapter had read the copy.
    pub receive_time: Micros,
    /// Which secret verified the copy.
    pub secret_id: String,
    /// W3C trace id of the copy in hex; empty where it was not traced.
    pub trace_id: String,
}

impl DuplicateNote {
    /// A delivery that turned out to repeat one that is kept.
    pub(crate) fn of(delivery: &NewDelivery, first: FirstResult) -> Self {
        Self {
            first,
            tenant: Arc::clone(&delivery.key.tenant),
            receive_time: delivery.event.receive_time.as_ref().map_or(0, time::micros),
            secret_id: delivery.event.secret_id.clone(),
            trace_id: delivery.trace_id.clone(),
        }
    }
}

/// One round: everything in it is committed together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// In order of arrival. The same key may occur twice.
    pub deliveries: Vec<NewDelivery>,
    /// Copies that were recognised before the round.
    pub duplicates: Vec<DuplicateNote>,
    /// When the round began: `update_time` and `commit_time` of what it changes.
    pub now: Micros,
    /// When the clock completes what the round speaks of.
    pub clock: Arc<ClockPolicies>,
    /// W3C trace id of the round, in hex, for what the clock does in it; empty where it is not traced.
    pub trace_id: String,
}

/// A booking: its tenant and uid.
pub type BookingKey = (Arc<str>, String);

/// A round of the clock's own.
#[derive(Debug, Clone)]
pub struct ClockRound {
    /// Of which it speaks.
    pub keys: Vec<BookingKey>,
    /// `update_time` and `commit_time` of what it changes.
    pub now: Micros,
    /// When it completes what.
    pub clock: Arc<ClockPolicies>,
    /// W3C trace id in hex; empty where it is not traced.
    pub trace_id: String,
}

/// A kept delivery that is typed and merged again.
#[derive(Debug, Clone)]
pub struct Replay {
    /// As this release types it; its `delivery_id` is that of the kept one, its key plays no part.
    pub delivery: NewDelivery,
    /// Say what would come of it and write nothing.
    pub dry_run: bool,
    /// `update_time` and `commit_time` of what it changes.
    pub now: Micros,
    /// When the clock completes what it speaks of.
    pub clock: Arc<ClockPolicies>,
}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// APPLIED, `NO_CHANGE`, RECORDED or UNPARSED.
    pub outcome: v1::SubmitOutcome,
    /// The changes that it made; of a dry run without positions.
    pub transitions: Vec<v1::Transition>,
}

/// One row as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// Of which booking.
    pub key: BookingKey,
    /// The encoded map of registers.
    pub state: Vec<u8>,
    /// The position at which something last spoke of it.
    pub mentioned: Position,
    /// No delivery that is kept before this one spoke of it; zero: unknown.
    pub first: Position,
}

/// How a kept delivery was first answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstResult {
    /// Its id.
    pub delivery_id: Uuid,
    /// Where the log stood after it.
    pub position: Position,
    /// The booking that it is about, if it names one.
    pub booking_uid: Option<String>,
}

/// What became of one delivery of a batch, in the batch's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// APPLIED, `NO_CHANGE`, DUPLICATE, RECORDED or UNPARSED.
    pub outcome: v1::SubmitOutcome,
    /// Of a duplicate, that of the first.
    pub first: FirstResult,
    /// The changes that it made; their positions and bookings are filled in, but for what is derived when read
    /// (`origin_uid` and `etag`).
    pub transitions: Vec<v1::Transition>,
}

/// Which way a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookingOrder {
    /// By `start_time`; bookings without one count as the earliest.
    StartTime,
    /// By `update_time`.
    UpdateTime,
}

/// The place of a booking in an order: where the next page goes on. Ties are broken by uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingCursor {
    /// The booking's time in the order asked for; `i64::MIN` where it has none.
    pub time: Micros,
    /// Its uid.
    pub uid: String,
}

/// A page of a tenant's visible bookings.
#[derive(Debug, Clone)]
pub struct BookingQuery {
    /// Whose bookings.
    pub tenant: Arc<str>,
    /// By which time.
    pub order: BookingOrder,
    /// Latest first.
    pub descending: bool,
    /// Which of them.
    pub filter: Filter,
    /// Go on behind this one.
    pub after: Option<BookingCursor>,
    /// At most this many.
    pub limit: usize,
}

/// A page of bookings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BookingPage {
    /// In the order asked for.
    pub bookings: Vec<v1::Booking>,
    /// Where the next page goes on; `None` on the last.
    pub next: Option<BookingCursor>,
}

/// A part of a lineage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineagePage {
    /// Oldest first.
    pub bookings: Vec<v1::Booking>,
    /// There are more behind them.
    pub more: bool,
}

/// A page of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowPage {
    /// By tenant and uid.
    pub rows: Vec<StoredRow>,
    /// There may be more behind them.
    pub more: bool,
}

/// A round that is written, and soon on stable storage.
pub struct Written(Pin<Box<dyn Future<Output = Result<Vec<Committed>, StoreError>> + Send>>);

impl Written {
    pub(crate) fn soon(stored: impl Future<Output = Result<Vec<Committed>, StoreError>> + Send + 'static) -> Self {
        Self(Box::pin(stored))
    }

    /// What became of each delivery, in order, once all of it is on stable storage.
    ///
    /// # Errors
    /// It is not there, and may be lost.
    pub async fn stored(self) -> Result<Vec<Committed>, StoreError> {
        self.0.await
    }
}

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
    /// has passed and nobody said so, or it was said and a policy or a clock went back.
    fn clock_due(
        &self,
        now: Micros,
        clock: Arc<ClockPolicies>,
    ) -> impl Future<Output = Result<Vec<BookingKey>, StoreError>> + Send;

    /// Lets the clock speak of these bookings, in one transaction. Answers the changes.
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

    /// What is gone of a tenant's.
    fn watermarks(&self, tenant: &str) -> impl Future<Output = Result<Watermarks, StoreError>> + Send;

    /// Up to where every consumer of a tenant's transitions has read; `None`: it has none. This release knows no
    /// consumers.
    fn transitions_floor(&self, _tenant: &str) -> impl Future<Output = Result<Option<Position>, StoreError>> + Send {
        future::ready(Ok(None))
    }

    /// Whether a write would reach stable storage now.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits for the round under way, then closes every connection. Later calls are `Unavailable`.
    fn close(&self) -> impl Future<Output = ()> + Send;
}
