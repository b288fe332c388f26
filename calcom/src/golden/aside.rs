//! What stands beside a booking's own life: no-shows, instant meetings, recordings, forms, absences, credentials,
//! reports, the test button, and a trigger that nobody knows yet.

use calbridge_proto::v1::Trigger;

use super::{
    Golden, Path, Person,
    json::{Json, object},
    parts::{ONE_TIME_PASSWORD, attendee, locale, plain, with_millis, with_offset},
};

/// Stands for a link that lets whoever has it in.
const SECRET_LINK: &str = "https://book.harbour-studio.example/link?token=not-a-token";

/// The payload of every trigger that is no `BOOKING_*` of a booking's own and no `MEETING_*`.
pub(super) fn payload(trigger: Trigger, golden: &Golden) -> Json {
    match trigger {
        Trigger::BookingNoShowUpdated => no_show(golden),
        Trigger::AfterHostsCalVideoNoShow => hosts_missing(golden),
        Trigger::AfterGuestsCalVideoNoShow => guests_missing(golden),
        Trigger::InstantMeeting => instant_meeting(golden),
        Trigger::InstantMeetingAccepted => instant_meeting_accepted(golden),
        Trigger::RecordingReady => recording(golden, object! { "downloadLink": SECRET_LINK }),
        Trigger::RecordingTranscriptionGenerated => recording(golden, transcription()),
        Trigger::FormSubmitted | Trigger::FormSubmittedNoEvent | Trigger::RoutingFormFallbackHit => {
            form(trigger, golden)
        }
        Trigger::OooCreated => object! { "oooEntry": absence(golden) },
        Trigger::DelegationCredentialError
        | Trigger::DelegationCredentialSecretRotated
        | Trigger::DelegationCredentialSecretRotationFailed
        | Trigger::DelegationCredentialRotationRequired => delegation_credential(trigger, golden),
        Trigger::WrongAssignmentReport => wrong_assignment(golden),
        Trigger::Ping => ping(golden),
        _ => object! { "bookingUid": &golden.uid },
    }
}

/// The whole body of `FORM_SUBMITTED` on the direct path: the answers stand at the top, too.
pub(super) fn form_submitted(name: &str, golden: &Golden) -> Json {
    object! {
        "team size": "2-5",
        "email": golden.attendees.first().map(|person| &person.email),
        "triggerEvent": name,
        "createdAt": with_millis(golden.created_at),
        "payload": form(Trigger::FormSubmitted, golden),
    }
}

impl Golden {
    /// The marks to print: without any, every attendee did not come.
    fn marks(&self) -> Vec<(String, bool)> {
        if self.no_shows.is_empty() {
            return self.attendees.iter().map(|person| (person.email.clone(), true)).collect();
        }
        self.no_shows.clone()
    }
}

fn no_show(golden: &Golden) -> Json {
    let marks = golden.marks();
    let told: Vec<_> = marks.iter().map(|(email, _)| email.as_str()).collect();
    let missing = marks.first().is_none_or(|(_, missing)| *missing);
    let message = format!("{} {}", told.join(", "), if missing { "marked as no-show" } else { "unmarked as no-show" });
    let attendees: Vec<_> =
        marks.iter().map(|(email, missing)| object! { "email": email, "noShow": *missing }).collect();
    if golden.path == Path::Queue {
        return object! {
            "bookingUid": &golden.uid,
            "bookingId": golden.booking_id,
            "attendees": attendees,
            "message": message,
        };
    }
    object! {
        "message": message,
        "attendees": attendees,
        "bookingUid": &golden.uid,
        "bookingId": golden.booking_id,
    }
}

fn hosts_missing(golden: &Golden) -> Json {
    let host = object! { "hostEmail": &golden.organizer.email, "noShowHost": true };
    cal_video_no_show(golden, golden.attendee_rows(|_| false), host)
}

