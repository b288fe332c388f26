//! What the standard `OTEL_*` variables ask for: whether, where and how each signal is exported, the sampler and the
//! resource. Pure: the environment comes in as a function, nothing is opened.
//!
//! A value that can't be followed ends the start with the variable's name, rather than losing telemetry in silence.
//! The tuning of queues and intervals (`OTEL_BSP_*`, `OTEL_BLRP_*`, `OTEL_METRIC_EXPORT_INTERVAL`, the span limits),
//! `OTEL_EXPORTER_OTLP_HEADERS` and `_INSECURE` are read by the SDK itself.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::Sampler;
use url::Url;

use crate::{InitError, semconv};

/// How long one export may take when no variable says otherwise; the specification's default.
const EXPORT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Reads one variable; an empty one is as good as unset, as the specification has it.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// All that the variables say.
#[derive(Debug)]
pub(crate) struct Config {
    /// `OTEL_SDK_DISABLED`: no spans, no metrics, no export; logs on stderr alone.
    pub(crate) disabled: bool,
    pub(crate) traces: Option<Export>,
    pub(crate) metrics: Option<Export>,
    pub(crate) logs: Option<Export>,
    pub(crate) sampler: Sampler,
}

/// Where and how one signal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    pub(crate) protocol: Protocol,
    /// The whole URL: with `http/protobuf` the signal's path is part of it.
    pub(crate) endpoint: String,
    pub(crate) timeout: Duration,
    /// A file of PEM certificates to trust besides the well-known authorities.
    pub(crate) certificate: Option<String>,
    /// Files of the PEM certificate and key that are shown to the collector.
    pub(crate) identity: Option<Identity>,
}

/// What a collector knows us by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The two ways of OTLP that calbridge speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// One of the three kinds of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Config {
    /// Reads the variables.
    pub(crate) fn from_environment(environment: Environment<'_>) -> Result<Self, InitError> {
        let environment = &|name: &str| environment(name).filter(|value| !value.trim().is_empty());
        if environment("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Self { disabled: true, traces: None, metrics: None, logs: None, sampler: Sampler::AlwaysOff });
        }
        Ok(Self {
            disabled: false,
            traces: Export::of(Signal::Traces, environment)?,
            metrics: Export::of(Signal::Metrics, environment)?,
            logs: Export::of(Signal::Logs, environment)?,
            sampler: sampler(environment)?,
        })
    }
}

impl Config {
    /// Whether a trace that its parent left out is left out here as well.
    pub(crate) fn follows_parents(&self) -> bool {
        self.traces.is_none() || matches!(self.sampler, Sampler::ParentBased(_))
    }
}

impl Export {
    /// None when the signal is switched off, or when nobody said where to send it.
    fn of(signal: Signal, environment: Environment<'_>) -> Result<Option<Self>, InitError> {
        let exporter = signal.exporter(environment)?;
        if exporter == Exporter::None {
            return Ok(None);
        }
        let protocol = signal.protocol(environment)?;
        let Some(endpoint) = signal.endpoint(protocol, exporter, environment)? else { return Ok(None) };
        let timeout = match signal.variable("TIMEOUT", environment) {
            None => EXPORT_TIMEOUT_DEFAULT,
            Some((variable, value)) => match value.trim().parse() {
                Ok(milliseconds) => Duration::from_millis(milliseconds),
                Err(_) => return Err(InitError::variable(variable, value, "it takes a whole number of milliseconds")),
            },
        };
        let certificate = signal.variable("CERTIFICATE", environment).map(|(_, path)| path);
        let identity = signal.identity(environment)?;
        Ok(Some(Self { protocol, endpoint, timeout, certificate, identity }))
    }

    /// The collector's scheme, host and port: what may be shown, for the rest of a URL can hold a key.
    pub(crate) fn target(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::HttpProtobuf => "http/protobuf",
        };
        format!("{} ({protocol})", without_keys(&self.endpoint))
    }
}

/// An endpoint's scheme, host and port alone. Where a password may stand between them, not even those.
fn without_keys(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_at(endpoint.find("://").map_or(0, |end| end + "://".len()));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}{}", if rest.contains('@') { "\u{2026}" } else { host })
}

/// What `OTEL_<SIGNAL>_EXPORTER` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exporter {
    /// Nothing: export if there is an endpoint.
    Unset,
    Otlp,
    None,
}

impl Signal {
    /// The value of [`semconv::SIGNAL`].
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// The signal's own variable, else the one for all signals, with its name.
    fn variable(self, what: &str, environment: Environment<'_>) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_{}_{what}", self.word()), format!("OTEL_EXPORTER_OTLP_{what}")]
            .into_iter()
            .find_map(|name| environment(&name).map(|value| (name, value)))
    }

    fn identity(self, environment: Environment<'_>) -> Result<Option<Identity>, InitError> {
        let files = (self.variable("CLIENT_CERTIFICATE", environment), self.variable("CLIENT_KEY", environment));
        match files {
            (Some((_, certificate)), Some((_, key))) => Ok(Some(Identity { certificate, key })),
            (None, None) => Ok(None),
            (Some((variable, path)), None) => {
                Err(InitError::variable(variable, path, "OTEL_EXPORTER_OTLP_CLIENT_KEY is not set: they go together"))
            }
            (None, Some((variable, path))) => {
                let mend = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is not set: they go together";
                Err(InitError::variable(variable, path, mend))
            }
        }
    }

