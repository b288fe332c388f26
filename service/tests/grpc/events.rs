//! Events as an adapter hands them in.

use calbridge_calcom::{
    golden::{Golden, body},
    type_body,
};
use calbridge_proto::v1::{self, Trigger};
use jiff::{Timestamp, ToSpan};
use prost_types::Timestamp as ProtoTimestamp;
use uuid::{NoContext, Uuid};

pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const PARENT: &str = "00f067aa0ba902b7";

/// A booking that was made this many seconds after an arbitrary time.
pub(crate) fn golden(uid: &str, seconds: i64) -> Golden {
    let created = Timestamp::from_second(1_790_000_000 + seconds).unwrap();
    Golden::new(uid, 7, created, Timestamp::from_second(1_791_000_000).unwrap())
}

/// What the adapter makes of a body that it has just received.
pub(crate) fn received(raw: Vec<u8>) -> v1::BookingEvent {
    let mut event = v1::BookingEvent {
        tenant: "acme".to_owned(),
        receive_time: Some(ProtoTimestamp { seconds: 1_790_000_100, nanos: 0 }),
        webhook_version: "2021-10-20".to_owned(),
        content_type: "application/json".to_owned(),
        secret_id: "primary".to_owned(),
        request_id: request_id().to_string(),
        trace_parent: format!("00-{TRACE}-{PARENT}-01"),
        ..Default::default()
    };
    type_body(&raw).into_event(&mut event);
    event.raw_body = raw.into();
    event
}

/// One trigger of one booking.
pub(crate) fn event(trigger: Trigger, golden: &Golden) -> v1::BookingEvent {
    received(body(trigger, golden))
}

pub(crate) fn created(uid: &str) -> v1::BookingEvent {
    event(Trigger::BookingCreated, &golden(uid, 0))
}

/// A booking of half an hour that ends so many milliseconds from now.
#[expect(clippy::disallowed_methods, reason = "the service under test runs by this machine's clock")]
pub(crate) fn ending_in(uid: &str, milliseconds: i64) -> v1::BookingEvent {
    let mut booking = golden(uid, 0);
    let end = Timestamp::now() + milliseconds.milliseconds();
    // Cal.com's times have whole seconds.
    booking.start = Timestamp::from_second(end.as_second()).unwrap() - 30.minutes();
    event(Trigger::BookingCreated, &booking)
}

fn request_id() -> Uuid {
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, 1_790_000_100, 0))
}
