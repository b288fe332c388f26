//! What changed: two bookings compared, and the change called by its weightiest part.
//!
//! Invariant: only what can be seen counts. When and how often we or the sender told it (`create_time`, `update_time`,
//! `position`, `etag`) does not, so a second subscription's copy changes nothing whichever of the two comes first.

use std::collections::BTreeSet;

use calbridge_proto::v1::{Attendee, Booking, BookingStatus, Organizer, TransitionKind};

use crate::{derive::Derived, status::Rule};

/// A visible change of one booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What changed most.
    pub kind: TransitionKind,
    /// UNSPECIFIED where the booking was not known before.
    pub from: BookingStatus,
    /// The status after.
    pub to: BookingStatus,
    /// Why the status after is what it is.
    pub rule: Rule,
}

/// The change from `before` to `after`, bookings of the same uid; `None` where nothing visible changed.
#[must_use]
pub fn transition(before: Option<&Derived>, after: &Derived) -> Option<Change> {
    let to = after.booking.status();
    let (kind, from) = match before {
        None => (TransitionKind::Appeared, BookingStatus::Unspecified),
        Some(before) => (kind(&before.booking, &after.booking)?, before.booking.status()),
    };
    Some(Change { kind, from, to, rule: after.rule })
}

fn kind(before: &Booking, after: &Booking) -> Option<TransitionKind> {
    if before.status != after.status {
        Some(TransitionKind::StatusChanged)
    } else if (before.start_time, before.end_time) != (after.start_time, after.end_time) {
        Some(TransitionKind::Moved)
    } else if before.payment_status != after.payment_status {
        Some(TransitionKind::PaymentChanged)
    } else if marks(before) != marks(after) {
        Some(TransitionKind::NoShowChanged)
    } else if people(before) != people(after) {
        Some(TransitionKind::PeopleChanged)
    } else {
        (visible(before) != visible(after)).then_some(TransitionKind::DetailsChanged)
    }
}

/// Whose marks are set.
fn marks(booking: &Booking) -> BTreeSet<(bool, &str)> {
    let hosts = booking.organizer.iter().chain(&booking.hosts).filter(|host| host.no_show);
    let attendees = booking.attendees.iter().filter(|attendee| attendee.no_show);
    hosts
        .map(|host| (true, host.email.as_str()))
        .chain(attendees.map(|person| (false, person.email.as_str())))
        .collect()
}

fn people(booking: &Booking) -> (Option<&Organizer>, &[Organizer], &[Attendee]) {
    (booking.organizer.as_ref(), &booking.hosts, &booking.attendees)
}

/// The booking without what only tells when it was learned, and without what the service derives when it reads.
fn visible(booking: &Booking) -> Booking {
    Booking {
        tenant: String::new(),
        origin_uid: String::new(),
        create_time: None,
        update_time: None,
        position: String::new(),
        etag: String::new(),
        ..booking.clone()
    }
}
