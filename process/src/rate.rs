//! How often the same tenant or the same source may come, and what it is told above that.

use std::{num::NonZeroU32, str::FromStr};

use serde::Deserialize;

use crate::ConfigError;

/// The greatest rate: above it the time between two requests is no whole number of nanoseconds any more that means
/// anything, and no process takes as many in.
pub const RATE_MOST: u32 = 1_000_000;

/// So many in a second, and so many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, at most [`RATE_MOST`].
    pub per_second: NonZeroU32,
    /// After a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// `flags` are those of the rate and of the burst; without a rate there is no limit.
    pub(crate) fn resolve(
        flags: [&'static str; 2],
        rate: Option<u32>,
        burst: Option<u32>,
    ) -> Result<Option<Self>, ConfigError> {
        let [rate_flag, burst_flag] = flags;
        let refuse =
            |option, value: u32, mend: String| Err(ConfigError::Value { option, value: value.to_string(), mend });
        let Some(rate) = rate else {
            return match burst {
                Some(burst) => {
                    refuse(burst_flag, burst, format!("it says how a rate may be used: say {rate_flag} too"))
                }
                None => Ok(None),
            };
        };
        let of = |value| NonZeroU32::new(value).filter(|value| value.get() <= RATE_MOST);
        let range = |what| format!("must be 1 to {RATE_MOST}; leave {what} out to have no limit");
        let Some(per_second) = of(rate) else { return refuse(rate_flag, rate, range("it")) };
        let Some(burst) = of(burst.unwrap_or(rate)) else {
            return refuse(burst_flag, burst.unwrap_or(rate), range("both"));
        };
        Ok(Some(Self { per_second, burst }))
    }
}

/// What is answered above a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "u16")]
pub enum RateStatus {
    /// 503: whoever sends tries again, if it ever does.
    #[default]
    Unavailable,
    /// 429: plain, but some senders take every 4xx for an end.
    TooManyRequests,
}

impl TryFrom<u16> for RateStatus {
    type Error = String;

    fn try_from(status: u16) -> Result<Self, String> {
        match status {
            503 => Ok(Self::Unavailable),
            429 => Ok(Self::TooManyRequests),
            other => Err(format!("{other} is not answered above a rate: 503 or 429")),
        }
    }
}

impl FromStr for RateStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let status = text.parse::<u16>().map_err(|_| "no status: 503 or 429".to_owned())?;
        status.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [&str; 2] = ["--tenant-rate", "--tenant-burst"];

    #[test]
    fn a_rate_has_the_burst_of_a_second_unless_somebody_says_otherwise() {
        let rate = |rate, burst| {
            Rate::resolve(FLAGS, rate, burst).unwrap().map(|rate| (rate.per_second.get(), rate.burst.get()))
        };
        assert_eq!(rate(None, None), None);
        assert_eq!(rate(Some(20), None), Some((20, 20)));
        assert_eq!(rate(Some(20), Some(100)), Some((20, 100)));
        assert_eq!(rate(Some(RATE_MOST), Some(1)), Some((RATE_MOST, 1)));
    }

    #[test]
    fn what_is_no_rate_is_refused_by_name() {
        for (rate, burst, part) in [
            (Some(0), None, "--tenant-rate = 0: must be 1 to 1000000"),
            (Some(RATE_MOST + 1), None, "--tenant-rate = 1000001"),
            (Some(1), Some(0), "--tenant-burst = 0"),
            (None, Some(5), "--tenant-burst = 5: it says how a rate may be used: say --tenant-rate too"),
        ] {
            let why = Rate::resolve(FLAGS, rate, burst).unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn there_are_two_answers() {
        assert_eq!("503".parse(), Ok(RateStatus::Unavailable));
        assert_eq!("429".parse(), Ok(RateStatus::TooManyRequests));
        for strange in ["200", "4290", "often"] {
            assert!(strange.parse::<RateStatus>().unwrap_err().contains("503 or 429"), "{strange}");
        }
    }
}
