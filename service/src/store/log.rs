//! Reading the log forward: what a reader asks for, which entries it means, and the page that it gets.
//!
//! Invariant: a page is whole up to where it says it has read: every entry up to there that the query means is in it,
//! and no entry is ever committed there later.

use std::sync::Arc;

use calbridge_proto::v1::{self, Booking, BookingStatus, TransitionKind};
use prost::Message;
use serde_json::{Value, json};

use super::{Comparison, Position, StoreError};

/// Entries of one page, at the most.
pub const LOG_ENTRIES_MAX: usize = 256;
/// Bytes of its entries, and one more entry: each of many readers may hold a page.
pub const LOG_BYTES_MAX: usize = 512 * 1024;
/// Rows that one page looks at: most of a log may be another tenant's, and a look costs about a microsecond.
pub const LOG_LOOKS_MAX: usize = 8_192;

/// A kept transition, by its kind.
const TRANSITION: i16 = 1;
/// A kept delivery, by its kind.
const RECORDED: i16 = 2;

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
    /// Up to where what the query may mean is purged.
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

impl LogQuery {
    /// Whether it means deliveries that change no booking at all: they were asked for, and the filter leaves some.
    pub(crate) fn means_recorded(&self) -> bool {
        self.recorded && self.filter.means_recorded()
    }
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

    /// As a dead letter keeps it: which kind it is, and its message.
    pub(crate) fn encode(&self) -> (i16, Vec<u8>) {
        match self {
            Self::Transition(transition) => (TRANSITION, transition.encode_to_vec()),
            Self::Recorded(delivery) => (RECORDED, delivery.encode_to_vec()),
        }
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(kind: i16, message: &[u8]) -> Result<Self, StoreError> {
        let damaged = |why: String| StoreError::Damaged { what: "dead letter", why };
        match kind {
            TRANSITION => v1::Transition::decode(message).map(Box::new).map(Self::Transition),
            RECORDED => v1::Delivery::decode(message).map(Box::new).map(Self::Recorded),
            _ => return Err(damaged("it is of a kind that this release does not know".to_owned())),
        }
        .map_err(|error| damaged(error.to_string()))
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Transition(transition) => transition.encoded_len(),
            Self::Recorded(delivery) => delivery.encoded_len(),
        }
    }
}

impl LogFilter {
    /// As it is kept: an array of conditions.
    pub(crate) fn encode(&self) -> String {
        let encode = |condition: &LogCondition| match condition {
            LogCondition::Status(comparison, status) => json!(["status", comparison.as_str(), i32::from(*status)]),
            LogCondition::Kind(comparison, kind) => json!(["kind", comparison.as_str(), i32::from(*kind)]),
            LogCondition::EventTypeId(id) => json!(["event_type_id", "=", id]),
            LogCondition::Uid(uid) => json!(["uid", "=", uid]),
        };
        self.0.iter().map(encode).collect::<Value>().to_string()
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let decode = |condition: &Value| {
            let [field, comparison, value] = condition.as_array()?.as_slice() else { return None };
            let comparison = if comparison.as_str()? == "!=" { Comparison::NotEqual } else { Comparison::Equal };
            let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
            Some(match field.as_str()? {
                "status" => LogCondition::Status(comparison, BookingStatus::try_from(number?).ok()?),
                "kind" => LogCondition::Kind(comparison, TransitionKind::try_from(number?).ok()?),
                "event_type_id" => LogCondition::EventTypeId(value.as_i64()?),
                "uid" => LogCondition::Uid(value.as_str()?.to_owned()),
                _ => return None,
            })
        };
        let conditions: Value = serde_json::from_str(text).ok()?;
        conditions.as_array()?.iter().map(decode).collect::<Option<_>>().map(Self)
    }

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
