//! Telemetry of every calbridge program: traces, metrics and logs over OTLP, propagation of the W3C trace context,
//! the names of [`semconv`], and the admin listener that shows health, readiness and metrics.
//!
//! Telemetry never gets in the way: an export that fails or stalls costs telemetry alone, and is bounded at exit.

pub mod admin;
mod bound;
mod config;
mod logs;
mod metrics;
mod otlp;
pub mod propagation;
pub mod readiness;
pub mod rpc;
pub mod sampling;
pub mod semconv;
mod setup;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use crate::bound::{Bind, Bound};
pub use crate::logs::AUDIT;
pub use crate::metrics::{MetricsPage, meter};
pub use crate::readiness::{Check, Readiness};
pub use crate::setup::{SHUTDOWN_TIMEOUT, Telemetry, init, log_lines};

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
        /// Its value. None of the variables that are refused holds a secret.
        value: String,
        /// What it should be.
        mend: String,
    },
    /// The log filter is not one; mend it.
    #[error("the log filter {filter:?} can't be read ({reason}); it looks like \"info\" or \"warn,calbridge=debug\"")]
    LogFilter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An exporter can't be built from its variables; mend them.
    #[error("telemetry can't be exported as OTEL_EXPORTER_OTLP_* asks: {0}")]
    Exporter(String),
    /// Another subscriber was installed before; install one.
    #[error("telemetry is installed already")]
    AlreadyInstalled,
    /// Called outside a runtime; enter it first.
    #[error("telemetry needs a runtime to live on")]
    NoRuntime,
}

impl InitError {
    fn variable(variable: String, value: String, mend: &str) -> Self {
        Self::Variable { variable, value, mend: mend.to_owned() }
    }
}
