//! Events, deliveries and backends for the tests of the store.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
};

use calbridge_booking::Subject;
use calbridge_proto::v1::{self, booking_event::Payload};
use calbridge_service::store::{
    Batch, BookingOrder, BookingQuery, Committed, Condition, DeliveryKey, DuplicateNote, Filter, FirstResult, Identity,
    NewDelivery, PackedBody, Position, Store,
};
use prost_types::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub(crate) const TENANT: &str = "acme";

/// 2026-01-01T00:00:00Z, in microseconds: when the first round of a test is.
pub(crate) const NOW: i64 = 1_767_225_600_000_000;

/// Where a kind of store is kept. Two stores opened on one backend see the same.
pub(crate) trait Backend: Default {
    type Store: Store;

    /// A new one that does not wait for the disk, for tests that commit thousands of rounds.
    fn unsynced() -> Self {
        Self::default()
    }

    fn open(&self) -> impl Future<Output = Self::Store>;

    /// Every row behind the store's back, by tenant: uid and encoded state, in the order of the uids. No store may be
    /// open.
    fn states(&self) -> impl Future<Output = BTreeMap<String, Vec<(String, Vec<u8>)>>>;
}

/// What a webhook says, in short.
#[derive(Clone)]
pub(crate) struct Webhook {
    pub tenant: &'static str,
    pub trigger: v1::Trigger,
    /// `createdAt`, in seconds after 1970.
    pub created: i64,
    pub payload: Option<Payload>,
    pub body: Vec<u8>,
    pub request_id: Uuid,
    pub secret_id: &'static str,
}

/// A webhook about a booking, changed by `tell`.
pub(crate) fn booking(
    trigger: v1::Trigger,
    uid: &str,
    created: i64,
    tell: impl FnOnce(&mut v1::BookingPayload),
) -> Webhook {
    let mut payload = v1::BookingPayload {
        uid: uid.to_owned(),
        title: format!("About {uid}"),
        start_time: Some(Timestamp { seconds: 10_000, nanos: 0 }),
        end_time: Some(Timestamp { seconds: 11_800, nanos: 0 }),
        ..Default::default()
    };
    tell(&mut payload);
    webhook(trigger, created, Some(Payload::Booking(payload)))
}

pub(crate) fn created(uid: &str, created: i64) -> Webhook {
    booking(v1::Trigger::BookingCreated, uid, created, |_| {})
}

pub(crate) fn cancelled(uid: &str, created: i64) -> Webhook {
    booking(v1::Trigger::BookingCancelled, uid, created, |_| {})
}

pub(crate) fn rescheduled(uid: &str, from: &str, created: i64) -> Webhook {
    booking(v1::Trigger::BookingRescheduled, uid, created, |payload| {
        from.clone_into(&mut payload.reschedule_uid);
        payload.start_time = Some(Timestamp { seconds: 20_000 + created, nanos: 0 });
    })
}

/// The timer at the end of a booking rang; `end` in seconds after 1970.
pub(crate) fn meeting_ended(uid: &str, end: i64) -> Webhook {
    let end_time = Some(Timestamp { seconds: end, nanos: 0 });
    let payload = v1::MeetingPayload { uid: uid.to_owned(), end_time, ..Default::default() };
    webhook(v1::Trigger::MeetingEnded, 0, Some(Payload::Meeting(payload)))
}

/// A webhook that is recorded and names a booking.
pub(crate) fn recording(uid: &str, created: i64) -> Webhook {
    let payload = v1::RecordingPayload { uid: uid.to_owned(), ..Default::default() };
    webhook(v1::Trigger::RecordingReady, created, Some(Payload::Recording(payload)))
}

pub(crate) fn unparsed(body: &[u8]) -> Webhook {
    Webhook { body: body.to_vec(), ..webhook(v1::Trigger::Unspecified, 0, None) }
}

pub(crate) fn webhook(trigger: v1::Trigger, created: i64, payload: Option<Payload>) -> Webhook {
    // A stand-in for JSON that says the same: equal webhooks have equal bodies.
    let said = payload.as_ref().map(short).unwrap_or_default();
    let body = format!("{trigger:?} {created} {said}").into_bytes();
    Webhook { tenant: TENANT, trigger, created, payload, body, request_id: fresh_id(), secret_id: "main" }
}

/// What the tests vary.
fn short(payload: &Payload) -> String {
    match payload {
        Payload::Booking(of) => {
            format!("{} {} {:?} {} {}", of.uid, of.title, of.start_time, of.reschedule_uid, of.ical_uid)
        }
        Payload::NoShow(of) => {
            let marks: Vec<_> = of.attendees.iter().map(|person| (&person.email, person.no_show)).collect();
            format!("{} {marks:?}", of.booking_uid)
        }
        other => format!("{other:?}"),
    }
}

/// An id that no other call answers.
pub(crate) fn fresh_id() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Uuid::from_u64_pair(0x0190_0000_0000_7000, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The same, of a service's clock at a time in microseconds.
pub(crate) fn id_at(now: i64) -> Uuid {
    let millis = u64::try_from(now / 1_000).unwrap();
    Uuid::from_u64_pair((millis << 16) | 0x7000, (1 << 63) | fresh_id().as_u64_pair().1)
}

impl fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.body))
    }
}

