//! What a receiver that lost nothing has to show of a booking, and what one that lost something may show.

use std::collections::BTreeSet;

use calbridge_proto::v1::{BookingStatus, PaymentStatus};

use super::rows::{Booking, HOSTS, State, Status, VIDEO};

/// The parts of a booking that a test compares; `None` for what no webhook told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tests) struct Shown {
    pub(in crate::tests) status: BookingStatus,
    pub(in crate::tests) payment: PaymentStatus,
    pub(in crate::tests) asked_again: bool,
    pub(in crate::tests) replaced_by: String,
    pub(in crate::tests) replaces: String,
    pub(in crate::tests) details: Option<Details>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tests) struct Details {
    /// In minutes.
    pub(in crate::tests) times: (i64, i64),
    /// `None` at Cal Video, which one path tells as a token and another as a link.
    pub(in crate::tests) location: Option<String>,
    pub(in crate::tests) organizer: (String, bool),
    /// Address, seat and mark, in the order of the addresses.
    pub(in crate::tests) attendees: Vec<(String, Option<String>, bool)>,
}

/// All that was ever true of a booking.
#[derive(Clone, Debug, Default)]
pub(in crate::tests) struct Ever {
    pub(in crate::tests) statuses: BTreeSet<i32>,
    pub(in crate::tests) times: BTreeSet<(i64, i64)>,
    pub(in crate::tests) locations: BTreeSet<String>,
    pub(in crate::tests) hosts: BTreeSet<&'static str>,
    pub(in crate::tests) guests: BTreeSet<&'static str>,
    pub(in crate::tests) marked: BTreeSet<&'static str>,
    /// Somebody gave up a seat or took it elsewhere.
    pub(in crate::tests) left: bool,
}

impl Booking {
    /// What is to be shown when it is `clock` at Cal.com: the database, or where that changed without a word what was
    /// said of it last. `over` says from which end on a clock completes bookings.
    pub(in crate::tests) fn shown(&self, clock: i64, over: impl Fn(i64) -> bool) -> Shown {
        let payment = self.payment();
        match (&self.told, self.silent) {
            (None, _) => Shown {
                status: if self.attended { BookingStatus::InProgress } else { BookingStatus::AwaitingHost },
                payment,
                asked_again: false,
                replaced_by: String::new(),
                replaces: String::new(),
                details: None,
            },
            (Some(told), true) => self.view(told, clock, over),
            (Some(_), false) => self.view(&self.now, clock, over),
        }
    }

    fn payment(&self) -> PaymentStatus {
        if self.payment.silent { self.payment.told } else { self.payment.now }
    }

    fn view(&self, state: &State, clock: i64, over: impl Fn(i64) -> bool) -> Shown {
        let mut attendees: Vec<_> = state
            .guests
            .iter()
            .map(|guest| {
                let seat = Some(guest.seat.clone()).filter(|seat| !seat.is_empty());
                (guest.email.to_owned(), seat, guest.absent)
            })
            .collect();
        attendees.sort();
        Shown {
            status: self.status(state, clock, over),
            payment: self.payment(),
            asked_again: state.asked_again,
            replaced_by: state.replaced_by.clone().unwrap_or_default(),
            // Seats move one by one, so a seated booking takes no other's place.
            replaces: self.from.clone().filter(|_| !self.is_seated()).unwrap_or_default(),
            details: Some(Details {
                times: (state.start, state.end),
                location: Some(state.location.clone()).filter(|location| location != VIDEO),
                organizer: (HOSTS[state.host].to_owned(), self.absent_hosts.contains(&state.host)),
                attendees,
            }),
        }
    }

    fn status(&self, state: &State, clock: i64, over: impl Fn(i64) -> bool) -> BookingStatus {
        let nobody_came = !state.guests.is_empty() && state.guests.iter().all(|guest| guest.absent);
        match state.status {
            Status::Cancelled if state.replaced_by.is_some() => BookingStatus::Rescheduled,
            Status::Cancelled => BookingStatus::Cancelled,
            Status::Rejected => BookingStatus::Rejected,
            Status::Pending => BookingStatus::Requested,
            Status::AwaitingHost => BookingStatus::AwaitingHost,
            Status::Accepted if nobody_came => BookingStatus::NoShow,
            Status::Accepted if over(state.end) || (self.timed.end && state.end <= clock) => BookingStatus::Completed,
            Status::Accepted if self.timed.start && state.start <= clock => BookingStatus::InProgress,
            // Not the database's word: whoever moves a seated booking that had begun takes its beginning back, and what
            // was said of attendance before is evidence that only grows.
            Status::Accepted if self.attended => BookingStatus::InProgress,
            Status::Accepted => BookingStatus::Scheduled,
        }
    }

    pub(super) fn remember(&mut self, clock: i64) {
        let status = self.status(&self.now, clock, |_| false);
        let ever = &mut self.ever;
        ever.statuses.insert(status.into());
        if self.now.status == Status::Accepted {
            // Whoever misses a timer or a mark sees no more than this.
            ever.statuses.insert(BookingStatus::Scheduled.into());
            if self.now.start <= clock {
                ever.statuses.insert(BookingStatus::InProgress.into());
            }
        }
        ever.times.insert((self.now.start, self.now.end));
        ever.locations.insert(self.now.location.clone());
        ever.hosts.insert(HOSTS[self.now.host]);
        ever.guests.extend(self.now.guests.iter().map(|guest| guest.email));
        ever.marked.extend(self.now.guests.iter().filter(|guest| guest.absent).map(|guest| guest.email));
    }
}
