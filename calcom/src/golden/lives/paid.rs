//! Bookings with a price. The two senders tell a payment in different orders, and not always both.

use calbridge_proto::v1::{BookingStatus as Status, PaymentStatus as Payment, Trigger};

use super::{BOTH, Golden, Life, Sender, Y2025, Y2026, golden, minute};

const UID: &str = "paidAAAA";

pub(super) fn lives() -> Vec<Life> {
    let mut lives: Vec<_> = BOTH.into_iter().flat_map(either).collect();
    lives.extend(handlers());
    lives.extend(queue());
    lives
}

/// A booking that costs something.
pub(super) fn priced(uid: &str) -> Golden {
    Golden { price_minor: 4_500, payment_id: Some(71), ..golden(uid) }
}

fn either(sender: Sender) -> [Life; 2] {
    let a = priced(UID);
    [
        // It says ACCEPTED, and waits for ever.
        sender.life(
            "never-paid",
            [sender.tells(Trigger::BookingPaymentInitiated, &a)],
            [(UID, Status::Requested, Payment::Initiated)],
        ),
        sender.life(
            "nothing-but-paid",
            [sender.settles(Trigger::BookingPaid, &a)],
            [(UID, Status::Scheduled, Payment::Paid)],
        ),
    ]
}

fn handlers() -> [Life; 4] {
    let a = priced(UID);
    let b = a.moved("paidBBBB", 9_002, minute(0), minute(700));
    let begun = Y2025.tells(Trigger::BookingPaymentInitiated, &a);
    let created = Y2025.settles(Trigger::BookingCreated, &a);
    let paid = Y2025.settles(Trigger::BookingPaid, &a);
    let moved = Y2025.tells(Trigger::BookingRequested, &b);
    let cancelled = Y2025.tells(Trigger::BookingCancelled, &a);
    [
        Y2025.life(
            "created-then-paid",
            [begun.clone(), created.clone(), paid.clone()],
            [(UID, Status::Scheduled, Payment::Paid)],
        ),
        Y2025.life(
            "paid-and-cancelled",
            [begun.clone(), created.clone(), paid.clone(), cancelled],
            [(UID, Status::Cancelled, Payment::Paid)],
        ),
        // What costs something waits for approval when it is moved, and is not charged again.
        Y2025.life(
            "paid-and-moved",
            [begun.clone(), created, paid, moved],
            [(UID, Status::Rescheduled, Payment::Paid), ("paidBBBB", Status::Requested, Payment::None)],
        ),
        // The payment of an event that needs approval is not told.
        Y2025.life(
            "paid-and-approved",
            [begun, Y2025.settles(Trigger::BookingRequested, &a), Y2025.answers(Trigger::BookingCreated, &a)],
            [(UID, Status::Scheduled, Payment::Initiated)],
        ),
    ]
}

fn queue() -> [Life; 4] {
    let a = priced(UID);
    let begun = Y2026.tells(Trigger::BookingPaymentInitiated, &a);
    let paid = Y2026.settles(Trigger::BookingPaid, &a);
    let pending = Y2026.settles(Trigger::BookingPaid, &Golden { status: Some("PENDING".to_owned()), ..a.clone() });
    let created = Y2026.settles(Trigger::BookingCreated, &a);
    let asked = Y2026.settles(Trigger::BookingRequested, &a);
    let approved = Y2026.answers(Trigger::BookingCreated, &a);
    [
        Y2026.life(
            "paid-then-created",
            [begun.clone(), paid.clone(), created],
            [(UID, Status::Scheduled, Payment::Paid)],
        ),
        // The host had approved it in silence.
        Y2026.life("approved-before-paid", [begun.clone(), paid], [(UID, Status::Scheduled, Payment::Paid)]),
        Y2026.life(
            "paid-and-waiting",
            [begun.clone(), pending.clone(), asked.clone()],
            [(UID, Status::Requested, Payment::Paid)],
        ),
        Y2026.life("paid-and-approved", [begun, pending, asked, approved], [(UID, Status::Scheduled, Payment::Paid)]),
    ]
}
