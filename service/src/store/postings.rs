//! What bookings are found by: postings, each of which says that a booking has a term and stands at a time under it.
//! Here is what stores share that keep them in sorted runs; how runs are kept and merged is each store's own.
//!
//! New postings are appended to the *tail*. A full tail is sorted into a *run*; runs of one level are merged into one
//! of the next, aside from the rounds. So each posting is written a few times one behind the other, where an index tree
//! has work for it alone. What is newer holds: a posting that finds a booking no more hides the older one that did.

pub(crate) mod block;
pub(crate) mod union;

use calbridge_booking::{Derived, derive};
use calbridge_proto::v1;

use super::{
    BookingQuery, Micros,
    candidates::{Columns, Lead, Range},
    fold::FoldedBooking,
    terms,
    time::micros,
    view::{self, LoadedRow},
};

/// Runs of one level that are merged into one of the next.
pub(crate) const FAN: usize = 8;

/// Postings of one run that a migration writes: they are sorted in memory.
pub(crate) const FILLED_RUN: usize = 200_000;

/// Under which term a booking stands at which time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Posting {
    pub(crate) term: i64,
    pub(crate) time: Micros,
    pub(crate) uid: String,
}

/// What is said of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) posting: Posting,
    /// It finds the booking; else it does no more.
    pub(crate) finds: bool,
    /// No older list can know the posting: the booking was not kept before. Once it finds nothing, nothing is left to
    /// be said of it.
    pub(crate) is_first: bool,
}

/// Which way a list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Onward,
    Backward,
}

/// Where a walk through a term begins, and which way it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// On from this time, or from what follows the booking at it.
    Onward(Micros, Option<String>),
    /// Back from what precedes the booking at this time, or from the time itself.
    Backward(Micros, Option<String>),
}

/// A booking that a term finds, or found once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Met {
    /// Under the term.
    pub(crate) time: Micros,
    pub(crate) uid: String,
    /// It does so still. What is left of the others goes with a merge; until then it is passed by.
    pub(crate) finds: bool,
}

/// Before every posting.
pub(crate) const FIRST: Posting = Posting { term: i64::MIN, time: Micros::MIN, uid: String::new() };

/// What a round says, in order.
pub(crate) fn told(bookings: &[FoldedBooking]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for booking in bookings {
        entries.extend(booking.terms.iter().map(|((term, time), finds)| Entry {
            posting: Posting { term: *term, time: *time, uid: booking.key.1.clone() },
            finds: *finds,
            is_first: booking.is_new,
        }));
    }
    entries.retain(|entry| !entry.is_over());
    entries.sort_unstable_by(|one, other| one.posting.cmp(&other.posting));
    entries
}

/// What finds a row that is shown, for a store that has no postings of it yet. Of one that can't be read it is what its
/// columns say: a list meets it, and counts it as damaged.
pub(crate) fn of_row(tenant: &str, uid: &str, row: &LoadedRow, columns: Columns) -> Vec<Entry> {
    let derived = view::decode(&row.state).map(|registers| derive(uid, &registers, view::told(row.clock_told)));
    let (booking, time) = match derived {
        Ok(None) => return Vec::new(),
        Ok(Some(Derived { booking, .. })) => {
            let time = booking.start_time.as_ref().map_or(Micros::MIN, micros);
            (booking, time)
        }
        Err(_) => {
            let organizer = columns.organizer.map(|email| v1::Organizer { email, ..Default::default() });
            let Columns { status, event_type_id, start_time, .. } = columns;
            (v1::Booking { status, organizer, event_type_id, ..Default::default() }, start_time)
        }
    };
    let found_by = terms::of(tenant, &booking).into_iter().chain(terms::of_columns(tenant, &booking));
    let posting = |term| Posting { term, time, uid: uid.to_owned() };
    found_by.map(|term| Entry { posting: posting(term), finds: true, is_first: true }).collect()
}

/// What was told one behind the other, sorted; of postings that were told twice what was told last.
pub(crate) fn sort(entries: &mut Vec<Entry>) {
    // Stable: what was told last stands last among its equals.
    entries.sort_by(|one, other| one.posting.cmp(&other.posting));
    entries.dedup_by(|later, earlier| {
        let is_same = later.posting == earlier.posting;
        if is_same {
            earlier.finds = later.finds;
        }
        is_same
    });
}

/// The term of the rows behind a lead.
pub(crate) fn term(tenant: &str, lead: Lead<'_>) -> i64 {
    match lead {
        Lead::Order(_) => terms::all(tenant),
        Lead::Term(term) => term,
        Lead::Organizer(email) => terms::organizer(tenant, email),
        Lead::EventType(id) => terms::event_type(tenant, id),
        Lead::Status(status) => terms::status(tenant, status.into()),
    }
}

impl From {
    /// From which posting of a term on: onward with it, backward with what lies before it.
    pub(crate) fn place(self, term: i64) -> (Posting, Direction) {
        match self {
            // The least uid that is greater.
            Self::Onward(time, Some(uid)) => (Posting { term, time, uid: uid + "\0" }, Direction::Onward),
            Self::Onward(time, None) => (Posting { term, time, uid: String::new() }, Direction::Onward),
            Self::Backward(time, Some(uid)) => (Posting { term, time, uid }, Direction::Backward),
            Self::Backward(time, None) => (behind(term, time), Direction::Backward),
        }
    }
}

/// Beyond every posting of a term at a time.
fn behind(term: i64, time: Micros) -> Posting {
    match (time.checked_add(1), term.checked_add(1)) {
        (Some(time), _) => Posting { term, time, uid: String::new() },
        (None, Some(term)) => Posting { term, time: Micros::MIN, uid: String::new() },
        (None, None) => Posting { term, time, uid: char::MAX.to_string().repeat(256) },
    }
}

impl Entry {
    /// Nothing is left to be said of it.
    pub(crate) fn is_over(&self) -> bool {
        self.is_first && !self.finds
    }

    /// The booking that is met at it.
    pub(crate) fn met(self) -> Met {
        Met { time: self.posting.time, uid: self.posting.uid, finds: self.finds }
    }
}

impl Direction {
    /// What a sorted list has from `from` on, the next one last.
    pub(crate) fn rest(self, mut entries: Vec<Entry>, from: &Posting) -> Vec<Entry> {
        entries.retain(|entry| self.has(&entry.posting, from));
        if self == Self::Onward {
            entries.reverse();
        }
        entries
    }

    /// Whether a list that is read from `from` on has this posting.
    pub(crate) fn has(self, posting: &Posting, from: &Posting) -> bool {
        match self {
            Self::Onward => posting >= from,
            Self::Backward => posting < from,
        }
    }
}

impl Range {
    /// Where a page begins.
    pub(crate) fn from(&self, query: &BookingQuery) -> From {
        match (&query.after, query.descending) {
            (Some(after), false) if after.time >= self.least => From::Onward(after.time, Some(after.uid.clone())),
            (Some(after), true) if after.time <= self.greatest => From::Backward(after.time, Some(after.uid.clone())),
            (_, false) => From::Onward(self.least, None),
            (_, true) => From::Backward(self.greatest, None),
        }
    }

    pub(crate) fn is_beyond(&self, query: &BookingQuery, time: Micros) -> bool {
        if query.descending { time < self.least } else { time > self.greatest }
    }
}
