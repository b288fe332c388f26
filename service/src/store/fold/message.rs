//! What is written of a change: the columns that find the booking, and the transition for the log.

use calbridge_booking::{Change, Derived};
use calbridge_proto::v1::{self, TransitionSource};

use crate::store::{
    Micros, NewDelivery, Position,
    time::{micros, timestamp},
};

/// What a store finds and orders visible bookings by.
pub(crate) struct Columns {
    pub(crate) status: i32,
    /// The least integer where it has none.
    pub(crate) start_time: Micros,
    pub(crate) update_time: Micros,
    pub(crate) position: Position,
    pub(crate) rescheduled_from: Option<String>,
    /// A `LinkEvidence`: how that is known.
    pub(crate) link: i32,
    pub(crate) seated: bool,
    /// An e-mail address in lower case.
    pub(crate) organizer: Option<String>,
    pub(crate) event_type_id: Option<i64>,
}

/// What finds and orders a booking that changed at `position`.
pub(crate) fn columns(derived: &Derived, position: Position, now: Micros) -> Columns {
    let booking = &derived.booking;
    let from = &booking.rescheduled_from_uid;
    Columns {
        status: booking.status,
        start_time: start_time(booking),
        update_time: now,
        position,
        rescheduled_from: (!from.is_empty()).then(|| from.clone()),
        link: booking.rescheduled_from_evidence,
        seated: booking.seats_per_time_slot.is_some(),
        organizer: booking.organizer.as_ref().map(|organizer| organizer.email.trim().to_lowercase()),
        event_type_id: booking.event_type_id,
    }
}

pub(super) fn start_time(booking: &v1::Booking) -> Micros {
    booking.start_time.as_ref().map_or(Micros::MIN, micros)
}

/// Who changed a booking.
pub(super) enum Cause<'a> {
    Delivery(&'a NewDelivery, TransitionSource),
    Clock { trace_id: &'a str },
}

impl Cause<'_> {
    /// What is to be said of a change of this tenant's booking at this place and time, but for the booking after it.
    pub(super) fn transition(
        &self,
        (tenant, uid): (&str, &str),
        change: &Change,
        (position, now): (Position, Micros),
    ) -> v1::Transition {
        let made = v1::Transition {
            position: position.to_token(),
            commit_time: Some(timestamp(now)),
            tenant: tenant.to_owned(),
            uid: uid.to_owned(),
            kind: change.kind.into(),
            from_status: change.from.into(),
            to_status: change.to.into(),
            rule: change.rule.as_str().to_owned(),
            ..v1::Transition::default()
        };
        match self {
            Self::Delivery(delivery, source) => v1::Transition {
                delivery_id: delivery.delivery_id.to_string(),
                trigger: delivery.event.trigger,
                event_time: delivery.event.event_time,
                trace_id: delivery.trace_id.clone(),
                source: (*source).into(),
                ..made
            },
            Self::Clock { trace_id } => {
                v1::Transition { trace_id: (*trace_id).to_owned(), source: TransitionSource::Clock.into(), ..made }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use calbridge_booking::Rule;

    use super::*;

    #[test]
    fn the_clock_is_no_delivery() {
        let change = Change {
            kind: v1::TransitionKind::StatusChanged,
            from: v1::BookingStatus::Scheduled,
            to: v1::BookingStatus::Completed,
            rule: Rule::EndedByClock,
        };
        let made = Cause::Clock { trace_id: "t" }.transition(("acme", "u1"), &change, (Position(7), 0));
        assert_eq!(
            (made.source(), made.trigger(), made.delivery_id.as_str()),
            (TransitionSource::Clock, v1::Trigger::Unspecified, "")
        );
        assert_eq!((made.rule.as_str(), made.trace_id.as_str()), ("ended_by_clock", "t"));
    }
}
