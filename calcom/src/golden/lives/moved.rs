//! Bookings that are moved: each move makes a new uid, and nothing is told of the old one.

use calbridge_proto::v1::{BookingStatus as Status, PaymentStatus as Payment, Trigger};

use super::{BOTH, End, Golden, Life, Sender, golden, minute};
use crate::golden::Cancellation;

const A: &str = "movedAAA";
const B: &str = "movedBBB";
const C: &str = "movedCCC";
const D: &str = "movedDDD";

pub(super) fn lives() -> Vec<Life> {
    let mut lives: Vec<_> = BOTH.into_iter().flat_map(at_once).collect();
    lives.extend(BOTH.into_iter().flat_map(by_request));
    lives.extend(BOTH.into_iter().flat_map(asked_for));
    lives.extend(BOTH.map(thrice));
    lives
}

/// The first of a lineage, and each that took the place of the one before.
fn lineage() -> [Golden; 4] {
    let a = golden(A);
    let b = a.moved(B, 9_002, minute(0), minute(700));
    let c = b.moved(C, 9_003, minute(0), minute(800));
    let d = c.moved(D, 9_004, minute(0), minute(900));
    [a, b, c, d]
}

fn gone(uid: &'static str) -> End {
    (uid, Status::Rescheduled, Payment::None)
}

fn stands(uid: &'static str) -> End {
    (uid, Status::Scheduled, Payment::None)
}

fn at_once(sender: Sender) -> [Life; 5] {
    let [a, b, c, _] = lineage();
    let by_host = Golden { rescheduled_by: Some(b.organizer.email.clone()), ..b.clone() };
    let created = sender.tells(Trigger::BookingCreated, &a);
    let second = sender.tells(Trigger::BookingRescheduled, &b);
    let third = sender.tells(Trigger::BookingRescheduled, &c);
    let cancelled = sender.tells(Trigger::BookingCancelled, &c);
    [
        sender.life("moved", [created.clone(), second.clone()], [gone(A), stands(B)]),
        sender.life("moved-from-unknown", [second.clone()], [gone(A), stands(B)]),
        sender.life(
            "moved-twice-and-cancelled",
            [created.clone(), second, third.clone(), cancelled],
            [gone(A), gone(B), (C, Status::Cancelled, Payment::None)],
        ),
        // The first move was lost: iCalUID joins the ends, and the second move names the middle.
        sender.life("middle-lost", [created, third], [gone(A), gone(B), stands(C)]),
        // The owner of an event that needs approval needs none.
        sender.life(
            "moved-by-its-host",
            [
                sender.tells(Trigger::BookingRequested, &a),
                sender.answers(Trigger::BookingCreated, &a),
                sender.tells(Trigger::BookingRescheduled, &by_host),
            ],
            [gone(A), stands(B)],
        ),
    ]
}

/// The old one is dead from the request on, whatever the host answers.
fn by_request(sender: Sender) -> [Life; 3] {
    let [a, b, ..] = lineage();
    let begun = [
        sender.tells(Trigger::BookingRequested, &a),
        sender.answers(Trigger::BookingCreated, &a),
        sender.tells(Trigger::BookingRequested, &b),
    ];
    let answered = |trigger| [&begun[..], &[sender.answers(trigger, &b)]].concat();
    [
        sender.life("move-waits", begun.clone(), [gone(A), (B, Status::Requested, Payment::None)]),
        sender.life("move-approved", answered(Trigger::BookingCreated), [gone(A), stands(B)]),
        sender.life(
            "move-declined",
            answered(Trigger::BookingRejected),
            [gone(A), (B, Status::Rejected, Payment::None)],
        ),
    ]
}

/// The host asks for another time: the old one is cancelled first, and replaced when the booker has chosen.
fn asked_for(sender: Sender) -> [Life; 3] {
    let [a, b, ..] = lineage();
    let asks = Golden { cancellation: Cancellation::HostRequestsReschedule, ..a.clone() };
    let begun = [sender.tells(Trigger::BookingCreated, &a), sender.tells(Trigger::BookingCancelled, &asks)];
    let moved = sender.tells(Trigger::BookingRescheduled, &b);
    let requested = sender.tells(Trigger::BookingRequested, &b);
    let approved = sender.answers(Trigger::BookingCreated, &b);
    [
        sender.life("host-asks", begun.clone(), [(A, Status::Cancelled, Payment::None)]),
        sender.life("host-asks-and-gets", [&begun[..], &[moved]].concat(), [gone(A), stands(B)]),
        sender.life("host-asks-and-approves", [&begun[..], &[requested, approved]].concat(), [gone(A), stands(B)]),
    ]
}

fn thrice(sender: Sender) -> Life {
    let [a, b, c, d] = lineage();
    sender.life(
        "moved-thrice-and-held",
        [
            sender.tells(Trigger::BookingCreated, &a),
            sender.tells(Trigger::BookingRescheduled, &b),
            sender.tells(Trigger::BookingRescheduled, &c),
            sender.tells(Trigger::BookingRescheduled, &d),
            sender.tells(Trigger::MeetingStarted, &d),
            sender.tells(Trigger::MeetingEnded, &d),
        ],
        [gone(A), gone(B), gone(C), (D, Status::Completed, Payment::None)],
    )
}
