//! Golden events: bodies as Cal.com's sender prints them, for any trigger, of bookings and people that we made up.
//!
//! For `calbridge send`, the demo and tests. Each path of the sender has its own keys, key order and time format, and
//! they are kept here: what one path leaves out, its golden body leaves out. A body is a function of its [`Golden`].

mod aside;
mod booking;
mod cancelled;
mod json;
pub mod lives;
mod meeting;
mod parts;
mod queue;

use std::collections::BTreeMap;

use calbridge_proto::v1::Trigger;
use jiff::Timestamp;

use self::json::{Json, object};

/// Which part of Cal.com's sender speaks. A path that a trigger does not have prints what [`Path::Direct`] does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// The handler of the user's own request: most webhooks of Cal.com until 2026.
    #[default]
    Direct,
    /// After a host's approval: `BOOKING_CREATED`, and `MEETING_*` timers that were set then.
    Confirm,
    /// After a payment: `BOOKING_CREATED` and, for events that need approval, `BOOKING_REQUESTED` without a status.
    Payment,
    /// The builders and queue of 2026. Its `MEETING_*` stand in an envelope, its recordings are links alone, its
    /// instant meeting is a notification without uid.
    Queue,
}

/// What kind of `BOOKING_CANCELLED` is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cancellation {
    /// The whole booking ends; [`Golden::cancelled_by`] says by whom.
    #[default]
    Whole,
    /// Attendees leave their seats: the first of [`Golden::attendees`] alone is listed, and nobody "cancelled".
    SeatLeft,
    /// The host asks for another time: without `status` on [`Path::Direct`], with `requestReschedule` on
    /// [`Path::Queue`].
    HostRequestsReschedule,
}

/// Somebody who hosts or attends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Cal.com's user id; printed for hosts alone.
    pub id: i64,
    /// E-mail address.
    pub email: String,
    /// Full name; empty for guests.
    pub name: String,
    /// Printed for hosts alone.
    pub username: String,
    /// IANA name.
    pub time_zone: String,
    /// A locale such as `en`.
    pub language: String,
    /// Minutes east of UTC at the booking's start.
    pub utc_offset_minutes: i32,
}

impl Person {
    /// An English-speaking person in UTC; the user name is the local part of `email`.
    #[must_use]
    pub fn new(name: &str, email: &str) -> Self {
        Self {
            id: 7,
            email: email.to_owned(),
            name: name.to_owned(),
            username: email.split('@').next().unwrap_or_default().to_owned(),
            time_zone: "Etc/UTC".to_owned(),
            language: "en".to_owned(),
            utc_offset_minutes: 0,
        }
    }
}

/// What can be booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventType {
    /// Cal.com's row number.
    pub id: i64,
    /// `type` of a payload.
    pub slug: String,
    /// `eventTitle` of a payload.
    pub title: String,
}

/// One booking as a webhook tells it. Start with [`Golden::new`] and set the fields that the test is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Golden {
    /// Which part of the sender speaks.
    pub path: Path,
    /// The booking's uid.
    pub uid: String,
    /// Cal.com's row number of the booking.
    pub booking_id: i64,
    /// The envelope's `createdAt`; printed in milliseconds. The row of a `MEETING_*` takes it as its own creation.
    pub created_at: Timestamp,
    /// When the booking starts, in whole seconds.
    pub start: Timestamp,
    /// How long it takes.
    pub minutes: i64,
    /// What was booked.
    pub event_type: EventType,
    /// Who hosts.
    pub organizer: Person,
    /// The booker first.
    pub attendees: Vec<Person>,
    /// `integrations:daily` also prints Cal Video's data and `metadata.videoCallUrl` where the path does.
    pub location: String,
    /// The booker's notes.
    pub notes: String,
    /// The uid that `iCalUID` begins with, where it is not the booking's own: the first of a lineage.
    pub ical_uid_of: Option<String>,
    /// `iCalSequence`.
    pub ical_sequence: i64,
    /// `status`, where it is not the one that path and trigger print.
    pub status: Option<String>,
    /// The booking that this one replaces; for `MEETING_*` it is `fromReschedule`.
    pub reschedule_uid: Option<String>,
    /// `rescheduleId`: its row number; the owner's move of a seated booking has none.
    pub reschedule_id: Option<i64>,
    /// When the replaced booking would have started; its length is the same.
    pub previous_start: Option<Timestamp>,
    /// `rescheduledBy`, an e-mail address.
    pub rescheduled_by: Option<String>,
    /// The answer to "reason for reschedule".
    pub reschedule_reason: Option<String>,
    /// What a `BOOKING_CANCELLED` means.
    pub cancellation: Cancellation,
    /// `cancelledBy`: an e-mail address; the organizer's where none is set. Never printed for a seat that left.
    pub cancelled_by: Option<String>,
    /// `cancellationReason` or `rejectionReason`.
    pub reason: Option<String>,
    /// The cancel is of all that remains of a series.
    pub recurring: bool,
    /// E-mail addresses and marks of `BOOKING_NO_SHOW_UPDATED`; empty: every attendee did not come. `AFTER_GUESTS_*`
    /// lists the attendees who are marked true.
    pub no_shows: Vec<(String, bool)>,
    /// `seatsPerTimeSlot`.
    pub seats_per_time_slot: Option<i32>,
    /// `attendeeSeatId`.
    pub seat_id: Option<String>,
    /// `price` in minor units of the currency.
    pub price_minor: i64,
    /// ISO 4217; Cal.com prints lower case.
    pub currency: String,
    /// `paymentId`; `BOOKING_PAYMENT_INITIATED` and `BOOKING_PAID` always print one.
    pub payment_id: Option<i64>,
    /// `paid` of a `MEETING_*`.
    pub paid: bool,
    /// `previousLocation` of `BOOKING_LOCATION_UPDATED`.
    pub previous_location: Option<String>,
    /// `addedHostUserIds` of `BOOKING_REASSIGNED`.
    pub added_host_user_ids: Vec<i64>,
    /// `removedHostUserIds` of `BOOKING_REASSIGNED`.
    pub removed_host_user_ids: Vec<i64>,
    /// The booker's own keys.
    pub metadata: BTreeMap<String, String>,
}

