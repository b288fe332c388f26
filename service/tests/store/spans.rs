//! What a trace shows of the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use calbridge_service::store::{ClockPolicies, ClockRound, Store};
use opentelemetry::trace::{SpanKind, Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;

use crate::{sqlite::Sqlite, support::*};

#[tokio::test]
async fn each_operation_is_a_client_span_under_its_caller() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    let backend = Sqlite::default();
    let store = backend.open().await;
    async {
        commit(&store, &[created("u1", 1), created("u2", 1)]).await;
        store.confirm(vec![created("u1", 1).delivery().key]).await.unwrap();
        store.head().await.unwrap();
        store.lineage(TENANT, "u1", 0).await.unwrap();
        let clock = Arc::new(ClockPolicies { otherwise: Some(Duration::ZERO), ..ClockPolicies::default() });
        let keys = store.clock_due(NOW, Arc::clone(&clock), Arc::default()).await.unwrap();
        store.hear_clock(ClockRound { keys, now: NOW, clock, trace_id: String::new() }).await.unwrap();
        store.probe().await.unwrap();
        store.close().await;
        store.commit(batch(&[created("u3", 1)])).await.unwrap_err();
    }
    .instrument(info_span!("round"))
    .await;
    provider.force_flush().unwrap();

    let spans = exporter.get_finished_spans().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_ref()).collect();
    assert_eq!(
        names,
        [
            "COMMIT deliveries",
            "SELECT deliveries",
            "SELECT head",
            "SELECT bookings",
            "COMMIT bookings",
            "COMMIT deliveries",
            "round"
        ]
    );
    let round = spans[6].span_context.span_id();
    for span in &spans[..6] {
        assert_eq!(span.span_kind, SpanKind::Client);
        assert_eq!(span.parent_span_id, round);
    }
    let committed = attributes(&spans[0]);
    let expected = [
        ("db.collection.name", "deliveries"),
        ("db.namespace", "calbridge.db"),
        ("db.operation.batch.size", "2"),
        ("db.operation.name", "COMMIT"),
        ("db.query.summary", "COMMIT deliveries"),
        ("db.system.name", "sqlite"),
    ];
    for (name, value) in expected {
        assert_eq!(committed.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(spans[0].status, Status::Unset);
    assert!(!attributes(&spans[1]).contains_key("db.operation.batch.size"));
    let heard = attributes(&spans[4]);
    assert_eq!(heard.get("db.collection.name").map(String::as_str), Some("bookings"));
    assert_eq!(heard.get("db.operation.batch.size").map(String::as_str), Some("2"));
    assert!(matches!(spans[5].status, Status::Error { .. }));
    assert_eq!(attributes(&spans[5]).get("error.type").map(String::as_str), Some("unavailable"));
}

#[tokio::test]
async fn a_refusal_of_the_database_shows_its_code() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    let backend = Sqlite::default();
    let store = backend.open().await;
    let other = backend.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.commit(batch(&[created("u1", 1)])).await.unwrap_err();
    provider.force_flush().unwrap();
    let spans = exporter.get_finished_spans().unwrap();
    let code = attributes(&spans[0]).get("db.response.status_code").cloned();
    assert_eq!(code.as_deref(), Some("5"), "SQLITE_BUSY");
}

fn attributes(span: &SpanData) -> BTreeMap<String, String> {
    span.attributes.iter().map(|attribute| (attribute.key.to_string(), attribute.value.to_string())).collect()
}
