//! Log lines on stderr: which ones, and how they look. Stdout is left to what a program prints on purpose.
//!
//! The filter decides about log lines alone. Spans are made whatever it says, so that `--log warn` costs no trace.

use std::io::IsTerminal;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Filter;
use tracing_subscriber::registry::LookupSpan;

use self::format::{Json, Text};
pub(crate) use self::traced::Traced;
use crate::{InitError, LogFormat, Settings};

mod format;
mod traced;

/// Ours from `info`, everybody else's from `warn`. The exporters' own words about a failure are left out: they come
/// with every try, and `otlp` says the same once.
const FILTER_DEFAULT: &str = "warn,calbridge=info,opentelemetry-otlp=off";

/// The module whose lines say who read personal data: no filter leaves them out.
pub const AUDIT: &str = "calbridge_service::audit";

/// Every target of ours begins with this.
const OURS: &str = "calbridge";

/// Where the exporters' own events come from. They may be shown, but never exported: each export would make more.
const EXPORTERS: [&str; 8] =
    ["opentelemetry", "calbridge_telemetry::otlp", "hyper", "h2", "tonic", "tower", "reqwest", "rustls"];

/// What the SDK warns of when a task is dropped with its runtime, after telemetry has ended: as it should be.
const EXPECTED_AT_EXIT: [&str; 2] = ["BatchSpanProcessor.OnEnd.AfterShutdown", "BatchLogProcessor.Emit.AfterShutdown"];

/// The layer that writes log lines to `writer` in the format that the settings ask for. It sees no spans: it would
/// write the fields of each into a text that no line shows.
pub(crate) fn layer<S, W>(settings: &Settings, writer: W) -> Result<Box<dyn Layer<S> + Send + Sync>, InitError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let wanted =
        filter_fn(|metadata: &Metadata<'_>| metadata.is_event() && !EXPECTED_AT_EXIT.contains(&metadata.name()));
    let filter = filter(settings)?.and(wanted);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    Ok(match settings.log_format.resolved() {
        LogFormat::Json => Traced::new(layer.with_ansi(false).event_format(Json)).with_filter(filter).boxed(),
        _ => Traced::new(layer.with_ansi(colours(settings)).event_format(Text)).with_filter(filter).boxed(),
    })
}

/// What of the log is exported: the same lines, without those that exporting makes.
pub(crate) fn export_filter<S>(settings: &Settings) -> Result<impl Filter<S> + use<S>, InitError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Ok(filter(settings)?.and(filter_fn(|metadata| metadata.is_event() && !is_of_exporters(metadata))))
}

/// What becomes a span of a trace: our spans. Log lines stay log lines and are not repeated as span events.
pub(crate) fn is_exported_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target().starts_with(OURS)
}

fn is_of_exporters(metadata: &Metadata<'_>) -> bool {
    EXPORTERS.iter().any(|target| metadata.target().starts_with(target))
}

fn filter<S: Subscriber>(settings: &Settings) -> Result<impl Filter<S> + use<S>, InitError> {
    let directives = settings.log_filter.as_deref().unwrap_or(FILTER_DEFAULT);
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|error| InitError::LogFilter { filter: directives.to_owned(), reason: error.to_string() })?;
    let audit = Targets::new().with_target(AUDIT, Level::INFO);
    Ok(filter.or(audit))
}

/// `NO_COLOR` (no-color.org) is how people ask for none.
fn colours(settings: &Settings) -> bool {
    std::io::stderr().is_terminal() && (settings.environment)("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl LogFormat {
    fn resolved(self) -> Self {
        match self {
            Self::Auto if std::io::stderr().is_terminal() => Self::Text,
            Self::Auto => Self::Json,
            chosen => chosen,
        }
    }
}

/// The fields of one event as JSON values, the message apart.
#[derive(Default)]
struct Fields {
    message: String,
    others: serde_json::Map<String, serde_json::Value>,
}

impl Fields {
    fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    fn put(&mut self, field: &Field, value: impl Into<serde_json::Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests;
