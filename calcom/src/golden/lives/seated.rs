//! Bookings with seats: many attendees under one uid, who come, move and go one by one.

use calbridge_proto::v1::{BookingStatus as Status, PaymentStatus as Payment, Trigger};

use super::{BOTH, Golden, Life, Sender, Step, golden, guest, minute};
use crate::golden::Cancellation;

const A: &str = "seatsAAA";
const B: &str = "seatsBBB";

pub(super) fn lives() -> Vec<Life> {
    let mut lives: Vec<_> = BOTH.into_iter().flat_map(one_by_one).collect();
    lives.extend(BOTH.into_iter().flat_map(as_a_whole));
    lives.extend(BOTH.into_iter().flat_map(elsewhere));
    lives
}

/// The webhooks of a seated booking.
#[derive(Clone, Copy)]
pub(super) struct Seats {
    pub(super) sender: Sender,
    pub(super) uid: &'static str,
}

impl Seats {
    /// All who are listed sit there; no seat is named.
    fn of(self, names: &[&str]) -> Golden {
        let attendees = names.iter().map(|name| guest(name)).collect();
        Golden { attendees, seats_per_time_slot: Some(5), ..golden(self.uid) }
    }

    pub(super) fn taken(self, name: &str) -> Step {
        self.sender.tells(Trigger::BookingCreated, &self.seat(name))
    }

    fn seat(self, name: &str) -> Golden {
        Golden { seat_id: Some(format!("{}-seat-of-{name}", self.uid)), ..self.of(&[name]) }
    }

    /// Another seat than the first of the booking comes with an `iCalUID` that is never stored.
    pub(super) fn taken_later(self, name: &str) -> Step {
        let told = Golden { ical_uid_of: Some(format!("unstored{name}")), ..self.seat(name) };
        self.sender.tells(Trigger::BookingCreated, &told)
    }

    pub(super) fn left(self, name: &str) -> Step {
        let told = Golden { cancellation: Cancellation::SeatLeft, ..self.of(&[name]) };
        self.sender.tells(Trigger::BookingCancelled, &told)
    }

    /// The owner moves the whole under its own uid.
    pub(super) fn moved_with(self, names: &[&str]) -> Step {
        let before = self.of(names);
        let told = Golden {
            start: minute(700),
            previous_start: Some(before.start),
            reschedule_uid: Some(self.uid.to_owned()),
            rescheduled_by: Some(before.organizer.email.clone()),
            ..before
        };
        self.sender.tells(Trigger::BookingRescheduled, &told)
    }

    pub(super) fn cancelled_with(self, names: &[&str]) -> Step {
        self.sender.tells(Trigger::BookingCancelled, &self.of(names))
    }

    /// An attendee takes a seat here and gives up the one in `old`.
    fn taken_from(self, old: Seats, name: &str) -> Step {
        let told = Golden {
            start: minute(800),
            booking_id: 9_002,
            ical_uid_of: Some(format!("unstored{name}")),
            reschedule_uid: Some(old.uid.to_owned()),
            reschedule_id: Some(9_001),
            previous_start: Some(minute(600)),
            rescheduled_by: Some(guest(name).email),
            ..self.seat(name)
        };
        self.sender.tells(Trigger::BookingRescheduled, &told)
    }
}

fn one_by_one(sender: Sender) -> [Life; 4] {
    let seats = Seats { sender, uid: A };
    let (tomas, ines) = (seats.taken("Tomas"), seats.taken_later("Ines"));
    let end = |status| [(A, status, Payment::None)];
    [
        sender.life("three-seats", [tomas.clone(), ines.clone(), seats.taken_later("Ravi")], end(Status::Scheduled)),
        sender.life("one-seat-left", [tomas.clone(), ines.clone(), seats.left("Tomas")], end(Status::Scheduled)),
        sender.life(
            "every-seat-left",
            [tomas.clone(), ines.clone(), seats.left("Tomas"), seats.left("Ines")],
            end(Status::Cancelled),
        ),
        sender.life(
            "seat-taken-again",
            [tomas, ines, seats.left("Tomas"), seats.taken_later("Tomas")],
            end(Status::Scheduled),
        ),
    ]
}

fn as_a_whole(sender: Sender) -> [Life; 2] {
    let seats = Seats { sender, uid: A };
    let both = ["Tomas", "Ines"];
    let (tomas, ines) = (seats.taken("Tomas"), seats.taken_later("Ines"));
    [
        sender.life(
            "seats-moved-by-the-owner",
            [tomas.clone(), ines.clone(), seats.moved_with(&both)],
            [(A, Status::Scheduled, Payment::None)],
        ),
        sender.life(
            "seats-cancelled-by-the-host",
            [tomas, ines, seats.cancelled_with(&both)],
            [(A, Status::Cancelled, Payment::None)],
        ),
    ]
}

/// The old booking lives on for those who stay, and is cancelled in silence where nobody does. It never counts as
/// rescheduled.
fn elsewhere(sender: Sender) -> [Life; 2] {
    let (old, new) = (Seats { sender, uid: A }, Seats { sender, uid: B });
    let moves = new.taken_from(old, "Tomas");
    [
        sender.life(
            "one-seat-moved",
            [old.taken("Tomas"), old.taken_later("Ines"), new.taken("Ravi"), moves.clone()],
            [(A, Status::Scheduled, Payment::None), (B, Status::Scheduled, Payment::None)],
        ),
        sender.life(
            "last-seat-moved",
            [old.taken("Tomas"), moves],
            [(A, Status::Cancelled, Payment::None), (B, Status::Scheduled, Payment::None)],
        ),
    ]
}
