//! What the tables of actions say of one booking, in one value: a test states how a booking differs from a plain one.

use calbridge_proto::v1::{BookingPayload, BookingStatus, LinkEvidence, PaymentStatus};
use prost_types::Timestamp;

use super::world::{World, at, cancel, payload, person};

/// A booking before or after, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linked {
    Not,
    /// A webhook named the booking which it replaces.
    Named(&'static str),
    /// By `fromReschedule`.
    ByColumn(&'static str),
    ByIcalUid(&'static str),
}

/// The hours of `payload` and those of `moved`.
pub(super) const TEN: Option<(i64, i64)> = Some((10, 11));
pub(super) const NOON: Option<(i64, i64)> = Some((12, 13));

#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) status: BookingStatus,
    pub(super) rule: &'static str,
    pub(super) payment: PaymentStatus,
    pub(super) before: Linked,
    pub(super) after: Linked,
    pub(super) origin: &'static str,
    pub(super) hours: Option<(i64, i64)>,
    pub(super) hours_before: Option<(i64, i64)>,
    /// Each attendee's address and seat.
    pub(super) attendees: Vec<(&'static str, &'static str)>,
    pub(super) reschedule_requested: bool,
}

/// A booking as `payload` tells it: it stands, nothing was paid, and it came out of no other.
pub(super) fn booked(uid: &'static str) -> Seen {
    Seen {
        status: BookingStatus::Scheduled,
        rule: "accepted",
        payment: PaymentStatus::None,
        before: Linked::Not,
        after: Linked::Not,
        origin: uid,
        hours: TEN,
        hours_before: None,
        attendees: vec![("guest@a.example", "")],
        reschedule_requested: false,
    }
}

/// A booking that waits.
pub(super) fn waiting(uid: &'static str) -> Seen {
    Seen { status: BookingStatus::Requested, rule: "requested", ..booked(uid) }
}

/// A booking that was cancelled as a whole.
pub(super) fn cancelled(uid: &'static str) -> Seen {
    Seen { status: BookingStatus::Cancelled, rule: "cancelled", ..booked(uid) }
}

/// A booking that the host declined.
pub(super) fn rejected(uid: &'static str) -> Seen {
    Seen { status: BookingStatus::Rejected, rule: "rejected", ..booked(uid) }
}

/// A booking in whose place another one stands.
pub(super) fn replaced(uid: &'static str, after: Linked) -> Seen {
    Seen { status: BookingStatus::Rescheduled, rule: "rescheduled", after, ..booked(uid) }
}

/// What is seen of `uid`. The test's own words stand in the answer, so that both sides can be compared.
pub(super) fn seen(world: &World, uid: &'static str) -> Seen {
    let derived = world.get(uid);
    let booking = derived.booking;
    let before = link(&booking.rescheduled_from_uid, booking.rescheduled_from_evidence());
    let after = link(&booking.rescheduled_to_uid, booking.rescheduled_to_evidence());
    Seen {
        status: booking.status(),
        rule: derived.rule.as_str(),
        payment: booking.payment_status(),
        before,
        after,
        origin: kept(&booking.origin_uid),
        hours: hours(booking.start_time, booking.end_time),
        hours_before: hours(booking.previous_start_time, booking.previous_end_time),
        attendees: booking.attendees.iter().map(|person| (kept(&person.email), kept(&person.seat_uid))).collect(),
        reschedule_requested: booking.reschedule_requested,
    }
}

fn link(uid: &str, evidence: LinkEvidence) -> Linked {
    assert_eq!(uid.is_empty(), evidence == LinkEvidence::Unspecified, "a link and its evidence come together");
    match evidence {
        LinkEvidence::Unspecified => Linked::Not,
        LinkEvidence::RescheduleUid => Linked::Named(kept(uid)),
        LinkEvidence::FromReschedule => Linked::ByColumn(kept(uid)),
        LinkEvidence::IcalUid => Linked::ByIcalUid(kept(uid)),
    }
}

fn hours(start: Option<Timestamp>, end: Option<Timestamp>) -> Option<(i64, i64)> {
    let hour = |time: Timestamp| (time.seconds - at(0).seconds) / 3_600;
    Some((hour(start?), hour(end?)))
}

/// A few short words a test; they may live as long as it runs.
fn kept(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// A booking that waits for the host's approval.
pub(super) fn pending(payload: BookingPayload) -> BookingPayload {
    BookingPayload { status: "PENDING".into(), ..payload }
}

/// A path of the sender that leaves `iCalUID` out: the approval and everything about payment.
pub(super) fn confirmed(uid: &str) -> BookingPayload {
    BookingPayload { ical_uid: String::new(), ..payload(uid) }
}

/// The host says no.
pub(super) fn rejection(uid: &str) -> BookingPayload {
    BookingPayload { status: "REJECTED".into(), rejection_reason: "no time".into(), ..confirmed(uid) }
}

/// `email` takes the seat `id`.
pub(super) fn seat(uid: &str, email: &str, id: &str) -> BookingPayload {
    BookingPayload {
        seats_per_time_slot: Some(12),
        attendees: vec![person(email)],
        attendee_seat_id: id.into(),
        ..payload(uid)
    }
}

/// `email` gives up the seat. Cal.com names neither the seat nor who cancelled, and says CANCELLED although the booking
/// lives on.
pub(super) fn leave(uid: &str, email: &str) -> BookingPayload {
    BookingPayload {
        cancelled_by: String::new(),
        cancellation_reason: "can't attend".into(),
        seats_per_time_slot: Some(12),
        attendees: vec![person(email)],
        ..cancel(uid)
    }
}