    fn exporter(self, environment: Environment<'_>) -> Result<Exporter, InitError> {
        let variable = format!("OTEL_{}_EXPORTER", self.word());
        let Some(value) = environment(&variable) else { return Ok(Exporter::Unset) };
        match value.trim() {
            "none" => Ok(Exporter::None),
            "otlp" => Ok(Exporter::Otlp),
            // The page at /metrics is always there, so this asks for it alone.
            "prometheus" if self == Self::Metrics => Ok(Exporter::None),
            _ => Err(InitError::variable(variable, value, "calbridge exports by \"otlp\" or not at all (\"none\")")),
        }
    }

    fn protocol(self, environment: Environment<'_>) -> Result<Protocol, InitError> {
        match self.variable("PROTOCOL", environment) {
            // The specification's default.
            None => Ok(Protocol::HttpProtobuf),
            Some((variable, value)) => match value.trim() {
                "grpc" => Ok(Protocol::Grpc),
                "http/protobuf" => Ok(Protocol::HttpProtobuf),
                _ => Err(InitError::variable(variable, value, "calbridge speaks \"grpc\" and \"http/protobuf\"")),
            },
        }
    }

    fn endpoint(
        self,
        protocol: Protocol,
        exporter: Exporter,
        environment: Environment<'_>,
    ) -> Result<Option<String>, InitError> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", self.word());
        let (variable, value, base) = match (environment(&own), environment("OTEL_EXPORTER_OTLP_ENDPOINT"), exporter) {
            (Some(value), _, _) => (own, value, false),
            (None, Some(value), _) => ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), value, true),
            // Whoever asks for OTLP by name and says no place gets the specification's.
            (None, None, Exporter::Otlp) => {
                let port = if protocol == Protocol::Grpc { 4317 } else { 4318 };
                (own, format!("http://localhost:{port}"), true)
            }
            (None, None, _) => return Ok(None),
        };
        let endpoint = value.trim();
        let refused = |mend: &str| Err(InitError::variable(variable.clone(), without_keys(endpoint), mend));
        if endpoint.contains('@') {
            return refused(
                "a user and password belong into OTEL_EXPORTER_OTLP_HEADERS, where no log shows them, and another @ is \
                written %40",
            );
        }
        if let (true, Err(error)) = (endpoint.contains("://"), Url::parse(endpoint)) {
            return refused(&format!("it is not a URL: {error}"));
        }
        let url = endpoint.starts_with("http://") || endpoint.starts_with("https://");
        match protocol {
            // Without a scheme OTEL_EXPORTER_OTLP_INSECURE decides, which the SDK reads.
            Protocol::Grpc if url || !endpoint.contains("://") => Ok(Some(endpoint.to_owned())),
            Protocol::HttpProtobuf if url && base => {
                Ok(Some(format!("{}/v1/{}", endpoint.trim_end_matches('/'), self.name())))
            }
            Protocol::HttpProtobuf if url => Ok(Some(endpoint.to_owned())),
            _ => refused("it takes a URL that begins with http:// or https://"),
        }
    }
}

fn sampler(environment: Environment<'_>) -> Result<Sampler, InitError> {
    const VARIABLE: &str = "OTEL_TRACES_SAMPLER";
    let parent_based = |root| Sampler::ParentBased(Box::new(root));
    let Some(value) = environment(VARIABLE) else { return Ok(parent_based(Sampler::AlwaysOn)) };
    Ok(match value.trim() {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio(environment)?),
        "parentbased_always_on" => parent_based(Sampler::AlwaysOn),
        "parentbased_always_off" => parent_based(Sampler::AlwaysOff),
        "parentbased_traceidratio" => parent_based(Sampler::TraceIdRatioBased(ratio(environment)?)),
        _ => {
            let mend = "it takes always_on, always_off, traceidratio, or one of these after parentbased_";
            return Err(InitError::variable(VARIABLE.to_owned(), value, mend));
        }
    })
}

fn ratio(environment: Environment<'_>) -> Result<f64, InitError> {
    const VARIABLE: &str = "OTEL_TRACES_SAMPLER_ARG";
    let Some(value) = environment(VARIABLE) else { return Ok(1.0) };
    match value.trim().parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(InitError::variable(VARIABLE.to_owned(), value, "it takes a number from 0 to 1")),
    }
}

/// Who this process is. `OTEL_SERVICE_NAME` wins over `OTEL_RESOURCE_ATTRIBUTES`, which wins over our own.
pub(crate) fn resource(
    service_name: &'static str,
    service_version: &'static str,
    instance_id: String,
    environment: Environment<'_>,
) -> Resource {
    let mut attributes = vec![
        KeyValue::new(semconv::SERVICE_NAME, service_name),
        KeyValue::new(semconv::SERVICE_VERSION, service_version),
        KeyValue::new(semconv::SERVICE_NAMESPACE, semconv::SERVICE_NAMESPACE_VALUE),
        KeyValue::new(semconv::SERVICE_INSTANCE_ID, instance_id),
    ];
    let given = environment("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    attributes.extend(given.split(',').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then(|| KeyValue::new(key.to_owned(), value.trim().to_owned()))
    }));
    if let Some(name) = environment("OTEL_SERVICE_NAME").filter(|name| !name.trim().is_empty()) {
        attributes.push(KeyValue::new(semconv::SERVICE_NAME, name.trim().to_owned()));
    }
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_schema_url(attributes, semconv::SCHEMA_URL)
        .build()
}

#[cfg(test)]
mod tests;
