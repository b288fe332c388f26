//! The spans of ingest. `process bookings` belongs to the trace of its webhook, `ingest round` is the root of a trace
//! of its own, and the two link to each other. No attribute holds personal data.

use calbridge_proto::v1;
use calbridge_telemetry::{
    propagation,
    semconv::{self, otel},
};
use tracing::{
    Span,
    field::{Empty, display},
    info_span, record_all,
};
use uuid::Uuid;

use super::{Answer, Refused, Submission};
use crate::{
    metrics::{outcome_name, trigger_name},
    settings::SPAN_LINKS,
    store::NewDelivery,
};

/// The span of one event. Its parent is the event's `trace_parent`, and the call that brought it a link; where the
/// event names none, the call is its parent. One that nobody will see is not made.
pub(super) fn process_span(event: &v1::BookingEvent, caller: &Span) -> Span {
    let span = |parent: Option<tracing::Id>| {
        info_span!(
            parent: parent,
            semconv::span::PROCESS_BOOKINGS,
            { otel::KIND } = "consumer",
            { otel::STATUS_CODE } = Empty,
            { semconv::MESSAGING_SYSTEM } = semconv::MESSAGING_SYSTEM_VALUE,
            { semconv::MESSAGING_OPERATION_NAME } = semconv::MESSAGING_PROCESS,
            { semconv::MESSAGING_OPERATION_TYPE } = semconv::MESSAGING_PROCESS,
            { semconv::MESSAGING_DESTINATION_NAME } = semconv::MESSAGING_BOOKINGS,
            { semconv::MESSAGING_MESSAGE_ID } = Empty,
            { semconv::TRIGGER } = trigger_name(event.trigger),
            { semconv::TENANT_ID } = Empty,
            { semconv::WEBHOOK_VERSION } = Empty,
            { semconv::SECRET_ID } = Empty,
            { semconv::BOOKING_UID } = Empty,
            { semconv::DELIVERY_ID } = Empty,
            { semconv::DELIVERY_DISPOSITION } = Empty,
            { semconv::DELIVERY_OUTCOME } = Empty,
            { semconv::DEDUPE_LEVEL } = Empty,
            { semconv::DEDUPE_LAYER } = Empty,
            { semconv::POSITION } = Empty,
            { semconv::ERROR_TYPE } = Empty,
        )
    };
    if propagation::is_left_out(&event.trace_parent) {
        return Span::none();
    }
    match propagation::parent_from(&event.trace_parent) {
        Some(parent) => {
            let span = span(None);
            propagation::adopt_context(&span, parent);
            if !caller.is_none() {
                propagation::link_spans(&span, caller);
            }
            span
        }
        None => span(caller.id()),
    }
}

/// The trace id to keep with the delivery: empty where the trace leads nowhere.
pub(crate) fn kept_id(span: &Span) -> String {
    if !span.is_none() && propagation::is_sampled(span) { propagation::trace_id(span) } else { String::new() }
}

/// What is known of the event once it was checked.
pub(super) fn describe(span: &Span, delivery: &NewDelivery) {
    if span.is_none() {
        return;
    }
    let event = &delivery.event;
    // What the sender calls it, so that both sides of a hop say the same; what is no id may be anything.
    let message_id = Uuid::try_parse(&event.request_id).ok().map(display);
    let disposition = match delivery.disposition() {
        v1::DeliveryDisposition::Recovered => "recovered",
        v1::DeliveryDisposition::Unparsed => "unparsed",
        _ => "accepted",
    };
    // All at once: each `record` costs a lock of its own.
    record_all!(
        span,
        { semconv::TENANT_ID } = event.tenant,
        { semconv::SECRET_ID } = event.secret_id,
        { semconv::MESSAGING_MESSAGE_ID } = message_id,
        { semconv::WEBHOOK_VERSION } = Some(&event.webhook_version).filter(|version| !version.is_empty()),
        { semconv::BOOKING_UID } = delivery.booking_uid,
        { semconv::DELIVERY_DISPOSITION } = disposition,
    );
}

