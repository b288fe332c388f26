//! Who may call the booking service, and for what: named principals, known by the hashes of their tokens or by their
//! certificates.
//!
//! Invariant: no token is ever part of the configuration, only its SHA-256. Tokens are random and long, so a hash
//! without salt tells nothing of them.

use std::{collections::BTreeSet, fmt, io};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::crypto::ring;
use secrecy::SecretString;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{ConfigError, options::texts, tenant};

/// Principals of one service: each token that comes is compared with all of them.
pub const MAX_PRINCIPALS: usize = 256;
/// Tokens, or certificates, of one principal: the one in use, the next one, and room for some places of use.
pub const MAX_CREDENTIALS: usize = 16;
/// The longest name; it stands in log lines.
const MAX_NAME: usize = 64;
/// What every token of ours begins with, so that people and scanners of repositories know one when they see it.
const TOKEN_PREFIX: &str = "cbt_";
/// Of chance in a token: nobody guesses as much.
const TOKEN_BYTES: usize = 32;
/// In a principal's list of tenants: all of them.
const EVERY_TENANT: &str = "*";

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Submit webhooks.
    Ingest,
    /// Read bookings, their history and what is known of deliveries; watch transitions.
    Read,
    /// See e-mail addresses, phone numbers, names, answers and free texts in whatever is read.
    ReadPii,
    /// Watch transitions and work with durable consumers.
    Consume,
    /// Replay deliveries, fold the journal again, and read raw bodies.
    Admin,
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

/// Of which tenants a principal knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// All there are and will be.
    Every,
    /// These.
    Only(BTreeSet<String>),
}

/// How a certificate is known, once an authority of the operator's has vouched for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateName {
    /// A DNS name among its alternative names, in lower case.
    Dns(String),
    /// A URI among its alternative names, as it stands.
    Uri(String),
    /// The SHA-256 of its DER form.
    Sha256([u8; 32]),
}

/// One who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// As log lines name it.
    pub name: String,
    /// Of its tokens, as they are sent.
    pub token_sha256: Vec<[u8; 32]>,
    /// Any of them is enough.
    pub certificates: Vec<CertificateName>,
    /// What it may do.
    pub scopes: Scopes,
    /// For whom.
    pub tenants: Tenants,
}

/// `[[principal]]` of the config file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalOptions {
    /// 1 to 64 characters of `a-z`, `0-9`, `-`, `_` and `.`.
    pub name: String,
    /// SHA-256 of each token, in hex, as `calbridge token` prints it.
    #[serde(deserialize_with = "texts")]
    pub token_sha256: Vec<String>,
    /// `dns:NAME`, `uri:URI` or `sha256:HEX`, one or several.
    #[serde(deserialize_with = "texts")]
    pub certificate: Vec<String>,
    /// `ingest`, `read`, `read.pii`, `consume`, `admin`.
    pub scopes: Vec<String>,
    /// Names of tenants, or `*`.
    #[serde(deserialize_with = "texts")]
    pub tenants: Vec<String>,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Read, Self::ReadPii, Self::Consume, Self::Admin];

    /// As the config file has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::ReadPii => "read.pii",
            Self::Consume => "consume",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Scopes {
    /// Whether this one is among them.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Scope::ALL.into_iter().filter(|scope| self.has(*scope)).map(Scope::name);
        formatter.debug_set().entries(names).finish()
    }
}

impl Tenants {
    /// Whether this one is among them.
    #[must_use]
    pub fn has(&self, tenant: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Only(names) => names.contains(tenant),
        }
    }
}

/// A new token.
///
/// # Errors
///
/// The system has no randomness to give.
pub fn new_token() -> io::Result<SecretString> {
    let mut bytes = [0; TOKEN_BYTES];
    let failed = |_| io::Error::other("this system gives no random bytes, and a token is nothing else");
    ring::default_provider().secure_random.fill(&mut bytes).map_err(failed)?;
    Ok(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into())
}

