//! The OTLP exporters: built from a decided [`Export`], and watched, so that a collector that is away costs one log
//! line and a counter, never a flood.
//!
//! Everything here runs on the SDK's own threads. No request ever waits for an export.

use std::sync::Arc;

use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol as OtlpProtocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::{Certificate, ClientTlsConfig, Identity as TonicIdentity};

pub(crate) use self::watch::{Lost, Watched};
use crate::InitError;
use crate::config::{Export, Protocol, Signal};

mod watch;

/// Builds one signal's exporter: the three builders of the SDK share no trait.
macro_rules! exporter {
    ($builder:expr, $export:expr) => {
        match $export.protocol {
            Protocol::Grpc => $builder
                .with_tonic()
                .with_protocol(OtlpProtocol::Grpc)
                .with_endpoint(&$export.endpoint)
                .with_timeout($export.timeout)
                // Looked at for an https endpoint alone.
                .with_tls_config(grpc_tls($export)?)
                .build(),
            Protocol::HttpProtobuf => $builder
                .with_http()
                .with_protocol(OtlpProtocol::HttpBinary)
                .with_endpoint(&$export.endpoint)
                .with_timeout($export.timeout)
                .with_http_client(http_client($export)?)
                .build(),
        }
    };
}

/// The exporter of spans.
pub(crate) fn span_exporter(export: &Export, lost: &Arc<Lost>) -> Result<Watched<SpanExporter>, InitError> {
    let exporter = exporter!(SpanExporter::builder(), export).map_err(|error| unusable(&error))?;
    Ok(Watched::new(Signal::Traces, exporter, lost))
}

/// The exporter of metrics.
pub(crate) fn metric_exporter(export: &Export, lost: &Arc<Lost>) -> Result<Watched<MetricExporter>, InitError> {
    let exporter = exporter!(MetricExporter::builder(), export).map_err(|error| unusable(&error))?;
    Ok(Watched::new(Signal::Metrics, exporter, lost))
}

/// The exporter of log records.
pub(crate) fn log_exporter(export: &Export, lost: &Arc<Lost>) -> Result<Watched<LogExporter>, InitError> {
    let exporter = exporter!(LogExporter::builder(), export).map_err(|error| unusable(&error))?;
    Ok(Watched::new(Signal::Logs, exporter, lost))
}

/// What the SDK says may hold a URL with its keys, or a header: only the part of it that is ours is told.
fn unusable(error: &ExporterBuildError) -> InitError {
    let why = match error {
        ExporterBuildError::InvalidConfiguration(what) => {
            let variable = what.split(':').next().filter(|name| name.starts_with("OTEL_")).unwrap_or("the endpoint");
            format!("{variable} can't be used: the OTLP exporter does not understand it")
        }
        ExporterBuildError::InternalFailure(_) => "the OTLP exporter can't be built".to_owned(),
    };
    InitError::Exporter(why)
}

fn grpc_tls(export: &Export) -> Result<ClientTlsConfig, InitError> {
    let tls = ClientTlsConfig::new().with_enabled_roots();
    let tls = match certificate(export)? {
        Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
        None => tls,
    };
    Ok(match identity(export)? {
        Some(Shown { certificate, key }) => tls.identity(TonicIdentity::from_pem(certificate, key)),
        None => tls,
    })
}

/// The client is ours, so that its provider, its roots and its limits are too.
fn http_client(export: &Export) -> Result<reqwest::blocking::Client, InitError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = certificate(export)? {
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    }
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| InitError::Exporter(error.to_string()))?
        .with_root_certificates(roots);
    let tls = match identity(export)? {
        Some(Shown { certificate, key }) => {
            let chain = CertificateDer::pem_slice_iter(&certificate).flatten().collect();
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| key_refused(export))?;
            tls.with_client_auth_cert(chain, key).map_err(|_| key_refused(export))?
        }
        None => tls.with_no_client_auth(),
    };
    let timeout = export.timeout;
    // The blocking client starts a runtime of its own, which it must not do inside ours.
    let built = std::thread::spawn(move || {
        reqwest::blocking::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(timeout)
            .connect_timeout(timeout)
            // A collector does not redirect; following one would carry the headers' keys elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .build()
    })
    .join();
    match built {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(InitError::Exporter(error.without_url().to_string())),
        Err(_) => Err(InitError::Exporter("the HTTP client could not be built".to_owned())),
    }
}

/// The certificates to trust besides the well-known authorities, as PEM that holds at least one.
fn certificate(export: &Export) -> Result<Option<Vec<u8>>, InitError> {
    let Some(path) = &export.certificate else { return Ok(None) };
    pem("OTEL_EXPORTER_OTLP_CERTIFICATE", path).map(Some)
}

/// The certificate that is shown and its key, as PEM.
struct Shown {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

fn identity(export: &Export) -> Result<Option<Shown>, InitError> {
    let Some(identity) = &export.identity else { return Ok(None) };
    let certificate = pem("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &identity.certificate)?;
    let key = std::fs::read(&identity.key).map_err(|_| key_refused(export))?;
    PrivateKeyDer::from_pem_slice(&key).map_err(|_| key_refused(export))?;
    Ok(Some(Shown { certificate, key }))
}

fn key_refused(export: &Export) -> InitError {
    let path = export.identity.as_ref().map(|identity| identity.key.clone()).unwrap_or_default();
    let mend = "that file can't be read, or is not the PEM key of OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
    InitError::variable("OTEL_EXPORTER_OTLP_CLIENT_KEY".to_owned(), path, mend)
}

/// A file of at least one certificate.
fn pem(variable: &str, path: &str) -> Result<Vec<u8>, InitError> {
    let refused = |mend: &str| InitError::variable(variable.to_owned(), path.to_owned(), mend);
    let pem = std::fs::read(path).map_err(|error| refused(&format!("that file can't be read: {error}")))?;
    let mut certificates = CertificateDer::pem_slice_iter(&pem).peekable();
    if certificates.peek().is_none() || certificates.any(|certificate| certificate.is_err()) {
        return Err(refused("that file is not PEM certificates"));
    }
    Ok(pem)
}

#[cfg(test)]
mod tests;
