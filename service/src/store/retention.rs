//! What is past its retention, without a store: how far along the log a chunk of a purge may go.
//!
//! Invariant: what a tenant's watermark has passed is gone, and nothing behind it is. Ages are told by the service's
//! own clock: by the time in a delivery's id, and by a transition's commit. What a sender or an adapter says decides
//! nothing.

pub(crate) mod log;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use calbridge_process::Retention;
use uuid::Uuid;

pub use self::log::{CONSUMER_LAG_MAX, LogKeepers, LogPurge, LogPurged};
use super::{LogFilter, Micros, Position, clock::SKEW, mentioned};

/// Rows of one chunk: some milliseconds of a writer, which ingest waits behind.
pub const PURGE_ROWS_MAX: usize = 256;
/// Bytes of the bodies, or of the transitions, of one chunk, and one more row: freeing them costs a look at each page.
pub const PURGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Timelines that the deliveries of one chunk speak in, and one more delivery: a webhook may name hundreds.
pub const PURGE_TIMELINES_MAX: usize = 1_024;

/// How long what was received is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionPolicies {
    /// Of tenants that are not named.
    pub otherwise: Retention,
    /// Of those that are.
    pub tenants: BTreeMap<String, Retention>,
}

/// What is purged tenant by tenant, each along positions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purgeable {
    /// Raw bodies.
    Bodies,
    /// Deliveries with their bodies, notes of copies and lines of timelines.
    Deliveries,
}

/// One chunk of a purge of a tenant's.
#[derive(Debug, Clone)]
pub struct Purge {
    /// Whose.
    pub tenant: Arc<str>,
    /// Of what.
    pub what: Purgeable,
    /// For how long it is kept.
    pub period: Duration,
    /// Up to where every consumer of deliveries has read; what lies behind it waits for a year at the most.
    pub floor: Option<Position>,
    /// The service's clock.
    pub now: Micros,
}

/// Up to where every consumer of a tenant has read; `None`: nobody reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Floors {
    /// Of those that read transitions, which all do.
    pub transitions: Option<Position>,
    /// Of those that mean deliveries which change no booking as well.
    pub deliveries: Option<Position>,
}

/// What a chunk took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Bodies or deliveries.
    pub rows: usize,
    /// There may be more behind it.
    pub more: bool,
}

/// Through which positions each kind is gone for a tenant; zero: nothing is. What lies behind them is kept, so the
/// watermark of the transitions is also the place before the earliest that can still be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// Raw bodies; never behind that of the deliveries.
    pub bodies: Position,
    /// Deliveries.
    pub deliveries: Position,
    /// Transitions.
    pub transitions: Position,
}

/// A row that a chunk may take away.
pub(crate) struct Candidate {
    pub(crate) position: Position,
    /// When the service took it in; `None` where that can't be read.
    pub(crate) time: Option<Micros>,
    /// What it costs beside its row: bytes, or timelines.
    weight: usize,
    /// The bookings in whose timelines it stands.
    pub(crate) uids: Vec<String>,
}

impl RetentionPolicies {
    /// How long a tenant's are kept.
    pub(crate) fn of(&self, tenant: &str) -> Retention {
        self.tenants.get(tenant).copied().unwrap_or(self.otherwise)
    }
}

impl Purgeable {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Bodies, Self::Deliveries];

    /// For how long it is kept; `None`: for ever.
    pub(crate) fn period(self, retention: Retention) -> Option<Duration> {
        match self {
            Self::Bodies => retention.bodies,
            Self::Deliveries => retention.deliveries,
        }
    }

    fn weight_max(self) -> usize {
        match self {
            Self::Bodies => PURGE_BYTES_MAX,
            Self::Deliveries => PURGE_TIMELINES_MAX,
        }
    }
}

impl Purge {
    /// How many of the first [`PURGE_ROWS_MAX`] rows behind the watermark may go, and whether to look further.
    pub(crate) fn reach(&self, candidates: &[Candidate]) -> Purged {
        let waiting = candidates.iter().position(|candidate| self.waits(candidate)).unwrap_or(candidates.len());
        reach(candidates[..waiting].iter(), self.now, self.period, self.what.weight_max())
    }

    /// Whether a reader has still to come to it. One whose age can't be read goes with its neighbours.
    fn waits(&self, candidate: &Candidate) -> bool {
        let before = back(self.now, CONSUMER_LAG_MAX);
        self.floor.is_some_and(|floor| candidate.position > floor) && candidate.time.is_some_and(|time| time > before)
    }
}

