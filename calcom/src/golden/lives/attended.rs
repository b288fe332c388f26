//! Bookings whose time comes: timers, which say nothing of attendance, and marks of those who stayed away.

use calbridge_proto::v1::{BookingStatus as Status, PaymentStatus as Payment, Trigger};

use super::{BOTH, Golden, Life, Sender, golden, guest};

const UID: &str = "heldAAAA";
const TOMAS: &str = "tomas@lighthouse.example";
const INES: &str = "ines@lighthouse.example";

pub(super) fn lives() -> Vec<Life> {
    let mut lives: Vec<_> = BOTH.into_iter().flat_map(timed).collect();
    lives.extend(BOTH.into_iter().flat_map(marked));
    lives.extend(BOTH.map(seen_by_cal_video));
    lives
}

/// Two attend.
fn meeting() -> Golden {
    Golden { attendees: vec![guest("Tomas Okafor"), guest("Ines Baptista")], ..golden(UID) }
}

fn timed(sender: Sender) -> [Life; 4] {
    let a = meeting();
    let created = sender.tells(Trigger::BookingCreated, &a);
    let started = sender.tells(Trigger::MeetingStarted, &a);
    let ended = sender.tells(Trigger::MeetingEnded, &a);
    let completed = [(UID, Status::Completed, Payment::None)];
    [
        sender.life("held", [created.clone(), started.clone(), ended.clone()], completed),
        sender.life(
            "recorded",
            [
                created.clone(),
                started.clone(),
                ended,
                // The queue's names no booking.
                (Trigger::RecordingReady, a.clone()),
            ],
            completed,
        ),
        // The timers that an approval sets print a few columns alone.
        sender.life(
            "approved-and-held",
            [
                sender.tells(Trigger::BookingRequested, &a),
                sender.answers(Trigger::BookingCreated, &a),
                sender.answers(Trigger::MeetingStarted, &a),
                sender.answers(Trigger::MeetingEnded, &a),
            ],
            completed,
        ),
        // The timer was on its way.
        sender.life(
            "started-though-cancelled",
            [created, sender.tells(Trigger::BookingCancelled, &a), started],
            [(UID, Status::Cancelled, Payment::None)],
        ),
    ]
}

fn marked(sender: Sender) -> [Life; 4] {
    let a = meeting();
    let mark = |email: &str, absent| {
        let told = Golden { no_shows: vec![(email.to_owned(), absent)], ..a.clone() };
        sender.tells(Trigger::BookingNoShowUpdated, &told)
    };
    let created = sender.tells(Trigger::BookingCreated, &a);
    let started = sender.tells(Trigger::MeetingStarted, &a);
    let ended = sender.tells(Trigger::MeetingEnded, &a);
    let (one, other, back) = (mark(TOMAS, true), mark(INES, true), mark(TOMAS, false));
    let end = |status| [(UID, status, Payment::None)];
    [
        sender.life("one-stayed-away", [created.clone(), started.clone(), one.clone()], end(Status::InProgress)),
        sender.life(
            "nobody-came",
            [created.clone(), started.clone(), one.clone(), other.clone(), ended.clone()],
            end(Status::NoShow),
        ),
        sender.life(
            "one-came-after-all",
            [created.clone(), started, one.clone(), other, back.clone()],
            end(Status::InProgress),
        ),
        sender.life("marked-and-unmarked", [created, ended, one, back], end(Status::Completed)),
    ]
}

fn seen_by_cal_video(sender: Sender) -> Life {
    let a = meeting();
    sender.life(
        "cal-video-saw-nobody",
        [
            sender.tells(Trigger::BookingCreated, &a),
            sender.tells(Trigger::MeetingStarted, &a),
            sender.tells(Trigger::AfterHostsCalVideoNoShow, &a),
            sender.tells(Trigger::AfterGuestsCalVideoNoShow, &a),
        ],
        [(UID, Status::NoShow, Payment::None)],
    )
}
