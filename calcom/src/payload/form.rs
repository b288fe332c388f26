//! `FORM_SUBMITTED`, `FORM_SUBMITTED_NO_EVENT` and `ROUTING_FORM_FALLBACK_HIT`.

use calbridge_proto::v1::FormPayload;
use serde::de::MapAccess;

use crate::{
    freeform::FormResponses,
    lenient::{Object, Slot},
};

/// A routing form that was submitted.
#[derive(Default)]
pub(crate) struct FormObject(FormPayload);

impl<'de> Object<'de> for FormObject {
    type Message = FormPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let form = &mut self.0;
        match key {
            "formId" => form.form_id = slot.text()?,
            "formName" => form.form_name = slot.text()?,
            "teamId" => form.team_id = slot.int()?,
            "responseId" => form.response_id = slot.int()?,
            "responses" => form.responses = slot.read::<FormResponses>()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<FormPayload> {
        Some(self.0)
    }
}
