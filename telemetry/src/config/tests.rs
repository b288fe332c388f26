//! Each variable's meaning, and each value that must be refused by name.

use opentelemetry::{Key, Value};
use proptest::prelude::*;

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, InitError> {
    Config::from_environment(&|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

fn export(protocol: Protocol, endpoint: &str) -> Export {
    Export {
        protocol,
        endpoint: endpoint.to_owned(),
        timeout: EXPORT_TIMEOUT_DEFAULT,
        certificate: None,
        identity: None,
    }
}

#[test]
fn nothing_is_exported_until_somebody_says_where() {
    let config = read(&[]).unwrap();
    assert!(!config.disabled);
    assert_eq!((config.traces, config.metrics, config.logs), (None, None, None));
    assert_eq!(format!("{:?}", config.sampler), "ParentBased(AlwaysOn)");
    // An empty variable is an unset one.
    assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_TRACES_SAMPLER", "")]).unwrap().traces, None);
}

#[test]
fn one_endpoint_serves_all_signals() {
    for endpoint in ["http://collector:4318", "http://collector:4318/"] {
        let config = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).unwrap();
        assert_eq!(config.traces, Some(export(Protocol::HttpProtobuf, "http://collector:4318/v1/traces")));
        assert_eq!(config.metrics, Some(export(Protocol::HttpProtobuf, "http://collector:4318/v1/metrics")));
        assert_eq!(config.logs, Some(export(Protocol::HttpProtobuf, "http://collector:4318/v1/logs")));
    }
    let config =
        read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap();
    assert_eq!(config.traces, Some(export(Protocol::Grpc, "http://c:4317")), "grpc knows no paths");
}

#[test]
fn a_signals_own_variables_win() {
    let config = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/in?key=k"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "250"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
    ])
    .unwrap();
    let traces = config.traces.unwrap();
    assert_eq!(traces.endpoint, "https://traces.example/in?key=k", "as it is, no path added");
    assert_eq!(traces.timeout, Duration::from_millis(1500));
    assert_eq!(traces.certificate.as_deref(), Some("/etc/ca.pem"));
    assert_eq!(config.metrics.unwrap().protocol, Protocol::Grpc);
    assert_eq!(config.logs.unwrap().timeout, Duration::from_millis(250));
}

