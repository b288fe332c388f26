//! Events whose bodies are typed when they are sent, and not while somebody waits for an answer.
//!
//! Where every webhook is answered when the spool has it, nobody waits for what its body says, so a burst is written
//! down as it comes. Typing depends on the bytes alone: the event becomes what it would have been.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use calbridge_calcom::Typed;
use calbridge_proto::v1::BookingEvent;
use calbridge_telemetry::propagation;
use prost::Message as _;
use tracing::{Span, error};

use crate::{forward, observe};

/// The largest body that is typed later: of a greater one it is said at once where it would become too large an event.
pub(crate) const BODY_BYTES_MOST: usize = 64 * 1024;

/// The whole event, encoded, of one without what its body says. Nothing where it is no event.
pub(crate) fn complete(event: Bytes) -> Option<Bytes> {
    complete_by(event, calbridge_calcom::type_body)
}

fn complete_by(event: Bytes, type_body: impl FnOnce(&[u8]) -> Typed) -> Option<Bytes> {
    let mut event = BookingEvent::decode(event).ok()?;
    // It was promised to be kept whatever it says, and must not hold up what waits behind it: what can't be typed is
    // unparsed, and typed anew by a later release (`calbridge replay`).
    let typing = AssertUnwindSafe(|| parse_span(&event.trace_parent).in_scope(|| type_body(&event.raw_body)));
    if let Ok(typed) = catch_unwind(typing) {
        typed.into_event(&mut event);
    } else {
        error!(request_id = event.request_id, "a body could not be typed; it is sent on as it came");
    }
    forward::encode(&event).ok()
}

fn parse_span(trace_parent: &str) -> Span {
    if trace_parent.is_empty() || propagation::is_left_out(trace_parent) {
        return Span::none();
    }
    let span = observe::parse_span();
    propagation::adopt(&span, trace_parent);
    span
}

#[cfg(test)]
mod tests {
    use calbridge_calcom::{
        golden::{self, Golden},
        type_body,
    };
    use calbridge_proto::v1::Trigger;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn it_becomes_what_it_would_have_been() {
        let time = Timestamp::from_second(1_790_000_000).unwrap();
        for trigger in (0..=i32::from(Trigger::Ping)).filter_map(|number| Trigger::try_from(number).ok()) {
            let raw = golden::body(trigger, &Golden::new("u1", 7, time, time));
            let untyped =
                BookingEvent { tenant: "acme".to_owned(), raw_body: raw.clone().into(), ..BookingEvent::default() };
            let mut typed = untyped.clone();
            type_body(&raw).into_event(&mut typed);
            let complete = complete(untyped.encode_to_vec().into()).unwrap();
            assert_eq!(BookingEvent::decode(complete).unwrap(), typed, "{trigger:?}");
        }
    }

    #[test]
    fn what_can_not_be_typed_is_sent_as_it_came() {
        let event = BookingEvent { raw_body: Bytes::from_static(b"{}"), ..BookingEvent::default() };
        let sent = complete_by(event.encode_to_vec().into(), |_| panic!("a bug")).unwrap();
        assert_eq!(BookingEvent::decode(sent).unwrap(), event);
    }

    #[test]
    fn what_is_no_event_becomes_none() {
        assert_eq!(complete(Bytes::from_static(b"\xff")), None);
    }
}
