//! How long what was received is kept: for all tenants, and for each that says otherwise.
//!
//! Invariant: bodies are never kept longer than the deliveries that they belong to.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use clap::Args;
use serde::Deserialize;

use crate::{ConfigError, Period, TenantOptions};

/// The shortest that can be said: a sender's copies come within minutes, and one that comes after its delivery was
/// removed is told as new.
const SHORTEST: Duration = Duration::from_hours(1);

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// For how long each kind is kept; `None`: for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// The raw bytes of webhooks.
    pub bodies: Option<Duration>,
    /// What is known of each webhook beside them.
    pub deliveries: Option<Duration>,
    /// The log of what changed.
    pub transitions: Option<Duration>,
}

/// A period, or `never`: as it is said in options and in the config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Keeping(pub Option<Period>);

/// How long what was received is kept; `[retention]` in the config file, and `[tenants.NAME.retention]`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Retention")]
pub struct RetentionOptions {
    /// When raw bodies are removed, or `never` [default: 30days, or with their deliveries where those go before]
    #[arg(long = "retention-bodies", env = "CALBRIDGE_RETENTION_BODIES", value_name = "TIME")]
    pub bodies: Option<Keeping>,
    /// When deliveries are removed, or `never` [default: 90days]
    #[arg(long = "retention-deliveries", env = "CALBRIDGE_RETENTION_DELIVERIES", value_name = "TIME")]
    pub deliveries: Option<Keeping>,
    /// When transitions are removed, or `never` [default: 90days]
    #[arg(long = "retention-transitions", env = "CALBRIDGE_RETENTION_TRANSITIONS", value_name = "TIME")]
    pub transitions: Option<Keeping>,
}

impl Retention {
    /// Where the operator says nothing: a month to replay what a release did not understand, a quarter to look back.
    pub const DEFAULT: Self = Self {
        bodies: Some(Duration::from_hours(30 * 24)),
        deliveries: Some(Duration::from_hours(90 * 24)),
        transitions: Some(Duration::from_hours(90 * 24)),
    };
}

impl RetentionOptions {
    /// These options, with the gaps filled from `below`.
    pub(crate) fn over(self, below: &Self) -> Self {
        Self {
            bodies: self.bodies.or(below.bodies),
            deliveries: self.deliveries.or(below.deliveries),
            transitions: self.transitions.or(below.transitions),
        }
    }

    /// What holds where nothing is said is that of `above`, but that bodies go with their deliveries at the latest.
    fn resolve(&self, above: Retention) -> Result<Retention, Fault> {
        let said = |kind, keeping: Option<Keeping>, above| match keeping {
            Some(Keeping(Some(Period(period)))) if period < SHORTEST => Err(Fault::new(kind, keeping, TOO_SHORT)),
            Some(Keeping(keeping)) => Ok(keeping.map(|period| period.0)),
            None => Ok(above),
        };
        let deliveries = said("deliveries", self.deliveries, above.deliveries)?;
        let transitions = said("transitions", self.transitions, above.transitions)?;
        let bodies = match said("bodies", self.bodies, above.bodies)? {
            bodies if !outlives(bodies, deliveries) => bodies,
            _ if self.bodies.is_none() => deliveries,
            _ => {
                let deliveries = Keeping(deliveries.map(Period));
                let mend = format!(
                    "a body is kept with its delivery, and deliveries go after {deliveries}; say less, or more for \
                     deliveries"
                );
                return Err(Fault { kind: "bodies", value: shown(self.bodies), mend });
            }
        };
        Ok(Retention { bodies, deliveries, transitions })
    }
}

const TOO_SHORT: &str = "a copy that comes after its delivery is gone is taken as new, so the shortest is 1h";

struct Fault {
    kind: &'static str,
    value: String,
    mend: String,
}

impl Fault {
    fn new(kind: &'static str, value: Option<Keeping>, mend: &str) -> Self {
        Self { kind, value: shown(value), mend: mend.to_owned() }
    }
}

