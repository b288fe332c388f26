//! Reads JSON field by field and never trips over a type: a value of another type than Cal.com's is unset.
//!
//! An [`Object`] says which key goes where; a [`Slot`] is the value of one key and can be read exactly once. Of a key
//! that stands twice the last value wins, as with the sender's own `JSON.parse`. Only what is not JSON at all, or a
//! number that is read and that no `f64` can hold, is an error.

mod shape;

use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{DeserializeSeed as _, IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;

pub(crate) use self::shape::{Any, Key, Scalar, Shape};

/// Items kept of one list. Cal.com lets a time slot have at most 1,000 seats, and no list of its is longer than that
/// of a slot's attendees; without a bound a body of tiny items would grow twentyfold in memory.
pub(crate) const LIST_ITEMS_MAX: usize = 1_000;

/// The first second that a `google.protobuf.Timestamp` may hold: 0001-01-01T00:00:00Z. Its last, the end of the year
/// 9999, lies beyond what `jiff` reads.
const TIMESTAMP_SECONDS_MIN: i64 = -62_135_596_800;

/// A JSON object of known keys.
pub(crate) trait Object<'de>: Default {
    /// What the object becomes.
    type Message;

    /// Takes the value of `key`.
    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error>;

    /// The object, once every key was seen; `None` where it says nothing.
    fn finish(self) -> Option<Self::Message>;

    /// The object, where the sender wrote a plain string in its place.
    fn from_text(_text: &str) -> Option<Self::Message> {
        None
    }
}

impl<'de, T: Object<'de>> Shape<'de> for T {
    type Output = Option<T::Message>;

    fn scalar(self, scalar: Scalar<'de>) -> Self::Output {
        if let Scalar::Text(text) = scalar { T::from_text(&text) } else { None }
    }

    fn entries<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Self::Output, A::Error> {
        while let Some(Key(key)) = entries.next_key()? {
            self.field(&key, Slot { entries: &mut entries })?;
        }
        Ok(self.finish())
    }
}

/// The value of one key, not yet read.
pub(crate) struct Slot<'m, A> {
    entries: &'m mut A,
}

impl<'de, A: MapAccess<'de>> Slot<'_, A> {
    /// The value as `T` reads it.
    pub(crate) fn read<T: Shape<'de> + Default>(self) -> Result<T::Output, A::Error> {
        self.entries.next_value_seed(Any(T::default()))
    }

    /// The items that are a `T`, at most [`LIST_ITEMS_MAX`]; empty where the value is no list.
    pub(crate) fn list<T: Shape<'de, Output = Option<M>> + Default, M>(self) -> Result<Vec<M>, A::Error> {
        self.read::<List<T>>()
    }

    /// A string, or an integer's digits; else empty.
    pub(crate) fn text(self) -> Result<String, A::Error> {
        Ok(self.read::<Text>()?.unwrap_or_default())
    }

    /// An integer, or a string that is one.
    pub(crate) fn int<T: TryFrom<i64>>(self) -> Result<Option<T>, A::Error> {
        Ok(self.read::<Int>()?.and_then(|value| T::try_from(value).ok()))
    }

    /// `true` or `false`.
    pub(crate) fn flag(self) -> Result<Option<bool>, A::Error> {
        self.read::<Flag>()
    }

    /// A point in time: ISO 8601 with any offset.
    pub(crate) fn time(self) -> Result<Option<prost_types::Timestamp>, A::Error> {
        self.read::<Time>()
    }

    /// The value's own text.
    pub(crate) fn raw(self) -> Result<&'de RawValue, A::Error> {
        self.entries.next_value()
    }

    /// Passes the value by.
    pub(crate) fn skip(self) -> Result<(), A::Error> {
        self.entries.next_value::<IgnoredAny>().map(drop)
    }
}

