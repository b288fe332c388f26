//! Who may call: the built programs with principals, tokens and certificates.

mod aside;
mod consuming;
mod matrix;
mod rules;
mod services;
mod strangers;
mod tls;

use std::{fmt::Write as _, fs, net::SocketAddr, path::PathBuf};

use calbridge_calcom::{
    golden::{self, Golden},
    type_body,
};
use calbridge_e2e::{
    authority::{Authority, Identity, text},
    program::{Program, Start},
    v1::{BookingEvent, Trigger},
    webhook::sha256,
};
use jiff::Timestamp;
use tempfile::TempDir;
use tonic::{
    Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt as _;

/// The address by which everything here is reached, and what certificates of listeners are for.
const HOST: &str = "127.0.0.1";

/// One `[[principal]]`.
struct Who {
    name: String,
    scopes: Vec<&'static str>,
    tenants: Vec<&'static str>,
    certificate: Option<String>,
}

impl Who {
    fn new(name: impl Into<String>, scopes: &[&'static str], tenants: &[&'static str]) -> Self {
        Self { name: name.into(), scopes: scopes.to_vec(), tenants: tenants.to_vec(), certificate: None }
    }

    fn with_certificate(self, certificate: &str) -> Self {
        Self { certificate: Some(certificate.to_owned()), ..self }
    }

    fn token(&self) -> String {
        token_of(&self.name)
    }
}

/// A test's tokens need not be random.
fn token_of(name: &str) -> String {
    format!("cbt_of_{name}_0123456789abcdef")
}

/// The principals' part of a config file.
fn principals(all: &[Who]) -> String {
    all.iter().fold(String::new(), |mut text, who| {
        let hash = hex::encode(sha256(who.token().as_bytes()));
        let Who { name, scopes, tenants, certificate } = who;
        write!(text, "[[principal]]\nname = {name:?}\ntoken_sha256 = [\"{hash}\"]\n").unwrap();
        write!(text, "scopes = {scopes:?}\ntenants = {tenants:?}\n").unwrap();
        if let Some(certificate) = certificate {
            writeln!(text, "certificate = {certificate:?}").unwrap();
        }
        text
    })
}

/// A folder with a config file, and an authority.
struct House {
    folder: TempDir,
    authority: Authority,
}

impl House {
    fn new(config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("calbridge.toml"), config).unwrap();
        Self { folder, authority: Authority::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file with this in it.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn service(&self) -> Start {
        Start::new("calbridge-service")
            .flag("--grpc", format!("{HOST}:0"))
            .flag("--admin", format!("{HOST}:0"))
            .flag("--data-dir", self.path("data"))
            .flag("--config", self.path("calbridge.toml"))
    }

    /// The same with a certificate, asking callers for theirs.
    fn secured_service(&self) -> Start {
        secured(self.service(), &self.authority.certify(HOST), &self.authority)
    }

    fn adapter(&self, service: &Program, scheme: &str) -> Start {
        Start::new("calbridge-adapter")
            .flag("--http", format!("{HOST}:0"))
            .flag("--admin", format!("{HOST}:0"))
            .flag("--service", format!("{scheme}://{}", service.listening().grpc()))
            .flag("--spool-dir", "none")
            .flag("--config", self.path("calbridge.toml"))
    }
}

fn secured(service: Start, identity: &Identity, callers: &Authority) -> Start {
    service
        .flag("--grpc-certificate", text(&identity.certificate))
        .flag("--grpc-key", text(&identity.key))
        .flag("--grpc-client-ca", text(&callers.file()))
}

/// A connection without TLS.
fn plain(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// A connection with TLS, by tonic's own, which is not the product's; `identity` is shown where there is one.
async fn over_tls(
    address: SocketAddr,
    trusted: &Authority,
    identity: Option<&Identity>,
) -> Result<Channel, tonic::transport::Error> {
    let ca = Certificate::from_pem(fs::read(trusted.file()).unwrap());
    let mut tls = ClientTlsConfig::new().ca_certificate(ca).domain_name(HOST);
    if let Some(Identity { certificate, key }) = identity {
        let (certificate, key) = (fs::read(certificate).unwrap(), fs::read(key).unwrap());
        tls = tls.identity(tonic::transport::Identity::from_pem(certificate, key));
    }
    Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap().connect().await
}

/// A request that carries a token.
fn with<M>(token: Option<&str>, message: M) -> Request<M> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// Code and reason of a refusal.
fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    assert!(info.as_ref().is_none_or(|info| info.domain == "calbridge"), "{info:?}");
    format!("{:?}/{}", status.code(), info.map(|info| info.reason).unwrap_or_default())
}

/// A booking whose every text is somebody's.
fn golden(uid: &str) -> Golden {
    let second = |second| Timestamp::from_second(second).unwrap();
    Golden {
        notes: "Okafor asks for quiet".to_owned(),
        metadata: [("contactId".to_owned(), "contact-of-okafor".to_owned())].into(),
        ..Golden::new(uid, 4_001, second(1_790_000_000), second(1_790_090_000))
    }
}

/// What none may see who lacks `read.pii`.
const PRIVATE: [&str; 6] = ["Okafor", "okafor", "Lindqvist", "lighthouse.example", "harbour-studio", "First talk"];

/// What the adapter makes of a webhook of this tenant.
fn event(tenant: &str, uid: &str) -> BookingEvent {
    let raw = golden::body(Trigger::BookingCreated, &golden(uid));
    let mut event = BookingEvent { tenant: tenant.to_owned(), ..BookingEvent::default() };
    type_body(&raw).into_event(&mut event);
    event.raw_body = raw.into();
    event
}
