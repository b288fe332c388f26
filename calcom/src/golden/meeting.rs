//! `MEETING_STARTED` and `MEETING_ENDED`: the booking's row, flat beside `triggerEvent`; in an envelope by the queue.

use super::{
    Golden, Path,
    json::{Json, object},
    parts::{ONE_TIME_PASSWORD, with_millis},
};

/// The whole body of the two paths without an envelope.
pub(super) fn flat(name: &str, golden: &Golden) -> Json {
    let trigger = object! { "triggerEvent": name };
    if golden.path == Path::Confirm {
        return trigger.and(selected(golden));
    }
    let host = object! {
        "user": object! {
            "email": &golden.organizer.email,
            "name": &golden.organizer.name,
            "timeZone": &golden.organizer.time_zone,
            "username": &golden.organizer.username,
        },
        "attendees": golden.attendee_rows(|_| false),
        "payment": Json::List(Vec::new()),
        "references": Json::List(Vec::new()),
        "appsStatus": golden.apps_status(),
    };
    trigger.and(row(golden, golden.responses())).and(host)
}

/// The payload of the queue's envelope.
pub(super) fn enveloped(golden: &Golden) -> Json {
    row(golden, golden.raw_responses()).and(object! {
        "user": object! {
            "email": &golden.organizer.email,
            "name": &golden.organizer.name,
            "username": &golden.organizer.username,
            "timeZone": &golden.organizer.time_zone,
            "locale": &golden.organizer.language,
            "isPlatformManaged": false,
        },
        "eventType": object! { "bookingFields": Json::Null, "team": Json::Null },
        "attendees": golden.attendee_rows(|_| false),
        "payment": Json::List(Vec::new()),
        "references": Json::List(Vec::new()),
        "workflowReminders": Json::List(Vec::new()),
        "assignmentReason": Json::List(Vec::new()),
        "seatsReferences": Json::List(Vec::new()),
        "userFieldsResponses": object! {},
        "userUuid": ONE_TIME_PASSWORD,
    })
}

/// A row as the database has it.
fn row(golden: &Golden, responses: Json) -> Json {
    object! {
        "id": golden.booking_id,
        "uid": &golden.uid,
        "idempotencyKey": ONE_TIME_PASSWORD,
        "userId": golden.organizer.id,
        "userPrimaryEmail": &golden.organizer.email,
        "eventTypeId": golden.event_type.id,
        "title": golden.title(),
        "description": &golden.notes,
        "customInputs": object! {},
        "responses": responses,
        "startTime": with_millis(golden.start),
        "endTime": with_millis(golden.end()),
        "location": &golden.location,
        "createdAt": with_millis(golden.created_at),
        "updatedAt": with_millis(golden.created_at),
        "status": golden.status_or("ACCEPTED"),
        "paid": golden.paid,
        "destinationCalendarId": Json::Null,
        "cancellationReason": Json::Null,
        "rejectionReason": Json::Null,
        "reassignReason": Json::Null,
        "reassignById": Json::Null,
        "dynamicEventSlugRef": Json::Null,
        "dynamicGroupSlugRef": Json::Null,
        "rescheduled": Json::Null,
        "fromReschedule": golden.reschedule_uid.as_ref().map_or(Json::Null, Json::from),
        "recurringEventId": Json::Null,
        "smsReminderNumber": Json::Null,
        "scheduledJobs": Json::List(Vec::new()),
        "metadata": golden.accepted_metadata(),
        "isRecorded": false,
        "iCalUID": golden.ical_uid(),
        "iCalSequence": golden.ical_sequence,
        "rating": Json::Null,
        "ratingFeedback": Json::Null,
        "noShowHost": false,
        "oneTimePassword": ONE_TIME_PASSWORD,
        "cancelledBy": Json::Null,
        "rescheduledBy": golden.rescheduled_by.as_ref().map_or(Json::Null, Json::from),
        "creationSource": "WEBAPP",
    }
}

/// The few columns that a timer has which an approval set: no status, no organizer, no time of creation.
fn selected(golden: &Golden) -> Json {
    object! {
        "eventType": object! {
            "slug": &golden.event_type.slug,
            "bookingFields": Json::List(Vec::new()),
            "schedulingType": Json::Null,
            "owner": object! { "hideBranding": false },
            "hosts": Json::List(Vec::new()),
        },
        "uid": &golden.uid,
        "startTime": with_millis(golden.start),
        "responses": golden.responses(),
        "title": golden.title(),
        "metadata": golden.accepted_metadata(),
        "cancellationReason": Json::Null,
        "endTime": with_millis(golden.end()),
        "smsReminderNumber": Json::Null,
        "description": &golden.notes,
        "attendees": golden.attendee_rows(|_| false),
        "location": &golden.location,
        "customInputs": object! {},
        "id": golden.booking_id,
        "userFieldsResponses": object! {},
    }
}
