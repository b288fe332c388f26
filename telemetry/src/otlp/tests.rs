//! Exporters under watch, and the certificates they trust.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as SpanExporterTrait};

use super::*;
use crate::config::Identity;

#[derive(Debug, Default)]
struct Moody {
    failing: Arc<AtomicBool>,
}

impl SpanExporterTrait for Moody {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        if self.failing.load(Ordering::Relaxed) {
            Err(OTelSdkError::InternalFailure("away".to_owned()))
        } else {
            Ok(())
        }
    }
}

fn https(protocol: Protocol, certificate: Option<&str>) -> Export {
    Export {
        protocol,
        endpoint: "https://collector.example:4318".to_owned(),
        timeout: Duration::from_secs(1),
        certificate: certificate.map(str::to_owned),
        identity: None,
    }
}

#[tokio::test]
async fn failures_are_counted_and_told_to_nobody_twice() {
    let failing = Arc::new(AtomicBool::new(true));
    let lost = Arc::new(Lost::default());
    let watched = Watched::new(Signal::Traces, Moody { failing: Arc::clone(&failing) }, &lost);
    let spans = || {
        let recording = crate::testing::record();
        tracing::info_span!("one").in_scope(|| ());
        tracing::info_span!("two").in_scope(|| ());
        recording.spans()
    };

    let warnings = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&warnings);
    let _guard = tracing::subscriber::set_default(Notes(seen));
    for _ in 0..3 {
        assert!(watched.export(Vec::new()).await.is_ok(), "the SDK would log it once more");
    }
    assert_eq!(*warnings.lock().unwrap(), [tracing::Level::WARN], "said once");
    failing.store(false, Ordering::Relaxed);
    watched.export(Vec::new()).await.unwrap();
    watched.export(Vec::new()).await.unwrap();
    assert_eq!(*warnings.lock().unwrap(), [tracing::Level::WARN, tracing::Level::INFO], "and its end once");

    assert_eq!(lost.counts()[0], (Signal::Traces, 0), "empty batches lose nothing");
    failing.store(true, Ordering::Relaxed);
    watched.export(spans()).await.unwrap();
    assert_eq!(lost.counts()[0], (Signal::Traces, 2));
    assert_eq!(lost.counts()[1], (Signal::Metrics, 0));
}

/// A subscriber that notes the level of every event.
struct Notes(Arc<std::sync::Mutex<Vec<tracing::Level>>>);

impl tracing::Subscriber for Notes {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(*event.metadata().level());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn https_needs_nothing_installed() {
    let lost = Arc::new(Lost::default());
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let export = https(protocol, None);
        span_exporter(&export, &lost).unwrap();
        metric_exporter(&export, &lost).unwrap();
        log_exporter(&export, &lost).unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_is_none_is_refused() {
    let lost = Arc::new(Lost::default());
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let error = span_exporter(&https(protocol, Some("/no/such/file.pem")), &lost).unwrap_err().to_string();
        assert!(error.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE is \"/no/such/file.pem\", but"), "{error}");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let error = span_exporter(&https(protocol, Some(manifest)), &lost).unwrap_err().to_string();
        assert!(error.ends_with("that file is not PEM certificates"), "{error}");
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_by_its_variable() {
    let lost = Arc::new(Lost::default());
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["calbridge.test".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["other.test".to_owned()]).unwrap();
    let write = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let certificate = write("certificate.pem", &own.cert.pem());
    let (key, foreign) =
        (write("key.pem", &own.signing_key.serialize_pem()), write("other.pem", &other.signing_key.serialize_pem()));
    let with = |protocol, key: &str| {
        let identity = Some(Identity { certificate: certificate.clone(), key: key.to_owned() });
        span_exporter(&Export { identity, ..https(protocol, None) }, &lost)
    };
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        with(protocol, &key).unwrap();
        for none in ["/no/such/file.pem", certificate.as_str()] {
            let error = with(protocol, none).unwrap_err().to_string();
            assert!(error.starts_with(&format!("OTEL_EXPORTER_OTLP_CLIENT_KEY is \"{none}\", but")), "{error}");
        }
    }
    let error = with(Protocol::HttpProtobuf, &foreign).unwrap_err().to_string();
    assert!(error.contains("is not the PEM key of"), "{error}");
}
