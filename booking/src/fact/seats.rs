//! Seats: an event type with `seatsPerTimeSlot` has many attendees under one uid, who come and go one by one.
//!
//! Cal.com names a seat when it is taken and never when it is left, so a seat leaves by its attendee's e-mail address:
//! all seats under that address do.

use std::collections::BTreeSet;

use calbridge_proto::v1::{BookingPayload, Trigger};

use super::draft::{Draft, MAX_PEOPLE};
use crate::{
    register::{Email, Rank},
    subject::replaced,
};

/// `seatsPerTimeSlot`; zero means the same as null.
pub(super) fn per_time_slot(payload: &BookingPayload) -> Option<i64> {
    payload.seats_per_time_slot.filter(|seats| *seats > 0).map(i64::from)
}

pub(super) fn is_seated(payload: &BookingPayload) -> bool {
    per_time_slot(payload).is_some()
}

/// An attendee took a seat out of one booking into another.
pub(super) fn moves_one(payload: &BookingPayload) -> bool {
    is_seated(payload) && replaced(payload).is_some()
}

/// The attendees of the payload come or go; otherwise they are a list, to be shown where no seat is known.
pub(super) fn list_is_of_seats(trigger: Trigger, payload: &BookingPayload) -> bool {
    match trigger {
        Trigger::BookingCreated | Trigger::BookingRescheduled => is_seated(payload),
        Trigger::BookingCancelled => one_leaves(payload),
        _ => false,
    }
}

/// Adds the seats of `BOOKING_CREATED` and `BOOKING_RESCHEDULED`.
pub(super) fn take(payload: &BookingPayload, own: &mut Draft) {
    if is_seated(payload) {
        let mut pen = own.at(Rank::Write);
        for (email, seat) in sitters(payload) {
            pen.seat_taken(email, seat);
        }
    } else if payload.ical_uid.is_empty() {
        // Approval and payment leave both out; every other path without seats has the `iCalUID`.
        let_in(payload, own);
    }
}

/// Whoever a host's approval or a payment lets in: those webhooks do not say whether there are seats, and name none.
/// It counts where another webhook says that there are.
pub(super) fn let_in(payload: &BookingPayload, own: &mut Draft) {
    let mut pen = own.at(Rank::Write);
    for (email, _) in listed(payload) {
        pen.let_in(email);
    }
}

/// Who takes a seat here that gives up one of another booking: whose `attendeeSeatId` is, or, without one, whoever is
/// listed.
pub(super) fn movers(payload: &BookingPayload) -> impl Iterator<Item = Email> {
    let named = payload.attendee_seat_id.as_str();
    sitters(payload).into_iter().filter(move |(_, seat)| named.is_empty() || *seat == named).map(|(email, _)| email)
}

/// Who takes a seat, with its reference. Where `attendeeSeatId` names the only one it is that of the first listed, for
/// Cal.com's direct path lists those who sit there already behind. The queue says beside each person which seat is
/// whose, and whose the named one is may have left before the queue looked.
fn sitters(payload: &BookingPayload) -> Vec<(Email, &str)> {
    let (mut people, named) = (listed(payload), payload.attendee_seat_id.as_str());
    if named.is_empty() {
        return people;
    }
    if people.iter().any(|(_, seat)| !seat.is_empty()) {
        people.retain(|(_, seat)| !seat.is_empty());
        return people;
    }
    people.into_iter().take(1).map(|(email, _)| (email, named)).collect()
}

/// Whether a `BOOKING_CANCELLED` gives up one seat: it lists one attendee, and nobody "cancelled" or asked for another
/// time. That attendee may have lost the e-mail address; then nobody knows who left, and still the booking lives on for
/// the others.
pub(super) fn one_leaves(payload: &BookingPayload) -> bool {
    is_seated(payload)
        && payload.cancelled_by.is_empty()
        && payload.attendees.len() == 1
        && payload.request_reschedule != Some(true)
}

/// Who gives up a seat.
pub(super) fn leaver(payload: &BookingPayload) -> Option<Email> {
    listed(payload).into_iter().next().map(|(email, _)| email)
}

/// Who is listed with an e-mail address, each once for each seat.
fn listed(payload: &BookingPayload) -> Vec<(Email, &str)> {
    let mut known = BTreeSet::new();
    let people = payload.attendees.iter().take(MAX_PEOPLE);
    let people = people.filter_map(|person| Some((Email::new(&person.email)?, person.seat_uid.as_str())));
    people.filter(|sitter| known.insert(sitter.clone())).collect()
}
