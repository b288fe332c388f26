//! `--quarantine-bytes` and what belongs to it: what the adapter keeps of webhooks that no secret verifies, and whose
//! secrets it is tried with afterwards.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    ConfigError, Options, SpoolSettings, Tenant,
    config::{folder, with_file},
    tenant,
};

/// A hundred thousand webhooks of the usual size: what a wrong secret costs a busy installation in an hour.
const QUARANTINE_BYTES: u64 = 256 * 1024 * 1024;
/// A share of it must hold the largest webhook.
const QUARANTINE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Whoever has not seen by then that a secret is wrong will not miss what came of it; and it may be forged.
const QUARANTINE_AGE: Duration = Duration::from_hours(7 * 24);
/// Cal.com sends what is answered 401 up to four times: a few webhooks a second, and each of their copies.
const QUARANTINE_RATE: u32 = 10;
/// A thousand a second of one tenant from one address is more than any installation we know of.
const QUARANTINE_RATE_MOST: u32 = 1_000;
/// Beside the spool's own files, in a directory of its own.
const FOLDER: &str = "quarantine";

/// What the adapter keeps of webhooks that no secret of their tenant verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineSettings {
    /// The directory, in the spool's. Not created yet.
    pub directory: PathBuf,
    /// Of all that is in it, in bytes; beyond it they are only counted.
    pub bytes: u64,
    /// Since one was received; then it goes.
    pub age: Duration,
    /// How many of one tenant from one address are kept in a second, for longer.
    pub rate: u32,
}

impl QuarantineSettings {
    /// Where it is in a spool.
    #[must_use]
    pub fn directory(spool: &Path) -> PathBuf {
        spool.join(FOLDER)
    }
}

/// None where there is no spool, and where none is wanted.
pub(crate) fn resolve(
    options: &Options,
    spool: Option<&SpoolSettings>,
) -> Result<Option<QuarantineSettings>, ConfigError> {
    let refuse = |option, value: String, mend: &str| Err(ConfigError::Value { option, value, mend: mend.to_owned() });
    let bytes = options.quarantine_bytes.unwrap_or(QUARANTINE_BYTES);
    if (1..QUARANTINE_BYTES_MIN).contains(&bytes) {
        let mend = "must be at least 67108864, so that a share of it holds one large webhook; 0 keeps nothing";
        return refuse("--quarantine-bytes", bytes.to_string(), mend);
    }
    let age = options.quarantine_age.map_or(QUARANTINE_AGE, |age| age.0);
    if age.is_zero() {
        let mend = "must be longer than nothing; to keep nothing say --quarantine-bytes 0";
        return refuse("--quarantine-age", "0s".to_owned(), mend);
    }
    let rate = options.quarantine_rate.unwrap_or(QUARANTINE_RATE);
    if !(1..=QUARANTINE_RATE_MOST).contains(&rate) {
        let mend = "must be 1 to 1000 a second; to keep nothing say --quarantine-bytes 0";
        return refuse("--quarantine-rate", rate.to_string(), mend);
    }
    let Some(spool) = spool.filter(|_| bytes > 0) else { return Ok(None) };
    let directory = QuarantineSettings::directory(&spool.directory);
    Ok(Some(QuarantineSettings { directory, bytes, age, rate }))
}

/// Every tenant's secrets as an adapter reads them, for a program that verifies beside it.
///
/// # Errors
///
/// The config file or a secret can't be read, or there is none.
pub fn webhook_tenants(
    config: Option<PathBuf>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, Tenant>, ConfigError> {
    let folder = config.as_deref().map_or(Path::new(""), folder).to_owned();
    let options = with_file(Options { config, ..Options::default() })?;
    let tenants = tenant::read(&options.tenants, &folder, environment)?;
    if tenants.is_empty() { Err(ConfigError::NoSecret) } else { Ok(tenants) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Period;

    fn of(options: &Options) -> Result<Option<QuarantineSettings>, ConfigError> {
        let spool = SpoolSettings { directory: "spool".into(), bytes: 1, age: Duration::from_secs(1) };
        resolve(options, Some(&spool))
    }

    #[test]
    fn there_is_a_quarantine_where_there_is_a_spool_unless_somebody_says_none() {
        let found = of(&Options::default()).unwrap().unwrap();
        assert_eq!((found.directory, found.bytes), (PathBuf::from("spool/quarantine"), QUARANTINE_BYTES));
        assert_eq!((found.age, found.rate), (QUARANTINE_AGE, QUARANTINE_RATE));
        assert_eq!(of(&Options { quarantine_bytes: Some(0), ..Options::default() }).unwrap(), None);
        assert_eq!(resolve(&Options::default(), None).unwrap(), None);
    }

    #[test]
    fn what_can_not_be_is_refused_by_name() {
        let small = Options { quarantine_bytes: Some(1), ..Options::default() };
        let young = Options { quarantine_age: Some(Period(Duration::ZERO)), ..Options::default() };
        let slow = Options { quarantine_rate: Some(0), ..Options::default() };
        let fast = Options { quarantine_rate: Some(1_001), ..Options::default() };
        for (options, flag) in [
            (small, "--quarantine-bytes"),
            (young, "--quarantine-age"),
            (slow, "--quarantine-rate"),
            (fast, "--quarantine-rate"),
        ] {
            let why = of(&options).unwrap_err().to_string();
            assert!(why.starts_with(flag), "{why}");
        }
    }

    #[test]
    fn secrets_are_read_as_the_adapter_reads_them() {
        let environment = |name: &str| (name == "CALCOM_WEBHOOK_SECRET").then(|| "secret".to_owned());
        let tenants = webhook_tenants(None, &environment).unwrap();
        assert_eq!(tenants["default"].secrets[0].id, "env:CALCOM_WEBHOOK_SECRET");
        let none = webhook_tenants(None, &|_| None).unwrap_err().to_string();
        assert!(none.starts_with("no webhook secret is configured"), "{none}");
    }
}
