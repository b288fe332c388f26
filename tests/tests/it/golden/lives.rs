//! Lives of bookings: what Cal.com sends in the course of each, and where each ends. Written by hand from the sender's
//! rules.

use calbridge_calcom::golden::{Cancellation, Golden, Path, Person};
use calbridge_e2e::v1::{BookingStatus as Status, PaymentStatus as Payment, Trigger};

use super::{golden, minute};

/// One webhook.
pub(super) type Step = (Trigger, Golden);

/// Where one booking ends.
pub(super) type End = (&'static str, Status, Payment);

/// One story, told in the order in which Cal.com sends it.
pub(super) struct Life {
    pub(super) name: &'static str,
    pub(super) steps: Vec<Step>,
    pub(super) ends: Vec<End>,
}

pub(super) fn all() -> Vec<Life> {
    let mut lives = plain();
    lives.extend(paid());
    lives.extend(moved());
    lives.extend(attended());
    lives.extend(seated());
    lives
}

/// Every webhook has a later `createdAt` than the one before it.
fn life(name: &'static str, steps: Vec<Step>, ends: Vec<End>) -> Life {
    let steps = steps.into_iter().zip(1..);
    let steps = steps.map(|((trigger, told), number)| (trigger, Golden { created_at: minute(number), ..told }));
    Life { name, steps: steps.collect(), ends }
}

fn on(path: Path, told: &Golden) -> Golden {
    Golden { path, ..told.clone() }
}

fn plain() -> Vec<Life> {
    let a = golden("plainAAA");
    let uid = "plainAAA";
    vec![
        life("booked", vec![(Trigger::BookingCreated, a.clone())], vec![(uid, Status::Scheduled, Payment::None)]),
        life(
            "approved",
            vec![(Trigger::BookingRequested, a.clone()), (Trigger::BookingCreated, on(Path::Confirm, &a))],
            vec![(uid, Status::Scheduled, Payment::None)],
        ),
        life(
            "declined",
            vec![(Trigger::BookingRequested, a.clone()), (Trigger::BookingRejected, a.clone())],
            vec![(uid, Status::Rejected, Payment::None)],
        ),
        life(
            "withdrawn",
            vec![(Trigger::BookingRequested, a.clone()), (Trigger::BookingCancelled, a.clone())],
            vec![(uid, Status::Cancelled, Payment::None)],
        ),
        life(
            "cancelled",
            vec![(Trigger::BookingCreated, a.clone()), (Trigger::BookingCancelled, a.clone())],
            vec![(uid, Status::Cancelled, Payment::None)],
        ),
        life(
            "relocated",
            vec![
                (Trigger::BookingCreated, a.clone()),
                (Trigger::BookingLocationUpdated, Golden { location: "Quay 4".to_owned(), ..a.clone() }),
                (Trigger::BookingReassigned, Golden { location: "Quay 4".to_owned(), ..a }),
            ],
            vec![(uid, Status::Scheduled, Payment::None)],
        ),
        life(
            "instant",
            vec![(Trigger::InstantMeeting, golden(uid)), (Trigger::InstantMeetingAccepted, golden(uid))],
            vec![(uid, Status::Scheduled, Payment::None)],
        ),
    ]
}

fn paid() -> Vec<Life> {
    let uid = "paidAAAA";
    let a = Golden { price_minor: 4_500, payment_id: Some(71), ..golden(uid) };
    let begun = (Trigger::BookingPaymentInitiated, a.clone());
    let paid = (Trigger::BookingPaid, a.clone());
    let created = (Trigger::BookingCreated, on(Path::Payment, &a));
    let asked = (Trigger::BookingRequested, on(Path::Payment, &a));
    let pending = (Trigger::BookingPaid, Golden { status: Some("PENDING".to_owned()), ..a.clone() });
    let approved = (Trigger::BookingCreated, on(Path::Confirm, &a));
    vec![
        life("never-paid", vec![begun.clone()], vec![(uid, Status::Requested, Payment::Initiated)]),
        life(
            "created-then-paid",
            vec![begun.clone(), created.clone(), paid.clone()],
            vec![(uid, Status::Scheduled, Payment::Paid)],
        ),
        life(
            "paid-then-created",
            vec![begun.clone(), paid.clone(), created],
            vec![(uid, Status::Scheduled, Payment::Paid)],
        ),
        life(
            "paid-and-waiting",
            vec![begun.clone(), pending.clone(), asked.clone()],
            vec![(uid, Status::Requested, Payment::Paid)],
        ),
        life("paid-and-approved", vec![begun, pending, asked, approved], vec![(uid, Status::Scheduled, Payment::Paid)]),
    ]
}

fn moved() -> Vec<Life> {
    let a = golden("movedAAA");
    let b = a.moved("movedBBB", 9_002, minute(2), minute(700));
    let c = b.moved("movedCCC", 9_003, minute(3), minute(800));
    let created = (Trigger::BookingCreated, a.clone());
    let host_asks = Golden { cancellation: Cancellation::HostRequestsReschedule, ..a.clone() };
    let gone = |uid| (uid, Status::Rescheduled, Payment::None);
    vec![
        life(
            "moved-twice",
            vec![
                created.clone(),
                (Trigger::BookingRescheduled, b.clone()),
                (Trigger::BookingRescheduled, c.clone()),
                (Trigger::BookingCancelled, Golden { reschedule_uid: None, previous_start: None, ..c.clone() }),
            ],
            vec![gone("movedAAA"), gone("movedBBB"), ("movedCCC", Status::Cancelled, Payment::None)],
        ),
        // The first move was lost: iCalUID joins the ends, and the second move names the middle.
        life(
            "middle-lost",
            vec![created.clone(), (Trigger::BookingRescheduled, c)],
            vec![gone("movedAAA"), gone("movedBBB"), ("movedCCC", Status::Scheduled, Payment::None)],
        ),
        life(
            "moved-for-approval",
            vec![
                created.clone(),
                (Trigger::BookingRequested, b.clone()),
                (Trigger::BookingCreated, Golden { reschedule_uid: None, ..on(Path::Confirm, &b) }),
            ],
            vec![gone("movedAAA"), ("movedBBB", Status::Scheduled, Payment::None)],
        ),
        // The old one is dead already when the new one is declined.
        life(
            "move-declined",
            vec![
                created.clone(),
                (Trigger::BookingRequested, b.clone()),
                (Trigger::BookingRejected, Golden { reschedule_uid: None, ..b.clone() }),
            ],
            vec![gone("movedAAA"), ("movedBBB", Status::Rejected, Payment::None)],
        ),
        life(
            "host-asks-for-another-time",
            vec![created, (Trigger::BookingCancelled, host_asks), (Trigger::BookingRescheduled, b)],
            vec![gone("movedAAA"), ("movedBBB", Status::Scheduled, Payment::None)],
        ),
    ]
}

fn attended() -> Vec<Life> {
    let uid = "heldAAAA";
    let two = vec![
        Person::new("Tomas Okafor", "tomas@lighthouse.example"),
        Person::new("Ines Baptista", "ines@lighthouse.example"),
    ];
    let a = Golden { attendees: two, ..golden(uid) };
    let mark = |email: &str, absent| Golden { no_shows: vec![(email.to_owned(), absent)], ..a.clone() };
    let created = (Trigger::BookingCreated, a.clone());
    let started = (Trigger::MeetingStarted, a.clone());
    let one = (Trigger::BookingNoShowUpdated, mark("tomas@lighthouse.example", true));
    let other = (Trigger::BookingNoShowUpdated, mark("ines@lighthouse.example", true));
    let back = (Trigger::BookingNoShowUpdated, mark("tomas@lighthouse.example", false));
    vec![
        life(
            "held",
            vec![created.clone(), started.clone(), (Trigger::MeetingEnded, a.clone())],
            vec![(uid, Status::Completed, Payment::None)],
        ),
        life(
            "one-stayed-away",
            vec![created.clone(), started.clone(), one.clone()],
            vec![(uid, Status::InProgress, Payment::None)],
        ),
        life(
            "nobody-came",
            vec![created.clone(), started.clone(), one.clone(), other.clone(), (Trigger::MeetingEnded, a.clone())],
            vec![(uid, Status::NoShow, Payment::None)],
        ),
        life(
            "one-came-after-all",
            vec![created, started, one, other, back],
            vec![(uid, Status::InProgress, Payment::None)],
        ),
    ]
}

fn seated() -> Vec<Life> {
    let uid = "seatsAAA";
    let seat = |name: &str| Golden {
        attendees: vec![Person::new(name, &format!("{name}@lighthouse.example"))],
        seats_per_time_slot: Some(5),
        seat_id: Some(format!("seat-of-{name}")),
        ..golden(uid)
    };
    let taken = |name: &str| (Trigger::BookingCreated, seat(name));
    let left = |name: &str| {
        (Trigger::BookingCancelled, Golden { cancellation: Cancellation::SeatLeft, seat_id: None, ..seat(name) })
    };
    vec![
        life(
            "one-seat-left",
            vec![taken("tomas"), taken("ines"), left("tomas")],
            vec![(uid, Status::Scheduled, Payment::None)],
        ),
        life(
            "every-seat-left",
            vec![taken("tomas"), taken("ines"), left("tomas"), left("ines")],
            vec![(uid, Status::Cancelled, Payment::None)],
        ),
        life(
            "a-seat-is-booked-again",
            vec![taken("tomas"), left("tomas"), taken("tomas")],
            vec![(uid, Status::Scheduled, Payment::None)],
        ),
    ]
}
