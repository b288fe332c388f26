//! Where a booking stands: the first rule that holds, in the order in which `decide` asks them.
//!
//! Invariant: evidence only grows, so a status can be overruled by more evidence and never by an older event that comes
//! late. No rule asks when anything arrived.

use calbridge_proto::v1::{BookingStatus, PaymentStatus};

use crate::{
    people::Invited,
    register::{Evidence, Value},
    row::Row,
};

/// The evidence that decides a booking's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Another booking replaced it.
    Rescheduled,
    /// It was cancelled as a whole.
    Cancelled,
    /// Its seats are known and every one was given up.
    NoSeatLeft,
    /// The host declined it.
    Rejected,
    /// It was accepted, its attendees are known, and every one is marked as not having come.
    NoShow,
    /// The timer of its end rang.
    Ended,
    /// It was accepted, and the clock has passed its end.
    EndedByClock,
    /// The timer of its start rang, or somebody spoke of attendance.
    Started,
    /// It was accepted.
    Accepted,
    /// It waits for approval or payment.
    Requested,
    /// It waits for a host to join.
    AwaitingHost,
}

impl Rule {
    /// The rule's name in transitions, spans and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rescheduled => "rescheduled",
            Self::Cancelled => "cancelled",
            Self::NoSeatLeft => "no_seat_left",
            Self::Rejected => "rejected",
            Self::NoShow => "no_show",
            Self::Ended => "ended",
            Self::EndedByClock => "ended_by_clock",
            Self::Started => "started",
            Self::Accepted => "accepted",
            Self::Requested => "requested",
            Self::AwaitingHost => "awaiting_host",
        }
    }

    /// The status that the rule gives.
    #[must_use]
    pub fn status(self) -> BookingStatus {
        match self {
            Self::Rescheduled => BookingStatus::Rescheduled,
            Self::Cancelled | Self::NoSeatLeft => BookingStatus::Cancelled,
            Self::Rejected => BookingStatus::Rejected,
            Self::NoShow => BookingStatus::NoShow,
            Self::Ended | Self::EndedByClock => BookingStatus::Completed,
            Self::Started => BookingStatus::InProgress,
            Self::Accepted => BookingStatus::Scheduled,
            Self::Requested => BookingStatus::Requested,
            Self::AwaitingHost => BookingStatus::AwaitingHost,
        }
    }

    /// Whether the clock may complete such a booking: only one that was accepted and is neither over nor off.
    pub(crate) fn yields_to_clock(self) -> bool {
        matches!(self, Self::Accepted | Self::Started)
    }
}

/// What of a booking decides its status beside its evidence.
pub(crate) struct Standing<'a> {
    pub(crate) invited: &'a Invited,
    /// A booking replaced this one.
    pub(crate) replaced: bool,
    /// The booking's present times, in microseconds since 1970.
    pub(crate) start: Option<i64>,
    pub(crate) end: Option<i64>,
}

/// What its evidence alone says of a booking.
pub(crate) fn decide(row: &Row, standing: &Standing<'_>) -> Rule {
    let there = |evidence| row.evidence(evidence).is_some();
    let accepted = there(Evidence::Accepted);
    if standing.replaced {
        Rule::Rescheduled
    } else if there(Evidence::Cancelled) {
        Rule::Cancelled
    } else if standing.invited.no_seat_left {
        Rule::NoSeatLeft
    } else if there(Evidence::Rejected) {
        Rule::Rejected
    } else if accepted && nobody_came(standing.invited) {
        Rule::NoShow
    } else if timer_rang(row, Evidence::EndTimer, standing.end) {
        Rule::Ended
    } else if there(Evidence::Attendance) || timer_rang(row, Evidence::StartTimer, standing.start) {
        Rule::Started
    } else if accepted {
        Rule::Accepted
    } else if !there(Evidence::Requested) && there(Evidence::AwaitingHost) {
        Rule::AwaitingHost
    } else {
        // Every event that makes a booking visible brings evidence of its own, so this is what is left.
        Rule::Requested
    }
}

pub(crate) fn payment(row: &Row) -> PaymentStatus {
    if row.evidence(Evidence::Paid).is_some() {
        PaymentStatus::Paid
    } else if row.evidence(Evidence::PaymentInitiated).is_some() {
        PaymentStatus::Initiated
    } else {
        PaymentStatus::None
    }
}

fn nobody_came(invited: &Invited) -> bool {
    invited.known && !invited.attendees.is_empty() && invited.attendees.iter().all(|attendee| attendee.no_show)
}

/// A timer that was set for an earlier time says nothing of a booking that was moved since.
fn timer_rang(row: &Row, timer: Evidence, present: Option<i64>) -> bool {
    match row.evidence(timer).map(|entry| &entry.value) {
        Some(Value::Number(own)) => present.is_none_or(|present| *own >= present),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_snake_case_and_apart() {
        use Rule::{
            Accepted, AwaitingHost, Cancelled, Ended, EndedByClock, NoSeatLeft, NoShow, Rejected, Requested,
            Rescheduled, Started,
        };
        let all = [
            Rescheduled,
            Cancelled,
            NoSeatLeft,
            Rejected,
            NoShow,
            Ended,
            EndedByClock,
            Started,
            Accepted,
            Requested,
            AwaitingHost,
        ];
        let names: std::collections::BTreeSet<_> = all.iter().map(|rule| rule.as_str()).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }
}
