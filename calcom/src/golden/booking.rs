//! `BOOKING_*` but cancels, before the queue: the direct path, the one after an approval, the one after a payment.

use calbridge_proto::v1::Trigger;

use super::{
    CAL_VIDEO, Golden,
    json::{Json, object},
    parts::{BOOKER_URL, ONE_TIME_PASSWORD, attendee, plain, stored_attendee, with_millis},
};

/// `paymentId` where none is set.
const PAYMENT_ID: i64 = 611;

/// What handlers of a user's request print.
pub(super) fn direct_path(trigger: Trigger, golden: &Golden) -> Json {
    let reassigned = trigger == Trigger::BookingReassigned;
    // Where the owner moves a seated booking, its uid comes late.
    let moved_in_place = golden.reschedule_uid.as_ref() == Some(&golden.uid);
    details(trigger, golden)
        .and(object! { "uid": Some(&golden.uid).filter(|_| !moved_in_place) })
        .and(video(trigger, golden))
        .and(event_type(golden))
        .and(object! { "uid": Some(&golden.uid).filter(|_| moved_in_place), "bookingId": golden.booking_id })
        .and(reschedule(golden))
        .and(object! {
            "metadata": if is_pending(trigger) { golden.own_metadata() } else { golden.accepted_metadata() },
            "status": usual_status(trigger, golden),
            "rescheduledBy": golden.rescheduled_by.as_ref(),
            "paymentId": payment_id(trigger, golden),
            "attendeeSeatId": golden.seat_id.as_ref(),
            "previousLocation": (trigger == Trigger::BookingLocationUpdated)
                .then(|| golden.previous_location.as_deref().unwrap_or("")),
            "addedHostUserIds": reassigned.then(|| golden.added_host_user_ids.clone()),
            "removedHostUserIds": reassigned.then(|| golden.removed_host_user_ids.clone()),
        })
}

/// After a host's answer: `BOOKING_CREATED` without `iCalUID`, `BOOKING_REJECTED` without `metadata` too.
pub(super) fn confirm_path(trigger: Trigger, golden: &Golden) -> Json {
    let created = trigger == Trigger::BookingCreated;
    object! {
        "type": &golden.event_type.slug,
        "title": golden.title(),
        "description": &golden.notes,
        "bookerUrl": BOOKER_URL,
        "userFieldsResponses": object! {},
        "responses": golden.responses(),
        "customInputs": object! {},
        "startTime": with_millis(golden.start),
        "endTime": with_millis(golden.end()),
        "organizer": golden.host(),
        "attendees": golden.people(stored_attendee),
        "location": &golden.location,
        "uid": &golden.uid,
        "destinationCalendar": Json::List(Vec::new()),
        "requiresConfirmation": true,
        "hideOrganizerEmail": false,
        "hideCalendarNotes": false,
        "hideCalendarEventDetails": false,
        "eventTypeId": golden.event_type.id,
        "customReplyToEmail": Json::Null,
        "organizationId": Json::Null,
        "additionalNotes": &golden.notes,
        "rejectionReason": rejection_reason(trigger, golden),
        "videoCallData": created.then(|| golden.video_call()),
    }
    .and(event_type(golden))
    .and(object! {
        "bookingId": golden.booking_id,
        "status": usual_status(trigger, golden),
        "metadata": created.then(|| golden.accepted_metadata()),
    })
}

/// After a payment: no `iCalUID`; `BOOKING_REQUESTED` has no `status` either, and `BOOKING_PAID` the payment's
/// metadata.
pub(super) fn payment_path(trigger: Trigger, golden: &Golden) -> Json {
    let requested = trigger == Trigger::BookingRequested;
    let metadata = match trigger {
        Trigger::BookingPaid => payment_metadata(golden),
        Trigger::BookingRequested => Json::Absent,
        _ => golden.accepted_metadata(),
    };
    object! {
        "type": &golden.event_type.slug,
        "title": golden.title(),
        "bookerUrl": BOOKER_URL,
        "description": Some(&golden.notes).filter(|_| !requested),
        "startTime": with_millis(golden.start),
        "endTime": with_millis(golden.end()),
        "customInputs": object! {},
        "userFieldsResponses": object! {},
        "responses": golden.responses(),
        "organizer": golden.host(),
        "hideOrganizerEmail": false,
        "attendees": golden.people(stored_attendee),
        "location": &golden.location,
        "uid": &golden.uid,
        "destinationCalendar": Json::List(Vec::new()),
        "recurringEvent": Json::Null,
        "customReplyToEmail": Json::Null,
        "videoCallData": (!requested).then(|| golden.video_call()),
        "eventTitle": &golden.event_type.title,
        "eventDescription": Json::Null,
        "requiresConfirmation": if requested { true.into() } else { Json::Null },
        "price": golden.price_minor,
        "currency": &golden.currency,
        "length": golden.minutes,
        "bookingId": golden.booking_id,
        "eventTypeId": (!requested).then_some(golden.event_type.id),
        "status": (!requested).then(|| usual_status(trigger, golden)),
        "metadata": metadata,
        "paymentId": payment_id(trigger, golden),
    }
}

