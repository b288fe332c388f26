//! Puts telemetry together for a process, and takes it down in bounded time.
//!
//! Whether a trace is sampled is decided before its root is made, and a caller's decision holds unless the sampler says
//! otherwise; what is not sampled costs no spans. Where traces go nowhere, none is.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Identity, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{self, Config};
use crate::logs::Traced;
use crate::metrics::{MetricsPage, meter, observe_lost, scope};
use crate::otlp::{self, Lost};
use crate::sampling::{self, Ids};
use crate::{InitError, Settings, logs, propagation};

/// How long [`Telemetry::shutdown`] may take: with a collector that answers it is over in milliseconds, and one that
/// does not must not eat the grace that an orchestrator gives a process (10 s and more).
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Running telemetry. Dropping it without [`Telemetry::shutdown`] may lose what was not exported yet.
#[derive(Debug)]
pub struct Telemetry {
    page: MetricsPage,
    target: Option<String>,
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    logs: Option<SdkLoggerProvider>,
}

/// Installs telemetry for this process: once, inside a runtime context (the gRPC exporter's connection lives on it),
/// before any instrument is built.
///
/// # Errors
/// A setting that can't be followed; nothing is installed then.
pub fn init(settings: &Settings) -> Result<Telemetry, InitError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(InitError::NoRuntime);
    }
    let config = Config::from_environment(&settings.environment)?;
    if config.follows_parents() {
        propagation::follow_parents();
    }
    let (telemetry, lost) = build(&config, settings)?;
    let spans = telemetry.traces.as_ref().map(span_layer);
    let exported = exported_lines(telemetry.logs.as_ref(), settings)?;
    let lines = logs::layer(settings, std::io::stderr)?;
    let subscriber = tracing_subscriber::registry().with(spans).with(exported).with(lines);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::AlreadyInstalled)?;
    if let Some(metrics) = &telemetry.metrics {
        opentelemetry::global::set_meter_provider(metrics.clone());
        observe_lost(&meter(), lost);
    }
    Ok(telemetry)
}

/// Installs log lines on stderr and nothing else: for a command that somebody waits for.
///
/// # Errors
/// The log filter is none, or a subscriber was installed before.
pub fn log_lines(settings: &Settings) -> Result<(), InitError> {
    let subscriber = tracing_subscriber::registry().with(logs::layer(settings, std::io::stderr)?);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::AlreadyInstalled)
}

/// The layer that exports log lines, or one that does nothing.
pub(crate) fn exported_lines<S>(
    provider: Option<&SdkLoggerProvider>,
    settings: &Settings,
) -> Result<Box<dyn Layer<S> + Send + Sync>, InitError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // No `Option`: one does not tell its layer which dispatch it belongs to. And each layer has a filter: beside one
    // that has none, spans of libraries are made that nobody sees.
    let Some(provider) = provider else { return Ok(Identity::new().with_filter(LevelFilter::OFF).boxed()) };
    let lines = Traced::new(OpenTelemetryTracingBridge::new(provider));
    Ok(lines.with_filter(logs::export_filter(settings)?).boxed())
}

/// The layer that makes OpenTelemetry spans of our `tracing` spans, with no attribute that we did not name. A span is
/// not OpenTelemetry's current one while it is entered: children and log lines ([`Traced`]) find it by `tracing`'s.
pub(crate) fn span_layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope()))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(filter_fn(logs::is_exported_span).with_max_level_hint(LevelFilter::from_level(Level::INFO)))
}

fn build(config: &Config, settings: &Settings) -> Result<(Telemetry, Arc<Lost>), InitError> {
    let lost = Arc::new(Lost::default());
    let page = MetricsPage::default();
    if config.disabled {
        return Ok((Telemetry { page, target: None, traces: None, metrics: None, logs: None }, lost));
    }
    let instance = uuid::Uuid::new_v4().to_string();
    let resource = config::resource(settings.service_name, settings.service_version, instance, &settings.environment);
    let telemetry = Telemetry {
        target: config.traces.as_ref().map(config::Export::target),
        traces: Some(tracer_provider(config, &resource, &lost)?),
        metrics: Some(meter_provider(config, &resource, &lost, &page)?),
        logs: logger_provider(config, &resource, &lost)?,
        page,
    };
    Ok((telemetry, lost))
}

