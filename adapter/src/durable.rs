//! Making an event durable: the step between "verified and typed" and the 2xx that promises it is kept.
//!
//! There are two ways: the service's commit, and, where that takes too long or can't be had, the spool's disk. Whatever
//! neither keeps comes out of [`Durable::keep`] as [`Refused`], in this one place, and becomes a 503: nothing that is
//! not on stable storage is ever answered with a 2xx.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use calbridge_process::{
    Ack,
    crash::{self, Point},
};
use calbridge_proto::v1::BookingEvent;
use calbridge_telemetry::{propagation, sampling::Trace, semconv};
use tokio::{
    select,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::{
    copies::Said,
    forward::{self, Accepted, Forwarder, Refused, Ticket},
    metrics::Metrics,
    segment::record::Kind,
    spool::{Kept, Spool, untyped},
};

/// How long an answer is waited for after the spool has the event: then it is sent again.
const LATE: Duration = Duration::from_secs(10);
/// The largest event whose late answer is waited for: the outbox may hold as many of them as requests may be in flight,
/// and the budget for bodies does not count what is answered. A larger one is sent again.
const LATE_BYTES: usize = 64 * 1024;
/// A disk that takes longer than this for an event hangs: the service's answer then counts without it.
const HANGS: Duration = Duration::from_secs(1);
/// How long a commit is waited for, beyond its deadline, where the spool does not take the event either.
const LAST_RESORT: Duration = Duration::from_secs(2);

/// Where events are made durable.
#[derive(Clone)]
pub(crate) struct Durable {
    pub(crate) forwarder: Forwarder,
    pub(crate) spool: Option<Spool>,
    pub(crate) ack: Ack,
    pub(crate) metrics: Arc<Metrics>,
    /// Late answers are waited for no longer.
    pub(crate) over: CancellationToken,
}

/// Where it stands what an event's body says.
#[derive(Debug)]
pub(crate) enum Content {
    /// In the body alone: it is typed when it is sent.
    Later,
    /// In the event.
    Typed,
    /// Encoded, for an earlier copy of the body; not in the event.
    Copy(Arc<Said>),
}

/// Where it is now.
#[derive(Debug)]
pub(crate) enum Stored {
    /// The service has committed it.
    Committed(Accepted),
    /// The spool has it, and sends it on.
    Spooled,
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

impl Content {
    /// The event as the spool's record of it.
    fn kind(&self) -> Kind {
        match self {
            Self::Later => Kind::Untyped,
            Self::Typed | Self::Copy(_) => Kind::Event,
        }
    }

    /// What stands beside the event.
    fn encoded(&self) -> &[u8] {
        if let Self::Copy(said) = self { &said.encoded } else { &[] }
    }
}

impl Durable {
    /// Whether an event of a body of so many bytes is answered before anybody looks into it.
    pub(crate) fn is_typed_later(&self, body_bytes: usize) -> bool {
        self.spool.is_some() && self.ack == Ack::Spooled && body_bytes <= untyped::BODY_BYTES_MOST
    }

    /// Keeps the event with this content of the request whose trace this is, received at `time` (microseconds since
    /// 1970-01-01T00:00:00Z), under a span that becomes the parent of all that the service does with it.
    pub(crate) async fn keep(
        &self,
        mut event: Box<BookingEvent>,
        content: Content,
        time: i64,
        request: &Trace,
    ) -> Result<Stored, Refused> {
        let kind = content.kind();
        if let (Some(spool), Ack::Spooled) = (&self.spool, self.ack) {
            let span = begin(&mut event, request, append_span);
            let bytes = forward::encode_with(&event, content.encoded())?;
            let kept = append(spool, &event.tenant, time, kind, bytes.clone(), false, span).await;
            let Err(full) = kept else { return Ok(Stored::Spooled) };
            return self.commit_instead(kind, bytes).await.ok_or(full).map(Stored::Committed);
        }
        let span = begin(&mut event, request, send_span);
        let mut sending = self.sending(span.clone());
        let encoded = forward::encode_with(&event, content.encoded());
        let bytes = encoded.inspect_err(|refused| sending.error = Some(refused.reason))?;
        // A hundred small pieces of memory, which cost less to give back before they have gone cold.
        event.payload = None;
        let result = sending.send(bytes.clone(), &self.forwarder, self.forwarder.deadline()).instrument(span).await;
        let (refused, spool) = match (result, &self.spool) {
            (Ok(accepted), _) => return Ok(Stored::Committed(accepted)),
            (Err(refused), None) => return Err(refused),
            (Err(refused), Some(spool)) => (refused, spool),
        };
        // An answer that only is late may still come: the spool's is not sent a second time before.
        let ticket = sending.ticket.take().filter(|ticket| !ticket.is_settled());
        let is_out = ticket.is_some() && bytes.len() <= LATE_BYTES;
        drop(sending);
        let span = if request.span.is_none() { Span::none() } else { append_span(&event) };
        let mut kept = pin!(append(spool, &event.tenant, time, kind, bytes, is_out, span));
        let (kept, ticket) = match ticket {
            None => (kept.await, None),
            Some(mut ticket) => select! {
                biased;
                kept = &mut kept => (kept, Some(ticket)),
                // What the disk keeps after all is sent again, and is a duplicate.
                answered = async { sleep(HANGS).await; ticket.answer().await } => match answered {
                    Ok(accepted) => return Ok(Stored::Committed(accepted)),
                    Err(_) => (kept.await, None),
                },
            },
        };
        match (kept, ticket) {
            (Ok(kept), ticket) => {
                if let (Some(kept), Some(ticket)) = (kept, ticket) {
                    self.hear_late(kept, ticket);
                }
                Ok(Stored::Spooled)
            }
            (Err(_), Some(mut ticket)) => {
                let answered = timeout(LAST_RESORT, ticket.answer()).await;
                answered.unwrap_or(Err(refused)).map(Stored::Committed)
            }
            (Err(full), None) => Err(full),
        }
    }

    /// Has the service commit at once what the spool does not take.
    async fn commit_instead(&self, kind: Kind, event: Bytes) -> Option<Accepted> {
        let event = if kind == Kind::Untyped { untyped::complete(event)? } else { event };
        let deadline = self.forwarder.deadline() + LAST_RESORT;
        self.sending(Span::none()).send(event, &self.forwarder, deadline).await.ok()
    }

    /// Of an event that is about to be sent.
    fn sending(&self, span: Span) -> Sending<'_> {
        let error = Some(semconv::CLIENT_GONE);
        Sending { began: Instant::now(), metrics: &self.metrics, span, ticket: None, error }
    }

    /// Takes an answer that came after its time for what it is.
    fn hear_late(&self, kept: Kept, mut ticket: Ticket) {
        let (over, metrics) = (self.over.clone(), Arc::clone(&self.metrics));
        // No more of these than the outbox holds events.
        tokio::spawn(async move {
            let answered = select! {
                answered = timeout(LATE, ticket.answer()) => matches!(answered, Ok(Ok(_))),
                () = over.cancelled() => false,
            };
            if answered {
                crash::at(Point::LateAnswered);
                kept.settle();
                metrics.drained();
            }
        });
    }
}

impl Sending<'_> {
    /// Sends it, and waits for the answer.
    async fn send(&mut self, event: Bytes, to: &Forwarder, deadline: Duration) -> Result<Accepted, Refused> {
        let submitted = to.submit(event).map(|ticket| self.ticket.insert(ticket));
        let result = match submitted {
            Ok(ticket) => {
                let late = |_| Err(Refused::away("deadline_exceeded"));
                timeout(deadline, ticket.answer()).await.unwrap_or_else(late)
            }
            Err(refused) => Err(refused),
        };
        self.error = result.as_ref().err().map(|refused| refused.reason);
        result
    }
}