impl Webhook {
    /// As the ingest hands it to the store.
    pub(crate) fn delivery(&self) -> NewDelivery {
        let body_sha256 = Sha256::digest(&self.body).into();
        let event = v1::BookingEvent {
            tenant: self.tenant.to_owned(),
            trigger: self.trigger.into(),
            trigger_name: self.trigger.as_str_name().to_owned(),
            event_time: self.payload.as_ref().map(|_| Timestamp { seconds: self.created, nanos: 0 }),
            receive_time: Some(Timestamp { seconds: self.created + 1, nanos: 0 }),
            webhook_version: "2021-10-20".to_owned(),
            content_type: "application/json".to_owned(),
            secret_id: self.secret_id.to_owned(),
            request_id: self.request_id.to_string(),
            raw_body: self.body.clone().into(),
            trace_parent: String::new(),
            recovered: false,
            payload: self.payload.clone(),
        };
        let (time, identity) = match self.payload {
            Some(_) => (self.created * 1_000_000, Identity::Body(body_sha256)),
            None => (0, Identity::Request(self.request_id)),
        };
        prepared(event, body_sha256, time, identity)
    }

    /// A copy that was recognised before the round.
    pub(crate) fn copy_of(&self, first: &FirstResult) -> DuplicateNote {
        DuplicateNote {
            first: first.clone(),
            tenant: self.tenant.into(),
            receive_time: (self.created + 7) * 1_000_000,
            secret_id: "second".to_owned(),
            trace_id: String::new(),
        }
    }
}

/// What the ingest hands to the store of a body that Cal.com sent and the adapter typed.
pub(crate) fn typed(body: Vec<u8>) -> NewDelivery {
    let body_sha256 = Sha256::digest(&body).into();
    let time = calbridge_calcom::created_at(&body).map_or(0, |time| time.seconds * 1_000_000);
    let mut event = v1::BookingEvent {
        tenant: TENANT.to_owned(),
        webhook_version: "2021-10-20".to_owned(),
        content_type: "application/json".to_owned(),
        secret_id: "main".to_owned(),
        request_id: fresh_id().to_string(),
        ..Default::default()
    };
    calbridge_calcom::type_body(&body).into_event(&mut event);
    event.raw_body = body.into();
    prepared(event, body_sha256, time, Identity::Body(body_sha256))
}

fn prepared(event: v1::BookingEvent, body_sha256: [u8; 32], time: i64, identity: Identity) -> NewDelivery {
    let booking_uid = match calbridge_booking::subject(&event) {
        Subject::States { uid } | Subject::Recorded { uid: Some(uid) } => Some(uid.to_owned()),
        Subject::Recorded { uid: None } | Subject::Unparsed => None,
    };
    NewDelivery {
        key: DeliveryKey { tenant: event.tenant.as_str().into(), time, identity },
        delivery_id: fresh_id(),
        facts: calbridge_booking::facts(&event, &body_sha256),
        leaves_siblings_silent: calbridge_booking::leaves_siblings_silent(&event),
        packed: PackedBody::default(),
        is_typed: event.payload.is_some(),
        event: Box::new(event),
        body_sha256,
        booking_uid,
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
    }
}

pub(crate) fn batch(webhooks: &[Webhook]) -> Batch {
    Batch { deliveries: webhooks.iter().map(Webhook::delivery).collect(), now: NOW, ..Batch::default() }
}

/// The tenant's bookings that a filter means, by start.
pub(crate) fn by_start(conditions: Vec<Condition>) -> BookingQuery {
    BookingQuery {
        tenant: TENANT.into(),
        order: BookingOrder::StartTime,
        descending: false,
        filter: Filter(conditions),
        after: None,
        limit: 10,
    }
}

/// Commits one round, which must succeed and answer for each delivery.
pub(crate) async fn commit(store: &impl Store, webhooks: &[Webhook]) -> Vec<Committed> {
    let committed = store.commit(batch(webhooks)).await.expect("the round is committed");
    assert_eq!(committed.len(), webhooks.len());
    committed
}

pub(crate) fn outcomes(committed: &[Committed]) -> Vec<v1::SubmitOutcome> {
    committed.iter().map(|committed| committed.outcome).collect()
}

/// The whole timeline of one of the tenant's bookings.
pub(crate) async fn timeline(store: &impl Store, uid: &str) -> Vec<v1::TimelineEntry> {
    let entries = store.timeline(TENANT, uid, Position::default(), 10_000).await.expect("the timeline is read");
    entries.into_iter().map(|(_, entry)| entry).collect()
}

pub(crate) async fn read(store: &impl Store, uid: &str) -> Option<v1::Booking> {
    store.booking(TENANT, uid, false).await.expect("the booking is read")
}

/// Every delivery of the tenant, oldest first.
pub(crate) async fn deliveries(store: &impl Store) -> Vec<v1::Delivery> {
    let kept = store.deliveries(TENANT, None, 100_000).await.expect("deliveries are read");
    kept.into_iter().rev().map(|(_, delivery)| delivery).collect()
}
