//! Who may send: each tenant's secrets, from where its operator keeps them, and the time in which each of them holds.

mod entry;
mod files;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{COMPLETE_GRACE, ConfigError, TenantOptions};

pub use self::{
    entry::SecretOptions,
    files::{Environment, TenantFiles, TenantNews, TenantWatch},
};

/// Secrets of one tenant: each is one HMAC over the body of a request that matches none.
pub const MAX_SECRETS: usize = 32;
/// Tenants of one process: a bound on what is held for them, far above any installation we know of.
pub const MAX_TENANTS: usize = 10_000;
/// The longest name of a tenant: it stands in URLs, Redis keys and rows.
const MAX_NAME: usize = 64;
/// The longest id of a secret that an operator may give: it stands in rows, spans and metrics.
const MAX_ID: usize = 64;
/// Read of a secret's file: HMAC hashes what is longer than 64 bytes, so nobody's secret is near it.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// The tenant of the paths without a name, and of `CALCOM_WEBHOOK_SECRET`.
const DEFAULT: &str = "default";
/// The environment variable that adds a secret to tenant `default`.
const DEFAULT_SECRET: &str = "CALCOM_WEBHOOK_SECRET";

/// What verifies a tenant's webhooks.
#[derive(Debug, Clone, Default)]
pub struct Tenant {
    /// Any of them may have signed.
    pub secrets: Vec<Secret>,
    /// The subscription has no secret in Cal.com: everything is let in. Only without secrets.
    pub allow_unsigned: bool,
}

/// One secret, the name under which an operator meets it, and when it holds.
#[derive(Debug, Clone)]
pub struct Secret {
    /// As was said, else `env:NAME`, `file:NAME` without its folder, or `literal:N` by its place in the list. No other
    /// secret of the tenant has it.
    pub id: String,
    /// The bytes that Cal.com signs with: UTF-8, untrimmed.
    pub value: SecretString,
    /// It lets in from this moment on.
    pub not_before: Option<Timestamp>,
    /// It lets in up to this moment, and at it no more.
    pub expires: Option<Timestamp>,
}

impl Secret {
    /// One that holds at all times.
    #[must_use]
    pub fn always(id: impl Into<String>, value: impl Into<SecretString>) -> Self {
        Self { id: id.into(), value: value.into(), not_before: None, expires: None }
    }

    /// Whether it lets in at this moment.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|start| start <= now) && self.expires.is_none_or(|end| now < end)
    }
}

/// Reads every tenant's secrets. `folder` is where relative `file:` paths start.
pub(crate) fn read(
    options: &BTreeMap<String, TenantOptions>,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, Tenant>, ConfigError> {
    if options.len() > MAX_TENANTS {
        let why = format!("{} tenants are configured, at most {MAX_TENANTS} can be", options.len());
        return Err(ConfigError::Tenant { tenant: "*".to_owned(), why });
    }
    let mut tenants = BTreeMap::new();
    for (name, entry) in options {
        let refuse = |why: String| ConfigError::Tenant { tenant: name.clone(), why };
        check_name(name).map_err(refuse)?;
        let mut secrets = Vec::new();
        for (place, said) in entry.secrets.iter().enumerate() {
            secrets.push(read_secret(said, place, folder, environment).map_err(refuse)?);
        }
        tell_apart(&mut secrets, &entry.secrets);
        tenants.insert(name.clone(), Tenant { secrets, allow_unsigned: entry.allow_unsigned });
    }
    if let Some(value) = environment(DEFAULT_SECRET).filter(|value| !value.is_empty())
        && !names_default_secret(options)
    {
        let secrets = &mut tenants.entry(DEFAULT.to_owned()).or_default().secrets;
        secrets.push(Secret::always(format!("env:{DEFAULT_SECRET}"), value));
    }
    for (name, tenant) in &tenants {
        check(name, tenant)?;
    }
    Ok(tenants)
}

/// When the clock completes each tenant's bookings; `None`: never.
pub(crate) fn completion(
    options: &BTreeMap<String, TenantOptions>,
) -> Result<BTreeMap<String, Option<Duration>>, ConfigError> {
    let mut completion = BTreeMap::new();
    for (name, entry) in options {
        let refuse = |why: String| ConfigError::Tenant { tenant: name.clone(), why };
        check_name(name).map_err(refuse)?;
        let grace = match (entry.complete_by_clock, entry.complete_grace) {
            (Some(false), Some(grace)) => {
                let why = format!(
                    "complete_grace = \"{grace}\" says when the clock completes a booking, and complete_by_clock = \
                     false that it never does; remove one of the two"
                );
                return Err(refuse(why));
            }
            (Some(false), None) => None,
            (_, grace) => Some(grace.map_or(COMPLETE_GRACE, |grace| grace.0)),
        };
        completion.insert(name.clone(), grace);
    }
    Ok(completion)
}

pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(format!(
            "a name is 1 to {MAX_NAME} characters of a-z, 0-9, - and _ (it stands in the webhook's URL)"
        ));
    }
    Ok(())
}

