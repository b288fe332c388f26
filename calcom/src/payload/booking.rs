//! `BOOKING_*` and `INSTANT_MEETING_ACCEPTED`.

use calbridge_proto::v1::{AssignmentReasonPayload, BookingPayload};
use serde::de::MapAccess;

use super::{
    person::{PersonObject, TeamObject},
    uid::Uids,
};
use crate::{
    freeform::{Metadata, Responses},
    lenient::{Anything, Int, Object, Slot},
};

/// A booking.
#[derive(Default)]
pub(crate) struct BookingObject {
    booking: BookingPayload,
    uids: Uids,
}

impl<'de> Object<'de> for BookingObject {
    type Message = BookingPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        let booking = &mut self.booking;
        match key {
            "uid" | "bookingUid" => self.uids.field(key, slot)?,
            "bookingId" => booking.booking_id = slot.int()?,
            "status" => booking.status = slot.text()?,
            "title" => booking.title = slot.text()?,
            "type" => booking.event_type_slug = slot.text()?,
            "eventTypeId" => booking.event_type_id = slot.int()?,
            "startTime" => booking.start_time = slot.time()?,
            "endTime" => booking.end_time = slot.time()?,
            "location" => booking.location = slot.text()?,
            "description" => booking.description = slot.text()?,
            "additionalNotes" => booking.additional_notes = slot.text()?,
            "organizer" => booking.organizer = slot.read::<PersonObject>()?,
            "attendees" => booking.attendees = slot.list::<PersonObject, _>()?,
            "team" => booking.team = slot.read::<TeamObject>()?,
            "iCalUID" => booking.ical_uid = slot.text()?,
            "iCalSequence" => booking.ical_sequence = slot.int()?,
            "rescheduleUid" => booking.reschedule_uid = slot.text()?,
            "rescheduleId" => booking.reschedule_id = slot.int()?,
            "rescheduleStartTime" => booking.reschedule_start_time = slot.time()?,
            "rescheduleEndTime" => booking.reschedule_end_time = slot.time()?,
            "rescheduledBy" => booking.rescheduled_by = slot.text()?,
            "cancellationReason" => booking.cancellation_reason = slot.text()?,
            "cancelledBy" => booking.cancelled_by = slot.text()?,
            "requestReschedule" => booking.request_reschedule = slot.flag()?,
            "rejectionReason" => booking.rejection_reason = slot.text()?,
            "recurringEvent" => booking.recurring = slot.read::<Anything>()?.is_some(),
            "seatsPerTimeSlot" => booking.seats_per_time_slot = slot.int()?,
            "attendeeSeatId" => booking.attendee_seat_id = slot.text()?,
            "price" => booking.price_minor = slot.int()?,
            "currency" => booking.currency = slot.text()?,
            "paymentId" => booking.payment_id = slot.int()?,
            "requiresConfirmation" => booking.requires_confirmation = slot.flag()?,
            "metadata" => booking.metadata = slot.read::<Metadata>()?,
            "responses" => booking.responses = slot.read::<Responses>()?,
            "userFieldsResponses" => booking.user_fields_responses = slot.read::<Responses>()?,
            "previousLocation" => booking.previous_location = slot.text()?,
            "addedHostUserIds" => booking.added_host_user_ids = slot.list::<Int, _>()?,
            "removedHostUserIds" => booking.removed_host_user_ids = slot.list::<Int, _>()?,
            "assignmentReason" => booking.assignment_reasons = slot.list::<AssignmentReasonObject, _>()?,
            "length" => booking.length_minutes = slot.int()?,
            "smsReminderNumber" => booking.sms_reminder_number = slot.text()?,
            "platformClientId" => booking.platform_client_id = slot.text()?,
            "platformRescheduleUrl" => booking.platform_reschedule_url = slot.text()?,
            "platformCancelUrl" => booking.platform_cancel_url = slot.text()?,
            "platformBookingUrl" => booking.platform_booking_url = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Option<BookingPayload> {
        self.booking.uid = self.uids.uid_first();
        Some(self.booking)
    }
}

/// `assignmentReason[]`.
#[derive(Default)]
struct AssignmentReasonObject(AssignmentReasonPayload);

impl<'de> Object<'de> for AssignmentReasonObject {
    type Message = AssignmentReasonPayload;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "reasonEnum" => self.0.reason = slot.text()?,
            "reasonString" => self.0.text = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<AssignmentReasonPayload> {
        (self.0 != AssignmentReasonPayload::default()).then_some(self.0)
    }
}
