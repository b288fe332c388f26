//! The numbers: by OTLP and on `/metrics`, under the names of the conventions.

use calbridge_calcom::golden;
use calbridge_e2e::{
    collector::{Attributes, Collector},
    system::{Plan, SECRET, TENANT},
    v1::Trigger,
};

use super::{created, expect::SCHEMA_URL, golden as golden_of, send};

/// The boundaries that the conventions advise for durations, in seconds.
const DURATION: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Who makes it, its name, its unit, its name for Prometheus.
const METRICS: &[(&str, &str, &str, &str)] = &[
    ("calbridge-adapter", "http.server.request.duration", "s", "http_server_request_duration_seconds"),
    ("calbridge-adapter", "http.server.active_requests", "{request}", "http_server_active_requests"),
    ("calbridge-adapter", "http.server.request.body.size", "By", "http_server_request_body_size_bytes"),
    ("calbridge-adapter", "calbridge.ingest.accepted", "{delivery}", "calbridge_ingest_accepted_total"),
    ("calbridge-adapter", "calbridge.ingest.ack.duration", "s", "calbridge_ingest_ack_duration_seconds"),
    ("calbridge-adapter", "calbridge.signature.verifications", "", "calbridge_signature_verifications_total"),
    ("calbridge-adapter", "messaging.client.sent.messages", "{message}", "messaging_client_sent_messages_total"),
    ("calbridge-adapter", "messaging.client.operation.duration", "s", "messaging_client_operation_duration_seconds"),
    ("calbridge-service", "rpc.server.call.duration", "s", "rpc_server_call_duration_seconds"),
    ("calbridge-service", "db.client.operation.duration", "s", "db_client_operation_duration_seconds"),
    ("calbridge-service", "messaging.process.duration", "s", "messaging_process_duration_seconds"),
    ("calbridge-service", "calbridge.e2e.visible.duration", "s", "calbridge_e2e_visible_duration_seconds"),
    (
        "calbridge-service",
        "messaging.client.consumed.messages",
        "{message}",
        "messaging_client_consumed_messages_total",
    ),
    ("calbridge-service", "calbridge.freshness.duration", "s", "calbridge_freshness_duration_seconds"),
    ("calbridge-service", "calbridge.dedupe.hits", "{delivery}", "calbridge_dedupe_hits_total"),
    (
        "calbridge-service",
        "calbridge.dedupe.redis_disagreements",
        "{delivery}",
        "calbridge_dedupe_redis_disagreements_total",
    ),
];

#[tokio::test]
async fn every_number_arrives_by_otlp_and_stands_on_the_page() {
    let collector = Collector::start();
    let mut system = Plan::new().export(collector.http()).start().await;
    let body = created("metricAA");
    assert_eq!(send(&system, &body).await.outcome(), "applied");
    assert_eq!(send(&system, &body).await.outcome(), "duplicate");
    assert_eq!(system.sender().send(TENANT, "wrong", body).await.status, 401);
    let unknown = golden::body(Trigger::Unspecified, &golden_of("metricBB"));
    assert_eq!(system.sender().send(TENANT, SECRET, unknown).await.outcome(), "recorded");
    assert_eq!(system.sender().send(TENANT, SECRET, "false").await.outcome(), "unparsed");
    system.api().booking(TENANT, "metricAA").await.unwrap();

    let pages = [system.adapter_metrics().await, system.service_metrics().await];
    let page = |service: &str| if service == "calbridge-adapter" { &pages[0] } else { &pages[1] };
    for (service, _, _, prometheus) in METRICS {
        assert!(page(service).has(prometheus), "{service} does not show {prometheus}");
    }
    let counted = |name: &str, labels: &[&str]| page("calbridge-adapter").sum(name, labels);
    let accepted = |trigger: &str, disposition: &str| {
        counted(
            "calbridge_ingest_accepted_total",
            &[
                &format!("calbridge_trigger=\"{trigger}\""),
                &format!("calbridge_delivery_disposition=\"{disposition}\""),
            ],
        )
    };
    let numbers = [
        (accepted("BOOKING_CREATED", "accepted"), 2.0),
        (accepted("_OTHER", "accepted"), 1.0),
        (accepted("_OTHER", "unparsed"), 1.0),
        (counted("calbridge_signature_verifications_total", &["calbridge_result=\"valid\""]), 4.0),
        (counted("calbridge_signature_verifications_total", &["calbridge_result=\"invalid\""]), 1.0),
        (counted("http_server_request_duration_seconds_count", &["http_response_status_code=\"200\""]), 4.0),
        (counted("http_server_request_duration_seconds_count", &["http_response_status_code=\"401\""]), 1.0),
        (counted("http_server_active_requests", &[]), 0.0),
        (counted("messaging_client_sent_messages_total", &[]), 4.0),
        (counted("messaging_client_operation_duration_seconds_count", &[]), 4.0),
        (page("calbridge-service").sum("calbridge_dedupe_hits_total", &[]), 1.0),
        (page("calbridge-service").sum("calbridge_e2e_visible_duration_seconds_count", &[]), 3.0),
        // The template's body has no time.
        (page("calbridge-service").sum("calbridge_freshness_duration_seconds_count", &[]), 2.0),
        (page("calbridge-service").sum("messaging_client_consumed_messages_total", &[]), 4.0),
    ];
    for (number, (found, wanted)) in numbers.into_iter().enumerate() {
        assert!((found - wanted).abs() < f64::EPSILON, "number {number} is {found}, expected {wanted}");
    }
    system.stop().await;
    are_exported(&collector);
}

fn are_exported(collector: &Collector) {
    let seen = collector.seen();
    for (service, name, unit, _) in METRICS {
        let metric = seen.metric(service, name).unwrap_or_else(|| panic!("{service} does not export {name}"));
        assert!(unit.is_empty() || metric.unit == *unit, "{name} has unit {}", metric.unit);
        assert_eq!(metric.schema_url, SCHEMA_URL, "{name}");
        for point in &metric.points {
            carry_nobody(name, &point.attributes);
        }
        if ["http.server.request.duration", "rpc.server.call.duration"].contains(name) {
            assert_eq!(metric.bounds, DURATION, "{name}");
        }
    }
}

/// Neither a booking, nor a person, nor a path as it was sent.
fn carry_nobody(name: &str, attributes: &Attributes) {
    for (key, value) in attributes {
        let told = value.to_string();
        assert!(
            !told.contains("metricAA") && !told.contains('@') && !told.contains("/default"),
            "{name}: {key}={told}"
        );
    }
}
