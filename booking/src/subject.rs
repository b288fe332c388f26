//! What an event is to the bookings, before any store is asked.
//!
//! Invariant: `subject` answers `States` for exactly those events for which `facts` has any.

use calbridge_proto::v1::{
    BookingEvent, BookingPayload, CalVideoNoShowPayload, InstantMeetingPayload, MeetingPayload, NoShowPayload, Trigger,
    booking_event::Payload,
};

/// Longest uid that names a booking, in bytes. Cal.com's have 22 characters; an index entry of a store must hold it.
const MAX_UID: usize = 256;

/// What an event is to the bookings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// It states facts, first of all about the booking `uid`.
    States {
        /// The booking that the event is about.
        uid: &'a str,
    },
    /// It is kept and changes no booking: recordings, forms, PING, absences, reports, triggers that are not known,
    /// and whatever names no booking where it should.
    Recorded {
        /// The booking that the payload names, if it names one.
        uid: Option<&'a str>,
    },
    /// It could not be typed.
    Unparsed,
}

/// What `event` is to the bookings.
#[must_use]
pub fn subject(event: &BookingEvent) -> Subject<'_> {
    let Some(payload) = &event.payload else { return Subject::Unparsed };
    match Statement::of(event) {
        Some(statement) => Subject::States { uid: statement.uid },
        None => Subject::Recorded { uid: named(payload) },
    }
}

/// Whether other bookings of a series may have changed without a word: Cal.com approves, declines and cancels the rest
/// of a series at once and tells one uid of it.
#[must_use]
pub fn leaves_siblings_silent(event: &BookingEvent) -> bool {
    let of_many =
        matches!(event.trigger(), Trigger::BookingCreated | Trigger::BookingRejected | Trigger::BookingCancelled);
    of_many && matches!(&event.payload, Some(Payload::Booking(payload)) if payload.recurring)
}

/// A uid that can name a booking: neither empty nor longer than any store would index, and without the one character
/// that not every store can hold.
pub(crate) fn uid(text: &str) -> Option<&str> {
    ((1..=MAX_UID).contains(&text.len()) && !text.contains('\0')).then_some(text)
}

/// The booking that an event names as replaced. The owner of a seated event moves it under its own uid.
pub(crate) fn replaced(payload: &BookingPayload) -> Option<&str> {
    uid(&payload.reschedule_uid).filter(|old| *old != payload.uid)
}

/// A payload that belongs to its trigger and names its booking.
pub(crate) struct Statement<'a> {
    pub(crate) uid: &'a str,
    pub(crate) trigger: Trigger,
    pub(crate) said: Said<'a>,
}

/// The payloads that state facts.
pub(crate) enum Said<'a> {
    Booking(&'a BookingPayload),
    Meeting(&'a MeetingPayload),
    NoShow(&'a NoShowPayload),
    CalVideoNoShow(&'a CalVideoNoShowPayload),
    InstantMeeting(&'a InstantMeetingPayload),
}

impl<'a> Statement<'a> {
    /// `None` for all that is recorded alone; so are a payload of another trigger's shape and one without a uid.
    pub(crate) fn of(event: &'a BookingEvent) -> Option<Self> {
        let trigger = event.trigger();
        let said = match (trigger, event.payload.as_ref()?) {
            (
                Trigger::BookingCreated
                | Trigger::BookingRequested
                | Trigger::BookingRescheduled
                | Trigger::BookingCancelled
                | Trigger::BookingRejected
                | Trigger::BookingPaymentInitiated
                | Trigger::BookingPaid
                | Trigger::BookingLocationUpdated
                | Trigger::BookingReassigned
                | Trigger::InstantMeetingAccepted,
                Payload::Booking(payload),
            ) => Said::Booking(payload),
            (Trigger::MeetingStarted | Trigger::MeetingEnded, Payload::Meeting(payload)) => Said::Meeting(payload),
            (Trigger::BookingNoShowUpdated, Payload::NoShow(payload)) => Said::NoShow(payload),
            (
                Trigger::AfterHostsCalVideoNoShow | Trigger::AfterGuestsCalVideoNoShow,
                Payload::CalVideoNoShow(payload),
            ) => Said::CalVideoNoShow(payload),
            (Trigger::InstantMeeting, Payload::InstantMeeting(payload)) => Said::InstantMeeting(payload),
            _ => return None,
        };
        let uid = named(event.payload.as_ref()?)?;
        Some(Self { uid, trigger, said })
    }
}

fn named(payload: &Payload) -> Option<&str> {
    payload.booking_uid().and_then(uid)
}
