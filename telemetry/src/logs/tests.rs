//! What a line holds, and which lines there are.

use std::io;
use std::sync::{Arc, Mutex};

use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::{Value, json};
use tracing::metadata::Kind;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::setup::{exported_lines, span_layer};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn settings(log_format: LogFormat, log_filter: Option<&str>) -> Settings {
    Settings {
        service_name: "calbridge-test",
        service_version: "0",
        log_format,
        log_filter: log_filter.map(str::to_owned),
        environment: |_| None,
    }
}

/// The lines that `body` logs under these settings, with spans made as in production.
fn lines(log_format: LogFormat, log_filter: Option<&str>, body: impl FnOnce()) -> String {
    let written = Lines::default();
    let writer = written.clone();
    tracing::subscriber::with_default(subscriber(&settings(log_format, log_filter), move || writer.clone()), body);
    written.text()
}

fn subscriber<W>(settings: &Settings, writer: W) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::registry()
        .with(span_layer(&SdkTracerProvider::builder().build()))
        .with(exported_lines(None, settings).unwrap())
        .with(layer(settings, writer).unwrap())
}

#[test]
fn a_json_line_holds_event_and_trace() {
    let mut trace_id = String::new();
    let text = lines(LogFormat::Json, None, || {
        let span = tracing::info_span!("work");
        trace_id = crate::propagation::trace_id(&span);
        let _entered = span.enter();
        tracing::warn!(count = 3, ratio = 0.5, ok = true, name = "a\n\"b\"", error = %"no", "stored {}", 7);
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "stored 7");
    assert_eq!(line["target"], "calbridge_telemetry::logs::tests");
    assert_eq!(line["fields"], json!({"count": 3, "ratio": 0.5, "ok": true, "name": "a\n\"b\"", "error": "no"}));
    assert_eq!(line["trace_id"], trace_id.as_str());
    assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    let timestamp = line["timestamp"].as_str().unwrap();
    assert!(timestamp.len() >= 20 && timestamp.ends_with('Z') && timestamp.contains('T'), "{timestamp}");
}

#[test]
fn outside_a_span_there_is_no_trace() {
    let text = lines(LogFormat::Json, None, || tracing::info!("plain"));
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line.get("trace_id"), None);
    assert_eq!(line.get("fields"), None);
}

#[test]
fn a_line_belongs_to_the_innermost_span_that_is_exported() {
    let mut trace_id = String::new();
    let text = lines(LogFormat::Json, Some("info"), || {
        let span = tracing::info_span!("work");
        trace_id = crate::propagation::trace_id(&span);
        tracing::info!(parent: &span, "named");
        let _entered = span.enter();
        tracing::info!(target: "h2::codec", "of a library");
        tracing::info_span!(target: "h2", "theirs").in_scope(|| tracing::info!("inside another's span"));
        tracing::info!(parent: None, "of nobody");
    });
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let traces: Vec<_> = lines.iter().map(|line| line["trace_id"].as_str()).collect();
    let own = Some(trace_id.as_str());
    assert_eq!(traces, [own, own, own, None], "{text}");
}

#[test]
fn the_sdk_asks_no_span_while_it_works_on_one() {
    let text = lines(LogFormat::Json, None, || {
        let span = tracing::info_span!("work");
        let _entered = span.enter();
        tracing::warn!(target: "opentelemetry_sdk", "spans dropped");
    });
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((line["message"].as_str(), line.get("trace_id")), (Some("spans dropped"), None));
}

#[test]
fn spans_that_nobody_wants_are_not_made() {
    let interest = |callsite: &'static dyn tracing::Callsite| {
        subscriber(&settings(LogFormat::Json, None), io::sink).register_callsite(callsite.metadata())
    };
    let theirs = tracing::callsite!(name: "frame", kind: Kind::SPAN, target: "h2", level: Level::TRACE, fields: );
    assert!(interest(theirs).is_never());
    let ours = tracing::callsite!(name: "work", kind: Kind::SPAN, level: Level::INFO, fields: );
    assert!(!interest(ours).is_never());
}

#[test]
fn the_filter_is_about_lines_not_about_traces() {
    let text = lines(LogFormat::Json, Some("error"), || {
        let span = tracing::info_span!("work");
        let _entered = span.enter();
        tracing::info!("not shown");
        tracing::error!("shown");
    });
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "shown");
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "the span is there though its level is not shown");
}

