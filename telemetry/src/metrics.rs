//! Metrics: the meter our instruments come from, and the page that Prometheus reads.
//!
//! Instruments are declared once, in each room's `metrics.rs`, with the names, units and bucket boundaries of
//! [`semconv`]. Prometheus sees a name with underscores, the unit and `_total`: `calbridge.ingest.accepted` is
//! `calbridge_ingest_accepted_total`.

use opentelemetry::metrics::Meter;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TextEncoder};

use crate::otlp::Lost;
use crate::semconv;

/// The scope of every span and metric of ours.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(semconv::SCOPE).with_schema_url(semconv::SCHEMA_URL).build()
}

/// The meter that every instrument of ours comes from. Before [`crate::init`] it counts nothing, for ever: build
/// instruments after it.
#[must_use]
pub fn meter() -> Meter {
    opentelemetry::global::meter_with_scope(scope())
}

/// What `GET /metrics` shows: a cheap handle on the process's metrics. The default one is empty.
#[derive(Clone, Debug, Default)]
pub struct MetricsPage {
    registry: Registry,
}

impl MetricsPage {
    /// The page in the Prometheus text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::warn!(%error, "the metrics page can't be written");
            String::new()
        })
    }

    /// The reader that fills this page.
    ///
    /// # Errors
    /// The page has a reader already.
    pub(crate) fn reader(&self) -> Result<PrometheusExporter, opentelemetry_sdk::error::OTelSdkError> {
        opentelemetry_prometheus::exporter()
            .with_registry(self.registry.clone())
            // All metrics are of one scope: its labels on every line would only cost.
            .scope_info_enabled(false)
            .build()
    }
}

/// Shows what telemetry itself has lost.
pub(crate) fn observe_lost(meter: &Meter, lost: std::sync::Arc<Lost>) {
    // The instrument lives in the meter provider, which keeps the callback.
    let _ = meter
        .u64_observable_counter(semconv::metric::TELEMETRY_LOST)
        .with_description("Spans, log records and metric collections whose export failed")
        .with_callback(move |observer| {
            for (signal, count) in lost.counts() {
                observer.observe(count, &[KeyValue::new(semconv::SIGNAL, signal.name())]);
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::metrics::SdkMeterProvider;

    use super::*;

    #[test]
    fn the_page_has_prometheus_names_and_our_buckets() {
        let page = MetricsPage::default();
        let provider = SdkMeterProvider::builder().with_reader(page.reader().unwrap()).build();
        let meter = provider.meter_with_scope(scope());

        let accepted = meter
            .u64_counter(semconv::metric::INGEST_ACCEPTED)
            .with_unit(semconv::unit::DELIVERIES)
            .with_description("Deliveries answered with a 2xx")
            .build();
        accepted.add(3, &[KeyValue::new(semconv::TRIGGER, "BOOKING_CREATED")]);
        let duration = meter
            .f64_histogram(semconv::metric::HTTP_SERVER_REQUEST_DURATION)
            .with_unit(semconv::unit::SECONDS)
            .with_boundaries(semconv::bucket::DURATION.to_vec())
            .build();
        duration.record(0.02, &[KeyValue::new(semconv::HTTP_ROUTE, "/webhooks/calcom/{tenant}")]);
        observe_lost(&meter, std::sync::Arc::new(Lost::default()));

        let text = page.render();
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "# TYPE calbridge_ingest_accepted_total counter",
            "# HELP calbridge_ingest_accepted_total Deliveries answered with a 2xx",
            "calbridge_ingest_accepted_total{calbridge_trigger=\"BOOKING_CREATED\"} 3",
            "# TYPE http_server_request_duration_seconds histogram",
            "http_server_request_duration_seconds_bucket{http_route=\"/webhooks/calcom/{tenant}\",le=\"0.01\"} 0",
            "http_server_request_duration_seconds_bucket{http_route=\"/webhooks/calcom/{tenant}\",le=\"0.025\"} 1",
            "http_server_request_duration_seconds_count{http_route=\"/webhooks/calcom/{tenant}\"} 1",
            "calbridge_telemetry_lost_total{calbridge_telemetry_signal=\"traces\"} 0",
        ] {
            assert!(lines.contains(&line), "no {line:?} in\n{text}");
        }
    }

    #[test]
    fn an_empty_page_is_empty() {
        assert_eq!(MetricsPage::default().render(), "");
    }
}
