//! Making an event durable: the step between "verified and typed" and the 2xx that promises it is kept.
//!
//! The one way is the service's commit. Whatever it refuses comes out of [`Durable::keep`] as [`Refused`], in this one
//! place, and becomes a 503: nothing that is not on stable storage is ever answered with a 2xx.

use std::sync::Arc;

use calbridge_proto::v1::BookingEvent;
use calbridge_telemetry::{propagation, sampling::Trace, semconv};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::{
    forward::{Accepted, Forwarder, Refused, Ticket},
    metrics::Metrics,
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
    span: Span,
    /// Knows which replica had the event in the end.
    ticket: Option<Ticket>,
    error: Option<&'static str>,
}

impl Durable {
    /// By the service behind this forwarder.
    pub(crate) fn new(forwarder: Forwarder, metrics: Arc<Metrics>) -> Self {
        Self { forwarder, metrics }
    }

    /// Keeps the event of the request whose trace this is, under a span that becomes the parent of all that the service
    /// does with it.
    pub(crate) async fn keep(&self, mut event: BookingEvent, request: &Trace) -> Result<Accepted, Refused> {
        // What nobody will see is not made: the service goes on from the request itself.
        let (span, trace_parent) = if request.span.is_none() {
            (Span::none(), request.traceparent.clone())
        } else {
            let span = send_span(&event);
            let trace_parent = propagation::traceparent(&span);
            (span, trace_parent)
        };
        event.trace_parent = trace_parent;
        let mut sending = Sending {
            began: Instant::now(),
            metrics: &self.metrics,
            span: span.clone(),
            ticket: None,
            error: Some(semconv::CLIENT_GONE),
        };
        let way = async {
            let ticket = sending.ticket.insert(self.forwarder.submit(&event)?);
            self.forwarder.answer(ticket).await
        };
        let result = way.instrument(span).await;
        sending.error = result.as_ref().err().map(|refused| refused.reason);
        result
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(error) = self.error {
            self.span.record(semconv::ERROR_TYPE, error);
            self.span.record(semconv::otel::STATUS_CODE, "ERROR");
        }
        let peer = self.ticket.as_mut().and_then(Ticket::end);
        if let Some(peer) = &peer {
            self.span.record(semconv::SERVER_ADDRESS, &*peer.host);
            self.span.record(semconv::SERVER_PORT, i64::from(peer.port));
        }
        self.metrics.sent(peer.as_deref(), self.error, self.began.elapsed());
    }
}

/// The span of one event's way to the service and back; the replica is added when it is known.
fn send_span(event: &BookingEvent) -> Span {
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
        { semconv::SERVER_ADDRESS } = Empty,
        { semconv::SERVER_PORT } = Empty,
        { semconv::ERROR_TYPE } = Empty,
        { semconv::otel::STATUS_CODE } = Empty,
    )
}
