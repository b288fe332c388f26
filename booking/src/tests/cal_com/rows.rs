//! Cal.com's database: event types, bookings and their attendees.
//!
//! Invariant: nothing here knows of webhooks, save that a booking notes what was said of it.

use calbridge_proto::v1::PaymentStatus;

use super::truth::Ever;

pub(in crate::tests) const HOSTS: [&str; 3] = ["host@a.example", "second@a.example", "third@a.example"];
pub(in crate::tests) const GUESTS: [&str; 4] = ["ann@b.example", "bob@b.example", "cid@b.example", "dee@b.example"];

pub(super) const VIDEO: &str = "integrations:daily";
const OFFICE: &str = "Main Street 1";

/// `BookingStatus` of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tests) enum Status {
    Accepted,
    Pending,
    Cancelled,
    Rejected,
    AwaitingHost,
}

impl Status {
    pub(super) fn is_live(self) -> bool {
        matches!(self, Self::Accepted | Self::Pending)
    }

    /// As payloads spell it.
    pub(super) fn spelled(self) -> &'static str {
        match self {
            Self::Accepted => "ACCEPTED",
            Self::Pending => "PENDING",
            Self::Cancelled => "CANCELLED",
            Self::Rejected => "REJECTED",
            Self::AwaitingHost => "AWAITING_HOST",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tests) enum Form {
    Single,
    Seated,
    Series,
    Instant,
}

#[derive(Debug)]
pub(in crate::tests) struct EventType {
    pub(super) id: i64,
    pub(in crate::tests) form: Form,
    pub(super) approval: bool,
    pub(super) priced: bool,
    pub(super) place: &'static str,
}

const fn event_type(id: i64, form: Form, approval: bool, priced: bool, place: &'static str) -> EventType {
    EventType { id, form, approval, priced, place }
}

pub(super) static EVENT_TYPES: [EventType; 11] = [
    event_type(1, Form::Single, false, false, OFFICE),
    event_type(2, Form::Seated, false, false, OFFICE),
    event_type(3, Form::Single, true, false, VIDEO),
    event_type(4, Form::Single, false, true, OFFICE),
    event_type(5, Form::Single, true, true, OFFICE),
    event_type(6, Form::Series, false, false, OFFICE),
    event_type(7, Form::Series, true, false, OFFICE),
    event_type(8, Form::Seated, true, false, OFFICE),
    event_type(9, Form::Seated, false, false, VIDEO),
    event_type(10, Form::Single, false, false, VIDEO),
    event_type(11, Form::Instant, false, false, VIDEO),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tests) struct Guest {
    pub(in crate::tests) email: &'static str,
    /// Empty where the event has no seats.
    pub(in crate::tests) seat: String,
    pub(in crate::tests) absent: bool,
}

impl Guest {
    pub(super) fn new(email: &'static str) -> Self {
        Self { email, seat: String::new(), absent: false }
    }
}

/// The columns that change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tests) struct State {
    pub(in crate::tests) status: Status,
    /// The uid of the booking that took this one's place.
    pub(in crate::tests) replaced_by: Option<String>,
    /// The host cancelled in order to be given another time.
    pub(in crate::tests) asked_again: bool,
    /// In minutes, as the end.
    pub(in crate::tests) start: i64,
    pub(in crate::tests) end: i64,
    pub(in crate::tests) host: usize,
    pub(in crate::tests) location: String,
    pub(in crate::tests) guests: Vec<Guest>,
}

/// Runs beside the status, in the database and in what is told.
#[derive(Clone, Copy, Debug)]
pub(in crate::tests) struct Payment {
    pub(in crate::tests) now: PaymentStatus,
    pub(in crate::tests) told: PaymentStatus,
    pub(in crate::tests) silent: bool,
}

impl Default for Payment {
    fn default() -> Self {
        Self { now: PaymentStatus::None, told: PaymentStatus::None, silent: false }
    }
}

impl Payment {
    pub(super) fn is_told(&mut self) {
        self.told = self.now;
        self.silent = false;
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timed {
    pub(super) start: bool,
    pub(super) end: bool,
}

#[derive(Clone, Debug)]
pub(in crate::tests) struct Booking {
    pub(in crate::tests) uid: String,
    pub(super) id: i64,
    pub(in crate::tests) kind: &'static EventType,
    /// Names the first booking of a chain.
    pub(super) ical_uid: String,
    /// The uid of the booking that this one replaced, or that its first seat came from.
    pub(in crate::tests) from: Option<String>,
    /// Bookings of one series share a number.
    pub(super) series: Option<usize>,
    pub(in crate::tests) now: State,
    /// As the last webhook had it; `None` before the first that says more than that somebody waits.
    pub(in crate::tests) told: Option<State>,
    /// Something changed of which no webhook was sent.
    pub(in crate::tests) silent: bool,
    pub(in crate::tests) payment: Payment,
    /// Which timers of its present times rang or will.
    pub(super) timed: Timed,
    /// A webhook spoke of who came.
    pub(super) attended: bool,
    /// Hosts that Cal Video missed.
    pub(in crate::tests) absent_hosts: Vec<usize>,
    pub(in crate::tests) ever: Ever,
}

impl Booking {
    pub(super) fn new(number: usize, kind: &'static EventType, now: State) -> Self {
        // As long as Cal.com's own, so that an `iCalUID` with it looks like one.
        let uid = format!("bookingNumber{number:08}x");
        Self {
            ical_uid: format!("{uid}@Cal.com"),
            uid,
            id: i64::try_from(number).unwrap(),
            kind,
            from: None,
            series: None,
            now,
            told: None,
            silent: false,
            payment: Payment::default(),
            timed: Timed::default(),
            attended: false,
            absent_hosts: Vec::new(),
            ever: Ever::default(),
        }
    }

    pub(super) fn is_seated(&self) -> bool {
        self.kind.form == Form::Seated
    }

    /// Cal Video sees who comes. Of a meeting whose host joined without a word it may tell the only list there is;
    /// that is left out, for then nothing can be said of the rest.
    pub(super) fn is_watched(&self, clock: i64) -> bool {
        self.kind.place == VIDEO && self.has_begun(clock) && self.told.is_some()
    }

    /// Live, and not over yet: what people may still cancel or move.
    pub(super) fn is_open(&self, clock: i64) -> bool {
        self.now.status.is_live() && clock < self.now.end
    }

    /// The host may still say yes or no.
    pub(super) fn waits(&self, clock: i64) -> bool {
        self.now.status == Status::Pending && clock < self.now.start && self.payment.now != PaymentStatus::Initiated
    }

    pub(super) fn has_begun(&self, clock: i64) -> bool {
        self.now.status == Status::Accepted && self.now.start <= clock
    }
}
