//! What stands round a payload: `{"triggerEvent", "createdAt", "payload"}`, in any order and among any other keys.
//!
//! `FORM_SUBMITTED` spreads a form's answers, whose keys users choose, beside these three; they can take the place of
//! none of them, and nothing else is read here.

use std::{collections::HashMap, sync::LazyLock};

use calbridge_proto::v1::Trigger;
use memchr::memmem::Finder;
use serde::de::{IgnoredAny, MapAccess};

use crate::{
    lenient::{Any, Key, Object, Scalar, Shape, Slot, StrictText, Time, begin_json, from_json},
    surrogate,
};

/// Bytes kept of a trigger's name. The longest that Cal.com has is 43 bytes long.
pub(crate) const TRIGGER_NAME_BYTES_MAX: usize = 128;

/// The key of an envelope's trigger.
pub(crate) const TRIGGER_EVENT: &str = "triggerEvent";

/// The key of its time.
pub(crate) const CREATED_AT: &str = "createdAt";

/// The key of what it holds.
pub(crate) const PAYLOAD: &str = "payload";

/// No trigger of the schema has a greater number.
const TRIGGERS_MOST: i32 = 999;

/// What begins a character by its number.
const JSON_ESCAPE: &str = "\\u";

/// What a body says first of all: its trigger as far as the schema knows it, and `triggerEvent` as sent, cut at 128
/// bytes. Of a body in Cal.com's envelope it is what [`type_body`](crate::type_body) finds, for a fraction of the cost:
/// the sender writes it first, and nothing behind it is looked at. So a body that says it twice, is no JSON or no UTF-8
/// further on, or escapes a NUL or half a character before that, may be typed otherwise.
#[must_use]
pub fn first_trigger(raw: &[u8]) -> (Trigger, String) {
    let mut name = first::<StrictText>(raw, TRIGGER_EVENT).flatten().unwrap_or_default();
    cut(&mut name);
    (trigger(&name), name)
}

/// Cuts a trigger's name to what is kept of it.
pub(crate) fn cut(trigger_name: &mut String) {
    trigger_name.truncate(trigger_name.floor_char_boundary(TRIGGER_NAME_BYTES_MAX));
}

/// The trigger of this name; unspecified where the schema does not know it.
pub(crate) fn trigger(name: &str) -> Trigger {
    static NAMED: LazyLock<HashMap<&str, Trigger>> = LazyLock::new(|| {
        let known = (0..=TRIGGERS_MOST).filter_map(|number| Trigger::try_from(number).ok());
        known.filter_map(|trigger| Some((trigger.as_str_name().strip_prefix("TRIGGER_")?, trigger))).collect()
    });
    NAMED.get(name).copied().unwrap_or_default()
}

/// `createdAt` of a body's outermost object, whatever stands around it: of an envelope when the webhook was made, of a
/// flat `MEETING_STARTED` or `MEETING_ENDED` when its row was. None where the body is no JSON object or names no time.
/// Nothing else is read, and the payload is passed by.
///
/// Deliveries are kept under this time, so what it answers for a body that can be typed must never change: one that
/// comes again would be looked for in another place, and be a second delivery. Of a body that is no JSON behind its
/// `createdAt` it may answer that time or none.
#[must_use]
pub fn created_at(raw: &[u8]) -> Option<prost_types::Timestamp> {
    if let Some(CreatedAt(time)) = only_created_at(raw) {
        return time;
    }
    let text = surrogate::well_formed(str::from_utf8(raw).ok()?);
    from_json::<CreatedAt>(&text).ok().flatten()
}

/// What the only `createdAt` says that stands in a body, where that is the outermost object's. Cal.com writes it before
/// the payload, so there is little to read; a key that is written with escapes would be seen by none but a parser.
fn only_created_at(raw: &[u8]) -> Option<CreatedAt> {
    static FIND_CREATED_AT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CREATED_AT));
    static FIND_ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(JSON_ESCAPE));
    if FIND_ESCAPE.find(raw).is_some() || FIND_CREATED_AT.find_iter(raw).nth(1).is_some() {
        return None;
    }
    first::<Time>(raw, CREATED_AT).map(CreatedAt)
}

/// The outermost object of a body.
#[derive(Default)]
pub(crate) struct Envelope<'de> {
    /// `triggerEvent`, where it is a string.
    pub(crate) trigger_name: String,
    /// `createdAt`.
    pub(crate) created_at: Option<prost_types::Timestamp>,
    /// The text of `payload`, where it is an object.
    pub(crate) payload: Option<&'de str>,
}

impl<'de> Object<'de> for Envelope<'de> {
    type Message = Self;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            TRIGGER_EVENT => self.trigger_name = slot.read::<StrictText>()?.unwrap_or_default(),
            CREATED_AT => self.created_at = slot.time()?,
            PAYLOAD => self.payload = Some(slot.raw()?.get()).filter(|json| json.starts_with('{')),
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<Self> {
        Some(self)
    }
}

impl Envelope<'_> {
    /// The trigger by its name; unspecified where the schema does not know it.
    pub(crate) fn trigger(&self) -> Trigger {
        trigger(&self.trigger_name)
    }
}

/// The first value of a key of the outermost object; what stands behind it is not read.
struct First<'de, 'a, T: Shape<'de>> {
    key: &'static str,
    /// Where it goes.
    value: &'a mut Option<T::Output>,
}

impl<'de, T: Shape<'de> + Default> Shape<'de> for First<'de, '_, T> {
    type Output = ();

    fn scalar(self, _scalar: Scalar<'de>) {}

    fn entries<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = entries.next_key()? {
            if key == self.key {
                *self.value = Some(entries.next_value_seed(Any(T::default()))?);
                return Ok(());
            }
            entries.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Reads a body up to the first of this key; none where it has none, or is no JSON before it.
fn first<'de, T: Shape<'de> + Default>(raw: &'de [u8], key: &'static str) -> Option<T::Output> {
    let mut value = None;
    // That more stands behind it than was read is an error, and none of ours.
    let _ = begin_json(raw, First::<T> { key, value: &mut value });
    value
}

/// `createdAt` alone.
#[derive(Default)]
struct CreatedAt(Option<prost_types::Timestamp>);

impl<'de> Object<'de> for CreatedAt {
    type Message = prost_types::Timestamp;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            CREATED_AT => self.0 = slot.time()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<prost_types::Timestamp> {
        self.0
    }
}

#[cfg(test)]
mod tests;
