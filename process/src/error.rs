//! What may be wrong with the configuration. Each message names the thing, the value and the mend, and never a secret.

use std::path::PathBuf;

/// The start can't go on; the program ends with exit code 78 (`EX_CONFIG` of `sysexits.h`).
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The config file could not be read.
    #[error("the config file {path} can't be read: {why}; check --config or CALBRIDGE_CONFIG")]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// The operating system's word.
        why: std::io::Error,
    },
    /// The config file is not TOML, or has a key or a type that calbridge does not know.
    #[error("{path}, line {line}: {why}")]
    File {
        /// As given.
        path: PathBuf,
        /// Counted from one.
        line: usize,
        /// The parser's word, without the line's text: it may hold a secret.
        why: String,
    },
    /// One option has a value that can't be used.
    #[error("{option} = {value}: {mend}")]
    Value {
        /// The flag.
        option: &'static str,
        /// As given; never of an option that may hold a password.
        value: String,
        /// What to say instead.
        mend: String,
    },
    /// A program that takes webhooks in knows no tenant at all.
    #[error(
        "no webhook secret is configured, so every webhook of Cal.com would be refused.\n\
         Set it in the environment:   CALCOM_WEBHOOK_SECRET=<the secret of your Cal.com webhook>\n\
         or add to the config file:   [tenants.default]\n\
         \x20                            secrets = [\"env:CALCOM_WEBHOOK_SECRET\"]"
    )]
    NoSecret,
    /// A tenant has no secret.
    #[error(
        "tenant {tenant} has no secret. Add to the config file, below [tenants.{tenant}]:\n\
         secrets = [\"env:NAME\"]      (or \"file:PATH\", or the secret itself)\n\
         or, only if its webhook really has no secret in Cal.com: allow_unsigned = true"
    )]
    TenantWithoutSecret {
        /// Its name.
        tenant: String,
    },
    /// A tenant's entry can't be used.
    #[error("tenant {tenant}: {why}")]
    Tenant {
        /// Its name.
        tenant: String,
        /// What is wrong, and the mend.
        why: String,
    },
    /// A principal's entry can't be used.
    #[error("principal {principal}: {why}")]
    Principal {
        /// Its name, or its place where the name can't be shown.
        principal: String,
        /// What is wrong, and the mend; never a token, nor a hash.
        why: String,
    },
    /// A listener would be open to others than this machine.
    #[error("{option} = {address} is reachable from other machines: {mend}")]
    Exposed {
        /// The flag.
        option: String,
        /// Where it would listen.
        address: std::net::SocketAddr,
        /// What to say instead.
        mend: String,
    },
    /// There is no place for data.
    #[error("this system names no data directory (is HOME set?): say --data-dir PATH or CALBRIDGE_DATA_DIR=PATH")]
    NoDataDirectory,
}