fn read_secret(
    said: &SecretOptions,
    place: usize,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Secret, String> {
    let source = said.secret.expose_secret();
    let (origin, value) = if let Some(variable) = source.strip_prefix("env:") {
        let value = environment(variable).ok_or_else(|| {
            format!("secrets names env:{variable}, but {variable} is not set in the environment, or is not UTF-8")
        })?;
        (source.to_owned(), value)
    } else if let Some(path) = source.strip_prefix("file:") {
        let path = folder.join(path);
        let text =
            read_file(&path).map_err(|why| format!("the secret file {} can't be read: {why}", path.display()))?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        (format!("file:{name}"), without_line_end(&text).to_owned())
    } else {
        (format!("literal:{}", place + 1), source.to_owned())
    };
    if value.is_empty() {
        return Err(format!("the secret {origin} is empty; an empty secret in Cal.com means an unsigned webhook"));
    }
    if let Some(id) = &said.id {
        check_id(id).map_err(|why| format!("the id of the secret {origin} {why}"))?;
    }
    if let (Some(start), Some(end)) = (said.not_before, said.expires)
        && end <= start
    {
        return Err(format!(
            "the secret {origin} has expires = {end}, which is not after not_before = {start}: it would never hold"
        ));
    }
    let id = said.id.clone().unwrap_or(origin);
    Ok(Secret { id, value: value.into(), not_before: said.not_before, expires: said.expires })
}

fn check_id(id: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if id.is_empty() || id.len() > MAX_ID || !id.chars().all(plain) {
        return Err(format!("can't be used: it is 1 to {MAX_ID} characters of a-z, A-Z, 0-9 and - _ . :"));
    }
    Ok(())
}

/// Two files of one name in two folders may well be meant: those ids that nobody chose are made to differ.
fn tell_apart(secrets: &mut [Secret], said: &[SecretOptions]) {
    let mut taken: BTreeSet<String> = said.iter().filter_map(|said| said.id.clone()).collect();
    for (place, secret) in secrets.iter_mut().enumerate().filter(|(place, _)| said[*place].id.is_none()) {
        if !taken.insert(secret.id.clone()) {
            secret.id = format!("{}:{}", secret.id, place + 1);
            taken.insert(secret.id.clone());
        }
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= MAX_SECRET_BYTES) {
        return Ok(text);
    }
    Err(io::Error::other(format!("it has more than the {MAX_SECRET_BYTES} bytes that a secret may have")))
}

/// Editors end a file with a line end that nobody meant as part of the secret; anything else is kept.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// The file may name the same variable, perhaps with times: then it is one secret, not two.
fn names_default_secret(options: &BTreeMap<String, TenantOptions>) -> bool {
    let named = |said: &SecretOptions| said.secret.expose_secret().strip_prefix("env:") == Some(DEFAULT_SECRET);
    options.get(DEFAULT).is_some_and(|entry| entry.secrets.iter().any(named))
}

fn check(name: &str, tenant: &Tenant) -> Result<(), ConfigError> {
    let refuse = |why: String| Err(ConfigError::Tenant { tenant: name.to_owned(), why });
    match (tenant.secrets.len(), tenant.allow_unsigned) {
        (0, false) => Err(ConfigError::TenantWithoutSecret { tenant: name.to_owned() }),
        (1.., true) => refuse(
            "allow_unsigned = true stands beside a secret, and would let everybody past it; remove one of the two"
                .to_owned(),
        ),
        (count, _) if count > MAX_SECRETS => refuse(format!("{count} secrets; at most {MAX_SECRETS} can be active")),
        _ => check_ids(&tenant.secrets).or_else(refuse),
    }
}

/// An id names one secret, and is shown to many.
fn check_ids(secrets: &[Secret]) -> Result<(), String> {
    let mut taken = BTreeSet::new();
    for Secret { id, .. } in secrets {
        if secrets.iter().any(|secret| secret.value.expose_secret() == id) {
            return Err("the id of a secret is a secret itself, and ids are shown: give it another".to_owned());
        }
        if !taken.insert(id) {
            return Err(format!("two secrets have the id {id}; give each its own"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
