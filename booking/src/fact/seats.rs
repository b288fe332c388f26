//! Seats: an event type with `seatsPerTimeSlot` has many attendees under one uid, who come and go one by one.
//!
//! Cal.com names a seat when it is taken and never when it is left, so a seat leaves by its attendee's e-mail address:
//! all seats under that address do.

use std::collections::BTreeSet;

use calbridge_proto::v1::{BookingPayload, Trigger};

use super::{
    draft::{Draft, MAX_PEOPLE},
    links,
};
use crate::register::{Email, Rank};

/// `seatsPerTimeSlot`; zero means the same as null.
pub(super) fn per_time_slot(payload: &BookingPayload) -> Option<i64> {
    payload.seats_per_time_slot.filter(|seats| *seats > 0).map(i64::from)
}

pub(super) fn is_seated(payload: &BookingPayload) -> bool {
    per_time_slot(payload).is_some()
}

/// An attendee took a seat out of one booking into another.
pub(super) fn moves_one(payload: &BookingPayload) -> bool {
    is_seated(payload) && links::replaced(payload).is_some()
}

/// The attendees of the payload come or go; otherwise they are a list, to be shown where no seat is known.
pub(super) fn list_is_of_seats(trigger: Trigger, payload: &BookingPayload) -> bool {
    match trigger {
        Trigger::BookingCreated | Trigger::BookingRescheduled => is_seated(payload),
        Trigger::BookingCancelled => leaver(payload).is_some(),
        _ => false,
    }
}

/// Adds the seats of `BOOKING_CREATED` and `BOOKING_RESCHEDULED`: `attendeeSeatId` under its attendee, or without an id
/// whoever is listed.
pub(super) fn take(payload: &BookingPayload, own: &mut Draft) {
    if !is_seated(payload) {
        return;
    }
    let people = listed(payload);
    let sitting = if payload.attendee_seat_id.is_empty() { people.len() } else { 1 };
    let mut pen = own.at(Rank::Write);
    for email in people.into_iter().take(sitting) {
        pen.seat_taken(email, &payload.attendee_seat_id);
    }
}

/// The one attendee whose seat a `BOOKING_CANCELLED` gives up; `None` where it takes the whole booking.
pub(super) fn leaver(payload: &BookingPayload) -> Option<Email> {
    if !is_seated(payload) || !payload.cancelled_by.is_empty() {
        return None;
    }
    let mut people = listed(payload);
    if people.len() == 1 { people.pop() } else { None }
}

/// Who is listed with an e-mail address, each once.
pub(super) fn listed(payload: &BookingPayload) -> Vec<Email> {
    let mut known = BTreeSet::new();
    let people = payload.attendees.iter().take(MAX_PEOPLE).filter_map(|person| Email::new(&person.email));
    people.filter(|email| known.insert(email.clone())).collect()
}
