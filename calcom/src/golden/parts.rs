//! What several paths print alike: people, answers, times, Cal Video's data.

use jiff::{SignedDuration, Timestamp};

use super::{
    CAL_VIDEO, Golden, Person,
    json::{Json, object},
};

/// The page that bookings are made on.
pub(super) const BOOKER_URL: &str = "https://book.harbour-studio.example";

/// Stands for the one-time password of an approval link.
pub(super) const ONE_TIME_PASSWORD: &str = "00000000-0000-4000-8000-000000000001";

/// `…T10:00:00Z`: the direct path.
pub(super) fn plain(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `…T10:00:00.000Z`: rows of the database, and every `createdAt`.
pub(super) fn with_millis(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// `…T10:00:00+00:00`: cancels, with the server's own offset.
pub(super) fn with_offset(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

impl Golden {
    /// When the booking ends.
    pub(super) fn end(&self) -> Timestamp {
        self.after(self.start)
    }

    /// When something as long as the booking ends that starts at `start`.
    pub(super) fn after(&self, start: Timestamp) -> Timestamp {
        start.saturating_add(SignedDuration::from_mins(self.minutes)).unwrap_or(start)
    }

    /// `title`.
    pub(super) fn title(&self) -> String {
        let booker = self.attendees.first().map_or("Nameless", |booker| booker.name.as_str());
        format!("{} between {} and {booker}", self.event_type.title, self.organizer.name)
    }

    /// `iCalUID`.
    pub(super) fn ical_uid(&self) -> String {
        format!("{}@Cal.com", self.ical_uid_of.as_ref().unwrap_or(&self.uid))
    }

    /// `status`, where `usual` is what trigger and path print.
    pub(super) fn status_or(&self, usual: &str) -> Json {
        self.status.as_deref().unwrap_or(usual).into()
    }

    /// `metadata` before a meeting is accepted: the booker's own keys.
    pub(super) fn own_metadata(&self) -> Json {
        Json::Object(self.metadata.iter().map(|(key, value)| (key.clone(), value.into())).collect())
    }

    /// `metadata` of an accepted booking.
    pub(super) fn accepted_metadata(&self) -> Json {
        let room = (self.location == CAL_VIDEO).then(|| format!("https://meet.harbour-studio.example/{}", self.uid));
        self.own_metadata().and(object! { "videoCallUrl": room })
    }

    /// `videoCallData`: the room and its password.
    pub(super) fn video_call(&self) -> Json {
        if self.location != CAL_VIDEO {
            return Json::Absent;
        }
        object! {
            "type": "daily_video",
            "id": format!("room-{}", self.uid),
            "password": "not-a-password",
            "url": format!("https://rooms.harbour-studio.example/{}", self.uid),
        }
    }

    /// `appsStatus`.
    pub(super) fn apps_status(&self) -> Json {
        if self.location != CAL_VIDEO {
            return Json::Absent;
        }
        let app = object! {
            "appName": "daily-video",
            "type": "daily_video",
            "success": 1,
            "failures": 0,
            "errors": Json::List(Vec::new()),
        };
        vec![app].into()
    }

    /// `organizer`.
    pub(super) fn host(&self) -> Json {
        let host = &self.organizer;
        object! {
            "id": host.id,
            "name": &host.name,
            "email": &host.email,
            "username": &host.username,
            "timeZone": &host.time_zone,
            "language": locale(host),
            "timeFormat": "h:mma",
            "utcOffset": host.utc_offset_minutes,
        }
    }

    /// `attendees`, each by `print`.
    pub(super) fn people(&self, print: impl Fn(&Person) -> Json) -> Json {
        Json::List(self.attendees.iter().map(print).collect())
    }

    /// `attendees` as rows of the database, numbered from the booking's own number; those whom `missing` names have
    /// their mark set.
    pub(super) fn attendee_rows(&self, missing: impl Fn(&Person) -> bool) -> Json {
        let rows = self.attendees.iter().zip(0_i64..).map(|(person, index)| {
            object! {
                "id": self.booking_id * 10 + index,
                "email": &person.email,
                "name": &person.name,
                "timeZone": &person.time_zone,
                "phoneNumber": Json::Null,
                "locale": &person.language,
                "bookingId": self.booking_id,
                "noShow": missing(person),
            }
        });
        Json::List(rows.collect())
    }

    /// `responses`, wrapped: what is not answered has a label and no value.
    pub(super) fn responses(&self) -> Json {
        let booker = self.attendees.first();
        let guests: Vec<_> = self.attendees.iter().skip(1).map(|guest| guest.email.as_str()).collect();
        let place = object! { "value": &self.location, "optionValue": "" };
        object! {
            "name": answer("your_name", booker.map(|person| &person.name)),
            "email": answer("email_address", booker.map(|person| &person.email)),
            "attendeePhoneNumber": object! { "label": "phone_number", "isHidden": true },
            "location": answer("location", place),
            "title": object! { "label": "what_is_this_meeting_about", "isHidden": true },
            "notes": answer("additional_notes", Some(&self.notes).filter(|notes| !notes.is_empty())),
            "guests": answer("additional_guests", guests),
            "rescheduleReason": answer("reason_for_reschedule", self.reschedule_reason.as_ref()),
        }
    }

    /// `responses` without wrappers, as `INSTANT_MEETING` and the queue's `MEETING_*` have them.
    pub(super) fn raw_responses(&self) -> Json {
        let booker = self.attendees.first();
        object! {
            "name": booker.map(|person| &person.name),
            "email": booker.map(|person| &person.email),
            "location": object! { "value": &self.location, "optionValue": "" },
            "guests": Json::List(Vec::new()),
        }
    }
}

/// An attendee of the direct path.
pub(super) fn attendee(person: &Person) -> Json {
    object! {
        "email": &person.email,
        "name": &person.name,
        "firstName": "",
        "lastName": "",
        "timeZone": &person.time_zone,
        "language": locale(person),
        "utcOffset": person.utc_offset_minutes,
    }
}

/// An attendee read back from the database: approvals, cancels.
pub(super) fn stored_attendee(person: &Person) -> Json {
    object! {
        "name": &person.name,
        "email": &person.email,
        "timeZone": &person.time_zone,
        "phoneNumber": Json::Null,
        "language": locale(person),
        "utcOffset": person.utc_offset_minutes,
    }
}

/// `language`.
pub(super) fn locale(person: &Person) -> Json {
    object! { "locale": &person.language }
}

fn answer(label: &str, value: impl Into<Json>) -> Json {
    object! { "label": label, "value": value, "isHidden": false }
}
