//! Metrics as Prometheus reads them.

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::Meter;

use crate::semconv;

/// The meter that every instrument of ours comes from. Before [`crate::init`] it counts nothing, for ever: build
/// instruments after it.
#[must_use]
pub fn meter() -> Meter {
    let scope = InstrumentationScope::builder(semconv::SCOPE).with_schema_url(semconv::SCHEMA_URL).build();
    opentelemetry::global::meter_with_scope(scope)
}

/// What `GET /metrics` shows: a cheap handle on the process's metrics.
#[derive(Clone, Debug, Default)]
pub struct MetricsPage {
    registry: prometheus::Registry,
}

impl MetricsPage {
    /// The page in the Prometheus text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
