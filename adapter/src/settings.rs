//! What a running adapter needs to know.

use std::collections::BTreeMap;

use calbridge_process::{Config, Limits, Tenant};

use crate::Moment;

/// The adapter's share of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may send, and with which secrets.
    pub tenants: BTreeMap<String, Tenant>,
    /// The booking service: `http://HOST:PORT`.
    pub service: String,
    /// Every bound in force.
    pub limits: Limits,
    /// Asked once for each request: the time, and an id.
    pub moment: fn() -> Moment,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            tenants: config.tenants.clone(),
            service: config.service.clone(),
            limits: config.limits,
            moment: Moment::now,
        }
    }
}
