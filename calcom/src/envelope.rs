//! What stands round a payload: `{"triggerEvent", "createdAt", "payload"}`, in any order and among any other keys.
//!
//! `FORM_SUBMITTED` spreads a form's answers, whose keys users choose, beside these three; they can take the place of
//! none of them, and nothing else is read here.

use calbridge_proto::v1::Trigger;
use serde::de::MapAccess;

use crate::lenient::{Object, Slot, StrictText};

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