fn back(now: Micros, period: Duration) -> Micros {
    now.saturating_sub(Micros::try_from(period.as_micros()).unwrap_or(Micros::MAX))
}

/// How many of these rows, the first that there are, have been kept for a period, and whether to look further.
///
/// It ends before the first that is too young. A row of which the time can't be read, or lies ahead of the clock, goes
/// with one behind it that is old enough: positions are handed out in the order of the commits.
fn reach<'c>(
    candidates: impl ExactSizeIterator<Item = &'c Candidate>,
    now: Micros,
    period: Duration,
    weight_max: usize,
) -> Purged {
    let before = back(now, period);
    let is_full = candidates.len() >= PURGE_ROWS_MAX;
    let (mut reach, mut weight) = (0, 0_usize);
    for (number, candidate) in (1..).zip(candidates) {
        match candidate.time.filter(|time| *time <= now.saturating_add(SKEW)) {
            Some(time) if time > before => return Purged { rows: reach, more: false },
            Some(_) => reach = number,
            None => {}
        }
        weight = weight.saturating_add(candidate.weight);
        if weight >= weight_max && reach > 0 {
            return Purged { rows: reach, more: true };
        }
    }
    Purged { rows: reach, more: reach > 0 && is_full }
}

impl Candidate {
    pub(crate) fn body(position: i64, delivery_id: Uuid, bytes: i64) -> Self {
        let weight = usize::try_from(bytes).unwrap_or(usize::MAX);
        let (position, time) = (Position(position), time_of(delivery_id));
        Self { position, time, weight, uids: Vec::new() }
    }

    pub(crate) fn delivery(
        position: i64,
        delivery_id: Uuid,
        about: Option<String>,
        mentioned: Option<Vec<u8>>,
    ) -> Self {
        // One that can't be read keeps nothing back: a line without its delivery is not shown.
        let uids = mentioned::decode(about, mentioned).unwrap_or_default();
        let (position, time) = (Position(position), time_of(delivery_id));
        Self { position, time, weight: uids.len(), uids }
    }

    pub(crate) fn transition(position: i64, commit_time: Micros, bytes: i64, uid: String) -> Self {
        let weight = usize::try_from(bytes).unwrap_or(usize::MAX);
        let (position, time) = (Position(position), Some(commit_time));
        Self { position, time, weight, uids: vec![uid] }
    }
}

/// The bookings in whose timelines any of them stands, each once and in order.
pub(crate) fn timelines(gone: &[Candidate]) -> Vec<&str> {
    let mut uids: Vec<&str> = gone.iter().flat_map(|gone| &gone.uids).map(String::as_str).collect();
    uids.sort_unstable();
    uids.dedup();
    uids
}

impl Floors {
    /// With one more consumer, or several alike, that have read up to `cursor`.
    pub(crate) fn held_at(self, cursor: Position, means_recorded: bool) -> Self {
        let lower = |floor: Option<Position>| Some(floor.map_or(cursor, |floor| floor.min(cursor)));
        Self {
            transitions: lower(self.transitions),
            deliveries: if means_recorded { lower(self.deliveries) } else { self.deliveries },
        }
    }

    /// The same for consumers as a store keeps them: the text of their filter, and whether deliveries were asked for.
    /// What can't be read may mean all there is.
    pub(crate) fn held_as_kept(self, cursor: Position, filter: &str, recorded: bool) -> Self {
        let means_recorded = LogFilter::decode(filter).is_none_or(|filter| filter.means_recorded());
        self.held_at(cursor, recorded && means_recorded)
    }
}

impl Watermarks {
    /// Up to where a reader of the log finds less than was in it.
    pub(crate) fn of_log(self, means_recorded: bool) -> Position {
        if means_recorded { self.transitions.max(self.deliveries) } else { self.transitions }
    }

    pub(crate) fn of(self, what: Purgeable) -> Position {
        match what {
            Purgeable::Bodies => self.bodies,
            Purgeable::Deliveries => self.deliveries,
        }
    }

    /// With everything of that kind gone through `position`.
    pub(crate) fn passed(self, what: Purgeable, position: Position) -> Self {
        match what {
            Purgeable::Bodies => Self { bodies: self.bodies.max(position), ..self },
            Purgeable::Deliveries => {
                Self { bodies: self.bodies.max(position), deliveries: self.deliveries.max(position), ..self }
            }
        }
    }
}

/// When the service made the id of a delivery.
fn time_of(delivery_id: Uuid) -> Option<Micros> {
    let (seconds, nanos) = delivery_id.get_timestamp()?.to_unix();
    Micros::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(Micros::from(nanos / 1_000))
}

#[cfg(test)]
mod tests;
