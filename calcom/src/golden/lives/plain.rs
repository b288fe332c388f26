//! Bookings that are made, answered and cancelled: free, unseated, never moved.

use calbridge_proto::v1::{BookingStatus as Status, PaymentStatus as Payment, Trigger};

use super::{BOTH, Golden, Life, Sender, Y2025, Y2026, golden};

const UID: &str = "plainAAA";

pub(super) fn lives() -> Vec<Life> {
    let mut lives: Vec<_> = BOTH.into_iter().flat_map(one).collect();
    lives.extend(BOTH.into_iter().flat_map(series));
    lives.extend(edited());
    lives.extend(instant());
    lives
}

fn one(sender: Sender) -> [Life; 6] {
    let a = golden(UID);
    let created = sender.tells(Trigger::BookingCreated, &a);
    let requested = sender.tells(Trigger::BookingRequested, &a);
    let approved = sender.answers(Trigger::BookingCreated, &a);
    let declined = sender.answers(Trigger::BookingRejected, &Golden { reason: Some("away".to_owned()), ..a.clone() });
    let cancelled = sender.tells(Trigger::BookingCancelled, &Golden { reason: Some("ill".to_owned()), ..a });
    let end = |status| [(UID, status, Payment::None)];
    [
        sender.life("booked", [created.clone()], end(Status::Scheduled)),
        // Two subscriptions with one URL: another `createdAt`, other bytes.
        sender.life("told-by-two-subscriptions", [created.clone(), created.clone()], end(Status::Scheduled)),
        sender.life("approved", [requested.clone(), approved], end(Status::Scheduled)),
        sender.life("declined", [requested.clone(), declined], end(Status::Rejected)),
        sender.life("withdrawn", [requested, cancelled.clone()], end(Status::Cancelled)),
        sender.life("cancelled", [created, cancelled], end(Status::Cancelled)),
    ]
}

/// Each occurrence is a booking of its own, and an answer to them all is told of one alone: its siblings change in
/// silence, and stay what was last told of them.
fn series(sender: Sender) -> [Life; 3] {
    let [a, b, c] = ["firstAAA", "secondBB", "thirdCCC"].map(golden);
    let created = |told| sender.tells(Trigger::BookingCreated, told);
    let requested = |told| sender.tells(Trigger::BookingRequested, told);
    let all_remaining = Golden { recurring: true, ..b.clone() };
    let none = |uid, status| (uid, status, Payment::None);
    [
        sender.life(
            "series-cancelled",
            [created(&a), created(&b), created(&c), sender.tells(Trigger::BookingCancelled, &all_remaining)],
            [
                none("firstAAA", Status::Scheduled),
                none("secondBB", Status::Cancelled),
                none("thirdCCC", Status::Scheduled),
            ],
        ),
        sender.life(
            "series-approved",
            [requested(&a), requested(&b), sender.answers(Trigger::BookingCreated, &a)],
            [none("firstAAA", Status::Scheduled), none("secondBB", Status::Requested)],
        ),
        sender.life(
            "series-declined",
            [requested(&a), requested(&b), sender.answers(Trigger::BookingRejected, &a)],
            [none("firstAAA", Status::Rejected), none("secondBB", Status::Requested)],
        ),
    ]
}

/// Another place and another host, which no sender of 2025 tells.
fn edited() -> [Life; 2] {
    let a = golden(UID);
    let place = Golden { location: "Quay 4".to_owned(), previous_location: Some(a.location.clone()), ..a.clone() };
    let mut host = Golden { added_host_user_ids: vec![8], removed_host_user_ids: vec![7], ..place.clone() };
    host.organizer.id = 8;
    "noor@harbour-studio.example".clone_into(&mut host.organizer.email);
    let pending = |told: &Golden| Golden { status: Some("PENDING".to_owned()), ..told.clone() };
    [
        Y2026.life(
            "edited",
            [
                Y2026.tells(Trigger::BookingCreated, &a),
                Y2026.tells(Trigger::BookingLocationUpdated, &place),
                Y2026.tells(Trigger::BookingReassigned, &host),
            ],
            [(UID, Status::Scheduled, Payment::None)],
        ),
        Y2026.life(
            "edited-while-it-waits",
            [
                Y2026.tells(Trigger::BookingRequested, &a),
                Y2026.tells(Trigger::BookingLocationUpdated, &pending(&place)),
                Y2026.tells(Trigger::BookingReassigned, &pending(&host)),
            ],
            [(UID, Status::Requested, Payment::None)],
        ),
    ]
}

/// In 2025 nothing is told when a host joins; the queue's first notification names no booking.
fn instant() -> [Life; 2] {
    let a = golden(UID);
    let asked = Y2025.tells(Trigger::InstantMeeting, &a);
    let accepted = Y2026.tells(Trigger::InstantMeetingAccepted, &a);
    [
        Y2025.life("instant", [asked.clone()], [(UID, Status::AwaitingHost, Payment::None)]),
        Y2026.life("instant", [asked, accepted], [(UID, Status::Scheduled, Payment::None)]),
    ]
}
