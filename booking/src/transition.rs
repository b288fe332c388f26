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
    } else if people(before) != people(after) {
        let marked = marks(before) != marks(after);
        Some(if marked { TransitionKind::NoShowChanged } else { TransitionKind::PeopleChanged })
    } else {
        (details(before) != details(after)).then_some(TransitionKind::DetailsChanged)
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

/// All else that can be seen. A field that the schema gains must be placed here, or this does not compile.
fn details(booking: &Booking) -> impl PartialEq + '_ {
    let Booking {
        // What `kind` asks first.
        status: _,
        start_time: _,
        end_time: _,
        payment_status: _,
        organizer: _,
        hosts: _,
        attendees: _,
        // What only tells when it was learned, and what the service derives when it reads.
        tenant: _,
        origin_uid: _,
        create_time: _,
        update_time: _,
        position: _,
        etag: _,
        uid,
        calcom_booking_id,
        title,
        event_type_slug,
        event_type_id,
        location,
        ical_uid,
        rescheduled_from_uid,
        rescheduled_from_evidence,
        rescheduled_to_uid,
        rescheduled_to_evidence,
        previous_start_time,
        previous_end_time,
        rescheduled_by,
        reschedule_reason,
        description,
        price_minor,
        currency,
        payment_id,
        cancellation_reason,
        cancelled_by,
        rejection_reason,
        reschedule_requested,
        seats_per_time_slot,
        metadata,
        responses,
    } = booking;
    (
        [uid, title, event_type_slug, location, ical_uid, description, currency].map(told),
        [rescheduled_from_uid, rescheduled_to_uid, rescheduled_by, reschedule_reason].map(told),
        [cancellation_reason, cancelled_by, rejection_reason].map(told),
        [calcom_booking_id, event_type_id, price_minor, payment_id],
        [rescheduled_from_evidence, rescheduled_to_evidence],
        [previous_start_time, previous_end_time],
        (reschedule_requested, seats_per_time_slot, metadata, responses),
    )
}

/// Most bookings lack most texts, and two texts that lack are not worth a comparison of memory.
fn told(text: &String) -> Option<&String> {
    (!text.is_empty()).then_some(text)
}
