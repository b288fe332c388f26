//! Our clients' side of TLS: whom they trust, what they show, and the connector that tonic's channels use.
//!
//! The connector is ours, not tonic's, because tonic reads certificates once: ours takes those that are in force at
//! each new connection.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::{
    GRPC_PROTOCOLS, HANDSHAKE_TIMEOUT, NamedFile, Socket, Watched, authorities, chain, identity, provider, unfitting,
    watched::{Fault, Source},
};
use crate::ConfigError;

/// Which servers are the right ones.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// For which an authority of the public web vouches.
    #[default]
    Public,
    /// For which one of these authorities vouches.
    Authority(NamedFile),
    /// Those that show this very certificate, whatever name they are reached by: a process that talks to itself.
    Exactly(NamedFile),
}

/// The files of a client.
#[derive(Debug, Clone, Default)]
pub struct ClientFiles {
    /// Whom to believe.
    pub trust: Trust,
    /// What it shows to a server that asks who it is: a certificate and its key.
    pub identity: Option<(NamedFile, NamedFile)>,
}

/// The TLS side of a client.
#[derive(Debug, Clone)]
pub struct ClientTls(Arc<Watched<ClientConfig>>);

/// Connects to the authority of a URI and agrees on TLS with a server of this name.
#[derive(Debug, Clone)]
pub struct Connector {
    tls: ClientTls,
    name: ServerName<'static>,
}

/// What the places of [`ClientFiles::source`] hold.
#[derive(Clone, Copy)]
struct Layout {
    authority: bool,
    exact: bool,
}

impl ClientFiles {
    /// Whether the files can be used, before anything is opened.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.source().check().map(|_| ())
    }

    fn source(&self) -> Source<ClientConfig> {
        let (trusted, layout) = match &self.trust {
            Trust::Public => (None, Layout { authority: false, exact: false }),
            Trust::Authority(file) => (Some(file), Layout { authority: true, exact: false }),
            Trust::Exactly(file) => (Some(file), Layout { authority: false, exact: true }),
        };
        let shown = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        Source {
            what: "--service-ca and --service-certificate",
            files: trusted.into_iter().chain(shown).cloned().collect(),
            make: Box::new(move |contents| client_config(contents, layout)),
        }
    }
}

impl ClientTls {
    /// Reads the files, and follows them; inside a runtime.
    ///
    /// # Errors
    ///
    /// The option whose file can't be used.
    pub fn open(files: &ClientFiles) -> Result<Self, ConfigError> {
        Ok(Self(files.source().watch()?))
    }

    /// A connector to servers of this name, a host as URIs have it; nothing where it is none.
    #[must_use]
    pub fn connector(&self, host: &str) -> Option<Connector> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Connector { tls: self.clone(), name: ServerName::try_from(bare.to_owned()).ok()? })
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Socket>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Socket>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (config, name) = (self.tls.0.get(), self.name.clone());
        Box::pin(async move {
            let address = uri.authority().ok_or(io::ErrorKind::InvalidInput)?;
            let tcp = TcpStream::connect(address.as_str()).await?;
            tcp.set_nodelay(true)?;
            let agreed = timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(config).connect(name, tcp)).await;
            let stream = agreed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(TokioIo::new(Socket::Client(Box::new(stream))))
        })
    }
}

/// The authority or the exact certificate first, where there is one; then certificate and key, where there are.
fn client_config(contents: &[Vec<u8>], layout: Layout) -> Result<ClientConfig, Fault> {
    let (trusted, shown) = contents.split_at(usize::from(layout.authority || layout.exact));
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|why| Fault { place: 0, why: why.to_string() })?;
    let builder = match trusted {
        [pem] if layout.exact => {
            let certificate = chain(pem, 0)?.swap_remove(0);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Exactly(certificate)))
        }
        [pem] => builder.with_root_certificates(authorities(pem, 0)?),
        _ => builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
    };
    let mut config = match shown {
        [certificate, key] => {
            let place = trusted.len();
            let (certificates, key) = identity(certificate, key, place)?;
            builder
                .with_client_auth_cert(certificates, key)
                .map_err(|why| Fault { place: place + 1, ..unfitting(&why) })?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = GRPC_PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Believes one certificate. That the server has its key the handshake proves, as for any other.
#[derive(Debug)]
struct Exactly(CertificateDer<'static>);

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *shown == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
