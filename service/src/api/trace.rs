//! The spans and the numbers of what goes out. A call that follows the log may last for days: each part of the log that
//! is read for it, and each time that its client is heard, is the root of a trace of its own, linked to the call.

use std::{future::Future, sync::Arc};

use calbridge_telemetry::{
    propagation,
    semconv::{self, otel},
};
use tracing::{Instrument, Span, field::Empty, info_span};

use super::{errors::ApiError, read};
use crate::{
    metrics::Metrics,
    store::{ConsumerKey, StoreError},
};

/// Where entries of the log go out.
#[derive(Debug)]
pub(super) struct Outlet {
    metrics: Arc<Metrics>,
    /// The span of the call.
    call: Span,
    tenant: Arc<str>,
    /// Whose client it is, if it is one's.
    consumer: Option<ConsumerKey>,
}

impl Outlet {
    /// To a watch.
    pub(super) fn of_watch(metrics: Arc<Metrics>, tenant: Arc<str>) -> Self {
        Self { metrics, call: Span::current(), tenant, consumer: None }
    }

    /// To a client of a consumer.
    pub(super) fn of_consumer(metrics: Arc<Metrics>, consumer: ConsumerKey) -> Self {
        Self { metrics, call: Span::current(), tenant: Arc::clone(&consumer.0), consumer: Some(consumer) }
    }

    /// The span of entries that go out, however many that will be.
    pub(super) fn send_span(&self) -> Span {
        self.described(info_span!(
            parent: None,
            semconv::span::SEND_TRANSITIONS,
            { otel::KIND } = "producer",
            { otel::STATUS_CODE } = Empty,
            { semconv::MESSAGING_SYSTEM } = semconv::MESSAGING_SYSTEM_VALUE,
            { semconv::MESSAGING_OPERATION_NAME } = semconv::MESSAGING_SEND,
            { semconv::MESSAGING_OPERATION_TYPE } = semconv::MESSAGING_SEND,
            { semconv::MESSAGING_DESTINATION_NAME } = semconv::MESSAGING_TRANSITIONS,
            { semconv::MESSAGING_CONSUMER_GROUP_NAME } = Empty,
            { semconv::MESSAGING_BATCH_MESSAGE_COUNT } = Empty,
            { semconv::TENANT_ID } = Empty,
            { semconv::ERROR_TYPE } = Empty,
        ))
    }

    /// The span of so many acks, nacks and extensions.
    pub(super) fn ack_span(&self, said: usize) -> Span {
        let span = self.described(info_span!(
            parent: None,
            semconv::span::ACK_TRANSITIONS,
            { otel::KIND } = "client",
            { otel::STATUS_CODE } = Empty,
            { semconv::MESSAGING_SYSTEM } = semconv::MESSAGING_SYSTEM_VALUE,
            { semconv::MESSAGING_OPERATION_NAME } = semconv::MESSAGING_ACK,
            { semconv::MESSAGING_OPERATION_TYPE } = semconv::MESSAGING_SETTLE,
            { semconv::MESSAGING_DESTINATION_NAME } = semconv::MESSAGING_TRANSITIONS,
            { semconv::MESSAGING_CONSUMER_GROUP_NAME } = Empty,
            { semconv::MESSAGING_BATCH_MESSAGE_COUNT } = Empty,
            { semconv::TENANT_ID } = Empty,
            { semconv::ERROR_TYPE } = Empty,
        ));
        count(&span, said);
        span
    }

    /// So many entries go out under this span.
    pub(super) fn sends(&self, span: &Span, entries: usize) {
        count(span, entries);
        if entries > 0 {
            self.metrics.sent(entries, self.consumer.as_ref());
        }
    }

    /// So many of them were out before, and so many are given up on.
    pub(super) fn repeats(&self, again: usize, parked: usize) {
        let Some(consumer) = &self.consumer else { return };
        if again > 0 {
            self.metrics.sent_again(again, consumer);
        }
        if parked > 0 {
            self.metrics.parked(parked, consumer);
        }
    }

    fn described(&self, span: Span) -> Span {
        if !propagation::is_sampled(&span) {
            return span;
        }
        propagation::link_spans(&span, &self.call);
        span.record(semconv::TENANT_ID, &*self.tenant);
        if let Some((_, name)) = &self.consumer {
            span.record(semconv::MESSAGING_CONSUMER_GROUP_NAME, name.as_str());
        }
        span
    }
}

/// One read of the store, or command to it, under a span that tells how it went.
pub(super) async fn read_under<T>(
    span: &Span,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, ApiError> {
    let done = read(work).instrument(span.clone()).await;
    if let Err(refused) = &done {
        span.record(otel::STATUS_CODE, "ERROR");
        span.record(semconv::ERROR_TYPE, refused.reason());
    }
    done
}

fn count(span: &Span, messages: usize) {
    // OpenTelemetry's integers are signed; an unsigned one would be exported as a string.
    span.record(semconv::MESSAGING_BATCH_MESSAGE_COUNT, i64::try_from(messages).unwrap_or(i64::MAX));
}
