//! `BOOKING_*` as the builders and the queue of 2026 print them: the same facts, another order, another set of keys.

use calbridge_proto::v1::Trigger;

use super::{
    Golden, Person,
    booking::{details, event_type, payment_id, rejection_reason, reschedule, usual_status, video},
    json::{Json, object},
    parts::{ONE_TIME_PASSWORD, locale, with_millis},
};

/// Every trigger but `BOOKING_REQUESTED`: no metadata, the booking's own keys in the middle.
pub(super) fn built(trigger: Trigger, golden: &Golden) -> Json {
    details(trigger, golden)
        .and(object! { "uid": &golden.uid, "rejectionReason": rejection_reason(trigger, golden) })
        .and(video(trigger, golden))
        .and(object! { "bookingId": golden.booking_id, "status": usual_status(trigger, golden) })
        .and(event_type(golden))
        .and(object! { "assignmentReason": Json::List(Vec::new()) })
        .and(reschedule(golden))
        .and(object! {
            "rescheduledBy": golden.rescheduled_by.as_ref(),
            "paymentId": payment_id(trigger, golden),
            "attendeeSeatId": golden.seat_id.as_ref(),
        })
}

/// `BOOKING_REQUESTED`, which reads the booking back from the database.
pub(super) fn requested(golden: &Golden) -> Json {
    let head = object! {
        "title": golden.title(),
        "startTime": with_millis(golden.start),
        "endTime": with_millis(golden.end()),
        "type": &golden.event_type.slug,
        "organizer": golden.host(),
        "attendees": golden.people(attendee),
        "additionalNotes": &golden.notes,
        "description": &golden.notes,
        "eventTypeId": golden.event_type.id,
        "hideCalendarNotes": false,
        "hideCalendarEventDetails": false,
        "hideOrganizerEmail": false,
        "schedulingType": Json::Null,
        "seatsPerTimeSlot": golden.seats_per_time_slot.map_or(Json::Null, Json::from),
        "seatsShowAttendees": true,
        "seatsShowAvailabilityCount": true,
        "customReplyToEmail": Json::Null,
        "disableRescheduling": false,
        "disableCancelling": false,
        "customInputs": object! {},
        "responses": golden.responses(),
        "userFieldsResponses": object! {},
        "location": &golden.location,
        "iCalUID": golden.ical_uid(),
        "iCalSequence": golden.ical_sequence,
        "requiresConfirmation": true,
        "oneTimePassword": ONE_TIME_PASSWORD,
        "platformClientId": "",
        "platformRescheduleUrl": "",
        "platformCancelUrl": "",
        "platformBookingUrl": "",
        "uid": &golden.uid,
        "organizationId": Json::Null,
        "bookingId": golden.booking_id,
        "hashedLink": Json::Null,
        "status": usual_status(Trigger::BookingRequested, golden),
    };
    head.and(event_type(golden))
        .and(object! {
            "assignmentReason": Json::List(Vec::new()),
            "destinationCalendar": Json::Null,
            "metadata": golden.own_metadata(),
        })
        .and(reschedule(golden))
        .and(object! { "rescheduledBy": golden.rescheduled_by.as_ref() })
}

/// An attendee whose name the queue splits at its first space.
fn attendee(person: &Person) -> Json {
    let (first_name, last_name) = person.name.split_once(' ').unwrap_or((&person.name, ""));
    object! {
        "name": &person.name,
        "email": &person.email,
        "timeZone": &person.time_zone,
        "language": locale(person),
        "phoneNumber": Json::Null,
        "bookingSeat": Json::Null,
        "utcOffset": person.utc_offset_minutes,
        "firstName": first_name,
        "lastName": last_name,
    }
}
