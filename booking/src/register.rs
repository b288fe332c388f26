//! A register: one thing that can be known of a booking, its value, and the stamp that says which telling of it wins.
//!
//! Invariant: `Entry` is totally ordered (stamp first, then value), so that the greater of two entries is the same
//! whoever compares them. The numbers of the enums are stored: give new members new numbers, never reuse one.

use std::sync::Arc;

/// Longest e-mail address that is told apart, in bytes: RFC 5321 allows 254, a little more costs nothing.
pub(crate) const MAX_EMAIL: usize = 320;

/// How much a telling weighs; it decides before its time does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Rank {
    /// Read off an `iCalUID`: names the first booking of a chain, not the one before.
    Hint = 0,
    /// Read off the column `fromReschedule`, which names the booking before.
    Column = 1,
    /// Leaked or frozen rows, and what one booking's event says of another: shown where nothing better is known.
    Fill = 2,
    /// The event's own word on its own booking.
    Write = 3,
}

impl Rank {
    pub(crate) const ALL: [Self; 4] = [Self::Hint, Self::Column, Self::Fill, Self::Write];

    /// Hints alone never make a booking visible, and bind no seated one.
    pub(crate) fn is_hint(self) -> bool {
        self <= Self::Column
    }
}

/// Which telling of a register is the newest: compared by rank, then `createdAt`, then body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    pub(crate) rank: Rank,
    /// Microseconds since 1970 of the envelope's `createdAt`; zero where there is no envelope.
    pub(crate) time: i64,
    /// SHA-256 of the raw body: parts two events of the same millisecond.
    pub(crate) hash: [u8; 32],
}

impl Stamp {
    /// The stamp of all evidence. Evidence only grows, so no telling of it is newer than another.
    pub(crate) const EVIDENCE: Self = Self { rank: Rank::Write, time: 0, hash: [0; 32] };
}

/// An e-mail address as people are known by it: trimmed and in lower case. The spelling is a detail of the person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Email(Arc<str>);

impl Email {
    /// `None` where nothing is left of it. Placeholders such as `Email-less` are addresses like any other.
    pub(crate) fn new(spelled: &str) -> Option<Self> {
        let lower = cut(spelled.trim(), MAX_EMAIL).to_lowercase();
        (!lower.is_empty()).then(|| Self(lower.into()))
    }

    /// For the codec, which stores what `new` made.
    pub(crate) fn from_stored(lower: &str) -> Self {
        Self(lower.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// As whom a person is spoken of: a leaked row number of an attendee must never become a host's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Role {
    Host = 0,
    Attendee = 1,
}

impl Role {
    pub(crate) const ALL: [Self; 2] = [Self::Host, Self::Attendee];
}

/// What can be known of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Detail {
    /// The e-mail address as the sender spelled it.
    Spelling = 0,
    /// Of hosts alone.
    Id = 1,
    Name = 2,
    /// Of hosts alone.
    Username = 3,
    TimeZone = 4,
    Language = 5,
    UtcOffset = 6,
    PhoneNumber = 7,
}

impl Detail {
    pub(crate) const ALL: [Self; 8] = [
        Self::Spelling,
        Self::Id,
        Self::Name,
        Self::Username,
        Self::TimeZone,
        Self::Language,
        Self::UtcOffset,
        Self::PhoneNumber,
    ];
}

/// What speaks for a status. Evidence is there or not; it is never taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Evidence {
    Requested = 0,
    AwaitingHost = 1,
    Accepted = 2,
    PaymentInitiated = 3,
    Paid = 4,
    /// The timer at the start rang; its value is the greatest start that such a timer named.
    StartTimer = 5,
    /// The timer at the end rang; its value is the greatest end that such a timer named.
    EndTimer = 6,
    /// Somebody spoke of attendance, which nobody can before the start.
    Attendance = 7,
    Rejected = 8,
    Cancelled = 9,
    /// The host cancelled in order to be given another time.
    RescheduleRequested = 10,
}

impl Evidence {
    pub(crate) const ALL: [Self; 11] = [
        Self::Requested,
        Self::AwaitingHost,
        Self::Accepted,
        Self::PaymentInitiated,
        Self::Paid,
        Self::StartTimer,
        Self::EndTimer,
        Self::Attendance,
        Self::Rejected,
        Self::Cancelled,
        Self::RescheduleRequested,
    ];
}

/// What there is one of in a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Field {
    BookingId = 0,
    Title = 1,
    EventTypeSlug = 2,
    EventTypeId = 3,
    /// Start and end: one register, for an end belongs to its start.
    Times = 4,
    /// A start or an end that came alone; shown where no pair is known.
    LoneTimes = 5,
    PreviousTimes = 6,
    Location = 7,
    Description = 8,
    IcalUid = 9,
    /// An e-mail address, so that a new host never inherits the old one's details.
    Organizer = 10,
    /// Members of the team, by e-mail address.
    Team = 11,
    /// The newest list, by e-mail address.
    Attendees = 12,
    RescheduledFrom = 13,
    RescheduledBy = 14,
    PriceMinor = 15,
    Currency = 16,
    PaymentId = 17,
    CancellationReason = 18,
    CancelledBy = 19,
    RejectionReason = 20,
    SeatsPerTimeSlot = 21,
}

impl Field {
    pub(crate) const ALL: [Self; 22] = [
        Self::BookingId,
        Self::Title,
        Self::EventTypeSlug,
        Self::EventTypeId,
        Self::Times,
        Self::LoneTimes,
        Self::PreviousTimes,
        Self::Location,
        Self::Description,
        Self::IcalUid,
        Self::Organizer,
        Self::Team,
        Self::Attendees,
        Self::RescheduledFrom,
        Self::RescheduledBy,
        Self::PriceMinor,
        Self::Currency,
        Self::PaymentId,
        Self::CancellationReason,
        Self::CancelledBy,
        Self::RejectionReason,
        Self::SeatsPerTimeSlot,
    ];
}

/// Which register. Sets are registers by member: the greatest entry of each member is then the union.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Evidence(Evidence),
    Field(Field),
    /// A key of the booker's own.
    Metadata(String),
    /// A field slug of the booking form.
    Response(String),
    /// The uid of a booking that replaced this one.
    Successor(String),
    Person(Role, Email, Detail),
    NoShow(Role, Email),
    /// A seat under its attendee: its newest adding. The id is empty where the sender named none.
    SeatTaken(Email, String),
    /// The newest leaving of all seats under one address.
    SeatLeft(Email),
}

#[cfg(test)]
impl Key {
    /// The least key.
    pub(crate) const FIRST: Self = Self::Evidence(Evidence::Requested);
}

/// What a register holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    /// The key alone says it.
    Nothing,
    Flag(bool),
    /// Also an instant, in microseconds since 1970.
    Number(i64),
    /// Start and end, in microseconds since 1970.
    Span(Option<i64>, Option<i64>),
    Text(String),
    /// An encoded `google.protobuf.Value`.
    Answer(Vec<u8>),
    People(Vec<Email>),
}

impl Value {
    /// Of a seat: somebody was let in by what says nothing of seats. Any other is `Nothing`.
    pub(crate) const LET_IN: Self = Self::Flag(true);
}

/// A telling of a register.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    pub(crate) value: Value,
}

impl Entry {
    /// The greater of the two stays.
    pub(crate) fn raise(&mut self, other: &Self) {
        if *self < *other {
            self.clone_from(other);
        }
    }
}

/// The longest beginning of `text` that has at most `max` bytes and ends between two characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