fn tracer_provider(config: &Config, resource: &Resource, lost: &Arc<Lost>) -> Result<SdkTracerProvider, InitError> {
    let provider = SdkTracerProvider::builder().with_resource(resource.clone()).with_id_generator(Ids::default());
    let sampler = if config.traces.is_some() { config.sampler.clone() } else { Sampler::AlwaysOff };
    sampling::decide_by(sampler.clone());
    let provider = provider.with_sampler(sampler);
    Ok(match &config.traces {
        Some(export) => provider.with_batch_exporter(otlp::span_exporter(export, lost)?).build(),
        None => provider.build(),
    })
}

fn meter_provider(
    config: &Config,
    resource: &Resource,
    lost: &Arc<Lost>,
    page: &MetricsPage,
) -> Result<SdkMeterProvider, InitError> {
    let reader = page.reader().map_err(|error| InitError::Exporter(error.to_string()))?;
    let provider = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader);
    Ok(match &config.metrics {
        Some(export) => provider.with_periodic_exporter(otlp::metric_exporter(export, lost)?).build(),
        None => provider.build(),
    })
}

fn logger_provider(
    config: &Config,
    resource: &Resource,
    lost: &Arc<Lost>,
) -> Result<Option<SdkLoggerProvider>, InitError> {
    let Some(export) = &config.logs else { return Ok(None) };
    let exporter = otlp::log_exporter(export, lost)?;
    Ok(Some(SdkLoggerProvider::builder().with_resource(resource.clone()).with_batch_exporter(exporter).build()))
}

impl Telemetry {
    /// What `GET /metrics` shows.
    #[must_use]
    pub fn metrics_page(&self) -> MetricsPage {
        self.page.clone()
    }

    /// Where traces go, as scheme, host, port and protocol; none when they go nowhere.
    #[must_use]
    pub fn export_target(&self) -> Option<String> {
        self.target.clone()
    }

    /// Exports what is left, for at most [`SHUTDOWN_TIMEOUT`]. Blocks: to be called off the runtime, while the
    /// runtime still lives.
    pub fn shutdown(self) {
        run_within(self.shutdowns(), SHUTDOWN_TIMEOUT);
    }

    /// A failure is not worth a word here: the exporters have told what can't be exported.
    fn shutdowns(self) -> Vec<Box<dyn FnOnce() + Send>> {
        let mut shutdowns: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        if let Some(traces) = self.traces {
            shutdowns.push(Box::new(move || drop(traces.shutdown_with_timeout(SHUTDOWN_TIMEOUT))));
        }
        if let Some(metrics) = self.metrics {
            shutdowns.push(Box::new(move || drop(metrics.shutdown_with_timeout(SHUTDOWN_TIMEOUT))));
        }
        if let Some(logs) = self.logs {
            shutdowns.push(Box::new(move || drop(logs.shutdown_with_timeout(SHUTDOWN_TIMEOUT))));
        }
        shutdowns
    }
}

/// Runs each on a thread of its own and leaves behind what takes longer: not every provider of the SDK keeps to the
/// timeout that it is given.
fn run_within(shutdowns: Vec<Box<dyn FnOnce() + Send>>, timeout: Duration) {
    let (done, ended) = mpsc::channel::<()>();
    let mut waiting = 0;
    for shutdown in shutdowns {
        let done = done.clone();
        let spawned = std::thread::Builder::new().name("telemetry-shutdown".to_owned()).spawn(move || {
            shutdown();
            // Nobody listens any more after the timeout.
            let _ = done.send(());
        });
        waiting += usize::from(spawned.is_ok());
    }
    let deadline = Instant::now() + timeout;
    for _ in 0..waiting {
        if ended.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
