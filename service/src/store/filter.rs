//! Which bookings a list is of: conditions that all must hold. A store finds candidates by what it has indexed;
//! [`Filter::matches`] decides.

use std::cmp::Ordering;

use calbridge_proto::v1::{Booking, BookingStatus};

use super::{Micros, time::micros};

/// All of them must hold; none: every booking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(pub Vec<Condition>);

/// One thing that must hold of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It stands so; it stands otherwise.
    Status(Comparison, BookingStatus),
    /// Its start.
    StartTime(Comparison, Micros),
    /// When we last learned something of it.
    UpdateTime(Comparison, Micros),
    /// Its organizer, in lower case.
    OrganizerEmail(String),
    /// One of its attendees, in lower case.
    AttendeeEmail(String),
    /// Its event type.
    EventTypeId(i64),
    /// A key of the booker's own, and its value.
    Metadata(String, String),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// The operator, in a filter and in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether it holds of two values that stand so to each other.
    pub(crate) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Filter {
    /// Whether every condition holds of a booking.
    #[must_use]
    pub fn matches(&self, booking: &Booking) -> bool {
        self.0.iter().all(|condition| condition.holds(booking))
    }
}

impl Condition {
    fn holds(&self, booking: &Booking) -> bool {
        match self {
            Self::Status(comparison, status) => comparison.holds(booking.status.cmp(&i32::from(*status))),
            Self::StartTime(comparison, time) => is_at(*comparison, booking.start_time.as_ref().map(micros), *time),
            Self::UpdateTime(comparison, time) => is_at(*comparison, booking.update_time.as_ref().map(micros), *time),
            Self::OrganizerEmail(email) => booking.organizer.iter().any(|organizer| same(&organizer.email, email)),
            Self::AttendeeEmail(email) => booking.attendees.iter().any(|attendee| same(&attendee.email, email)),
            Self::EventTypeId(id) => booking.event_type_id == Some(*id),
            Self::Metadata(key, value) => booking.metadata.get(key) == Some(value),
        }
    }
}

/// A time that is not known is other than any, and neither before nor after it.
fn is_at(comparison: Comparison, known: Option<Micros>, time: Micros) -> bool {
    known.map_or(comparison == Comparison::NotEqual, |known| comparison.holds(known.cmp(&time)))
}

fn same(spelled: &str, lower: &str) -> bool {
    spelled.trim().to_lowercase() == lower
}

#[cfg(test)]
mod tests {
    use calbridge_proto::v1::{Attendee, Organizer};
    use prost_types::Timestamp;

    use super::{Comparison::*, Condition::*, *};

    fn booking() -> Booking {
        Booking {
            status: BookingStatus::Scheduled.into(),
            start_time: Some(Timestamp { seconds: 10, nanos: 0 }),
            organizer: Some(Organizer { email: "Host@x.example".to_owned(), ..Organizer::default() }),
            attendees: vec![Attendee { email: "Guest@x.example".to_owned(), ..Attendee::default() }],
            event_type_id: Some(3),
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            ..Booking::default()
        }
    }

    #[test]
    fn each_condition_holds_or_not() {
        for (condition, expected) in [
            (Status(Equal, BookingStatus::Scheduled), true),
            (Status(NotEqual, BookingStatus::Scheduled), false),
            (Status(NotEqual, BookingStatus::Cancelled), true),
            (StartTime(Equal, 10_000_000), true),
            (StartTime(Less, 10_000_000), false),
            (StartTime(LessOrEqual, 10_000_000), true),
            (StartTime(Greater, 9_999_999), true),
            (StartTime(GreaterOrEqual, 10_000_001), false),
            (UpdateTime(NotEqual, 1), true),
            (UpdateTime(Less, i64::MAX), false),
            (OrganizerEmail("host@x.example".to_owned()), true),
            (OrganizerEmail("guest@x.example".to_owned()), false),
            (AttendeeEmail("guest@x.example".to_owned()), true),
            (AttendeeEmail("host@x.example".to_owned()), false),
            (EventTypeId(3), true),
            (EventTypeId(4), false),
            (Metadata("k".to_owned(), "v".to_owned()), true),
            (Metadata("k".to_owned(), "w".to_owned()), false),
            (Metadata("j".to_owned(), "v".to_owned()), false),
        ] {
            assert_eq!(Filter(vec![condition.clone()]).matches(&booking()), expected, "{condition:?}");
        }
        assert!(Filter::default().matches(&booking()), "no condition: every booking");
        let both = Filter(vec![EventTypeId(3), EventTypeId(4)]);
        assert!(!both.matches(&booking()), "all must hold");
    }
}