/// What the configuration keeps of a token.
#[must_use]
pub fn token_sha256(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Reads all principals. `certificates_are_asked_for` says that callers can show one at all.
pub(crate) fn resolve(
    options: &[PrincipalOptions],
    certificates_are_asked_for: bool,
) -> Result<Vec<Principal>, ConfigError> {
    if options.len() > MAX_PRINCIPALS {
        let why = format!("{} principals are configured, at most {MAX_PRINCIPALS} can be", options.len());
        return Err(ConfigError::Principal { principal: "*".to_owned(), why });
    }
    let mut principals: Vec<Principal> = Vec::with_capacity(options.len());
    for (place, entry) in options.iter().enumerate() {
        // A name that can't be used may be anything.
        let shown = if is_name(&entry.name) { entry.name.clone() } else { format!("number {}", place + 1) };
        let refuse = |why| ConfigError::Principal { principal: shown.clone(), why };
        let principal = read(entry).map_err(refuse)?;
        if !principal.certificates.is_empty() && !certificates_are_asked_for {
            let why = "it has a certificate, but nobody is asked for one: say --grpc-client-ca FILE, with \
                       --grpc-certificate and --grpc-key";
            return Err(refuse(why.to_owned()));
        }
        for other in &principals {
            apart(&principal, other).map_err(refuse)?;
        }
        principals.push(principal);
    }
    Ok(principals)
}

fn read(entry: &PrincipalOptions) -> Result<Principal, String> {
    if !is_name(&entry.name) {
        return Err(format!("a name is 1 to {MAX_NAME} characters of a-z, 0-9, -, _ and . (it stands in log lines)"));
    }
    let hash = |(place, text): (usize, &String)| {
        hash(text).ok_or_else(|| {
            let place = place + 1;
            format!("token_sha256 {place} is not 64 hex digits: write the hash that `calbridge token` prints")
        })
    };
    let token_sha256 = entry.token_sha256.iter().enumerate().map(hash).collect::<Result<Vec<_>, _>>()?;
    let certificates = entry.certificate.iter().map(|text| certificate(text)).collect::<Result<Vec<_>, _>>()?;
    if token_sha256.is_empty() && certificates.is_empty() {
        return Err("nothing tells who it is: give it token_sha256 or certificate".to_owned());
    }
    if token_sha256.len().max(certificates.len()) > MAX_CREDENTIALS {
        return Err(format!("it has more than {MAX_CREDENTIALS} tokens or certificates; make it several principals"));
    }
    let scopes = entry.scopes.iter().map(|name| scope(name)).collect::<Result<Scopes, _>>()?;
    if scopes == Scopes::default() {
        return Err(format!("it may do nothing: give it scopes, some of {}", scope_names()));
    }
    Ok(Principal { name: entry.name.clone(), token_sha256, certificates, scopes, tenants: tenants(&entry.tenants)? })
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(plain)
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

fn certificate(text: &str) -> Result<CertificateName, String> {
    match text.split_once(':') {
        Some(("dns", name)) if !name.is_empty() => Ok(CertificateName::Dns(name.to_ascii_lowercase())),
        Some(("uri", uri)) if !uri.is_empty() => Ok(CertificateName::Uri(uri.to_owned())),
        // With or without the colons that openssl puts between two digits.
        Some(("sha256", digits)) if let Some(hash) = hash(&digits.replace(':', "")) => {
            Ok(CertificateName::Sha256(hash))
        }
        _ => Err(format!("certificate = \"{text}\": write dns:NAME, uri:URI, or sha256: and 64 hex digits")),
    }
}

fn scope(name: &str) -> Result<Scope, String> {
    let found = Scope::ALL.into_iter().find(|scope| scope.name() == name);
    found.ok_or_else(|| format!("there is no scope \"{name}\": write some of {}", scope_names()))
}

fn scope_names() -> String {
    Scope::ALL.map(Scope::name).join(", ")
}

fn tenants(names: &[String]) -> Result<Tenants, String> {
    match names {
        [] => Err("it knows no tenant: give it tenants, as [\"acme\"], or [\"*\"] for all".to_owned()),
        [all] if all == EVERY_TENANT => Ok(Tenants::Every),
        names => {
            for name in names {
                tenant::check_name(name).map_err(|why| format!("tenants has \"{name}\": {why}; or \"*\" alone"))?;
            }
            Ok(Tenants::Only(names.iter().cloned().collect()))
        }
    }
}

/// What comes in must say which of the two it is.
fn apart(one: &Principal, other: &Principal) -> Result<(), String> {
    let other_name = &other.name;
    if one.name == *other_name {
        return Err("there are two of this name".to_owned());
    }
    if one.token_sha256.iter().any(|hash| other.token_sha256.contains(hash)) {
        return Err(format!("it shares a token with {other_name}: make each its own, with `calbridge token`"));
    }
    if one.certificates.iter().any(|name| other.certificates.contains(name)) {
        return Err(format!("it shares a certificate with {other_name}: name it for one of them"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
