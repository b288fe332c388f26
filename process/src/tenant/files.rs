//! The tenants as the config file and the secrets' files say them now, read again and again while a program runs.
//!
//! Invariant: what is told was the same in two looks, one after the other. An editor may write a file in pieces, and
//! the half of a file can be a good one that lacks tenants.

use std::{
    collections::BTreeMap,
    fmt::{Debug, Formatter},
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::Tenant;
use crate::{ConfigError, TenantOptions, config};

/// Answers for the variables of the environment. What a process was started with does not change, but another of them
/// may be named.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where tenants are read from.
#[derive(Clone)]
pub struct TenantFiles {
    /// The config file; without one there are no tenants but that of `CALCOM_WEBHOOK_SECRET`.
    pub config: Option<PathBuf>,
    /// Answers for what the file names.
    pub environment: Environment,
}

/// Looks at them; every look blocks.
pub struct TenantWatch {
    files: TenantFiles,
    /// What was told last.
    told: State,
    /// What the last look saw, where that was something else.
    seen: Option<State>,
    /// The tenants' part of the file, and the text that it was read from.
    parsed: Option<([u8; 32], BTreeMap<String, TenantOptions>)>,
}

/// What a look shows.
#[derive(Debug)]
pub enum TenantNews {
    /// What was told last.
    Nothing,
    /// Something else, for the first time: look again soon.
    Unsettled,
    /// These are the tenants from here on.
    Tenants(BTreeMap<String, Tenant>),
    /// They can't be read or used. This is not told again before something changes.
    Broken(ConfigError),
}

/// A digest of what was read: the secrets themselves are held in as few places as possible.
#[derive(PartialEq, Eq)]
enum State {
    Good([u8; 32]),
    Broken([u8; 32]),
}

impl TenantWatch {
    /// Begins with the tenants that are in force.
    #[must_use]
    pub fn new(files: TenantFiles, in_force: &BTreeMap<String, Tenant>) -> Self {
        Self { files, told: State::Good(fingerprint(in_force)), seen: None, parsed: None }
    }

    /// Reads everything once more.
    pub fn look(&mut self) -> TenantNews {
        let found = self.read();
        let state = match &found {
            Ok(tenants) => State::Good(fingerprint(tenants)),
            Err(why) => State::Broken(Sha256::digest(why.to_string()).into()),
        };
        if state == self.told {
            self.seen = None;
            return TenantNews::Nothing;
        }
        if self.seen.as_ref() != Some(&state) {
            self.seen = Some(state);
            return TenantNews::Unsettled;
        }
        self.seen = None;
        self.told = state;
        found.map_or_else(TenantNews::Broken, TenantNews::Tenants)
    }

    fn read(&mut self) -> Result<BTreeMap<String, Tenant>, ConfigError> {
        let none = BTreeMap::new();
        let (options, folder) = match &self.files.config {
            Some(path) => {
                let text = config::read_text(path)?;
                let digest: [u8; 32] = Sha256::digest(&text).into();
                let known = self.parsed.take().filter(|(known, _)| *known == digest);
                let parsed = match known {
                    Some(parsed) => parsed,
                    None => (digest, config::parse(path, &text)?.tenants),
                };
                (&self.parsed.insert(parsed).1, config::folder(path))
            }
            None => (&none, Path::new("")),
        };
        let tenants = super::read(options, folder, &*self.files.environment)?;
        if tenants.is_empty() { Err(ConfigError::NoSecret) } else { Ok(tenants) }
    }
}

impl Debug for TenantFiles {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TenantFiles").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Each part led by its length, so that no two lists look alike.
fn fingerprint(tenants: &BTreeMap<String, Tenant>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    };
    for (name, tenant) in tenants {
        add(name.as_bytes());
        add(&[u8::from(tenant.allow_unsigned)]);
        add(&tenant.secrets.len().to_be_bytes());
        for secret in &tenant.secrets {
            add(secret.id.as_bytes());
            add(secret.value.expose_secret().as_bytes());
            for time in [secret.not_before, secret.expires] {
                add(time.map(|time| time.to_string()).unwrap_or_default().as_bytes());
            }
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
