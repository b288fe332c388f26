//! Making an event durable: the step between "verified and typed" and the 2xx that promises it is kept.
//!
//! The one way is the service's commit. Whatever it refuses comes out of [`Durable::keep`] as [`Refused`], in this one
//! place, and becomes a 503: nothing that is not on stable storage is ever answered with a 2xx.

use calbridge_proto::v1::BookingEvent;
use calbridge_telemetry::{propagation, semconv};
use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::forward::{Accepted, Forwarder, Refused};

/// Where events are made durable.
#[derive(Clone)]
pub(crate) struct Durable {
    forwarder: Forwarder,
}

impl Durable {
    /// By the service behind this forwarder.
    pub(crate) fn new(forwarder: Forwarder) -> Self {
        Self { forwarder }
    }

    /// Keeps the event, under a span that becomes the parent of all that the service does with it.
    pub(crate) async fn keep(&self, mut event: BookingEvent) -> Result<Accepted, Refused> {
        let span = self.send_span(&event);
        event.trace_parent = propagation::traceparent(&span);
        let result = self.forwarder.forward(&event).instrument(span.clone()).await;
        if let Err(refused) = &result {
            span.record(semconv::ERROR_TYPE, refused.reason);
            span.record(semconv::otel::STATUS_CODE, "ERROR");
        }
        result
    }

    fn send_span(&self, event: &BookingEvent) -> Span {
        let peer = self.forwarder.peer();
        info_span!(
            "send ingest",
            { semconv::otel::NAME } = semconv::span::SEND_INGEST,
            { semconv::otel::KIND } = "client",
            { semconv::MESSAGING_SYSTEM } = semconv::MESSAGING_SYSTEM_VALUE,
            { semconv::MESSAGING_OPERATION_NAME } = "send",
            { semconv::MESSAGING_OPERATION_TYPE } = "send",
            { semconv::MESSAGING_DESTINATION_NAME } = "ingest",
            { semconv::MESSAGING_MESSAGE_ID } = event.request_id,
            { semconv::MESSAGING_MESSAGE_BODY_SIZE } = i64::try_from(event.raw_body.len()).unwrap_or(i64::MAX),
            { semconv::SERVER_ADDRESS } = peer.host,
            { semconv::SERVER_PORT } = i64::from(peer.port),
            { semconv::ERROR_TYPE } = Empty,
            { semconv::otel::STATUS_CODE } = Empty,
        )
    }
}
