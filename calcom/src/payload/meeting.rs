//! `MEETING_STARTED` and `MEETING_ENDED`: the row of a booking, frozen when its timer was set.

use calbridge_proto::v1::{MeetingPayload, PersonPayload};
use serde::de::MapAccess;

use super::person::PersonObject;
use crate::{
    freeform::{Metadata, Responses},
    lenient::{Object, Slot},
};

/// A booking's row. Its keys stand at the top of the body, or in an envelope's payload, where they are the same.
#[derive(Default)]
pub(crate) struct MeetingObject {
    row: MeetingPayload,
    /// The organizer's, as the row itself keeps it.
    primary_email: String,
}

impl<'de> Object<'de> for MeetingObject {
    type Message = MeetingPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let meeting = &mut self.row;
        match key {
            "uid" => meeting.uid = slot.text()?,
            "id" => meeting.booking_id = slot.int()?,
            "status" => meeting.status = slot.text()?,
            "title" => meeting.title = slot.text()?,
            "description" => meeting.description = slot.text()?,
            "startTime" => meeting.start_time = slot.time()?,
            "endTime" => meeting.end_time = slot.time()?,
            "location" => meeting.location = slot.text()?,
            "eventTypeId" => meeting.event_type_id = slot.int()?,
            "eventType" => meeting.event_type_slug = slot.read::<EventType>()?.unwrap_or_default(),
            "createdAt" => meeting.row_create_time = slot.time()?,
            "updatedAt" => meeting.row_update_time = slot.time()?,
            "userPrimaryEmail" => self.primary_email = slot.text()?,
            "user" => meeting.organizer = slot.read::<PersonObject>()?,
            "attendees" => meeting.attendees = slot.list::<PersonObject, _>()?,
            "iCalUID" => meeting.ical_uid = slot.text()?,
            "iCalSequence" => meeting.ical_sequence = slot.int()?,
            "paid" => meeting.paid = slot.flag()?,
            "fromReschedule" => meeting.from_reschedule = slot.text()?,
            "metadata" => meeting.metadata = slot.read::<Metadata>()?,
            "responses" => meeting.responses = slot.read::<Responses>()?,
            "cancellationReason" => meeting.cancellation_reason = slot.text()?,
            "rejectionReason" => meeting.rejection_reason = slot.text()?,
            "cancelledBy" => meeting.cancelled_by = slot.text()?,
            "rescheduledBy" => meeting.rescheduled_by = slot.text()?,
            "smsReminderNumber" => meeting.sms_reminder_number = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Option<MeetingPayload> {
        // A timer that was set for a subscription added later has the bare row, without its user.
        if self.row.organizer.is_none() && !self.primary_email.is_empty() {
            self.row.organizer = Some(PersonPayload { email: self.primary_email, ..PersonPayload::default() });
        }
        Some(self.row)
    }
}

/// `eventType`, of which the slug counts.
#[derive(Default)]
struct EventType {
    slug: String,
}

impl<'de> Object<'de> for EventType {
    type Message = String;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "slug" => self.slug = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<String> {
        Some(self.slug)
    }
}
