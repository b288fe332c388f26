//! What users and apps may fill as they like: `metadata`, the answers of forms, reports.
//!
//! Its size and depth are bounded here, since a typed event must fit into a gRPC message and decode at the other end:
//! what lies beyond the bounds is kept as one string of compact JSON, or, of a map's keys, left out.

use std::collections::BTreeMap;

use calbridge_proto::v1::ResponsePayload;
use prost_types::{ListValue, NullValue, Struct, Value, value::Kind};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use crate::lenient::{Any, Key, Object, Scalar, Shape, Slot, StrictText, from_json};

/// Keys kept of one map, the first of the body. Cal.com's API takes 50 keys of metadata, and a form of a hundred
/// questions is a long one; without a bound a body of tiny keys would grow tenfold in memory.
pub(crate) const MAP_KEYS_MAX: usize = 1_000;

/// Levels of lists and objects that a free-form value keeps. `prost` decodes at most 100 levels of messages, and one
/// level of an object costs three of them.
pub(crate) const DEPTH_MAX: usize = 16;

/// Values that all answers of one map may nest together. A nested number of two bytes becomes eleven on the wire; an
/// answer that Cal.com's form builder can make nests a dozen.
pub(crate) const NODES_MAX: usize = 10_000;

/// A map of scalars: strings without their quotes, numbers and booleans as JSON prints them, nulls left out. Anything
/// nested is compact JSON.
#[derive(Default)]
pub(crate) struct Metadata;

impl<'de> Shape<'de> for Metadata {
    type Output = BTreeMap<String, String>;

    fn scalar(self, _scalar: Scalar<'de>) -> Self::Output {
        BTreeMap::new()
    }

    fn entries<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Output, A::Error> {
        bounded_map(entries, |raw| word(raw.get()))
    }
}

/// A booking form's answers: `{label, value, isHidden}`, or the bare answer where the path wraps none.
#[derive(Default)]
pub(crate) struct Responses;

impl<'de> Shape<'de> for Responses {
    type Output = BTreeMap<String, ResponsePayload>;

    fn scalar(self, _scalar: Scalar<'de>) -> Self::Output {
        BTreeMap::new()
    }

    fn entries<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Output, A::Error> {
        let mut nodes = NODES_MAX;
        bounded_map(entries, |raw| response(raw, wraps_booking_answer, &mut nodes))
    }
}

/// A routing form's answers: `{value, response}`, of which the value counts.
#[derive(Default)]
pub(crate) struct FormResponses;

impl<'de> Shape<'de> for FormResponses {
    type Output = BTreeMap<String, ResponsePayload>;

    fn scalar(self, _scalar: Scalar<'de>) -> Self::Output {
        BTreeMap::new()
    }

    fn entries<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Output, A::Error> {
        let mut nodes = NODES_MAX;
        bounded_map(entries, |raw| response(raw, wraps_form_answer, &mut nodes))
    }
}

/// `json` without the white space between its tokens.
pub(crate) fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let mut copied = 0;
    for (at, byte) in outside_strings(json) {
        if byte.is_ascii_whitespace() {
            compact.push_str(&json[copied..at]);
            copied = at + 1;
        }
    }
    compact.push_str(&json[copied..]);
    compact
}

/// Reads the entries that `read` makes something of; where a key stands twice, the last one decides.
fn bounded_map<'de, A: MapAccess<'de>, V>(
    mut entries: A,
    mut read: impl FnMut(&'de RawValue) -> Option<V>,
) -> Result<BTreeMap<String, V>, A::Error> {
    let mut map = BTreeMap::new();
    while let Some((Key(key), raw)) = entries.next_entry::<Key<'de>, &'de RawValue>()? {
        if map.len() >= MAP_KEYS_MAX && !map.contains_key(&*key) {
            continue;
        }
        match read(raw) {
            Some(value) => drop(map.insert(key.into_owned(), value)),
            None => drop(map.remove(&*key)),
        }
    }
    Ok(map)
}

/// A value in one word: a string's content, a number or boolean as it stands, anything nested as compact JSON.
fn word(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'n' => None,
        b'"' => from_json::<StrictText>(json).ok().flatten(),
        b'{' | b'[' => Some(compact(json)),
        _ => Some(json.to_owned()),
    }
}

