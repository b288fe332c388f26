//! Whole lives, of six and seven webhooks: several of the other lives' turns in one.

use calbridge_proto::v1::{BookingStatus as Status, PaymentStatus as Payment, Trigger};

use super::{BOTH, Golden, Life, Sender, Y2025, Y2026, golden, minute, paid::priced, seated::Seats};
use crate::golden::Cancellation;

const A: &str = "wholeAAA";
const B: &str = "wholeBBB";

pub(super) fn lives() -> Vec<Life> {
    let mut lives = vec![paid_moved_and_missed(), paid_asked_to_move_and_held(), approved_twice_and_unmarked()];
    lives.extend(BOTH.map(seats_come_and_go));
    lives.push(seats_come_back());
    lives
}

/// Paid, moved by the host, and nobody came. The row of the new booking keeps that it was paid, and its timers tell.
fn paid_moved_and_missed() -> Life {
    let a = priced(A);
    let by_host = Some(a.organizer.email.clone());
    let b = Golden { rescheduled_by: by_host, paid: true, ..a.moved(B, 9_002, minute(0), minute(700)) };
    Y2025.life(
        "paid-moved-and-missed",
        [
            Y2025.tells(Trigger::BookingPaymentInitiated, &a),
            Y2025.settles(Trigger::BookingCreated, &a),
            Y2025.settles(Trigger::BookingPaid, &a),
            Y2025.tells(Trigger::BookingRescheduled, &b),
            Y2025.tells(Trigger::MeetingStarted, &b),
            Y2025.tells(Trigger::MeetingEnded, &b),
            Y2025.tells(Trigger::BookingNoShowUpdated, &b),
        ],
        [(A, Status::Rescheduled, Payment::Paid), (B, Status::NoShow, Payment::Paid)],
    )
}

/// The host asks for another time, gets it, and the meeting is held.
fn paid_asked_to_move_and_held() -> Life {
    let a = priced(A);
    let b = Golden { paid: true, ..a.moved(B, 9_002, minute(0), minute(700)) };
    let asks = Golden { cancellation: Cancellation::HostRequestsReschedule, ..a.clone() };
    Y2026.life(
        "paid-asked-to-move-and-held",
        [
            Y2026.tells(Trigger::BookingPaymentInitiated, &a),
            Y2026.settles(Trigger::BookingPaid, &a),
            Y2026.settles(Trigger::BookingCreated, &a),
            Y2026.tells(Trigger::BookingCancelled, &asks),
            Y2026.tells(Trigger::BookingRescheduled, &b),
            Y2026.tells(Trigger::MeetingStarted, &b),
            Y2026.tells(Trigger::MeetingEnded, &b),
        ],
        [(A, Status::Rescheduled, Payment::Paid), (B, Status::Completed, Payment::Paid)],
    )
}

/// Each of two requests is approved; a mark is set and taken back.
fn approved_twice_and_unmarked() -> Life {
    let a = golden(A);
    let b = a.moved(B, 9_002, minute(0), minute(700));
    let mark = |absent| {
        let told = Golden { no_shows: vec![("tomas@lighthouse.example".to_owned(), absent)], ..b.clone() };
        Y2025.tells(Trigger::BookingNoShowUpdated, &told)
    };
    Y2025.life(
        "approved-twice-and-unmarked",
        [
            Y2025.tells(Trigger::BookingRequested, &a),
            Y2025.answers(Trigger::BookingCreated, &a),
            Y2025.tells(Trigger::BookingRequested, &b),
            Y2025.answers(Trigger::BookingCreated, &b),
            Y2025.answers(Trigger::MeetingStarted, &b),
            mark(true),
            mark(false),
        ],
        [(A, Status::Rescheduled, Payment::None), (B, Status::InProgress, Payment::None)],
    )
}

fn seats_come_and_go(sender: Sender) -> Life {
    let seats = Seats { sender, uid: A };
    let stay = ["Tomas", "Ravi"];
    sender.life(
        "seats-come-and-go",
        [
            seats.taken("Tomas"),
            seats.taken_later("Ines"),
            seats.taken_later("Ravi"),
            seats.left("Ines"),
            seats.moved_with(&stay),
            seats.cancelled_with(&stay),
        ],
        [(A, Status::Cancelled, Payment::None)],
    )
}

/// Who left comes back, then the other leaves. The timer of the time before the owner's move still rings, and says
/// nothing.
fn seats_come_back() -> Life {
    let seats = Seats { sender: Y2026, uid: A };
    let first = seats.taken("Tomas");
    let late = Y2026.tells(Trigger::MeetingStarted, &first.1);
    Y2026.life(
        "seats-come-back",
        [
            first,
            seats.taken_later("Ines"),
            seats.left("Tomas"),
            seats.taken_later("Tomas"),
            seats.left("Ines"),
            seats.moved_with(&["Tomas"]),
            late,
        ],
        [(A, Status::Scheduled, Payment::None)],
    )
}
