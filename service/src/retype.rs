//! A kept delivery as this release understands it: typed again from its raw bytes, with what it states. Pure.
//!
//! Invariant: what comes out is a function of the tenant and the bytes, as it was when the delivery came in, but for
//! what the release has learned since.

use std::{mem, sync::Arc};

use bytes::Bytes;
use calbridge_booking::leaves_siblings_silent;
use calbridge_proto::v1::{BookingEvent, Delivery, DeliveryDisposition};
use uuid::Uuid;

use crate::{
    ingest::booking_uid,
    store::{DeliveryKey, Identity, NewDelivery, PackedBody, StoreError},
};

/// The delivery, typed again. Its key is its id: a replay changes none, and no two deliveries share one.
pub(crate) fn retype(kept: Delivery, trace_id: String) -> Result<NewDelivery, StoreError> {
    let damaged = |why: &str| StoreError::Damaged { what: "delivery", why: why.to_owned() };
    let delivery_id = Uuid::try_parse(&kept.delivery_id).map_err(|_| damaged("its id is no UUID"))?;
    let body_sha256: [u8; 32] =
        kept.body_sha256.as_slice().try_into().map_err(|_| damaged("its SHA-256 is not 32 bytes"))?;
    let event = event(kept);
    Ok(NewDelivery {
        key: DeliveryKey {
            tenant: Arc::from(event.tenant.as_str()),
            time: 0,
            identity: Identity::Request(delivery_id),
        },
        delivery_id,
        body_sha256,
        booking_uid: booking_uid(&event).map(str::to_owned),
        facts: calbridge_booking::facts(&event, &body_sha256),
        leaves_siblings_silent: leaves_siblings_silent(&event),
        packed: PackedBody::default(),
        is_typed: event.payload.is_some(),
        event: Box::new(event),
        trace_id,
    })
}

/// A delivery without its raw body, and what that says; nothing where the body is purged.
pub(crate) fn recorded_event(mut kept: Delivery) -> (Delivery, Option<BookingEvent>) {
    if kept.raw_body_purged {
        return (kept, None);
    }
    let raw_body = mem::take(&mut kept.raw_body);
    let event = BookingEvent { raw_body: Bytes::new(), ..event(Delivery { raw_body, ..kept.clone() }) };
    (kept, Some(event))
}

fn event(kept: Delivery) -> BookingEvent {
    let recovered = kept.disposition() == DeliveryDisposition::Recovered;
    let typed = calbridge_calcom::type_body(&kept.raw_body);
    let mut event = BookingEvent {
        tenant: kept.tenant,
        receive_time: kept.receive_time,
        webhook_version: kept.webhook_version,
        content_type: kept.content_type,
        secret_id: kept.secret_id,
        raw_body: kept.raw_body.into(),
        recovered,
        ..BookingEvent::default()
    };
    typed.into_event(&mut event);
    event
}
