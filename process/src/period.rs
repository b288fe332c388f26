//! A length of time as people write it: `250ms`, `10s`, `7days`.

use std::{fmt, str::FromStr, time::Duration};

/// A [`Duration`] that is read from an option or the config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|why| format!("{text:?} is no length of time ({why}); write it like 250ms, 10s, 7days"))
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_people_write_it() {
        assert_eq!("250ms".parse::<Period>().unwrap().0, Duration::from_millis(250));
        assert_eq!("7days".parse::<Period>().unwrap().0, Duration::from_hours(7 * 24));
        assert_eq!(Period(Duration::from_mins(2)).to_string(), "2m");
    }

    #[test]
    fn says_what_it_wants() {
        let why = "soon".parse::<Period>().unwrap_err();
        assert!(why.contains("\"soon\"") && why.contains("10s"), "{why}");
    }
}
