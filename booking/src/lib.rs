//! The domain, pure: what one Cal.com webhook says of bookings, how such facts fold into one state per booking, what
//! that state looks like, and what a change of it is called. No I/O, no clock, no async: every function here is a
//! function of its arguments.
//!
//! An event becomes [`facts()`], at most three; a fact is merged into the [`Row`] of its booking; [`derive()`] makes
//! the visible booking out of the row and the clock's [`Horizon`]; [`transition()`] compares two of them. Merging is
//! commutative, associative and idempotent, so the order, the number and the way of arrival never show:
//!
//! ```
//! use calbridge_booking::{Horizon, Row, derive, facts};
//! use calbridge_proto::v1::{
//!     BookingEvent, BookingPayload, BookingStatus, Trigger, booking_event::Payload,
//! };
//!
//! let event = |trigger: Trigger, seconds: i64| BookingEvent {
//!     trigger: trigger.into(),
//!     event_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
//!     payload: Some(Payload::Booking(BookingPayload { uid: "u1".into(), ..Default::default() })),
//!     ..Default::default()
//! };
//! // The second argument is the SHA-256 of the raw body.
//! let requested = facts(&event(Trigger::BookingRequested, 100), &[1; 32]);
//! let created = facts(&event(Trigger::BookingCreated, 200), &[2; 32]);
//!
//! let mut row = Row::default();
//! row.merge(&created[0].registers);
//! row.merge(&requested[0].registers); // late
//! row.merge(&created[0].registers); // twice
//!
//! let mut in_order = Row::default();
//! in_order.merge(&requested[0].registers);
//! in_order.merge(&created[0].registers);
//! assert_eq!(row.encode(), in_order.encode());
//!
//! let derived = derive("u1", &row, Horizon::NONE).expect("more than hints is known");
//! assert_eq!(derived.booking.status(), BookingStatus::Scheduled);
//! assert_eq!(derived.rule.as_str(), "accepted");
//! ```

mod clock;
mod derive;
mod fact;
mod lineage;
mod people;
mod register;
mod row;
mod status;
mod subject;
#[cfg(test)]
mod tests;
mod time;
mod transition;

pub use self::{
    clock::Horizon,
    derive::{Derived, derive},
    fact::{Fact, facts},
    lineage::link_back,
    row::{DecodeError, Row},
    status::Rule,
    subject::{Subject, leaves_siblings_silent, subject},
    transition::{Change, transition},
};
