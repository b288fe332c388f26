//! Deciding about a trace before its first span is made: a span that nobody will see is work for nothing, and most
//! traces are not sampled. Such a trace has ids all the same, for the sender and for whoever goes on with it.

use std::{cell::Cell, sync::OnceLock};

use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample};
use tracing::Span;

use crate::propagation;

/// What decides about the traces that begin in this process. Without it, as in tests, each root span does.
static SAMPLER: OnceLock<Sampler> = OnceLock::new();

thread_local! {
    /// The id of a trace about which it was decided and whose root is about to be made.
    static DECIDED: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// A trace that begins in this process.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The root span; none where the trace is not sampled.
    pub span: Span,
    /// The root's context; empty where there is no telemetry at all.
    pub traceparent: String,
}

/// Begins a trace; `make` makes its root span, and is not asked where nobody would see it.
pub fn begin(make: impl FnOnce() -> Span) -> Trace {
    if let Some(sampler) = SAMPLER.get() {
        let trace = RandomIdGenerator::default().new_trace_id();
        // No name and no attribute decides: the sampler is one of those that the environment can name.
        let decided = sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]).decision;
        if decided != SamplingDecision::RecordAndSample {
            let span = RandomIdGenerator::default().new_span_id();
            return Trace { span: Span::none(), traceparent: propagation::format(trace, span, false) };
        }
        DECIDED.set(Some(trace));
    }
    let span = make();
    let is_sampled = propagation::is_sampled(&span);
    DECIDED.set(None);
    let traceparent = propagation::traceparent(&span);
    Trace { span: if is_sampled { span } else { Span::none() }, traceparent }
}

/// From here on traces are decided about before they are made.
pub(crate) fn decide_by(sampler: Sampler) {
    // One process has one telemetry.
    let _ = SAMPLER.set(sampler);
}

/// Random ids, but for the trace that is decided about.
#[derive(Debug, Default)]
pub(crate) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        DECIDED.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The one test of this process that has a sampler, or it would be the sampler of others.
    #[test]
    fn one_draw_decides_about_a_trace() {
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(0.25)));
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone());
        let provider = provider.with_sampler(sampler.clone()).with_id_generator(Ids::default()).build();
        let _guard =
            tracing::subscriber::set_default(tracing_subscriber::registry().with(crate::setup::span_layer(&provider)));
        let before = begin(|| info_span!("root"));
        assert_eq!(before.traceparent.len(), 55, "{}", before.traceparent);
        decide_by(sampler);

        exporter.reset();
        let (mut made, mut seen) = (0, Vec::new());
        let traces: Vec<Trace> = (0..4_000)
            .map(|_| {
                begin(|| {
                    made += 1;
                    info_span!("root")
                })
            })
            .collect();
        for Trace { span, traceparent } in traces {
            assert_eq!(span.is_none(), traceparent.ends_with("-00"), "{traceparent}");
            if !span.is_none() {
                assert_eq!(traceparent, propagation::traceparent(&span));
                seen.push(traceparent[3..35].to_owned());
            }
        }
        assert!((800..1_200).contains(&made), "{made} of 4,000 at a ratio of 0.25");
        assert_eq!(made, seen.len(), "what was decided is not decided once more");
        provider.force_flush().unwrap();
        let ended = exporter.get_finished_spans().unwrap();
        let ids: Vec<String> = ended.iter().map(|span| span.span_context.trace_id().to_string()).collect();
        assert_eq!(ids, seen);
        assert!(DECIDED.take().is_none());
    }
}
