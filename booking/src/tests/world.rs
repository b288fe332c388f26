//! Events as tests write them, and the state they end in.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use calbridge_proto::v1::{
    BookingEvent, BookingPayload, BookingStatus, CalVideoNoShowPayload, InstantMeetingPayload, MeetingPayload,
    NoShowPayload, PersonPayload, ResponsePayload, Trigger, booking_event::Payload,
};
use prost::Message;
use prost_types::{Timestamp, Value, value::Kind};

use crate::{Derived, Fact, Horizon, Row, derive, facts};

/// An hour of the tests' day, as a booking's or an envelope's time.
pub(super) fn at(hour: i64) -> Timestamp {
    Timestamp { seconds: 1_790_000_000 + hour * 3_600, nanos: 0 }
}

pub(super) fn person(email: &str) -> PersonPayload {
    let name = email.split('@').next().unwrap_or_default();
    PersonPayload {
        email: email.into(),
        name: format!("{name} of the tests"),
        time_zone: "Europe/London".into(),
        language: "en".into(),
        utc_offset_minutes: Some(60),
        ..Default::default()
    }
}

pub(super) fn answer(text: &str) -> ResponsePayload {
    let value = Some(Value { kind: Some(Kind::StringValue(text.into())) });
    ResponsePayload { label: "label".into(), value, hidden: None }
}

/// A booking of `guest@a.example` with `host@a.example` from ten to eleven, as the direct path tells it.
pub(super) fn payload(uid: &str) -> BookingPayload {
    BookingPayload {
        uid: uid.into(),
        booking_id: Some(7),
        status: "ACCEPTED".into(),
        title: "Tea".into(),
        event_type_slug: "tea".into(),
        event_type_id: Some(3),
        start_time: Some(at(10)),
        end_time: Some(at(11)),
        location: "integrations:daily".into(),
        organizer: Some(PersonPayload { id: Some(12), username: "host".into(), ..person("host@a.example") }),
        attendees: vec![person("guest@a.example")],
        ical_uid: format!("{uid}@Cal.com"),
        responses: [("name".to_owned(), answer("Guest"))].into(),
        metadata: [("room".to_owned(), "4".to_owned())].into(),
        ..Default::default()
    }
}

/// A booking under a new uid in the place of `old`, two hours later.
pub(super) fn moved(uid: &str, old: &str) -> BookingPayload {
    BookingPayload {
        booking_id: Some(8),
        start_time: Some(at(12)),
        end_time: Some(at(13)),
        reschedule_uid: old.into(),
        reschedule_id: Some(7),
        reschedule_start_time: Some(at(10)),
        reschedule_end_time: Some(at(11)),
        rescheduled_by: "guest@a.example".into(),
        ical_uid: format!("{old}@Cal.com"),
        ..payload(uid)
    }
}

pub(super) fn cancel(uid: &str) -> BookingPayload {
    BookingPayload {
        status: "CANCELLED".into(),
        cancelled_by: "host@a.example".into(),
        cancellation_reason: "ill".into(),
        ..payload(uid)
    }
}

pub(super) fn timer(uid: &str) -> MeetingPayload {
    MeetingPayload {
        uid: uid.into(),
        booking_id: Some(7),
        status: "ACCEPTED".into(),
        title: "Tea".into(),
        start_time: Some(at(10)),
        end_time: Some(at(11)),
        row_create_time: Some(at(-90)),
        organizer: Some(person("host@a.example")),
        attendees: vec![person("guest@a.example")],
        ical_uid: format!("{uid}@Cal.com"),
        ..Default::default()
    }
}

pub(super) fn marks(uid: &str, marks: &[(&str, bool)]) -> NoShowPayload {
    let person = |(email, mark): &(&str, bool)| PersonPayload {
        email: (*email).into(),
        no_show: Some(*mark),
        ..Default::default()
    };
    NoShowPayload { booking_uid: uid.into(), attendees: marks.iter().map(person).collect(), ..Default::default() }
}

