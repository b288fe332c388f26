//! Who may send: each tenant's secrets, from where its operator keeps them.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use crate::{COMPLETE_GRACE, ConfigError, TenantOptions};

/// Secrets of one tenant: each is one HMAC over the body of a request that matches none.
pub const MAX_SECRETS: usize = 32;
/// Tenants of one process: a bound on what is held for them, far above any installation we know of.
pub const MAX_TENANTS: usize = 10_000;
/// The longest name of a tenant: it stands in URLs, Redis keys and rows.
const MAX_NAME: usize = 64;
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

/// One secret and the name under which an operator meets it.
#[derive(Debug, Clone)]
pub struct Secret {
    /// `env:NAME`, `file:NAME` without its folder, or `literal:N` by its place in the list.
    pub id: String,
    /// The bytes that Cal.com signs with: UTF-8, untrimmed.
    pub value: SecretString,
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
        for (place, source) in entry.secrets.iter().enumerate() {
            secrets.push(read_secret(source.expose_secret(), place, folder, environment).map_err(refuse)?);
        }
        tenants.insert(name.clone(), Tenant { secrets, allow_unsigned: entry.allow_unsigned });
    }
    if let Some(value) = environment(DEFAULT_SECRET).filter(|value| !value.is_empty()) {
        add_default_secret(tenants.entry(DEFAULT.to_owned()).or_default(), value);
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
    source: &str,
    place: usize,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Secret, String> {
    let (id, value) = if let Some(variable) = source.strip_prefix("env:") {
        let value = environment(variable)
            .ok_or_else(|| format!("secrets names env:{variable}, but {variable} is not set in the environment"))?;
        (source.to_owned(), value)
    } else if let Some(path) = source.strip_prefix("file:") {
        let path = folder.join(path);
        let text = fs::read_to_string(&path)
            .map_err(|why| format!("the secret file {} can't be read: {why}", path.display()))?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        (format!("file:{name}"), without_line_end(&text).to_owned())
    } else {
        (format!("literal:{}", place + 1), source.to_owned())
    };
    if value.is_empty() {
        return Err(format!("the secret {id} is empty; an empty secret in Cal.com means an unsigned webhook"));
    }
    Ok(Secret { id, value: value.into() })
}

/// Editors end a file with a line end that nobody meant as part of the secret; anything else is kept.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// The file may name the same variable; then it is one secret, not two.
fn add_default_secret(tenant: &mut Tenant, value: String) {
    let id = format!("env:{DEFAULT_SECRET}");
    if !tenant.secrets.iter().any(|secret| secret.id == id) {
        tenant.secrets.push(Secret { id, value: value.into() });
    }
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
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
