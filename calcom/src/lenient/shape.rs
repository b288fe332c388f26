//! One visitor for every reader: it takes any JSON value, and what a reader does not expect reads as null does.
//!
//! Values that are not read are skipped by `serde_json` without recursion, so depth is no danger.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A way to read any JSON value.
pub(crate) trait Shape<'de>: Sized {
    /// What is read.
    type Output;

    /// Reads a string, a number, `true`, `false` or null.
    fn scalar(self, scalar: Scalar<'de>) -> Self::Output;

    /// Reads a list.
    fn items<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Output, A::Error> {
        skip_items(items)?;
        Ok(self.scalar(Scalar::Null))
    }

    /// Reads an object.
    fn entries<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Output, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.scalar(Scalar::Null))
    }
}

/// A JSON value that is neither list nor object.
pub(crate) enum Scalar<'de> {
    /// A string, borrowed where no escape stands in it.
    Text(Cow<'de, str>),
    /// A number without fraction or exponent that 64 bits can hold.
    Integer(i128),
    /// Any other number.
    Fraction(f64),
    /// `true` or `false`.
    Flag(bool),
    /// `null`.
    Null,
}

/// Reads a whole JSON text as `shape`.
pub(super) fn from_json<'de, S: Shape<'de>>(json: &'de str, shape: S) -> serde_json::Result<S::Output> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = Any(shape).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Passes the rest of a list by.
pub(super) fn skip_items<'de, A: SeqAccess<'de>>(mut items: A) -> Result<(), A::Error> {
    while items.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Hands whatever value comes to the reader.
pub(crate) struct Any<S>(pub(crate) S);

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for Any<S> {
    type Value = S::Output;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, S: Shape<'de>> Visitor<'de> for Any<S> {
    type Value = S::Output;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.0.scalar(Scalar::Flag(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.0.scalar(Scalar::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.0.scalar(Scalar::Integer(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.0.scalar(Scalar::Fraction(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.0.scalar(Scalar::Text(Cow::Owned(value.to_owned()))))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(self.0.scalar(Scalar::Text(Cow::Borrowed(value))))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(self.0.scalar(Scalar::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        self.0.items(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        self.0.entries(entries)
    }
}

/// A key, borrowed where no escape stands in it.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Any(KeyShape))?.map(Self).ok_or_else(|| D::Error::custom("a key is a string"))
    }
}

struct KeyShape;

impl<'de> Shape<'de> for KeyShape {
    type Output = Option<Cow<'de, str>>;

    fn scalar(self, scalar: Scalar<'de>) -> Self::Output {
        if let Scalar::Text(text) = scalar { Some(text) } else { None }
    }
}