fn guests_missing(golden: &Golden) -> Json {
    let marks = golden.marks();
    let is_missing = |person: &Person| marks.iter().any(|(email, missing)| *missing && *email == person.email);
    let missing = golden.attendees.iter().filter(|person| is_missing(person)).cloned().collect();
    let guests = Golden { attendees: missing, ..golden.clone() }.attendee_rows(|_| true);
    cal_video_no_show(golden, golden.attendee_rows(is_missing), object! { "guests": guests })
}

fn cal_video_no_show(golden: &Golden, attendees: Json, missing: Json) -> Json {
    object! {
        "title": golden.title(),
        "bookingId": golden.booking_id,
        "bookingUid": &golden.uid,
        "startTime": with_millis(golden.start),
        "attendees": attendees,
        "endTime": with_millis(golden.end()),
        "participants": Json::List(Vec::new()),
    }
    .and(missing)
    .and(object! {
        "rescheduledBy": golden.rescheduled_by.as_ref(),
        "eventType": object! {
            "id": golden.event_type.id,
            "teamId": Json::Null,
            "parentId": Json::Null,
            "calVideoSettings": Json::Null,
        },
        "webhook": object! {
            "id": ONE_TIME_PASSWORD,
            "subscriberUrl": "https://hooks.harbour-studio.example/webhooks/calcom",
            "appId": Json::Null,
            "time": 5,
            "timeUnit": "MINUTE",
            "eventTriggers": vec!["AFTER_HOSTS_CAL_VIDEO_NO_SHOW", "AFTER_GUESTS_CAL_VIDEO_NO_SHOW"],
            "payloadTemplate": Json::Null,
            "version": "2021-10-20",
        },
        "message": format!("Somebody didn't join the call or didn't join before {}", plain(golden.start)),
    })
}

fn instant_meeting(golden: &Golden) -> Json {
    if golden.path == Path::Queue {
        return object! {
            "title": golden.title(),
            "body": "Somebody waits for you to join",
            "url": SECRET_LINK,
            "requireInteraction": false,
            "type": "INSTANT_MEETING",
        };
    }
    object! {
        "triggerEvent": "INSTANT_MEETING",
        "uid": &golden.uid,
        "responses": golden.raw_responses(),
        "connectAndJoinUrl": SECRET_LINK,
        "eventTypeId": golden.event_type.id,
        "eventTypeTitle": &golden.event_type.title,
        "customInputs": object! {},
    }
}

fn instant_meeting_accepted(golden: &Golden) -> Json {
    object! {
        "bookingId": golden.booking_id,
        "bookingUid": &golden.uid,
        "eventTypeId": golden.event_type.id,
        "status": golden.status_or("ACCEPTED"),
        "title": golden.title(),
        "startTime": with_millis(golden.start),
        "endTime": with_millis(golden.end()),
        "organizer": golden.host(),
        "attendees": golden.people(attendee),
        "responses": golden.responses(),
        "location": &golden.location,
        "metadata": golden.accepted_metadata(),
    }
}

fn recording(golden: &Golden, links: Json) -> Json {
    if golden.path == Path::Queue {
        return links;
    }
    let row = |person: &Person| {
        object! {
            "id": golden.booking_id * 10,
            "name": &person.name,
            "email": &person.email,
            "timeZone": &person.time_zone,
            "language": locale(person),
            "utcOffset": person.utc_offset_minutes,
        }
    };
    object! {
        // The booking's title stands where every other trigger has the slug.
        "type": golden.title(),
        "title": golden.title(),
        "startTime": with_millis(golden.start),
        "endTime": with_millis(golden.end()),
        "organizer": object! {
            "email": &golden.organizer.email,
            "name": &golden.organizer.name,
            "timeZone": &golden.organizer.time_zone,
            "language": locale(&golden.organizer),
            "utcOffset": golden.organizer.utc_offset_minutes,
        },
        "attendees": golden.people(row),
        "uid": &golden.uid,
        "customReplyToEmail": Json::Null,
    }
    .and(links)
}

fn transcription() -> Json {
    let format = |format: &str| object! { "format": format, "link": SECRET_LINK };
    object! {
        "downloadLinks": object! {
            "transcription": vec![format("json"), format("srt"), format("txt"), format("vtt")],
            "recording": SECRET_LINK,
        },
    }
}

