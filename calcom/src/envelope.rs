//! What stands round a payload: `{"triggerEvent", "createdAt", "payload"}`, in any order and among any other keys.
//!
//! `FORM_SUBMITTED` spreads a form's answers, whose keys users choose, beside these three; they can take the place of
//! none of them, and nothing else is read here.

use calbridge_proto::v1::Trigger;
use serde::de::MapAccess;

use crate::{
    lenient::{Object, Slot, StrictText, from_json},
    surrogate,
};

/// `createdAt` of a body's outermost object, whatever stands around it: of an envelope when the webhook was made, of a
/// flat `MEETING_STARTED` or `MEETING_ENDED` when its row was. None where the body is no JSON object or names no time.
/// Nothing else is read, and the payload is passed by.
///
/// Deliveries are kept under this time, so what it answers for a body must never change: a body that comes again would
/// be looked for in another place, and be a second delivery.
#[must_use]
pub fn created_at(raw: &[u8]) -> Option<prost_types::Timestamp> {
    let text = surrogate::well_formed(str::from_utf8(raw).ok()?);
    from_json::<CreatedAt>(&text).ok().flatten()
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
            "triggerEvent" => self.trigger_name = slot.read::<StrictText>()?.unwrap_or_default(),
            "createdAt" => self.created_at = slot.time()?,
            "payload" => self.payload = Some(slot.raw()?.get()).filter(|json| json.starts_with('{')),
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
        Trigger::from_str_name(&format!("TRIGGER_{}", self.trigger_name)).unwrap_or_default()
    }
}

/// `createdAt` alone.
#[derive(Default)]
struct CreatedAt(Option<prost_types::Timestamp>);

impl<'de> Object<'de> for CreatedAt {
    type Message = prost_types::Timestamp;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "createdAt" => self.0 = slot.time()?,
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
