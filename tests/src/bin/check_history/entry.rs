//! What stands in the log, as everybody tells it who has seen it.

use std::fmt;

use serde::Deserialize;

/// A place in the log. The store knows it as a number, clients as the same number in 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position(pub(crate) u64);

/// Microseconds since 1970.
pub(crate) type Micros = i64;

/// One entry of the log. One that tells of no change has the kind 0.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) tenant: String,
    pub(crate) uid: String,
    pub(crate) kind: i32,
    pub(crate) from: i32,
    pub(crate) to: i32,
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = (text.len() == 16).then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no position")))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, tenant, uid, kind, from, to } = self;
        write!(formatter, "{position} ({tenant}/{uid}, kind {kind}, {from} to {to})")
    }
}