#[test]
fn no_filter_leaves_out_who_read_personal_data() {
    for filter in ["off", "error", "calbridge=off", "calbridge_service::audit=off"] {
        let text = lines(LogFormat::Json, Some(filter), || {
            tracing::info!(target: AUDIT, "who");
            tracing::info!(target: "calbridge_service::api", "what");
        });
        assert_eq!((text.lines().count(), text.contains("who")), (1, true), "{filter}: {text}");
    }
}

#[test]
fn text_can_not_be_forged() {
    let text = lines(LogFormat::Text, None, || {
        let span = tracing::info_span!("work");
        let _entered = span.enter();
        tracing::info!(plain = "word", odd = "two words\nERROR forged", empty = "", "a {}", "b\r\n\u{1b}[31mc");
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(r"  INFO calbridge_telemetry::logs::tests: a b\r\n\u{1b}[31mc"), "{text}");
    assert!(text.contains(" plain=word"), "{text}");
    assert!(text.contains(r#" odd="two words\nERROR forged""#), "{text}");
    assert!(text.contains(r#" empty="""#), "{text}");
    let trace = text.trim_end().rsplit_once(" trace=").unwrap().1;
    assert!(trace.len() == 8 && trace.chars().all(|c| c.is_ascii_hexdigit()), "{text}");
}

#[test]
fn ours_are_shown_from_info_and_others_from_warn() {
    let text = lines(LogFormat::Json, None, || {
        tracing::debug!("ours below");
        tracing::info!("ours");
        tracing::info!(target: "hyper::proto", "theirs below");
        tracing::warn!(target: "hyper::proto", "theirs");
        tracing::warn!(target: "opentelemetry-otlp", "every failed try");
        tracing::warn!(target: "opentelemetry_sdk", "spans dropped");
        tracing::warn!(name: "BatchSpanProcessor.OnEnd.AfterShutdown", target: "opentelemetry_sdk", "at every exit");
    });
    let messages: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(messages, ["ours", "theirs", "spans dropped"]);
}

#[test]
fn a_filter_that_means_nothing_is_refused() {
    let error =
        layer::<tracing_subscriber::Registry, _>(&settings(LogFormat::Json, Some("calbridge=loud")), io::stderr)
            .err()
            .expect("refused")
            .to_string();
    assert!(error.starts_with("the log filter \"calbridge=loud\" can't be read"), "{error}");
}

#[test]
fn exporting_makes_no_telemetry() {
    let exported = |target: &'static str| {
        let count = Lines::default();
        let writer = count.clone();
        let settings = settings(LogFormat::Json, Some("trace"));
        // The filter that guards the export, before a layer that can be read.
        let subscriber = tracing_subscriber::registry().with(
            tracing_subscriber::fmt::layer()
                .with_writer(move || writer.clone())
                .with_filter(export_filter(&settings).unwrap()),
        );
        tracing::subscriber::with_default(subscriber, || match target {
            "hyper" => tracing::warn!(target: "hyper::client", "x"),
            "h2" => tracing::warn!(target: "h2::codec", "x"),
            "sdk" => tracing::warn!(target: "opentelemetry_sdk", "x"),
            "watch" => tracing::warn!(target: "calbridge_telemetry::otlp::watch", "x"),
            _ => tracing::warn!(target: "calbridge_service::ingest", "x"),
        });
        !count.text().is_empty()
    };
    for target in ["hyper", "h2", "sdk", "watch"] {
        assert!(!exported(target), "{target}");
    }
    assert!(exported("ours"));
}

#[test]
fn only_our_spans_are_exported_and_no_events() {
    let recording = crate::testing::record();
    tracing::info_span!(target: "h2", "theirs").in_scope(|| ());
    tracing::debug_span!("detail").in_scope(|| ());
    tracing::info_span!("ours").in_scope(|| tracing::error!("an event"));
    let spans = recording.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(spans[0].name, "ours");
    assert!(spans[0].events.is_empty(), "log lines stay log lines");
    assert!(spans[0].attributes.is_empty(), "{:?}", spans[0].attributes);
    assert_eq!(spans[0].instrumentation_scope.schema_url(), Some(crate::semconv::SCHEMA_URL));
}