/// Reads a whole JSON text as `T`.
pub(crate) fn from_json<'de, T: Shape<'de> + Default>(json: &'de str) -> serde_json::Result<T::Output> {
    shape::from_json(json, T::default())
}

/// Reads the beginning of a JSON text as this shape, as much as that wants of it.
pub(crate) fn begin_json<'de, S: Shape<'de>>(json: &'de [u8], shape: S) -> serde_json::Result<S::Output> {
    Any(shape).deserialize(&mut serde_json::Deserializer::from_slice(json))
}

/// A string, or an integer's digits.
#[derive(Default)]
pub(crate) struct Text;

impl<'de> Shape<'de> for Text {
    type Output = Option<String>;

    fn scalar(self, scalar: Scalar<'de>) -> Option<String> {
        match scalar {
            Scalar::Text(text) => Some(text.into_owned()),
            Scalar::Integer(integer) => Some(integer.to_string()),
            Scalar::Fraction(_) | Scalar::Flag(_) | Scalar::Null => None,
        }
    }
}

/// A string and nothing else.
#[derive(Default)]
pub(crate) struct StrictText;

impl<'de> Shape<'de> for StrictText {
    type Output = Option<String>;

    fn scalar(self, scalar: Scalar<'de>) -> Option<String> {
        if let Scalar::Text(text) = scalar { Some(text.into_owned()) } else { None }
    }
}

/// An integer, or a string that is one.
#[derive(Default)]
pub(crate) struct Int;

impl<'de> Shape<'de> for Int {
    type Output = Option<i64>;

    fn scalar(self, scalar: Scalar<'de>) -> Option<i64> {
        match scalar {
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Integer(integer) => i64::try_from(integer).ok(),
            Scalar::Fraction(_) | Scalar::Flag(_) | Scalar::Null => None,
        }
    }
}

/// `true` or `false`.
#[derive(Default)]
struct Flag;

impl<'de> Shape<'de> for Flag {
    type Output = Option<bool>;

    fn scalar(self, scalar: Scalar<'de>) -> Option<bool> {
        if let Scalar::Flag(flag) = scalar { Some(flag) } else { None }
    }
}

/// A point in time: ISO 8601 with any offset.
#[derive(Default)]
pub(crate) struct Time;

impl<'de> Shape<'de> for Time {
    type Output = Option<prost_types::Timestamp>;

    fn scalar(self, scalar: Scalar<'de>) -> Option<prost_types::Timestamp> {
        if let Scalar::Text(text) = scalar { parse_time(&text) } else { None }
    }
}

/// Cal.com writes `…T10:00:00Z`, `…T10:00:00.000Z` and `…T10:00:00+00:00` (with its server's offset), by path.
fn parse_time(text: &str) -> Option<prost_types::Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    // `jiff` gives both parts the sign of the time; protobuf's nanoseconds always count forward.
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    (seconds >= TIMESTAMP_SECONDS_MIN).then_some(prost_types::Timestamp { seconds, nanos })
}

/// A list of `T`, bounded.
struct List<T>(PhantomData<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: Shape<'de, Output = Option<M>> + Default, M> Shape<'de> for List<T> {
    type Output = Vec<M>;

    fn scalar(self, _scalar: Scalar<'de>) -> Vec<M> {
        Vec::new()
    }

    fn items<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<M>, A::Error> {
        let mut list = Vec::new();
        while list.len() < LIST_ITEMS_MAX {
            match items.next_element_seed(Any(T::default()))? {
                Some(item) => list.extend(item),
                None => return Ok(list),
            }
        }
        shape::skip_items(items)?;
        Ok(list)
    }
}

/// Any JSON object, whatever is in it.
#[derive(Default)]
pub(crate) struct Anything;

impl<'de> Object<'de> for Anything {
    type Message = ();

    fn field<A: MapAccess<'de>>(&mut self, _key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        slot.skip()
    }

    fn finish(self) -> Option<()> {
        Some(())
    }
}

#[cfg(test)]
mod tests;
