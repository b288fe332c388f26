//! How a program reaches the booking service: its addresses, whom to believe there, and what to show.

use std::{path::PathBuf, sync::Arc};

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use crate::{
    ConfigError, Options,
    tls::{ClientFiles, ClientTls, Connector, NamedFile, Trust, Watched, WatchedSource},
};

const SERVICE: &str = "http://127.0.0.1:50051";
/// How many addresses of the booking service may be said. Each may be a name with many addresses of its own.
pub const SERVICES_MOST: usize = 32;
/// The longest token: with a prefix and a signature it fits many times over, and the service takes no longer heads.
const TOKEN_BYTES_MAX: usize = 1024;

/// What a client shows, and whom it believes.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Where the service speaks TLS.
    pub tls: ClientFiles,
    /// The bearer token.
    pub token: Option<Token>,
}

/// Where a token comes from.
#[derive(Debug, Clone)]
pub enum Token {
    /// A file, read again when it changes.
    File(NamedFile),
    /// A process that talks to itself.
    Own(SecretString),
}

/// The same, read and followed.
#[derive(Debug, Clone)]
pub struct Credentials {
    tls: ClientTls,
    token: Option<Shown>,
}

#[derive(Debug, Clone)]
enum Shown {
    Followed(Arc<Watched<HeaderValue>>),
    Fixed(HeaderValue),
}

