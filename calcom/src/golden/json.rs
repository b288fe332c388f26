//! JSON with the sender's key order, and with JavaScript's `undefined`, which vanishes when printed.

use serde::{Serialize, Serializer, ser::SerializeMap};

/// A JSON value to print.
#[derive(Clone, Debug)]
pub(super) enum Json {
    /// `undefined`: the key that has it is not printed.
    Absent,
    Null,
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// An object whose keys are printed as they are written.
macro_rules! object {
    ($($key:literal: $value:expr),* $(,)?) => {
        $crate::golden::json::Json::Object(vec![
            $(($key.to_owned(), Into::<$crate::golden::json::Json>::into($value))),*
        ])
    };
}
pub(super) use object;

impl Json {
    /// As `JSON.stringify` prints it.
    pub(super) fn print(&self) -> Vec<u8> {
        // Neither the values nor the writer can fail: keys are strings and numbers are integers.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// This object with the keys of `other` behind its own.
    pub(super) fn and(self, other: Json) -> Json {
        match (self, other) {
            (Json::Object(mut entries), Json::Object(more)) => {
                entries.extend(more);
                Json::Object(entries)
            }
            (this, _) => this,
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Absent | Json::Null => to.serialize_unit(),
            Json::Flag(flag) => to.serialize_bool(*flag),
            Json::Number(number) => to.serialize_i64(*number),
            Json::Text(text) => to.serialize_str(text),
            Json::List(items) => to.collect_seq(items),
            Json::Object(entries) => {
                let mut map = to.serialize_map(None)?;
                for (key, value) in entries.iter().filter(|(_, value)| !matches!(value, Json::Absent)) {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Json::Flag(flag)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Json::Number(number)
    }
}

impl From<i32> for Json {
    fn from(number: i32) -> Self {
        Json::Number(number.into())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::Text(text)
    }
}

impl From<&String> for Json {
    fn from(text: &String) -> Self {
        Json::Text(text.clone())
    }
}

/// None is `undefined`; null is written [`Json::Null`].
impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Json::Absent, Into::into)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Self {
        Json::List(items.into_iter().map(Into::into).collect())
    }
}
