//! What a submitted event must be, and what the store needs to know of it. Pure but for the id that a new delivery
//! gets.

use std::sync::Arc;

use calbridge_booking::Subject;
use calbridge_proto::v1;
use prost::Message as _;
use prost_types::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    clock::new_id,
    settings::{BODY_BYTES, INLINE_BYTES, TENANT_BYTES, TEXT_BYTES, UNREAD_TIMES},
    store::{
        DeliveryKey, Identity, Micros, NewDelivery, PackedBody,
        time::{micros, timestamp},
    },
};

/// The years 1 to 9999, as `google.protobuf.Timestamp` defines them.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A field that can't be taken as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub(crate) struct InvalidField {
    /// Its path in the request.
    pub(crate) field: &'static str,
    /// What it must be; never what it was.
    pub(crate) why: &'static str,
}

/// Checks the event and makes the delivery that it becomes, if it is new. What it says of bookings is not [`read`] yet.
pub(crate) fn identify(
    mut event: Box<v1::BookingEvent>,
    now: Micros,
    trace_id: String,
) -> Result<NewDelivery, InvalidField> {
    check(&event)?;
    event.receive_time.get_or_insert_with(|| timestamp(now));
    let body_sha256: [u8; 32] = Sha256::digest(&event.raw_body).into();
    Ok(NewDelivery {
        key: key(&event, body_sha256)?,
        delivery_id: new_id(now),
        body_sha256,
        booking_uid: booking_uid(&event).map(str::to_owned),
        facts: Vec::new(),
        leaves_siblings_silent: false,
        packed: PackedBody::default(),
        is_typed: event.payload.is_some(),
        event,
        trace_id,
    })
}

/// Whether a delivery costs little memory while it is not read: what waits is counted by its bodies.
pub(crate) fn may_wait_unread(delivery: &NewDelivery) -> bool {
    delivery.event.encoded_len() <= delivery.event.raw_body.len().saturating_mul(UNREAD_TIMES)
}

/// Reads what a delivery says of bookings, if that was not done before.
pub(crate) fn read(delivery: &mut NewDelivery) {
    let NewDelivery { event, body_sha256, .. } = delivery;
    if event.payload.is_none() {
        return;
    }
    delivery.facts = calbridge_booking::facts(event, body_sha256);
    delivery.leaves_siblings_silent = calbridge_booking::leaves_siblings_silent(event);
    // A hundred small pieces of memory, which an ingest's thread gives back more cheaply than a store's would.
    event.payload = None;
}

/// Packs the body of a delivery that is most likely new, while the store writes others. A large one is left to the
/// store, or it would hold up whoever has this thread.
pub(crate) fn pack(delivery: &mut NewDelivery) {
    if delivery.event.raw_body.len() <= INLINE_BYTES {
        delivery.packed = PackedBody::of(&delivery.event.raw_body);
    }
}

/// Identifies and reads it.
pub(crate) fn prepare(
    event: impl Into<Box<v1::BookingEvent>>,
    now: Micros,
    trace_id: String,
) -> Result<NewDelivery, InvalidField> {
    let mut delivery = identify(event.into(), now, trace_id)?;
    read(&mut delivery);
    Ok(delivery)
}

/// A tenant is 1 to 64 characters of `a-z`, `0-9`, `-`, `_`.
pub(crate) fn check_tenant(tenant: &str, field: &'static str) -> Result<(), InvalidField> {
    let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if (1..=TENANT_BYTES).contains(&tenant.len()) && tenant.bytes().all(known) {
        return Ok(());
    }
    Err(InvalidField { field, why: "must be 1 to 64 characters of a-z, 0-9, - and _" })
}

/// A time that `google.protobuf.Timestamp` allows.
fn is_valid(time: &Timestamp) -> bool {
    TIMESTAMP_SECONDS.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos)
}

fn check(event: &v1::BookingEvent) -> Result<(), InvalidField> {
    check_tenant(&event.tenant, "event.tenant")?;
    if event.raw_body.len() > BODY_BYTES {
        return Err(InvalidField { field: "event.raw_body", why: "is longer than 4 MiB" });
    }
    if event.raw_body.is_empty() && event.payload.is_some() {
        return Err(InvalidField { field: "event.raw_body", why: "must be the body that the payload was typed from" });
    }
    if v1::Trigger::try_from(event.trigger).is_err() {
        return Err(InvalidField { field: "event.trigger", why: "is not a trigger of this schema" });
    }
    for (field, text) in [
        ("event.trigger_name", &event.trigger_name),
        ("event.webhook_version", &event.webhook_version),
        ("event.content_type", &event.content_type),
        ("event.secret_id", &event.secret_id),
        ("event.request_id", &event.request_id),
        ("event.trace_parent", &event.trace_parent),
    ] {
        if text.len() > TEXT_BYTES {
            return Err(InvalidField { field, why: "is longer than 16 KiB" });
        }
    }
    for (field, time) in [("event.event_time", &event.event_time), ("event.receive_time", &event.receive_time)] {
        if time.as_ref().is_some_and(|time| !is_valid(time)) {
            return Err(InvalidField { field, why: "must be a time of the years 1 to 9999" });
        }
    }
    Ok(())
}

/// The booking that the event is about; a uid that no store would index names none.
pub(crate) fn booking_uid(event: &v1::BookingEvent) -> Option<&str> {
    match calbridge_booking::subject(event) {
        Subject::States { uid } => Some(uid),
        Subject::Recorded { uid } => uid,
        Subject::Unparsed => None,
    }
}

/// A typed body is known by its hash; one that could not be typed (the same five bytes every time, it may be) by the
/// request that brought it. The time is a function of the identity, read from the body itself: were it taken from
/// another field of the event, the same body with another time there would be a second delivery. For a kept body it
/// must never change.
fn key(event: &v1::BookingEvent, body_sha256: [u8; 32]) -> Result<DeliveryKey, InvalidField> {
    let tenant = Arc::from(event.tenant.as_str());
    if event.payload.is_some() {
        let time = calbridge_calcom::created_at(&event.raw_body).as_ref().map_or(0, micros);
        return Ok(DeliveryKey { tenant, time, identity: Identity::Body(body_sha256) });
    }
    let why = "must be a UUID where there is no payload: nothing else tells two such requests apart";
    let id = Uuid::try_parse(&event.request_id).map_err(|_| InvalidField { field: "event.request_id", why })?;
    let time = id.get_timestamp().map_or(0, |time| {
        let (seconds, nanos) = time.to_unix();
        let (seconds, nanos) = (i64::try_from(seconds).unwrap_or(0), i32::try_from(nanos).unwrap_or(0));
        micros(&Timestamp { seconds, nanos })
    });
    Ok(DeliveryKey { tenant, time, identity: Identity::Request(id) })
}

#[cfg(test)]
mod tests;