pub(super) fn cal_video(uid: &str) -> CalVideoNoShowPayload {
    CalVideoNoShowPayload {
        booking_uid: uid.into(),
        title: "Tea".into(),
        start_time: Some(at(10)),
        end_time: Some(at(11)),
        attendees: vec![person("guest@a.example")],
        ..Default::default()
    }
}

pub(super) fn instant(uid: &str) -> InstantMeetingPayload {
    InstantMeetingPayload {
        uid: uid.into(),
        event_type_id: Some(3),
        event_type_title: "Tea".into(),
        responses: [("name".to_owned(), answer("Guest"))].into(),
        ..Default::default()
    }
}

/// What `facts` is given.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) event: BookingEvent,
    pub(super) hash: [u8; 32],
}

impl Told {
    pub(super) fn facts(&self) -> Vec<Fact> {
        facts(&self.event, &self.hash)
    }
}

/// An event whose envelope says `hour`; a flat `MEETING_*` has no envelope, so its hour is dropped.
pub(super) fn tell(trigger: Trigger, hour: i64, payload: impl IntoPayload) -> Told {
    let payload = payload.into_payload();
    let flat = matches!(&payload, Payload::Meeting(meeting) if !meeting.enveloped);
    let event = BookingEvent {
        trigger: trigger.into(),
        event_time: (!flat).then(|| at(hour)),
        payload: Some(payload),
        ..Default::default()
    };
    Told { hash: digest(&event), event }
}

/// Stands in for the SHA-256 of a raw body: other events have other digests.
pub(super) fn digest(event: &BookingEvent) -> [u8; 32] {
    let bytes = event.encode_to_vec();
    let mut digest = [0; 32];
    for (salt, part) in digest.chunks_exact_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (salt, &bytes).hash(&mut hasher);
        part.copy_from_slice(&hasher.finish().to_be_bytes());
    }
    digest
}

/// A payload of any kind.
pub(super) trait IntoPayload {
    fn into_payload(self) -> Payload;
}

macro_rules! into_payload {
    ($($message:ty => $kind:ident),* $(,)?) => {
        $(impl IntoPayload for $message {
            fn into_payload(self) -> Payload {
                Payload::$kind(self)
            }
        })*
    };
}

into_payload! {
    BookingPayload => Booking,
    MeetingPayload => Meeting,
    NoShowPayload => NoShow,
    CalVideoNoShowPayload => CalVideoNoShow,
    InstantMeetingPayload => InstantMeeting,
}

/// Every booking's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct World {
    pub(super) rows: BTreeMap<String, Row>,
}

impl World {
    pub(super) fn of<'a>(told: impl IntoIterator<Item = &'a Told>) -> Self {
        let mut world = Self::default();
        for told in told {
            world.merge(&told.facts());
        }
        world
    }

    pub(super) fn merge(&mut self, facts: &[Fact]) {
        for fact in facts {
            self.rows.entry(fact.uid.clone()).or_default().merge(&fact.registers);
        }
    }

    /// All rows as bytes.
    pub(super) fn bytes(&self) -> Vec<(String, Vec<u8>)> {
        self.rows.iter().map(|(uid, row)| (uid.clone(), row.encode())).collect()
    }

    pub(super) fn find(&self, uid: &str) -> Option<Derived> {
        self.find_at(uid, Horizon::NONE)
    }

    pub(super) fn find_at(&self, uid: &str, horizon: Horizon) -> Option<Derived> {
        self.rows.get(uid).and_then(|row| derive(uid, row, horizon))
    }

    pub(super) fn get(&self, uid: &str) -> Derived {
        self.find(uid).unwrap_or_else(|| panic!("{uid} is not visible"))
    }

    pub(super) fn status(&self, uid: &str) -> BookingStatus {
        self.get(uid).booking.status()
    }

    /// The attendees' addresses as shown.
    pub(super) fn attendees(&self, uid: &str) -> Vec<String> {
        self.get(uid).booking.attendees.into_iter().map(|attendee| attendee.email).collect()
    }
}
