//! Who read, and what each was to see. The filter is read here a second time, from its documentation.

use serde::Deserialize;

use crate::entry::{Entry, Micros};

/// Everybody who read.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Plan {
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) consumers: Vec<Consumer>,
}

/// Which entries somebody was to see.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Scope {
    pub(crate) tenant: String,
    pub(crate) filter: String,
    /// Deliveries that change nothing, too.
    pub(crate) recorded: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Watcher {
    /// Its file's, without the ending.
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) scope: Scope,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Consumer {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) scope: Scope,
    /// A dead letter holds its booking back.
    pub(crate) blocks: bool,
    pub(crate) max_in_flight: usize,
    pub(crate) max_deliveries: i32,
    pub(crate) ack_wait: Micros,
    /// The files of its clients, without their ending.
    pub(crate) clients: Vec<String>,
}

/// From 1 on, as the schema numbers them.
const KINDS: [&str; 7] =
    ["APPEARED", "STATUS_CHANGED", "MOVED", "PAYMENT_CHANGED", "NO_SHOW_CHANGED", "PEOPLE_CHANGED", "DETAILS_CHANGED"];
/// From 1 on, as the schema numbers them.
const STATUSES: [&str; 9] = [
    "REQUESTED",
    "AWAITING_HOST",
    "SCHEDULED",
    "IN_PROGRESS",
    "COMPLETED",
    "NO_SHOW",
    "CANCELLED",
    "REJECTED",
    "RESCHEDULED",
];

impl Scope {
    /// Whether it lets an entry through.
    ///
    /// # Errors
    /// A filter that is not understood here.
    pub(crate) fn means(&self, entry: &Entry) -> Result<bool, String> {
        if entry.tenant != self.tenant || (entry.kind == 0 && !self.recorded) {
            return Ok(false);
        }
        for condition in self.filter.split(" AND ").filter(|condition| !condition.is_empty()) {
            if !holds(condition, entry)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn holds(condition: &str, entry: &Entry) -> Result<bool, String> {
    let unknown = || format!("the filter {condition:?} is not understood");
    let [field, comparison, value] = condition.split(' ').collect::<Vec<_>>()[..] else { return Err(unknown()) };
    let number = |names: &[&str]| -> Result<i32, String> {
        let place = names.iter().position(|name| *name == value).ok_or_else(unknown)?;
        i32::try_from(place + 1).map_err(|_| unknown())
    };
    // Of deliveries that change nothing only the uid can be asked.
    let equal = match field {
        "uid" => entry.uid == value,
        "kind" | "status" if entry.kind == 0 => return Ok(false),
        "kind" => entry.kind == number(&KINDS)?,
        "status" => entry.to == number(&STATUSES)?,
        _ => return Err(unknown()),
    };
    match comparison {
        "=" => Ok(equal),
        "!=" => Ok(!equal),
        _ => Err(unknown()),
    }
}
