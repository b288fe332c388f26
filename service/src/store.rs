//! What the service keeps, as whole operations: a store commits a batch in one transaction or not at all.
//!
//! `commit` is the only writer. Positions rise in commit order and are never handed out twice, so a reader that follows
//! them misses nothing. SQL lives below this file and nowhere else.

pub(crate) mod body;
pub(crate) mod fold;
pub mod sqlite;
pub(crate) mod time;
pub(crate) mod view;

use std::{future::Future, sync::Arc};

use calbridge_booking::Fact;
use calbridge_proto::v1;
use uuid::Uuid;

/// Microseconds since 1970-01-01T00:00:00Z: the form in which times are stored.
pub type Micros = i64;

/// A place in the log. Zero stands before everything; the first handed out is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub i64);

impl Position {
    /// How clients carry it: 16 lower-case hex digits, opaque to them.
    #[must_use]
    pub fn to_token(self) -> String {
        format!("{:016x}", self.0)
    }

    /// Reads what [`Position::to_token`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        let shaped = token.len() == 16 && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        shaped.then(|| i64::from_str_radix(token, 16).ok()).flatten().map(Self)
    }
}

/// The largest raw body that a store keeps: what reading one back may cost at most. The ingest admits none beyond it.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A list ends early, but not before its second entry, once its entries are more bytes than this: a thousand bookings
/// may be a thousand times what one body holds. An API that answers fewer bytes a page always sees that there is more.
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many further copies of one delivery are noted in the timeline. Beyond it only its `duplicate_count` rises, so
/// that a replayed body, signed well, can't grow the store without bound.
pub const DUPLICATE_NOTES_MAX: i64 = 32;

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

/// One round: everything in it is committed together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// In order of arrival. The same key may occur twice.
    pub deliveries: Vec<NewDelivery>,
    /// Copies that were recognised before the round.
    pub duplicates: Vec<DuplicateNote>,
    /// When the round began: `update_time` and `commit_time` of what it changes.
    pub now: Micros,
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
#[derive(Debug, Clone)]
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
    /// Go on behind this one.
    pub after: Option<BookingCursor>,
    /// At most this many.
    pub limit: usize,
}

/// Why the store could not do it. Nothing was committed.
#[derive(Debug, thiserror::Error)]
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
}

/// Whole operations over everything that is kept.
pub trait Store: Send + Sync + 'static {
    /// Commits a round to stable storage and says what became of each delivery, in order.
    fn commit(&self, batch: Batch) -> impl Future<Output = Result<Vec<Committed>, StoreError>> + Send;

    /// The first results of those keys that are kept, in order; `None` where a key is not. One indexed read.
    fn confirm(
        &self,
        keys: Vec<DeliveryKey>,
    ) -> impl Future<Output = Result<Vec<Option<FirstResult>>, StoreError>> + Send;

    /// One visible booking, with every field of the API filled; `origin_uid` by a bounded walk along its links.
    fn booking(&self, tenant: &str, uid: &str) -> impl Future<Output = Result<Option<v1::Booking>, StoreError>> + Send;

    /// A page of visible bookings, no more than [`PAGE_BYTES_MAX`] and an entry.
    fn bookings(&self, query: BookingQuery) -> impl Future<Output = Result<Vec<v1::Booking>, StoreError>> + Send;

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

    /// One delivery, with its raw body where asked for.
    fn delivery(
        &self,
        tenant: &str,
        delivery_id: Uuid,
        with_body: bool,
    ) -> impl Future<Output = Result<Option<v1::Delivery>, StoreError>> + Send;

    /// Whether a write would reach stable storage now.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits for the round under way, then closes every connection. Later calls are `Unavailable`.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Position;

    proptest! {
        #[test]
        fn a_position_survives_its_token_and_keeps_its_order(a in 0..=i64::MAX, b in 0..=i64::MAX) {
            prop_assert_eq!(Position::from_token(&Position(a).to_token()), Some(Position(a)));
            prop_assert_eq!(a.cmp(&b), Position(a).to_token().cmp(&Position(b).to_token()));
        }
    }

    #[test]
    fn nothing_else_is_a_token() {
        for token in ["", "1", "000000000000000G", "000000000000000A", "+00000000000000f", "ffffffffffffffff"] {
            assert_eq!(Position::from_token(token), None, "{token:?}");
        }
    }
}
