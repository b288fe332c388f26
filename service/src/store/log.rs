//! Reading the log forward: what a reader asks for, which entries it means, and the page that it gets.
//!
//! Invariant: a page is whole up to where it says it has read: every entry up to there that the query means is in it,
//! and no entry is ever committed there later.

use std::sync::Arc;

use calbridge_proto::v1::{self, Booking, BookingStatus, TransitionKind};
use prost::Message;

use super::{Comparison, Position};

/// Entries of one page, at the most.
pub const LOG_ENTRIES_MAX: usize = 256;
/// Bytes of its entries, and one more entry: each of many readers may hold a page.
pub const LOG_BYTES_MAX: usize = 512 * 1024;
/// Rows that one page looks at: most of a log may be another tenant's, and a look costs about a microsecond.
pub const LOG_LOOKS_MAX: usize = 8_192;

/// What a reader of the log wants next.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// Whose log.
    pub tenant: Arc<str>,
    /// Behind here.
    pub after: Position,
    /// Which entries.
    pub filter: Arc<LogFilter>,
    /// Deliveries that change no booking as well.
    pub recorded: bool,
}

/// A part of the log.
#[derive(Debug, Default)]
pub struct LogPage {
    /// What the query means, oldest first.
    pub entries: Vec<(Position, LogEntry)>,
    /// How far the log was read.
    pub through: Position,
    /// To a bound of the page, and not to its end.
    pub more: bool,
    /// Up to where the tenant's transitions are purged.
    pub purged: Position,
}

/// Something that stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub enum LogEntry {
    /// A visible change of a booking.
    Transition(Box<v1::Transition>),
    /// A delivery that changes none, with its raw body where that is kept.
    Recorded(Box<v1::Delivery>),
}

/// All of them must hold; none: every entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter(pub Vec<LogCondition>);

/// One thing that must hold of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogCondition {
    /// The booking stands so after it; it stands otherwise.
    Status(Comparison, BookingStatus),
    /// What the transition is; what it is not.
    Kind(Comparison, TransitionKind),
    /// The booking's event type.
    EventTypeId(i64),
    /// The booking.
    Uid(String),
}

impl LogEntry {
    /// The booking that it speaks of; empty where it speaks of none.
    #[must_use]
    pub fn uid(&self) -> &str {
        match self {
            Self::Transition(transition) => &transition.uid,
            Self::Recorded(delivery) => &delivery.booking_uid,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Transition(transition) => transition.encoded_len(),
            Self::Recorded(delivery) => delivery.encoded_len(),
        }
    }
}

impl LogFilter {
    /// As far as the columns of a transition tell: false only where it does not mean the transition.
    pub(crate) fn may_mean(&self, uid: &str, kind: i32, status: i32) -> bool {
        self.0.iter().all(|condition| match condition {
            LogCondition::Status(comparison, wanted) => comparison.holds(status.cmp(&i32::from(*wanted))),
            LogCondition::Kind(comparison, wanted) => comparison.holds(kind.cmp(&i32::from(*wanted))),
            LogCondition::Uid(wanted) => uid == wanted,
            LogCondition::EventTypeId(_) => true,
        })
    }

    /// What is left to be asked where [`Self::may_mean`] holds.
    pub(crate) fn means(&self, booking: Option<&Booking>) -> bool {
        self.0.iter().all(|condition| match condition {
            LogCondition::EventTypeId(wanted) => booking.and_then(|booking| booking.event_type_id) == Some(*wanted),
            LogCondition::Status(..) | LogCondition::Kind(..) | LogCondition::Uid(_) => true,
        })
    }

    /// Whether it means deliveries that change no booking at all: of them only the uid can be asked.
    pub(crate) fn means_recorded(&self) -> bool {
        self.0.iter().all(|condition| matches!(condition, LogCondition::Uid(_)))
    }

    /// Whether it means such a delivery.
    pub(crate) fn means_delivery(&self, booking_uid: &str) -> bool {
        self.0.iter().all(|condition| matches!(condition, LogCondition::Uid(uid) if uid == booking_uid))
    }
}

/// One kind of entry, read in order until a bound is reached.
#[derive(Default)]
pub(crate) struct LogReading {
    entries: Vec<(Position, LogEntry)>,
    bytes: usize,
    looks: usize,
    last: Position,
}

/// What was read of one kind, whole up to a position.
pub(crate) struct LogPart {
    entries: Vec<(Position, LogEntry)>,
    pub(crate) through: Position,
}

impl LogReading {
    /// Looks at the row at this position, of which an entry is made where it is meant; false once enough was read.
    pub(crate) fn take(&mut self, position: Position, entry: Option<LogEntry>) -> bool {
        self.looks += 1;
        self.last = position;
        if let Some(entry) = entry {
            self.bytes += entry.bytes();
            self.entries.push((position, entry));
        }
        self.entries.len() < LOG_ENTRIES_MAX && self.bytes < LOG_BYTES_MAX && self.looks < LOG_LOOKS_MAX
    }

    /// A bound cut it short.
    pub(crate) fn cut(self) -> LogPart {
        LogPart { entries: self.entries, through: self.last }
    }

    /// There was no more of it up to `end`.
    pub(crate) fn whole(self, end: Position) -> LogPart {
        LogPart { entries: self.entries, through: end }
    }
}

/// The page that both kinds make, of a log that goes to `end`. The second was asked for no further than the first was
/// read.
pub(crate) fn page(end: Position, transitions: LogPart, recorded: Option<LogPart>, purged: Position) -> LogPage {
    let LogPart { mut entries, mut through } = transitions;
    if let Some(recorded) = recorded {
        through = through.min(recorded.through);
        entries.extend(recorded.entries);
        entries.retain(|(position, _)| *position <= through);
        entries.sort_by_key(|(position, _)| *position);
    }
    LogPage { entries, through, more: through < end, purged }
}

#[cfg(test)]
mod tests;
