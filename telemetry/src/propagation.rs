//! The W3C trace context, in and out: as a string inside an event, as gRPC metadata, as HTTP headers.
//!
//! What arrives is untrusted text: anything that is not a valid context is as good as none, never an error.
//! Reading a span's context starts it, so [`adopt`] comes before every other function here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header that carries trace and span id.
pub const TRACEPARENT: &str = "traceparent";

/// The length of a `traceparent` of version 00, in bytes (W3C Trace Context, section 3.2.2).
const TRACEPARENT_BYTES: usize = 55;

/// The longest `traceparent` that is looked at, in bytes. Version 00 has 55; a later version may add to it.
const TRACEPARENT_BYTES_MAX: usize = 256;

/// The span's context as a `traceparent`, empty when it has none. Starts the span.
#[must_use]
pub fn traceparent(span: &Span) -> String {
    let context = span_context(span);
    if !context.is_valid() {
        return String::new();
    }
    format(context.trace_id(), context.span_id(), context.is_sampled())
}

/// The `traceparent` of these ids. Every request has one, sampled or not, so it is not left to the machinery of `fmt`.
pub(crate) fn format(trace: TraceId, span: SpanId, is_sampled: bool) -> String {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    // They are as long as their places.
    let _ = hex::encode_to_slice(trace.to_bytes(), &mut text[3..35]);
    let _ = hex::encode_to_slice(span.to_bytes(), &mut text[36..52]);
    text[TRACEPARENT_BYTES - 1] = if is_sampled { b'1' } else { b'0' };
    String::from_utf8_lossy(&text).into_owned()
}

/// The context that a `traceparent` names, or none when it names no valid one.
#[must_use]
pub fn parent_from(traceparent: &str) -> Option<Context> {
    if !is_well_formed(traceparent.as_bytes()) {
        return None;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    valid(TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier))
}

/// Whether the sampler of this process leaves out what a parent left out. It does not until [`follow_parents`].
static FOLLOWS_PARENTS: AtomicBool = AtomicBool::new(false);

/// From here on what a parent left out is left out.
pub(crate) fn follow_parents() {
    FOLLOWS_PARENTS.store(true, Ordering::Relaxed);
}

/// Whether a child of the context that a `traceparent` names is not sampled in any case, so that it need not be made.
#[must_use]
pub fn is_left_out(traceparent: &str) -> bool {
    // Version 00: two digits of flags at the end, the last bit of which says "sampled".
    let unsampled = |digit: u8| (digit as char).to_digit(16).is_some_and(|digit| digit & 1 == 0);
    FOLLOWS_PARENTS.load(Ordering::Relaxed)
        && traceparent.len() == TRACEPARENT_BYTES
        && traceparent.starts_with("00-")
        && traceparent.as_bytes().last().copied().is_some_and(unsampled)
}

/// Makes the span a child of the context that the `traceparent` names; an invalid one is ignored. The span must not
/// have been entered nor asked for its context.
pub fn adopt(span: &Span, traceparent: &str) {
    if let Some(parent) = parent_from(traceparent) {
        adopt_context(span, parent);
    }
}

/// Makes the span a child of the context, under the conditions of [`adopt`].
pub fn adopt_context(span: &Span, parent: Context) {
    // Fails where no OpenTelemetry layer is installed or the span is filtered out: there is nothing to adopt then.
    let _ = span.set_parent(parent);
}

/// Links the span to the context that the `traceparent` names; an invalid one is ignored.
pub fn link(span: &Span, traceparent: &str) {
    if let Some(context) = parent_from(traceparent) {
        span.add_link(context.span().span_context().clone());
    }
}

/// Links `from` to `to`, one way. Starts `to`.
pub fn link_spans(from: &Span, to: &Span) {
    // An invalid context (no layer, filtered out) is ignored there.
    from.add_link(span_context(to));
}

/// Whether the span will be exported. Starts the span.
#[must_use]
pub fn is_sampled(span: &Span) -> bool {
    span_context(span).is_sampled()
}

/// The span's trace id in lower hex, empty when it has none. Starts the span.
#[must_use]
pub fn trace_id(span: &Span) -> String {
    let context = span_context(span);
    if context.is_valid() { context.trace_id().to_string() } else { String::new() }
}

/// Writes the span's context, `tracestate` included, into the metadata of a call. Starts the span.
pub fn inject(metadata: &mut MetadataMap, span: &Span) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut Metadata(metadata));
}

/// The context that the headers of a request name, `tracestate` included, or none when they name no valid one.
#[must_use]
pub fn extract(headers: &http::HeaderMap) -> Option<Context> {
    if !is_well_formed(headers.get(TRACEPARENT)?.as_bytes()) {
        return None;
    }
    valid(TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers)))
}

/// Whether each digit and dash of a `traceparent` stands where it belongs. The propagator takes one with a digit too
/// few or too many, or with a sign, for another context than was written.
fn is_well_formed(traceparent: &[u8]) -> bool {
    let Some((head, rest)) = traceparent.split_at_checked(TRACEPARENT_BYTES) else { return false };
    let stands = |(at, byte): (usize, &u8)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    // A later version may add to it, behind another dash.
    let is_ended = rest.is_empty() || (rest.starts_with(b"-") && !head.starts_with(b"00"));
    is_ended && traceparent.len() <= TRACEPARENT_BYTES_MAX && head.iter().enumerate().all(stands)
}

fn span_context(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

fn valid(context: Context) -> Option<Context> {
    context.span().span_context().is_valid().then_some(context)
}

struct Metadata<'a>(&'a mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator writes its own two ASCII names and values; `tracestate` is empty more often than not.
        if value.is_empty() {
            return;
        }
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), MetadataValue::try_from(value)) {
            self.0.insert(key, value);
        }
    }
}

struct Headers<'a>(&'a http::HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests;