/// One answer, or none where it is null. `wraps` tells a wrapper from a bare answer that happens to be an object.
fn response(raw: &RawValue, wraps: fn(&Wrapper<'_>) -> bool, nodes: &mut usize) -> Option<ResponsePayload> {
    let wrapper = match raw.get().as_bytes().first()? {
        b'n' => return None,
        b'{' => from_json::<Wrapper<'_>>(raw.get()).ok().flatten().filter(wraps),
        _ => None,
    };
    Some(match wrapper {
        Some(wrapper) => ResponsePayload {
            label: wrapper.label,
            value: wrapper.value.and_then(|value| freeform(value, nodes)),
            hidden: wrapper.hidden,
        },
        None => ResponsePayload { value: freeform(raw, nodes), ..ResponsePayload::default() },
    })
}

/// An object that may be a wrapper round an answer.
#[derive(Default)]
struct Wrapper<'de> {
    label: String,
    has_label: bool,
    value: Option<&'de RawValue>,
    hidden: Option<bool>,
    /// There is a key that no booking form's wrapper has.
    has_foreign_key: bool,
}

/// `{value, optionValue}` is a bare answer: that of a radio input such as the location.
fn wraps_booking_answer(wrapper: &Wrapper<'_>) -> bool {
    wrapper.has_label || !wrapper.has_foreign_key
}

/// A routing form's wrapper has no label.
fn wraps_form_answer(wrapper: &Wrapper<'_>) -> bool {
    wrapper.value.is_some()
}

impl<'de> Object<'de> for Wrapper<'de> {
    type Message = Self;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "label" => {
                let label = slot.read::<StrictText>()?;
                self.has_label = label.is_some();
                self.label = label.unwrap_or_default();
            }
            "value" => self.value = Some(slot.raw()?),
            "isHidden" => self.hidden = slot.flag()?,
            _ => {
                self.has_foreign_key = true;
                slot.skip()?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Option<Self> {
        Some(self)
    }
}

/// A value as protobuf says it, none for null. `nodes` is what is left of the map's share.
fn freeform(raw: &RawValue, nodes: &mut usize) -> Option<Value> {
    let json = raw.get();
    let kind = match json.as_bytes().first()? {
        b'n' => return None,
        b'{' | b'[' => {
            let wanted = outside_strings(json).filter(|(_, byte)| matches!(byte, b'[' | b'{' | b',')).count();
            match nodes.checked_sub(wanted) {
                Some(left) => {
                    *nodes = left;
                    nested(json)
                }
                None => Kind::StringValue(compact(json)),
            }
        }
        _ => nested(json),
    };
    Some(Value { kind: Some(kind) })
}

/// A value down to [`DEPTH_MAX`] levels. What `serde_json` does not read, a number beyond `f64`, stays text.
fn nested(json: &str) -> Kind {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Nested { levels: DEPTH_MAX }.deserialize(&mut deserializer).unwrap_or_else(|_| Kind::StringValue(compact(json)))
}

/// Reads a value that may nest `levels` more.
#[derive(Clone, Copy)]
struct Nested {
    levels: usize,
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Kind, D::Error> {
        if self.levels > 0 {
            return Any(self).deserialize(from);
        }
        let json = <&RawValue>::deserialize(from)?.get();
        Ok(if json.starts_with(['{', '[']) { Kind::StringValue(compact(json)) } else { nested(json) })
    }
}

impl<'de> Shape<'de> for Nested {
    type Output = Kind;

    fn scalar(self, scalar: Scalar<'de>) -> Kind {
        match scalar {
            Scalar::Text(text) => Kind::StringValue(text.into_owned()),
            #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers are f64 as protobuf's are")]
            Scalar::Integer(integer) => Kind::NumberValue(integer as f64),
            Scalar::Fraction(fraction) => Kind::NumberValue(fraction),
            Scalar::Flag(flag) => Kind::BoolValue(flag),
            Scalar::Null => Kind::NullValue(NullValue::NullValue.into()),
        }
    }

    fn items<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let below = Self { levels: self.levels - 1 };
        let mut values = Vec::new();
        while let Some(kind) = items.next_element_seed(below)? {
            values.push(Value { kind: Some(kind) });
        }
        Ok(Kind::ListValue(ListValue { values }))
    }

    fn entries<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let below = Self { levels: self.levels - 1 };
        let mut fields = BTreeMap::new();
        while let Some(Key(key)) = entries.next_key()? {
            let kind = entries.next_value_seed(below)?;
            fields.insert(key.into_owned(), Value { kind: Some(kind) });
        }
        Ok(Kind::StructValue(Struct { fields }))
    }
}

/// The bytes of `json`, which parses, that are not part of a string; of a string not even its quotes.
fn outside_strings(json: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut in_string = false;
    let mut escaped = false;
    json.bytes().enumerate().filter(move |&(_, byte)| {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            return false;
        }
        in_string = byte == b'"';
        !in_string
    })
}

#[cfg(test)]
mod tests;