#[test]
fn signals_are_switched_off_one_by_one() {
    let config = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
    ])
    .unwrap();
    assert_eq!((config.traces, config.metrics), (None, None));
    assert!(config.logs.is_some());

    let config = read(&[("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]).unwrap();
    assert!(config.disabled);
    assert_eq!(config.traces, None);
}

#[test]
fn otlp_by_name_has_a_default_place() {
    let config = read(&[("OTEL_TRACES_EXPORTER", "otlp")]).unwrap();
    assert_eq!(config.traces, Some(export(Protocol::HttpProtobuf, "http://localhost:4318/v1/traces")));
    assert_eq!(config.logs, None);
    let config = read(&[("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap();
    assert_eq!(config.traces, Some(export(Protocol::Grpc, "http://localhost:4317")));
}

#[test]
fn what_can_not_be_followed_is_refused_by_name() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC"),
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_TRACES_EXPORTER", "prometheus"),
        ("OTEL_LOGS_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://collector"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
    ] {
        let error = read(&[(variable, value), endpoint]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{variable} is {value:?}, but ")), "{error}");
    }
}

#[test]
fn samplers_are_those_of_the_specification() {
    let root = |name, argument| match read(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)]) {
        Ok(config) => format!("{:?}", config.sampler),
        Err(error) => error.to_string(),
    };
    assert_eq!(root("always_on", ""), "AlwaysOn");
    assert_eq!(root("always_off", ""), "AlwaysOff");
    assert_eq!(root("traceidratio", "0.25"), "TraceIdRatioBased(0.25)");
    assert_eq!(root("traceidratio", ""), "TraceIdRatioBased(1.0)");
    assert_eq!(root("parentbased_always_off", ""), "ParentBased(AlwaysOff)");
    assert_eq!(root("parentbased_traceidratio", "0"), "ParentBased(TraceIdRatioBased(0.0))");
    assert!(root("traceidratio", "25%").starts_with("OTEL_TRACES_SAMPLER_ARG is \"25%\""));
    assert!(root("traceidratio", "1.5").starts_with("OTEL_TRACES_SAMPLER_ARG is \"1.5\""));
}

#[test]
fn the_shown_target_keeps_keys_to_itself() {
    let config = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://in.example:443/key/abc?token=t")]).unwrap();
    assert_eq!(config.traces.unwrap().target(), "https://in.example:443 (http/protobuf)");
    let config =
        read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap();
    assert_eq!(config.traces.unwrap().target(), "collector:4317 (grpc)");
    for (endpoint, shown) in [
        ("htps://in.example/key?token=pass", "htps://in.example"),
        ("https://in.example:port/pass", "https://in.example:port"),
        ("https://user:pass@in.example/key", "https://\u{2026}"),
        ("https://user:1/pass@in.example/key", "https://\u{2026}"),
        ("https://user:pa ss@in.example/key", "https://\u{2026}"),
    ] {
        let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("OTEL_EXPORTER_OTLP_ENDPOINT is \"{shown}\", but")), "{error}");
        assert!(!error.contains("pass") || error.contains("password"), "{error}");
    }
}

#[test]
fn a_client_certificate_comes_with_its_key() {
    let with =
        |variables: &[(&str, &str)]| read(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318")], variables].concat());
    let (certificate, key) = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY");
    for (one, other) in [(certificate, "CLIENT_KEY"), (key, "CLIENT_CERTIFICATE")] {
        let error = with(&[(one, "/etc/one.pem")]).unwrap_err().to_string();
        assert!(error.starts_with(one) && error.contains(&format!("OTEL_EXPORTER_OTLP_{other} is not set")), "{error}");
    }
    let both =
        [("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/etc/one.pem"), ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/etc/one.key")];
    let identity = with(&both).unwrap().traces.unwrap().identity.unwrap();
    assert_eq!((identity.certificate.as_str(), identity.key.as_str()), ("/etc/one.pem", "/etc/one.key"));
}

#[test]
fn the_environment_may_rename_the_service() {
    let with = |variables: &'static [(&'static str, &'static str)]| {
        resource("calbridge-adapter", "1.2.3", "instance".to_owned(), &move |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let get =
        |resource: &Resource, key: &'static str| resource.get(&Key::new(key)).map(|value: Value| value.to_string());

    let plain = with(&[]);
    assert_eq!(get(&plain, "service.name").as_deref(), Some("calbridge-adapter"));
    assert_eq!(get(&plain, "service.version").as_deref(), Some("1.2.3"));
    assert_eq!(get(&plain, "service.namespace").as_deref(), Some("calbridge"));
    assert_eq!(get(&plain, "service.instance.id").as_deref(), Some("instance"));
    assert_eq!(get(&plain, "telemetry.sdk.language").as_deref(), Some("rust"));
    assert_eq!(get(&plain, "deployment.environment.name"), None);
    assert_eq!(plain.schema_url(), Some(semconv::SCHEMA_URL));

    let named = with(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=other, deployment.environment.name=prod,junk,=x")]);
    assert_eq!(get(&named, "service.name").as_deref(), Some("other"));
    assert_eq!(get(&named, "deployment.environment.name").as_deref(), Some("prod"));

    let both = with(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=other"), ("OTEL_SERVICE_NAME", "third")]);
    assert_eq!(get(&both, "service.name").as_deref(), Some("third"));
}

proptest! {
    /// Whatever the variables hold, the answer is a configuration or an error that names one of them.
    #[test]
    fn no_value_is_too_strange(values in prop::collection::vec("\\PC{0,20}|https?://\\PC{0,20}", 5)) {
        let names = [
            "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
        ];
        let variables: Vec<_> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
        match read(&variables) {
            Ok(config) => drop(config.traces.map(|export| export.target())),
            Err(error) => prop_assert!(names.iter().any(|name| error.to_string().starts_with(name)), "{error}"),
        }
    }
}