/// The options of a program that only calls the service.
#[derive(Debug, Clone, Default)]
pub struct ServiceOptions {
    /// `--service`.
    pub service: Option<String>,
    /// `--service-ca`.
    pub ca: Option<PathBuf>,
    /// `--service-certificate`.
    pub certificate: Option<PathBuf>,
    /// `--service-key`.
    pub key: Option<PathBuf>,
    /// `--service-token-file`.
    pub token_file: Option<PathBuf>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--insecure`.
    pub insecure: Option<bool>,
}

impl Access {
    /// Reads what is named, and follows it; inside a runtime.
    ///
    /// # Errors
    ///
    /// The option whose file can't be used.
    pub fn open(&self) -> Result<Credentials, ConfigError> {
        let token = match &self.token {
            None => None,
            Some(Token::File(file)) => Some(Shown::Followed(token_source(file).watch()?)),
            Some(Token::Own(token)) => {
                let unfit = |why| ConfigError::Value { option: "the own token", value: "…".to_owned(), mend: why };
                Some(Shown::Fixed(bearer(token.expose_secret().as_bytes()).map_err(unfit)?))
            }
        };
        Ok(Credentials { tls: ClientTls::open(&self.tls)?, token })
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.tls.check()?;
        match &self.token {
            Some(Token::File(file)) => token_source(file).check().map(|_| ()),
            _ => Ok(()),
        }
    }
}

impl Credentials {
    /// The value of `authorization`, where there is a token: to be asked for at every call.
    #[must_use]
    pub fn authorization(&self) -> Option<HeaderValue> {
        self.token.as_ref().map(|token| match token {
            Shown::Followed(value) => HeaderValue::clone(&value.get()),
            Shown::Fixed(value) => value.clone(),
        })
    }

    /// The connector to a service of this name that speaks TLS; nothing where the host is none.
    #[must_use]
    pub fn connector(&self, host: &str) -> Option<Connector> {
        self.tls.connector(host)
    }
}

/// Whether this address is of a service that speaks TLS.
#[must_use]
pub fn is_https(address: &str) -> bool {
    address.starts_with("https://")
}

/// The addresses and the access that the options say, each checked.
pub(crate) fn resolve(options: &Options) -> Result<(Vec<String>, Access), ConfigError> {
    let services = services(options.service.as_deref())?;
    let named = |option, path: &Option<PathBuf>, secret| path.clone().map(|path| NamedFile { option, path, secret });
    let ca = named("--service-ca", &options.service_ca, false);
    let certificate = named("--service-certificate", &options.service_certificate, false);
    let key = named("--service-key", &options.service_key, true);
    let secured = services.iter().any(|service| is_https(service));
    if let Some(file) = [&ca, &certificate, &key].into_iter().flatten().next().filter(|_| !secured) {
        let mend = "only TLS knows certificates: write --service https://HOST:PORT, or leave it out".to_owned();
        return Err(ConfigError::Value { option: file.option, value: file.path.display().to_string(), mend });
    }
    let tls = ClientFiles { trust: ca.map_or(Trust::Public, Trust::Authority), identity: pair(certificate, key)? };
    let token = named("--service-token-file", &options.service_token_file, true);
    if let (Some(file), false) = (&token, options.insecure.unwrap_or(false)) {
        unheard(file, &services)?;
    }
    let access = Access { tls, token: token.map(Token::File) };
    access.check()?;
    Ok((services, access))
}

/// Refuses a token that others could read on its way. That the service would not have it is too late to learn: a client
/// sends it before it hears anything.
fn unheard(token: &NamedFile, services: &[String]) -> Result<(), ConfigError> {
    let Some(service) = services.iter().find(|service| !is_https(service) && !is_loopback(service)) else {
        return Ok(());
    };
    let mend = format!(
        "the token would travel in the clear to {service}; write https://, or say --insecure where something else \
         encrypts"
    );
    Err(ConfigError::Value { option: token.option, value: token.path.display().to_string(), mend })
}

fn is_loopback(service: &str) -> bool {
    Url::parse(service).is_ok_and(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    })
}

/// A certificate and its key, or neither.
pub(crate) fn pair(
    certificate: Option<NamedFile>,
    key: Option<NamedFile>,
) -> Result<Option<(NamedFile, NamedFile)>, ConfigError> {
    let alone = match (certificate, key) {
        (Some(certificate), Some(key)) => return Ok(Some((certificate, key))),
        (None, None) => return Ok(None),
        (Some(alone), None) | (None, Some(alone)) => alone,
    };
    let other = if let Some(begin) = alone.option.strip_suffix("-certificate") {
        format!("{begin}-key")
    } else {
        format!("{}-certificate", alone.option.trim_end_matches("-key"))
    };
    let mend = format!("a certificate and its key go together: say {other}");
    Err(ConfigError::Value { option: alone.option, value: alone.path.display().to_string(), mend })
}

/// Addresses joined by commas; one that is said twice counts once.
fn services(said: Option<&str>) -> Result<Vec<String>, ConfigError> {
    let mut services = Vec::new();
    for said in said.unwrap_or(SERVICE).split(',') {
        let url = service(said.trim())?;
        if !services.contains(&url) {
            services.push(url);
        }
        if services.len() > SERVICES_MOST {
            let value = format!("more than {SERVICES_MOST} addresses");
            let mend = "write fewer, or a name that stands for many".to_owned();
            return Err(ConfigError::Value { option: "--service", value, mend });
        }
    }
    Ok(services)
}

fn service(said: &str) -> Result<String, ConfigError> {
    // What stands before it may be a password, and addresses are shown.
    if let Some((_, host)) = said.rsplit_once('@') {
        let mend = "an address names no user; a token goes into a file: --service-token-file".to_owned();
        return Err(ConfigError::Value { option: "--service", value: format!("…@{host}"), mend });
    }
    let url = said.to_owned();
    let rest = ["http://", "https://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
    let authority = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    if authority.is_some_and(crate::config::has_host_and_port) && Url::parse(&url).is_ok() {
        return Ok(url);
    }
    let mend =
        "write it as http://HOST:PORT or https://HOST:PORT, for example http://127.0.0.1:50051; several, joined \
                by commas, are replicas"
            .to_owned();
    Err(ConfigError::Value { option: "--service", value: url, mend })
}

fn token_source(file: &NamedFile) -> WatchedSource<HeaderValue> {
    WatchedSource {
        what: file.option,
        files: vec![file.clone()],
        make: Box::new(|contents| {
            let token = contents.first().map_or(&[][..], |bytes| bytes.trim_ascii());
            bearer(token).map_err(|why| crate::tls::WatchedFault { place: 0, why })
        }),
    }
}

/// The header that carries a token. It is marked, so that nobody on its way shows it.
fn bearer(token: &[u8]) -> Result<HeaderValue, String> {
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.iter().all(u8::is_ascii_graphic) {
        return Err("holds no token: one word, as `calbridge token` prints it".to_owned());
    }
    let value = [b"Bearer ", token].concat();
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| "holds no token".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
