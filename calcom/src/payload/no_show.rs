//! Who did not come: marked by hand, or found missing by Cal Video.

use calbridge_proto::v1::{CalVideoNoShowPayload, NoShowPayload};
use serde::de::MapAccess;

use super::{
    person::{GuestObject, Participant, PersonObject},
    uid::Uids,
};
use crate::lenient::{Object, Slot};

/// `BOOKING_NO_SHOW_UPDATED`.
#[derive(Default)]
pub(crate) struct NoShowObject {
    no_show: NoShowPayload,
    uids: Uids,
}

impl<'de> Object<'de> for NoShowObject {
    type Message = NoShowPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let no_show = &mut self.no_show;
        match key {
            "bookingUid" | "uid" => self.uids.field(key, slot)?,
            "bookingId" => no_show.booking_id = slot.int()?,
            "attendees" => no_show.attendees = slot.list::<PersonObject, _>()?,
            "message" => no_show.message = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Option<NoShowPayload> {
        self.no_show.booking_uid = self.uids.booking_uid_first();
        Some(self.no_show)
    }
}

/// `AFTER_HOSTS_CAL_VIDEO_NO_SHOW` and `AFTER_GUESTS_CAL_VIDEO_NO_SHOW`.
#[derive(Default)]
pub(crate) struct CalVideoNoShowObject {
    no_show: CalVideoNoShowPayload,
    uids: Uids,
}

impl<'de> Object<'de> for CalVideoNoShowObject {
    type Message = CalVideoNoShowPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let no_show = &mut self.no_show;
        match key {
            "bookingUid" | "uid" => self.uids.field(key, slot)?,
            "bookingId" => no_show.booking_id = slot.int()?,
            "title" => no_show.title = slot.text()?,
            "startTime" => no_show.start_time = slot.time()?,
            "endTime" => no_show.end_time = slot.time()?,
            "attendees" => no_show.attendees = slot.list::<PersonObject, _>()?,
            "participants" => no_show.participants = slot.list::<Participant, _>()?,
            "hostEmail" => no_show.host_email = slot.text()?,
            "noShowHost" => no_show.no_show_host = slot.flag()?,
            "guests" => no_show.guests = slot.list::<GuestObject, _>()?,
            "rescheduledBy" => no_show.rescheduled_by = slot.text()?,
            "eventType" => no_show.event_type_id = slot.read::<Identified>()?.and_then(|id| id.parse().ok()),
            "webhook" => no_show.webhook_id = slot.read::<Identified>()?.unwrap_or_default(),
            "message" => no_show.message = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Option<CalVideoNoShowPayload> {
        self.no_show.booking_uid = self.uids.booking_uid_first();
        Some(self.no_show)
    }
}

/// An object of which the id counts.
#[derive(Default)]
struct Identified {
    id: String,
}

impl<'de> Object<'de> for Identified {
    type Message = String;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "id" => self.id = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<String> {
        Some(self.id)
    }
}