fn form(trigger: Trigger, golden: &Golden) -> Json {
    let email = golden.attendees.first().map(|person| person.email.clone());
    let no_event = trigger == Trigger::FormSubmittedNoEvent;
    let fallback = trigger == Trigger::RoutingFormFallbackHit;
    object! {
        "formId": "5b1d0c3e-form",
        "formName": "Where to",
        "teamId": if fallback { 40_i64.into() } else { Json::Null },
        "redirect": no_event.then(|| object! { "type": "eventTypeRedirectUrl", "value": "team/first-talk" }),
        "responseId": (no_event || fallback).then_some(golden.booking_id),
        "fallbackAction": fallback.then(|| object! { "type": "customPageMessage", "value": "Thank you" }),
        "responses": object! {
            "team size": object! { "value": "2-5", "response": object! { "label": "2-5", "id": "b1" } },
            "email": object! { "value": email.clone(), "response": email.clone() },
        },
        // The builder spreads the answers here and not at the top of the body.
        "email": email.filter(|_| trigger == Trigger::FormSubmitted && golden.path == Path::Queue),
    }
}

fn absence(golden: &Golden) -> Json {
    object! {
        "id": golden.booking_id,
        "start": with_offset(golden.start),
        "end": with_offset(golden.end()),
        "createdAt": with_millis(golden.created_at),
        "updatedAt": with_millis(golden.created_at),
        "notes": &golden.notes,
        "reason": object! { "emoji": "🌊", "reason": "ooo_reasons_vacation" },
        "reasonId": 5,
        "user": object! {
            "id": golden.organizer.id,
            "name": &golden.organizer.name,
            "username": &golden.organizer.username,
            "email": &golden.organizer.email,
            "timeZone": &golden.organizer.time_zone,
        },
        "toUser": Json::Null,
        "uuid": &golden.uid,
    }
}

fn delegation_credential(trigger: Trigger, golden: &Golden) -> Json {
    if trigger == Trigger::DelegationCredentialError {
        return object! {
            "error": object! { "type": "InvalidGrantError", "message": "Invalid grant" },
            "credential": object! {
                "id": -1,
                "type": "google_calendar",
                "appId": "google-calendar",
                "delegationCredentialId": ONE_TIME_PASSWORD,
            },
            "user": object! { "id": golden.organizer.id, "email": &golden.organizer.email, "organizationId": 3 },
        };
    }
    let failed = trigger == Trigger::DelegationCredentialSecretRotationFailed;
    object! {
        "delegationCredential": object! {
            "id": ONE_TIME_PASSWORD,
            "workspacePlatform": "office365",
            "domain": "harbour-studio.example",
            "organizationId": 3,
            "secretExpiresAt": with_millis(golden.end()),
        },
        "error": failed.then(|| object! { "code": "SECRET_PROMOTION_FAILED", "message": "The secret did not work" }),
    }
}

fn wrong_assignment(golden: &Golden) -> Json {
    object! {
        "booking": object! { "uid": &golden.uid, "id": golden.booking_id, "title": golden.title() },
        "report": object! {
            "reportedBy": object! { "id": golden.organizer.id, "email": &golden.organizer.email },
            "routingReason": Json::Null,
            "guest": golden.attendees.first().map(|person| &person.email),
            "host": object! { "email": &golden.organizer.email },
            "correctAssignee": Json::Null,
            "additionalNotes": &golden.notes,
        },
    }
}

fn ping(golden: &Golden) -> Json {
    let person = |name: &str, email: &str| {
        object! {
            "email": email,
            "name": name,
            "timeZone": "Europe/London",
            "language": object! { "locale": "en" },
            "utcOffset": 0,
        }
    };
    object! {
        "type": "Test",
        "title": "Test trigger event",
        "startTime": with_millis(golden.created_at),
        "endTime": with_millis(golden.created_at),
        "attendees": vec![person("John Doe", "jdoe@example.com")],
        "organizer": person("Cal", "no-reply@cal.com"),
    }
}
