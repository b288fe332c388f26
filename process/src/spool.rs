//! `--spool-dir` and what belongs to it: where the adapter keeps what the service does not commit in time.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use serde::Deserialize;

use crate::{ConfigError, Options};

/// The word for no spool at all.
const NONE: &str = "none";
/// Half a million webhooks: a day at five a second.
const SPOOL_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// The largest record that can come must find room beside some others.
const SPOOL_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// An outage that nobody has mended by then will not be mended by taking in more.
const SPOOL_AGE: Duration = Duration::from_hours(7 * 24);

/// Where the adapter keeps what the service does not commit in time, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The directory. Not created yet.
    pub directory: PathBuf,
    /// Of all that is in it, in bytes; beyond it nothing more is taken in.
    pub bytes: u64,
    /// Since the oldest of it was received; beyond it nothing more is taken in.
    pub age: Duration,
}

/// When a webhook is answered with a 2xx.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// When the service has committed it, or, where that takes too long, when the spool has it.
    #[default]
    Committed,
    /// When the spool has it: the shortest answer, and bursts are absorbed by the disk.
    Spooled,
}

pub(crate) fn resolve(options: &Options, data_dir: &Path) -> Result<(Option<SpoolSettings>, Ack), ConfigError> {
    let refuse = |option, value: String, mend: &str| Err(ConfigError::Value { option, value, mend: mend.to_owned() });
    let ack = options.ack.unwrap_or_default();
    let directory = match &options.spool_dir {
        Some(path) if path.as_os_str() == NONE => {
            if ack == Ack::Spooled {
                return refuse("--ack", "spooled".to_owned(), "needs a spool: leave --spool-dir none out");
            }
            return Ok((None, ack));
        }
        Some(path) => path.clone(),
        None => data_dir.join("spool"),
    };
    let bytes = options.spool_bytes.unwrap_or(SPOOL_BYTES);
    if bytes < SPOOL_BYTES_MIN {
        return refuse("--spool-bytes", bytes.to_string(), "must be at least 67108864, so that one large webhook fits");
    }
    let age = options.spool_age.map_or(SPOOL_AGE, |age| age.0);
    if age.is_zero() {
        return refuse(
            "--spool-age",
            "0s".to_owned(),
            "must be longer than nothing; for no spool say --spool-dir none",
        );
    }
    Ok((Some(SpoolSettings { directory, bytes, age }), ack))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Period;

    fn said(spool_dir: Option<&str>) -> Options {
        Options { spool_dir: spool_dir.map(PathBuf::from), ..Options::default() }
    }

    #[test]
    fn there_is_a_spool_unless_somebody_says_none() {
        let (spool, ack) = resolve(&said(None), Path::new("data")).unwrap();
        let (directory, bytes, age) = (PathBuf::from("data/spool"), SPOOL_BYTES, SPOOL_AGE);
        assert_eq!((spool, ack), (Some(SpoolSettings { directory, bytes, age }), Ack::Committed));
        assert_eq!(resolve(&said(Some("none")), Path::new("data")).unwrap(), (None, Ack::Committed));
        let elsewhere = resolve(&said(Some("elsewhere")), Path::new("data")).unwrap().0.unwrap();
        assert_eq!(elsewhere.directory, PathBuf::from("elsewhere"));
    }

    #[test]
    fn what_can_not_be_is_refused_by_name() {
        let spooled = Options { ack: Some(Ack::Spooled), ..said(Some("none")) };
        let small = Options { spool_bytes: Some(1), ..said(None) };
        let young = Options { spool_age: Some(Period(Duration::ZERO)), ..said(None) };
        for (options, flag) in [(spooled, "--ack"), (small, "--spool-bytes"), (young, "--spool-age")] {
            let why = resolve(&options, Path::new("data")).unwrap_err().to_string();
            assert!(why.starts_with(flag), "{why}");
        }
    }
}
