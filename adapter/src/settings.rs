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

#[cfg(test)]
mod tests {
    use calbridge_process::{Options, Program, resolve};

    use super::*;

    #[test]
    fn the_settings_are_the_configurations_and_hide_the_secrets() {
        let environment = |name: &str| (name == "CALCOM_WEBHOOK_SECRET").then(|| "hunter2".to_owned());
        let options = Options { data_dir: Some("unused".into()), ..Options::default() };
        let config = resolve(options, Program::Adapter, &environment).unwrap();
        let settings = Settings::from(&config);
        assert_eq!((settings.service.as_str(), settings.tenants.len()), ("http://127.0.0.1:50051", 1));
        let shown = format!("{settings:?}");
        assert!(shown.contains("CALCOM_WEBHOOK_SECRET") && !shown.contains("hunter2"), "{shown}");
    }
}
