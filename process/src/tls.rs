//! TLS: what our listeners show, whom our clients trust, and both renewed while they are in use.
//!
//! Invariant: a handshake is bounded in time and never holds up another connection; a file that turned bad leaves what
//! was in force before. The one provider of cryptography is `ring`.

mod client;
mod socket;
mod watched;

use std::{io, sync::Arc, time::Duration};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use self::watched::{Fault, Source};
use crate::ConfigError;

pub use self::{
    client::{ClientFiles, ClientTls, Connector, Trust},
    socket::Socket,
    watched::{NamedFile, RELOAD_INTERVAL, Watched},
};

pub(crate) use self::watched::{Fault as WatchedFault, Source as WatchedSource};

/// For both sides to agree, from the first byte on: a few round trips to the far side of the world and a signature.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a gRPC listener speaks.
pub const GRPC_PROTOCOLS: &[&[u8]] = &[b"h2"];
/// What the HTTP edge speaks.
pub const HTTP_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The files of a listener.
#[derive(Debug, Clone)]
pub struct ServerFiles {
    /// Its certificate, with those that lead to an authority.
    pub certificate: NamedFile,
    /// The key of the certificate.
    pub key: NamedFile,
    /// Who may vouch for callers; without it they are not asked for a certificate.
    pub client_ca: Option<NamedFile>,
    /// The application protocols, the preferred one first.
    pub protocols: &'static [&'static [u8]],
}

/// The TLS side of a listener.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<Watched<ServerConfig>>);

impl ServerFiles {
    /// Whether the files can be used, before anything is opened.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.source().check().map(|_| ())
    }

    fn source(&self) -> Source<ServerConfig> {
        let protocols = self.protocols;
        Source {
            what: self.certificate.option,
            files: [&self.certificate, &self.key].into_iter().chain(&self.client_ca).cloned().collect(),
            make: Box::new(move |contents| server_config(contents, protocols)),
        }
    }
}

impl ServerTls {
    /// Reads the files, and follows them; inside a runtime.
    ///
    /// # Errors
    ///
    /// The option whose file can't be used.
    pub fn open(files: &ServerFiles) -> Result<Self, ConfigError> {
        Ok(Self(files.source().watch()?))
    }

    /// Agrees with whoever connected, by the certificate that is in force now.
    ///
    /// # Errors
    ///
    /// They could not agree, or not in time.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<Socket<S>> {
        let agreed = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(self.0.get()).accept(stream)).await;
        Ok(Socket::Server(Box::new(agreed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??)))
    }
}

/// Certificate, key and, where there is one, the callers' authority.
fn server_config(contents: &[Vec<u8>], protocols: &[&[u8]]) -> Result<ServerConfig, Fault> {
    let (certificate, key, client_ca) = match contents {
        [certificate, key] => (certificate, key, None),
        [certificate, key, client_ca] => (certificate, key, Some(client_ca)),
        _ => return Err(Fault { place: 0, why: "is not one of two or three files".to_owned() }),
    };
    let (certificates, key) = identity(certificate, key, 0)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|why| Fault { place: 0, why: why.to_string() })?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let roots = Arc::new(authorities(authority, 2)?);
            // A caller without one may have a token, or ask for what needs neither.
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).allow_unauthenticated();
            builder.with_client_cert_verifier(verifier.build().map_err(|why| Fault { place: 2, why: why.to_string() })?)
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|why| unfitting(&why))?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    if client_ca.is_some() {
        // A resumed session would bring its certificate back without anybody looking at it again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// A certificate with its key. The parser's own words are not repeated: they may quote a line of a key.
fn identity(
    certificate: &[u8],
    key: &[u8],
    place: usize,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Fault> {
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| Fault { place: place + 1, why: "holds no private key in PEM form".to_owned() })?;
    Ok((chain(certificate, place)?, key))
}

/// One certificate at the least.
fn chain(pem: &[u8], place: usize) -> Result<Vec<CertificateDer<'static>>, Fault> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Fault { place, why: "holds no certificate in PEM form".to_owned() }),
    }
}

fn authorities(pem: &[u8], place: usize) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem, place)? {
        let unfit = |_| Fault { place, why: "holds a certificate that can't be an authority's".to_owned() };
        roots.add(certificate).map_err(unfit)?;
    }
    Ok(roots)
}

fn unfitting(why: &rustls::Error) -> Fault {
    let why = match why {
        rustls::Error::InconsistentKeys(_) => "belongs to another certificate".to_owned(),
        why => format!("can't be used: {why}"),
    };
    Fault { place: 1, why }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests;