impl Golden {
    /// Thirty minutes in a Cal Video room, free, unseated, told by the direct path: Tomas Okafor meets Mara Lindqvist.
    #[must_use]
    pub fn new(uid: &str, booking_id: i64, created_at: Timestamp, start: Timestamp) -> Self {
        Self {
            path: Path::Direct,
            uid: uid.to_owned(),
            booking_id,
            created_at,
            start,
            minutes: 30,
            event_type: EventType { id: 310, slug: "first-talk".to_owned(), title: "First talk".to_owned() },
            organizer: Person::new("Mara Lindqvist", "mara@harbour-studio.example"),
            attendees: vec![Person::new("Tomas Okafor", "tomas@lighthouse.example")],
            location: CAL_VIDEO.to_owned(),
            notes: String::new(),
            ical_uid_of: None,
            ical_sequence: 0,
            status: None,
            reschedule_uid: None,
            reschedule_id: None,
            previous_start: None,
            rescheduled_by: None,
            reschedule_reason: None,
            cancellation: Cancellation::Whole,
            cancelled_by: None,
            reason: None,
            recurring: false,
            no_shows: Vec::new(),
            seats_per_time_slot: None,
            seat_id: None,
            price_minor: 0,
            currency: "usd".to_owned(),
            payment_id: None,
            paid: false,
            previous_location: None,
            added_host_user_ids: Vec::new(),
            removed_host_user_ids: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// The booking that replaces this one: a fresh uid and start, linked back as `BOOKING_RESCHEDULED` and
    /// `BOOKING_REQUESTED` tell it, moved by the booker.
    #[must_use]
    pub fn moved(&self, uid: &str, booking_id: i64, created_at: Timestamp, start: Timestamp) -> Self {
        Self {
            uid: uid.to_owned(),
            booking_id,
            created_at,
            start,
            ical_uid_of: Some(self.ical_uid_of.clone().unwrap_or_else(|| self.uid.clone())),
            ical_sequence: self.ical_sequence + 1,
            reschedule_uid: Some(self.uid.clone()),
            reschedule_id: Some(self.booking_id),
            previous_start: Some(self.start),
            rescheduled_by: self.attendees.first().map(|booker| booker.email.clone()),
            ..self.clone()
        }
    }
}

/// The location of a Cal Video room.
pub const CAL_VIDEO: &str = "integrations:daily";

/// A trigger that Cal.com's API lists and nothing documents: what the body of [`Trigger::Unspecified`] names.
pub const UNKNOWN_TRIGGER: &str = "CALENDAR_ENTRY_REJECTED";

/// The JSON body of `trigger` for `golden`, as Cal.com's sender would print it.
#[must_use]
pub fn body(trigger: Trigger, golden: &Golden) -> Vec<u8> {
    let name = trigger_name(trigger);
    let json = match trigger {
        Trigger::MeetingStarted | Trigger::MeetingEnded if golden.path != Path::Queue => meeting::flat(name, golden),
        Trigger::FormSubmitted if golden.path != Path::Queue => aside::form_submitted(name, golden),
        _ => enveloped(name, golden, payload(trigger, golden)),
    };
    json.print()
}

/// `triggerEvent` of `trigger`.
#[must_use]
pub fn trigger_name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Unspecified => UNKNOWN_TRIGGER,
        _ => trigger.as_str_name().trim_start_matches("TRIGGER_"),
    }
}

fn enveloped(name: &str, golden: &Golden, payload: Json) -> Json {
    object! {
        "triggerEvent": name,
        "createdAt": parts::with_millis(golden.created_at),
        "payload": payload,
    }
}

fn payload(trigger: Trigger, golden: &Golden) -> Json {
    match (trigger, golden.path) {
        (Trigger::BookingRequested, Path::Queue) => queue::requested(golden),
        (
            Trigger::BookingCreated
            | Trigger::BookingRescheduled
            | Trigger::BookingRejected
            | Trigger::BookingPaymentInitiated
            | Trigger::BookingPaid,
            Path::Queue,
        ) => queue::built(trigger, golden),
        (Trigger::BookingCreated, Path::Confirm) | (Trigger::BookingRejected, _) => {
            booking::confirm_path(trigger, golden)
        }
        (Trigger::BookingCreated | Trigger::BookingRequested, Path::Payment) | (Trigger::BookingPaid, _) => {
            booking::payment_path(trigger, golden)
        }
        (
            Trigger::BookingCreated
            | Trigger::BookingRequested
            | Trigger::BookingRescheduled
            | Trigger::BookingPaymentInitiated
            | Trigger::BookingLocationUpdated
            | Trigger::BookingReassigned,
            _,
        ) => booking::direct_path(trigger, golden),
        (Trigger::BookingCancelled, _) => cancelled::payload(golden),
        (Trigger::MeetingStarted | Trigger::MeetingEnded, _) => meeting::enveloped(golden),
        _ => aside::payload(trigger, golden),
    }
}

#[cfg(test)]
mod tests;