/// The span of an event's way, as the event itself names it.
fn begin(event: &mut BookingEvent, request: &Trace, make: fn(&BookingEvent) -> Span) -> Span {
    // What nobody will see is not made: the service goes on from the request itself.
    if request.span.is_none() {
        event.trace_parent.clone_from(&request.traceparent);
        return Span::none();
    }
    let span = make(event);
    event.trace_parent = propagation::traceparent(&span);
    span
}

/// Has the spool keep it.
async fn append(
    spool: &Spool,
    tenant: &str,
    time: i64,
    kind: Kind,
    event: Bytes,
    is_out: bool,
    span: Span,
) -> Result<Option<Kept>, Refused> {
    let kept = spool.keep(tenant, time, kind, event, is_out).instrument(span.clone()).await;
    if let Err(refused) = &kept {
        span.record(semconv::ERROR_TYPE, refused.reason);
        span.record(semconv::otel::STATUS_CODE, "ERROR");
    }
    kept
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

/// The span of one event's way to the spool's disk.
fn append_span(event: &BookingEvent) -> Span {
    info_span!(
        "append spool",
        { semconv::otel::NAME } = semconv::span::APPEND_SPOOL,
        { semconv::otel::KIND } = "producer",
        { semconv::MESSAGING_SYSTEM } = semconv::MESSAGING_SYSTEM_VALUE,
        { semconv::MESSAGING_OPERATION_NAME } = semconv::MESSAGING_APPEND,
        { semconv::MESSAGING_OPERATION_TYPE } = semconv::MESSAGING_CREATE,
        { semconv::MESSAGING_DESTINATION_NAME } = semconv::MESSAGING_SPOOL,
        { semconv::MESSAGING_MESSAGE_ID } = event.request_id,
        { semconv::MESSAGING_MESSAGE_BODY_SIZE } = i64::try_from(event.raw_body.len()).unwrap_or(i64::MAX),
        { semconv::ERROR_TYPE } = Empty,
        { semconv::otel::STATUS_CODE } = Empty,
    )
}
