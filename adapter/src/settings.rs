//! What a running adapter needs to know.

use std::collections::BTreeMap;

use calbridge_process::{
    Access, Ack, Config, Environment, Limits, QuarantineSettings, SpoolSettings, Tenant, TenantFiles, tls::ServerFiles,
};
use ipnet::IpNet;

use crate::{Moment, Reload, Resolver};

/// The adapter's share of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may send, and with which secrets, at the start.
    pub tenants: BTreeMap<String, Tenant>,
    /// Where that is looked at again while the adapter runs; `None`: it stays as it is.
    pub reload: Option<Reload>,
    /// Proxies whose word on a sender's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The certificate of the HTTP edge; without one it speaks no TLS.
    pub tls: Option<ServerFiles>,
    /// The booking service, each `http://HOST:PORT` or `https://HOST:PORT`: every address and every address of a name
    /// is a replica.
    pub services: Vec<String>,
    /// What is shown there, and who is believed.
    pub access: Access,
    /// Answers the addresses of the names among them.
    pub resolver: Resolver,
    /// Where what the service does not commit in time is kept.
    pub spool: Option<SpoolSettings>,
    /// What is kept of webhooks that no secret verifies. Only where there is a spool, whose lock covers it.
    pub quarantine: Option<QuarantineSettings>,
    /// When a webhook is answered with a 2xx.
    pub ack: Ack,
    /// Every bound in force.
    pub limits: Limits,
    /// Asked once for each request: the time, and an id.
    pub moment: fn() -> Moment,
}

impl Settings {
    /// Those of a process that takes nothing in, and sends to these services what it has.
    pub(crate) fn sending(services: Vec<String>, access: Access) -> Self {
        Self {
            tenants: BTreeMap::new(),
            reload: None,
            trusted_proxies: Vec::new(),
            tls: None,
            services,
            access,
            resolver: Resolver::system(),
            spool: None,
            quarantine: None,
            ack: Ack::Committed,
            limits: Limits::default(),
            moment: Moment::now,
        }
    }
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            tenants: config.tenants.clone(),
            reload: None,
            trusted_proxies: config.trusted_proxies.clone(),
            tls: config.http_tls.clone(),
            services: config.services.clone(),
            access: config.access.clone(),
            resolver: Resolver::system(),
            spool: config.spool.clone(),
            quarantine: config.quarantine.clone(),
            ack: config.ack,
            limits: config.limits,
            moment: Moment::now,
        }
    }
}

impl Settings {
    /// The adapter's share, with tenants that are read again whenever the files change that they are in.
    #[must_use]
    pub fn reloading(config: &Config, environment: Environment) -> Self {
        let files = TenantFiles { config: config.config_file.clone(), environment };
        let reload = Reload { files, insecure_unsigned: config.insecure_unsigned };
        Self { reload: Some(reload), ..Self::from(config) }
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
        assert_eq!((settings.services[0].as_str(), settings.tenants.len()), ("http://127.0.0.1:50051", 1));
        let shown = format!("{settings:?}");
        assert!(shown.contains("CALCOM_WEBHOOK_SECRET") && !shown.contains("hunter2"), "{shown}");
    }
}
