//! What every calbridge program does alike: read its options, know its tenants' secrets, start, stop, and say how it
//! went.
//!
//! An option comes from its flag, else its environment variable, else the config file, else its default. The
//! environment is read here and nowhere else.

mod config;
mod error;
mod frame;
mod limits;
mod options;
mod period;
mod retention;
mod tenant;

pub use config::{
    COMPLETE_GRACE, Config, Database, Program, RedisSettings, RedisTls, SERVICES_MOST, resolve, service_addresses,
    store,
};
pub use error::ConfigError;
pub use frame::{Process, announce, arguments, environment, exit_code, listen, loopback_or, start, start_with};
pub use limits::Limits;
pub use options::{LimitOptions, LogFormatOption, Options, TenantOptions};
pub use period::Period;
pub use retention::{Keeping, Retention, RetentionOptions};
pub use tenant::{MAX_SECRETS, MAX_TENANTS, Secret, Tenant};
