//! What goes out comes back in, and whatever else comes in is ignored.

use proptest::prelude::*;
use tracing::info_span;

use super::*;
use crate::testing::{Recording, record};

const FOREIGN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const FOREIGN_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const FOREIGN_SPAN: &str = "00f067aa0ba902b7";

fn only(recording: &Recording) -> opentelemetry_sdk::trace::SpanData {
    let mut spans = recording.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    spans.remove(0)
}

#[test]
fn a_span_is_named_by_its_traceparent() {
    let recording = record();
    let span = info_span!("here");
    let traceparent = traceparent(&span);
    assert!(is_sampled(&span));
    assert_eq!(trace_id(&span), traceparent[3..35]);
    drop(span);
    let span = only(&recording);
    assert_eq!(traceparent, format!("00-{}-{}-01", span.span_context.trace_id(), span.span_context.span_id()));
}

#[test]
fn adopted_means_child_of_the_caller() {
    let recording = record();
    let span = info_span!("here");
    adopt(&span, FOREIGN);
    assert_eq!(trace_id(&span), FOREIGN_TRACE);
    drop(span);
    let span = only(&recording);
    assert_eq!(span.parent_span_id.to_string(), FOREIGN_SPAN);
    assert!(span.parent_span_is_remote);
}

#[test]
fn the_callers_decision_not_to_sample_holds() {
    let recording = record();
    let span = info_span!("here");
    adopt(&span, &FOREIGN.replace("-01", "-00"));
    assert!(!is_sampled(&span));
    assert_eq!(trace_id(&span), FOREIGN_TRACE, "it still has a trace id to print");
    drop(span);
    assert_eq!(recording.spans(), []);
}

#[test]
fn an_invalid_traceparent_is_as_good_as_none() {
    let recording = record();
    for invalid in [
        "",
        "junk",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f0677aa0ba902b7-01",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        &format!("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-{}", "x".repeat(TRACEPARENT_BYTES_MAX)),
    ] {
        assert!(parent_from(invalid).is_none(), "{invalid}");
        let span = info_span!("here");
        adopt(&span, invalid);
        link(&span, invalid);
        assert!(!trace_id(&span).is_empty());
    }
    for span in recording.spans() {
        assert_eq!(span.parent_span_id, opentelemetry::trace::SpanId::INVALID);
        assert_eq!(span.links.links, []);
    }
}

#[test]
fn a_link_is_not_a_parent() {
    let recording = record();
    let span = info_span!("here");
    link(&span, FOREIGN);
    drop(span);
    let span = only(&recording);
    assert_eq!(span.parent_span_id, opentelemetry::trace::SpanId::INVALID);
    assert_ne!(span.span_context.trace_id().to_string(), FOREIGN_TRACE);
    assert_eq!(span.links.links[0].span_context.trace_id().to_string(), FOREIGN_TRACE);
    assert_eq!(span.links.links[0].span_context.span_id().to_string(), FOREIGN_SPAN);
}

#[test]
fn spans_are_linked_one_way_also_after_they_have_started() {
    let recording = record();
    let (round, process) = (info_span!(parent: None, "round"), info_span!(parent: None, "process"));
    let _ = round.in_scope(|| traceparent(&process));
    link_spans(&round, &process);
    drop((round, process));
    let (round, process) = (&recording.named("round")[0], &recording.named("process")[0]);
    assert_eq!(round.links.links.len(), 1);
    assert_eq!(round.links.links[0].span_context.span_id(), process.span_context.span_id());
    assert_eq!(process.links.links, []);
}

#[test]
fn metadata_carry_the_context_and_its_state() {
    let _recording = record();
    let mut incoming = http::HeaderMap::new();
    incoming.insert("traceparent", FOREIGN.parse().unwrap());
    incoming.insert("tracestate", "vendor=value".parse().unwrap());
    let server = info_span!("server");
    adopt_context(&server, extract(&incoming).unwrap());

    let mut outgoing = MetadataMap::new();
    inject(&mut outgoing, &server);
    assert_eq!(outgoing.get("traceparent").unwrap().to_str().unwrap(), traceparent(&server));
    assert_eq!(outgoing.get("tracestate").unwrap(), "vendor=value");

    let next = extract(&outgoing.into_headers()).unwrap();
    assert_eq!(next.span().span_context().trace_id().to_string(), FOREIGN_TRACE);
    assert_eq!(next.span().span_context().trace_state().header(), "vendor=value");
}

#[test]
fn without_telemetry_there_is_no_context() {
    let span = info_span!("nowhere");
    assert_eq!(traceparent(&span), "");
    assert_eq!(trace_id(&span), "");
    assert!(!is_sampled(&span));
    adopt(&span, FOREIGN);
    link(&span, FOREIGN);
    let mut metadata = MetadataMap::new();
    inject(&mut metadata, &span);
    assert!(metadata.is_empty());
    assert!(extract(&http::HeaderMap::new()).is_none());
}

proptest! {
    /// Every valid context survives the string, and nothing else gets through it.
    #[test]
    fn text_is_a_context_or_nothing(trace in 1u128.., span in 1u64.., flags in 0u8..2, junk in "\\PC{0,80}") {
        let valid = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
        let context = parent_from(&valid).unwrap().span().span_context().clone();
        prop_assert_eq!(context.trace_id().to_string(), format!("{trace:032x}"));
        prop_assert_eq!(context.span_id().to_string(), format!("{span:016x}"));
        prop_assert_eq!(context.is_sampled(), flags == 1);
        prop_assert!(parent_from(&junk).is_none());
    }
}
