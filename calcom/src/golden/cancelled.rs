//! `BOOKING_CANCELLED`, which means three things: the booking ends, seats are left, or the host asks for another time.

use calbridge_proto::v1::Trigger;

use super::{
    Cancellation, Golden, Path, booking,
    json::{Json, object},
    parts::{BOOKER_URL, locale, stored_attendee, with_offset},
};

/// The payload for what the golden booking's cancel means.
pub(super) fn payload(golden: &Golden) -> Json {
    match (golden.cancellation, golden.path) {
        (Cancellation::HostRequestsReschedule, _) => host_requests_reschedule(golden),
        (Cancellation::SeatLeft, _) => {
            let leaving = Golden { attendees: golden.attendees.iter().take(1).cloned().collect(), ..golden.clone() };
            direct(&leaving, leaving.seat_rows(), Json::Absent)
        }
        (Cancellation::Whole, Path::Queue) => queue(golden),
        (Cancellation::Whole, _) => direct(golden, golden.people(stored_attendee), golden.canceller().into()),
    }
}

fn direct(golden: &Golden, attendees: Json, cancelled_by: Json) -> Json {
    object! {
        "bookerUrl": BOOKER_URL,
        "title": golden.title(),
        "length": golden.minutes,
        "type": &golden.event_type.slug,
        "additionalNotes": &golden.notes,
        "description": &golden.notes,
        "customInputs": object! {},
        "eventTypeId": golden.event_type.id,
        "userFieldsResponses": object! {},
        "responses": golden.responses(),
        "startTime": with_offset(golden.start),
        "endTime": with_offset(golden.end()),
        "organizer": golden.host(),
        "attendees": attendees,
        "uid": &golden.uid,
        "bookingId": golden.booking_id,
        "recurringEvent": golden.recurring.then(|| object! { "freq": 2, "count": 4, "interval": 1 }),
        "location": &golden.location,
        "destinationCalendar": Json::List(Vec::new()),
        "cancellationReason": golden.reason.as_ref(),
        "seatsPerTimeSlot": golden.seats_per_time_slot.map_or(Json::Null, Json::from),
        "seatsShowAttendees": golden.seats_per_time_slot.is_some(),
        "iCalUID": golden.ical_uid(),
        "iCalSequence": golden.ical_sequence + 1,
        "hideOrganizerEmail": false,
        "customReplyToEmail": Json::Null,
        "organizationId": Json::Null,
        "eventTitle": &golden.event_type.title,
        "eventDescription": Json::Null,
        "requiresConfirmation": Json::Null,
        "price": if golden.price_minor == 0 { Json::Null } else { golden.price_minor.into() },
        "currency": &golden.currency,
        "status": golden.status_or("CANCELLED"),
        "cancelledBy": cancelled_by,
    }
}

fn queue(golden: &Golden) -> Json {
    booking::details(Trigger::BookingCancelled, golden)
        .and(object! { "uid": &golden.uid })
        .and(booking::video(Trigger::BookingCancelled, golden))
        .and(object! { "bookingId": golden.booking_id, "status": golden.status_or("CANCELLED") })
        .and(booking::event_type(golden))
        .and(object! {
            "assignmentReason": Json::List(Vec::new()),
            "cancelledBy": golden.canceller(),
            "cancellationReason": golden.reason.as_ref(),
            "requestReschedule": false,
        })
}

fn host_requests_reschedule(golden: &Golden) -> Json {
    let queue = golden.path == Path::Queue;
    object! {
        "bookingId": golden.booking_id,
        "type": &golden.event_type.slug,
        "title": golden.title(),
        "customInputs": object! {},
        "responses": golden.responses(),
        "userFieldsResponses": object! {},
        "startTime": with_offset(golden.start),
        "endTime": with_offset(golden.end()),
        "organizer": golden.host(),
        "attendees": golden.people(stored_attendee),
        "uid": &golden.uid,
        "location": &golden.location,
        "destinationCalendar": Json::List(Vec::new()),
        "iCalUID": golden.ical_uid(),
        "cancelledBy": golden.canceller(),
        "cancellationReason": format!("Please reschedule. {}", golden.reason.as_deref().unwrap_or_default()),
        "status": queue.then(|| golden.status_or("CANCELLED")),
        "eventTypeId": queue.then_some(golden.event_type.id),
        "length": queue.then_some(golden.minutes),
        "iCalSequence": queue.then_some(golden.ical_sequence + 1),
        "eventTitle": queue.then_some(&golden.event_type.title),
        "requestReschedule": queue.then_some(true),
    }
}

impl Golden {
    fn canceller(&self) -> &String {
        self.cancelled_by.as_ref().unwrap_or(&self.organizer.email)
    }

    /// `attendees` of a seat that left: rows, with the language that paths print besides.
    fn seat_rows(&self) -> Json {
        let rows = self.attendees.iter().zip(0_i64..).map(|(person, index)| {
            object! {
                "id": self.booking_id * 10 + index,
                "email": &person.email,
                "name": &person.name,
                "timeZone": &person.time_zone,
                "phoneNumber": Json::Null,
                "locale": &person.language,
                "bookingId": Json::Null,
                "noShow": false,
                "language": locale(person),
                "utcOffset": person.utc_offset_minutes,
            }
        });
        Json::List(rows.collect())
    }
}
