//! Webhooks as a store is handed them: what adapter and ingest make of a body, without the way between them.

use std::sync::Arc;

use calbridge_booking::Subject;
use calbridge_proto::v1::BookingEvent;
use calbridge_service::store::{DeliveryKey, Identity, NewDelivery, PackedBody};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::numbers::mix;

/// Makes deliveries for one tenant.
#[derive(Debug, Clone)]
pub struct Intake {
    tenant: Arc<str>,
}

impl Intake {
    /// Of this tenant.
    #[must_use]
    pub fn new(tenant: &str) -> Self {
        Self { tenant: tenant.into() }
    }

    /// What a signed body becomes that was received then. No two numbers may be the same.
    #[must_use]
    pub fn delivery(&self, number: u64, received: Timestamp, body: Vec<u8>) -> NewDelivery {
        let body_sha256 = Sha256::digest(&body).into();
        let time = calbridge_calcom::created_at(&body);
        let mut event = BookingEvent {
            tenant: self.tenant.to_string(),
            webhook_version: "2021-10-20".to_owned(),
            content_type: "application/json".to_owned(),
            secret_id: "main".to_owned(),
            request_id: id(number, 1, received).to_string(),
            receive_time: Some(prost_types::Timestamp {
                seconds: received.as_second(),
                nanos: received.subsec_nanosecond(),
            }),
            ..Default::default()
        };
        calbridge_calcom::type_body(&body).into_event(&mut event);
        event.raw_body = body.into();
        let booking_uid = match calbridge_booking::subject(&event) {
            Subject::States { uid } | Subject::Recorded { uid: Some(uid) } => Some(uid.to_owned()),
            Subject::Recorded { uid: None } | Subject::Unparsed => None,
        };
        NewDelivery {
            key: DeliveryKey {
                tenant: Arc::clone(&self.tenant),
                time: time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos / 1_000)),
                identity: Identity::Body(body_sha256),
            },
            delivery_id: id(number, 2, received),
            facts: calbridge_booking::facts(&event, &body_sha256),
            leaves_siblings_silent: calbridge_booking::leaves_siblings_silent(&event),
            packed: PackedBody::default(),
            is_typed: event.payload.is_some(),
            event: Box::new(event),
            body_sha256,
            booking_uid,
            trace_id: String::new(),
        }
    }
}

/// Rising like the ids of a clock, of version 7.
fn id(number: u64, of: u64, at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or_default();
    Uuid::from_u64_pair((millis << 16) | 0x7000 | (number & 0xfff), mix(number ^ (of << 60)) >> 2 | (1 << 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::body::{Bodies, Mix, Traffic};

    #[test]
    fn a_delivery_is_what_the_ingest_makes_of_its_body() {
        let origin = Timestamp::constant(1_790_000_000, 0);
        let mut body = Vec::new();
        Bodies::new(origin, Traffic { mix: Mix::Created, copies_per_thousand: 0 }).write(25, &mut body);
        let received = Timestamp::constant(1_790_000_001, 5_000);
        let made = Intake::new("acme").delivery(25, received, body.clone());
        assert_eq!(made.event.raw_body, body);
        assert_eq!((made.key.time, &*made.key.tenant), (1_790_000_000_002_000, "acme"));
        assert_eq!(made.booking_uid.as_deref(), made.facts.first().map(|fact| fact.uid.as_str()));
        assert!(made.booking_uid.is_some());
        assert_eq!(made.delivery_id.get_version_num(), 7);
        assert!(made.delivery_id < Intake::new("acme").delivery(26, received, body).delivery_id);
    }
}
