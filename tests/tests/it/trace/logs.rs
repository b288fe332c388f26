//! Log lines: JSON where nobody watches, with the trace they belong to, and without anything that is nobody's business.

use std::{collections::BTreeSet, net::TcpListener};

use calbridge_calcom::golden::{self, Golden, Person};
use calbridge_e2e::{
    collector::{Collector, Kind, Seen, Span},
    program::Start,
    system::{Plan, SECRET, TENANT, readiness_of},
    v1::Trigger,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{golden as golden_of, send};

/// Words of people and bodies that no output may hold.
const PRIVATE: [&str; 6] =
    [SECRET, "vera.secretive", "Vera Secretive", "a private note", "secretive-answer", "wrong-secret"];

fn private(uid: &str) -> Vec<u8> {
    let person = Person::new("Vera Secretive", "vera.secretive@lighthouse.example");
    let metadata = [("answer".to_owned(), "secretive-answer".to_owned())].into();
    let told = Golden { attendees: vec![person], notes: "a private note".to_owned(), metadata, ..golden_of(uid) };
    golden::body(Trigger::BookingCreated, &told)
}

#[tokio::test]
async fn a_log_line_names_its_trace_and_no_person() {
    let collector = Collector::start();
    let everything = [("CALBRIDGE_LOG", "debug")];
    let plan = Plan::new().export(collector.grpc()).env(everything).adapter("--forward-deadline", "2s");
    let mut system = plan.start().await;
    assert_eq!(send(&system, &private("loggedAA")).await.status, 200);
    assert_eq!(send(&system, &private("loggedAA")).await.outcome(), "duplicate");
    assert_eq!(system.sender().send(TENANT, "wrong-secret", private("loggedBB")).await.status, 401);
    assert_eq!(send(&system, b"{\"broken\": \"vera.secretive@lighthouse.example\"").await.outcome(), "unparsed");
    // What goes wrong is written down: here that the service is gone.
    system.service.kill();
    readiness_of(&system.adapter, 503).await;
    assert_eq!(send(&system, &private("loggedCC")).await.status, 503);
    system.adapter.stop().await;

    let mut traces = BTreeSet::new();
    for program in [&system.adapter, &system.service] {
        let text = program.stderr();
        assert!(!text.is_empty());
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{line} is no JSON: {why}"));
            for key in ["timestamp", "level", "target", "message"] {
                assert!(line[key].is_string(), "{key} in {line}");
            }
            if let Some(trace_id) = line["trace_id"].as_str() {
                assert!(trace_id.len() == 32 && line["span_id"].as_str().is_some_and(|id| id.len() == 16), "{line}");
                traces.insert(trace_id.to_owned());
            }
        }
        for word in PRIVATE {
            assert!(!text.contains(word) && !program.stdout().contains(word), "{word} is in the output");
        }
    }
    let seen = collector.seen();
    let failed: Vec<&Span> = seen.spans.iter().filter(|span| span.text("http.response.status_code") == "503").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].kind, failed[0].status), (Kind::Server, 2), "what we failed at is an error");
    assert_eq!(failed[0].text("error.type"), "503");
    assert!(traces.contains(&failed[0].trace_id), "a line tells of the failure: {traces:?}");
    is_private(&collector);
}

#[tokio::test]
async fn why_a_program_can_not_go_on_is_exported() {
    let (collector, taken) = (Collector::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    let start = Start::new("calbridge-service")
        .flag("--grpc", taken.local_addr().unwrap().to_string())
        .flag("--data-dir", TempDir::new().unwrap().path());
    let start = collector.grpc().into_iter().fold(start, |start, (name, value)| start.env(name, value));
    let ended = start.run().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("calbridge-service: --grpc"), "for people: {}", ended.stderr);
    let line = ended.stderr.lines().next().unwrap();
    let line: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{line} is no JSON: {why}"));
    assert!(line["fields"]["error"].as_str().unwrap().contains("--grpc"), "for programs: {line}");
    let told = |seen: &Seen| seen.logs.iter().any(|log| log.body.contains("can't go on")).then_some(());
    collector.wait("its last word", told).await;
}

fn is_private(collector: &Collector) {
    let seen = collector.seen();
    assert!(!seen.logs.is_empty(), "log records are exported");
    let texts = seen.logs.iter().map(|log| format!("{log:?}"));
    let texts = texts.chain(seen.spans.iter().map(|span| format!("{span:?}")));
    let texts = texts.chain(seen.metrics.iter().map(|metric| format!("{metric:?}")));
    for text in texts {
        for word in PRIVATE {
            assert!(!text.contains(word), "{word} is in {text}");
        }
    }
    // The exporter's own connections would feed themselves for ever.
    assert!(seen.spans.iter().all(|span| span.scope == "calbridge"));
}
