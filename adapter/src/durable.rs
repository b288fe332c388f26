//! Making an event durable: the step between "verified and typed" and the 2xx that promises it is kept.
//!
//! The one way is the service's commit. Whatever it refuses comes out of [`Durable::keep`] as [`Refused`], in this one
//! place, and becomes a 503: nothing that is not on stable storage is ever answered with a 2xx.

use std::sync::Arc;

use calbridge_proto::v1::BookingEvent;
use calbridge_telemetry::{propagation, semconv};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::{
    forward::{Accepted, Forwarder, Refused},
    metrics::Metrics,
    peer::Peer,
};

/// Where events are made durable.
#[derive(Clone)]
pub(crate) struct Durable {
    forwarder: Forwarder,
    metrics: Arc<Metrics>,
}

/// One event on its way, written down however it ends: nobody may be left to wait for it.
struct Sending<'a> {
    began: Instant,
    metrics: &'a Metrics,
    peer: &'a Peer,
    span: Span,
    error: Option<&'static str>,
}

impl Durable {
    /// By the service behind this forwarder.
    pub(crate) fn new(forwarder: Forwarder, metrics: Arc<Metrics>) -> Self {
        Self { forwarder, metrics }
    }

    /// Keeps the event, under a span that becomes the parent of all that the service does with it.
    pub(crate) async fn keep(&self, mut event: BookingEvent) -> Result<Accepted, Refused> {
        let span = self.send_span(&event);
        event.trace_parent = propagation::traceparent(&span);
        let mut sending = Sending {
            began: Instant::now(),
            metrics: &self.metrics,
            peer: self.forwarder.peer(),
            span: span.clone(),
            error: Some(semconv::CLIENT_GONE),
        };
        let result = self.forwarder.forward(&event).instrument(span).await;
        sending.error = result.as_ref().err().map(|refused| refused.reason);
        result
    }

    fn send_span(&self, event: &BookingEvent) -> Span {
        let peer = self.forwarder.peer();
        info_span!(
            "send ingest",
            { semconv::otel::NAME } = semconv::span::SEND_INGEST,
            { semconv::otel::KIND } = "client",
            { semconv::MESSAGING_SYSTEM } = semconv::MESSAGING_SYSTEM_VALUE,
            { semconv::MESSAGING_OPERATION_NAME } = semconv::MESSAGING_SEND,
            { semconv::MESSAGING_OPERATION_TYPE } = semconv::MESSAGING_SEND,
            { semconv::MESSAGING_DESTINATION_NAME } = semconv::MESSAGING_INGEST,
            { semconv::MESSAGING_MESSAGE_ID } = event.request_id,
            { semconv::MESSAGING_MESSAGE_BODY_SIZE } = i64::try_from(event.raw_body.len()).unwrap_or(i64::MAX),
            { semconv::SERVER_ADDRESS } = peer.host,
            { semconv::SERVER_PORT } = i64::from(peer.port),
            { semconv::ERROR_TYPE } = Empty,
            { semconv::otel::STATUS_CODE } = Empty,
        )
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(error) = self.error {
            self.span.record(semconv::ERROR_TYPE, error);
            self.span.record(semconv::otel::STATUS_CODE, "ERROR");
        }
        self.metrics.sent(self.peer, self.error, self.began.elapsed());
    }
}