/// The keys that begin a payload of the direct path.
pub(super) fn details(trigger: Trigger, golden: &Golden) -> Json {
    let asked = is_pending(trigger) || trigger == Trigger::BookingRejected;
    let has_password = asked || trigger == Trigger::BookingPaid;
    object! {
        "bookerUrl": BOOKER_URL,
        "title": golden.title(),
        "startTime": plain(golden.start),
        "endTime": plain(golden.end()),
        "additionalNotes": &golden.notes,
        "type": &golden.event_type.slug,
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
        "organizer": golden.host(),
        "attendees": golden.people(attendee),
        "customInputs": object! {},
        "responses": golden.responses(),
        "userFieldsResponses": object! {},
        "location": &golden.location,
        "destinationCalendar": Json::Null,
        "iCalUID": golden.ical_uid(),
        "iCalSequence": golden.ical_sequence,
        "requiresConfirmation": asked,
        "oneTimePassword": if has_password { ONE_TIME_PASSWORD.into() } else { Json::Null },
        "hashedLink": Json::Null,
    }
}

/// The event type's own keys.
pub(super) fn event_type(golden: &Golden) -> Json {
    object! {
        "eventTitle": &golden.event_type.title,
        "eventDescription": Json::Null,
        "price": golden.price_minor,
        "currency": &golden.currency,
        "length": golden.minutes,
    }
}

/// Cal Video's keys. A booking that waits for approval or payment has no room, nor has one that is held elsewhere.
pub(super) fn video(trigger: Trigger, golden: &Golden) -> Json {
    let has_room = !is_pending(trigger) && !matches!(trigger, Trigger::BookingRejected | Trigger::BookingPaid);
    if !has_room || golden.location != CAL_VIDEO {
        return object! {};
    }
    object! {
        "videoCallData": golden.video_call(),
        "appsStatus": golden.apps_status(),
        "conferenceData": object! { "createRequest": object! { "requestId": ONE_TIME_PASSWORD } },
    }
}

/// What a booking that replaces another says of that one.
pub(super) fn reschedule(golden: &Golden) -> Json {
    let previous_start = golden.previous_start.filter(|_| golden.reschedule_uid.is_some());
    object! {
        "rescheduleId": golden.reschedule_id,
        "rescheduleUid": golden.reschedule_uid.as_ref(),
        "rescheduleStartTime": previous_start.map(plain),
        "rescheduleEndTime": previous_start.map(|start| plain(golden.after(start))),
    }
}

/// `BOOKING_PAID`'s `metadata`: that of the payment stands in for the booking's.
fn payment_metadata(golden: &Golden) -> Json {
    object! {
        "identifier": "cal.com",
        "bookingId": golden.booking_id,
        "eventTypeId": golden.event_type.id,
        "bookerEmail": golden.attendees.first().map(|booker| &booker.email),
        "eventTitle": &golden.event_type.title,
        "externalId": format!("pay_{}", golden.uid),
    }
}

/// A payment that was begun says ACCEPTED although the row waits, as Cal.com's does.
pub(super) fn usual_status(trigger: Trigger, golden: &Golden) -> Json {
    golden.status_or(match trigger {
        Trigger::BookingRequested => "PENDING",
        Trigger::BookingRejected => "REJECTED",
        Trigger::BookingCancelled => "CANCELLED",
        _ => "ACCEPTED",
    })
}

fn is_pending(trigger: Trigger) -> bool {
    matches!(trigger, Trigger::BookingRequested | Trigger::BookingPaymentInitiated)
}

pub(super) fn payment_id(trigger: Trigger, golden: &Golden) -> Option<i64> {
    matches!(trigger, Trigger::BookingPaymentInitiated | Trigger::BookingPaid)
        .then(|| golden.payment_id.unwrap_or(PAYMENT_ID))
}

pub(super) fn rejection_reason(trigger: Trigger, golden: &Golden) -> Option<&String> {
    golden.reason.as_ref().filter(|_| trigger == Trigger::BookingRejected)
}
