//! One entry of a tenant's `secrets` as the config file says it: a text, or a table that also says when it holds.
//!
//! No error of this file repeats a value: any of them may be a secret in the wrong place.

use std::fmt;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::value::Datetime;

/// The keys of the table.
const KEYS: &[&str] = &["secret", "id", "not_before", "expires"];

/// Where a secret is, and when it holds.
#[derive(Debug, Clone)]
pub struct SecretOptions {
    /// `env:NAME`, `file:PATH` (relative to the config file), or the secret itself.
    pub secret: SecretString,
    /// Its name for operators. Unset: where it comes from.
    pub id: Option<String>,
    /// It lets in from this moment on. Unset: since ever.
    pub not_before: Option<Timestamp>,
    /// It lets in up to this moment, which is not part of its time. Unset: for ever.
    pub expires: Option<Timestamp>,
}

impl From<&str> for SecretOptions {
    /// A secret that always holds.
    fn from(secret: &str) -> Self {
        Self { secret: secret.into(), id: None, not_before: None, expires: None }
    }
}

impl<'de> Deserialize<'de> for SecretOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrTable)
    }
}

struct TextOrTable;

impl<'de> Visitor<'de> for TextOrTable {
    type Value = SecretOptions;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, or a table with secret, id, not_before and expires")
    }

    fn visit_str<E: Error>(self, secret: &str) -> Result<SecretOptions, E> {
        Ok(secret.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<SecretOptions, A::Error> {
        let (mut secret, mut id, mut not_before, mut expires) = (None, None, None, None);
        while let Some(key) = table.next_key::<String>()? {
            match key.as_str() {
                "secret" => secret = Some(table.next_value()?),
                "id" => id = Some(table.next_value()?),
                "not_before" => not_before = Some(table.next_value::<Time>()?.0),
                "expires" => expires = Some(table.next_value::<Time>()?.0),
                _ => return Err(Error::unknown_field(&key, KEYS)),
            }
        }
        let secret = secret.ok_or_else(|| Error::missing_field("secret"))?;
        Ok(SecretOptions { secret, id, not_before, expires })
    }
}

/// A moment: TOML has times of its own, and whoever quotes them means the same.
struct Time(Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrDatetime)
    }
}

struct TextOrDatetime;

impl<'de> Visitor<'de> for TextOrDatetime {
    type Value = Time;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an RFC 3339 time such as \"2026-09-01T00:00:00Z\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        let moment = text.parse::<Timestamp>();
        moment.map(Time).map_err(|_| E::custom("no RFC 3339 time: write it as in \"2026-09-01T00:00:00Z\""))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Time, A::Error> {
        let time = Datetime::deserialize(MapAccessDeserializer::new(table))?;
        self.visit_str(&time.to_string())
    }
}
