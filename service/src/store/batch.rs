//! What is written into a store, and what is said of it: plain data.

use std::{future::Future, pin::Pin, sync::Arc};

use calbridge_booking::Fact;
use calbridge_proto::v1;
use uuid::Uuid;

use super::{ClockPolicies, Micros, PackedBody, Position, StoreError, time};

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
    /// The event as submitted. Its payload has told all it has to say, and may be gone. In a box: a delivery goes
    /// through many hands, and an event is kilobytes.
    pub event: Box<v1::BookingEvent>,
    /// The body could be typed.
    pub is_typed: bool,
    /// SHA-256 of the raw body.
    pub body_sha256: [u8; 32],
    /// The booking that the body is about, if it names one.
    pub booking_uid: Option<String>,
    /// What the event says, booking by booking; empty for recorded and unparsed ones.
    pub facts: Vec<Fact>,
    /// Other bookings of its series may have changed without a word.
    pub leaves_siblings_silent: bool,
    /// The raw body as a store keeps it, where there was time to pack it before the store's turn came.
    pub packed: PackedBody,
    /// W3C trace id in hex; empty where the way is not traced.
    pub trace_id: String,
}

impl NewDelivery {
    /// How it is taken in. Of one that was admitted late the outcome says whether it could be typed.
    pub(crate) fn disposition(&self) -> v1::DeliveryDisposition {
        match (self.event.recovered, self.is_typed) {
            (true, _) => v1::DeliveryDisposition::Recovered,
            (false, true) => v1::DeliveryDisposition::Accepted,
            (false, false) => v1::DeliveryDisposition::Unparsed,
        }
    }
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

/// How a kept delivery was first answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstResult {
    /// Its id.
    pub delivery_id: Uuid,
    /// Where the log stood after it.
    pub position: Position,
    /// The booking that it is about, if it names one.
    pub booking_uid: Option<String>,
    /// How many copies of it had been counted before.
    pub copies: i64,
}

/// What became of one delivery of a batch, in the batch's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// APPLIED, `NO_CHANGE`, DUPLICATE, RECORDED or UNPARSED.
    pub outcome: v1::SubmitOutcome,
    /// Of a duplicate, that of the first.
    pub first: FirstResult,
    /// The changes that it made, without the bookings after them: those are in the log.
    pub transitions: Vec<v1::Transition>,
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