/// The span of a round.
pub(super) fn round_span() -> Span {
    info_span!(
        parent: None,
        semconv::span::INGEST_ROUND,
        { otel::KIND } = "internal",
        { otel::STATUS_CODE } = Empty,
        { semconv::MESSAGING_SYSTEM } = semconv::MESSAGING_SYSTEM_VALUE,
        { semconv::MESSAGING_OPERATION_NAME } = "round",
        { semconv::MESSAGING_BATCH_MESSAGE_COUNT } = Empty,
        { semconv::ERROR_TYPE } = Empty,
    )
}

/// Events come into a round. Each sampled one is linked to it, and it to as many of them as a span may have links.
pub(super) fn join_round(round: &Span, events: &[Submission], before: usize) {
    if !propagation::is_sampled(round) {
        return;
    }
    let spans = events.iter().map(|event| &event.receipt.span);
    let sampled = spans.filter(|event| !event.is_none() && propagation::is_sampled(event));
    for (number, event) in (before..).zip(sampled) {
        propagation::link_spans(event, round);
        if number < SPAN_LINKS {
            propagation::link_spans(round, event);
        }
    }
}

/// So many events came into it.
pub(super) fn close_round(round: &Span, events: usize) {
    // OpenTelemetry's integers are signed; an unsigned one would be exported as a string.
    round.record(semconv::MESSAGING_BATCH_MESSAGE_COUNT, i64::try_from(events).unwrap_or(i64::MAX));
}

/// Who recognised the duplicate.
pub(super) fn told_by(span: &Span, layer: &'static str) {
    record_all!(span, { semconv::DEDUPE_LEVEL } = "transport", { semconv::DEDUPE_LAYER } = layer);
}

/// One span for each change that an event, or the replay of one, made.
pub(crate) fn transitions(event: &Span, transitions: &[v1::Transition]) {
    if event.is_none() {
        return;
    }
    for transition in transitions {
        info_span!(
            parent: event,
            semconv::span::RECORD_TRANSITION,
            { otel::KIND } = "internal",
            { semconv::BOOKING_UID } = transition.uid,
            { semconv::TRANSITION_RULE } = transition.rule,
            { semconv::POSITION } = transition.position,
            { semconv::SOURCE } = source_name(transition.source()),
        );
    }
}

fn source_name(source: v1::TransitionSource) -> &'static str {
    match source {
        v1::TransitionSource::Clock => semconv::SOURCE_CLOCK,
        v1::TransitionSource::Replay => semconv::SOURCE_REPLAY,
        v1::TransitionSource::Unspecified | v1::TransitionSource::Webhook => semconv::SOURCE_WEBHOOK,
    }
}

/// The last word on an event.
pub(super) fn conclude(span: &Span, result: &Result<Answer, Refused>) {
    if span.is_none() {
        return;
    }
    match result {
        Ok(answer) => {
            let is_duplicate = answer.outcome == v1::SubmitOutcome::Duplicate;
            record_all!(
                span,
                { semconv::DEDUPE_LEVEL } = (!is_duplicate).then_some("none"),
                { semconv::DELIVERY_OUTCOME } = outcome_name(answer.outcome),
                { semconv::DELIVERY_ID } = %answer.delivery_id,
                { semconv::POSITION } = answer.position.to_token(),
            );
        }
        Err(refused) => {
            record_all!(span, { otel::STATUS_CODE } = "ERROR", { semconv::ERROR_TYPE } = error_name(refused));
        }
    }
}

/// The round was not committed.
pub(super) fn failed(round: &Span) {
    record_all!(round, { otel::STATUS_CODE } = "ERROR", { semconv::ERROR_TYPE } = error_name(&Refused::Store));
}

/// The `error.type` of a refusal.
pub(super) fn error_name(refused: &Refused) -> &'static str {
    match refused {
        Refused::Invalid(_) => "INVALID_FIELD",
        Refused::Overloaded => "OVERLOADED",
        Refused::Store => "STORE_UNAVAILABLE",
        Refused::ShuttingDown => "SHUTTING_DOWN",
    }
}