/// What holds for all tenants, and for those that the config file says otherwise of.
pub(crate) fn resolve(
    common: &RetentionOptions,
    tenants: &BTreeMap<String, TenantOptions>,
) -> Result<(Retention, BTreeMap<String, Retention>), ConfigError> {
    let otherwise = common.resolve(Retention::DEFAULT).map_err(|Fault { kind, value, mend }| {
        let option = match kind {
            "bodies" => "--retention-bodies",
            "deliveries" => "--retention-deliveries",
            _ => "--retention-transitions",
        };
        ConfigError::Value { option, value, mend }
    })?;
    let mut own = BTreeMap::new();
    for (name, tenant) in tenants {
        let Some(retention) = &tenant.retention else { continue };
        let retention = retention.resolve(otherwise).map_err(|Fault { kind, value, mend }| ConfigError::Tenant {
            tenant: name.clone(),
            why: format!("retention.{kind} = \"{value}\": {mend}"),
        })?;
        own.insert(name.clone(), retention);
    }
    Ok((otherwise, own))
}

fn outlives(one: Option<Duration>, other: Option<Duration>) -> bool {
    match (one, other) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
    }
}

fn shown(keeping: Option<Keeping>) -> String {
    keeping.map(|keeping| keeping.to_string()).unwrap_or_default()
}

impl FromStr for Keeping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self(None));
        }
        text.parse().map(|period| Self(Some(period))).map_err(|why: String| format!("{why}, or never"))
    }
}

impl TryFrom<String> for Keeping {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // A month of `humantime`'s is no number of days.
            Some(Period(period)) if period.as_secs() >= DAY && period.as_secs().is_multiple_of(DAY) => {
                write!(out, "{}days", period.as_secs() / DAY)
            }
            Some(period) => period.fmt(out),
            None => out.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bodies: &str, deliveries: &str, transitions: &str) -> RetentionOptions {
        let said = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        RetentionOptions { bodies: said(bodies), deliveries: said(deliveries), transitions: said(transitions) }
    }

    fn days(bodies: u32, deliveries: u32, transitions: u32) -> Retention {
        let kept = |days: u32| (days > 0).then(|| Duration::from_hours(24) * days);
        Retention { bodies: kept(bodies), deliveries: kept(deliveries), transitions: kept(transitions) }
    }

    fn tenant(said: RetentionOptions) -> BTreeMap<String, TenantOptions> {
        let retention = Some(said);
        [("acme".to_owned(), TenantOptions { retention, ..TenantOptions::default() })].into()
    }

    #[test]
    fn what_is_not_said_is_that_of_all_and_bodies_go_with_their_deliveries() {
        let common = |said| resolve(&said, &BTreeMap::new()).unwrap().0;
        assert_eq!(common(RetentionOptions::default()), days(30, 90, 90));
        assert_eq!(common(options("", "7days", "")), days(7, 7, 90));
        assert_eq!(common(options("90days", "", "never")), days(90, 90, 0));
        assert_eq!(common(options("never", "never", "1day")), days(0, 0, 1));
        let own = |common: RetentionOptions, said| resolve(&common, &tenant(said)).unwrap().1["acme"];
        assert_eq!(own(options("60days", "", ""), options("", "", "2days")), days(60, 90, 2));
        assert_eq!(own(options("60days", "", ""), options("", "14days", "")), days(14, 14, 90));
        assert_eq!(own(options("never", "never", ""), options("", "14days", "")), days(14, 14, 90));
        let others = resolve(&RetentionOptions::default(), &[("x".to_owned(), TenantOptions::default())].into());
        assert_eq!(others.unwrap().1, BTreeMap::new());
    }

    #[test]
    fn what_can_not_be_is_refused_with_its_mend() {
        for (said, parts) in [
            (options("91days", "", ""), ["--retention-bodies", "91days", "deliveries go after 90days"]),
            (options("never", "", ""), ["--retention-bodies", "never", "more for deliveries"]),
            (options("", "59m", ""), ["--retention-deliveries", "59m", "shortest is 1h"]),
            (options("", "", "1s"), ["--retention-transitions", "1s", "shortest is 1h"]),
        ] {
            let why = resolve(&said, &BTreeMap::new()).unwrap_err().to_string();
            assert!(parts.iter().all(|part| why.contains(part)), "{why}");
        }
        let why =
            resolve(&RetentionOptions::default(), &tenant(options("8days", "7days", ""))).unwrap_err().to_string();
        for part in ["tenant acme", "retention.bodies = \"8days\"", "deliveries go after 7days"] {
            assert!(why.contains(part), "{part}: {why}");
        }
        let why = "soon".parse::<Keeping>().unwrap_err();
        assert!(why.contains("\"soon\"") && why.ends_with("or never"), "{why}");
    }
}
