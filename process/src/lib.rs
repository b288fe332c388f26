//! What every calbridge program does alike: read its options, know its tenants' secrets, start, stop, and say how it
//! went.
//!
//! An option comes from its flag, else its environment variable, else the config file, else its default. The
//! environment is read here and nowhere else.

mod access;
mod ages;
mod config;
pub mod crash;
mod error;
mod files;
mod frame;
mod limits;
mod network;
mod options;
mod panics;
mod period;
mod principal;
mod proxies;
mod quarantine;
mod rate;
mod retention;
mod spool;
mod tenant;
pub mod tls;
mod workers;

pub use access::{Access, Credentials, SERVICES_MOST, ServiceOptions, Token, is_https};
pub use ages::Ages;
pub use config::{
    COMPLETE_GRACE, Config, Database, Program, RedisSettings, RedisTls, resolve, service_access, spool_settings, store,
};
pub use error::ConfigError;
pub use files::most_open_files;
pub use frame::{Process, announce, arguments, environment, exit_code, listen, loopback_or, start, start_with};
pub use limits::Limits;
pub use network::Listener;
pub use options::{LimitOptions, LogFormatOption, Options, TenantOptions};
pub use period::Period;
pub use principal::{
    CertificateName, MAX_CREDENTIALS, MAX_PRINCIPALS, Principal, PrincipalOptions, Scope, Scopes, Tenants, new_token,
    token_sha256,
};
pub use quarantine::{QuarantineSettings, webhook_tenants};
pub use rate::{RATE_MOST, Rate, RateStatus};
pub use retention::{Keeping, Retention, RetentionOptions};
pub use spool::{Ack, SpoolSettings};
pub use tenant::{
    Environment, MAX_SECRETS, MAX_TENANTS, Secret, SecretOptions, Tenant, TenantFiles, TenantNews, TenantWatch,
};
