//! The log past its retention. It lies in the order of its positions and no other, for an index by tenants would cost
//! every round; so it is walked from its beginning, once for all tenants that keep it equally long, and each walk
//! leaves out the others'.
//!
//! Invariant: of one tenant transitions go in their order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Candidate, PURGE_BYTES_MAX, RetentionPolicies, reach};
use crate::store::{Micros, Position};

/// So long at the most a transition is kept for a consumer that has not read it.
pub const CONSUMER_LAG_MAX: Duration = Duration::from_hours(365 * 24);

/// One chunk of a walk along the log.
#[derive(Debug, Clone)]
pub struct LogPurge {
    /// It goes on behind this position: no transition before it is this walk's any more.
    pub after: Position,
    /// Which walk: by how long it keeps.
    pub period: Duration,
    /// Of whom.
    pub keepers: Arc<LogKeepers>,
    /// The service's clock.
    pub now: Micros,
}

/// Who keeps the log for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogKeepers {
    /// By tenant.
    pub policies: Arc<RetentionPolicies>,
    /// Up to where every consumer of a tenant's transitions has read; those whom nobody reads are left out.
    pub floors: BTreeMap<String, Position>,
}

/// What a chunk of a walk took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogPurged {
    /// Transitions.
    pub rows: usize,
    /// The walk has come to here.
    pub through: Position,
    /// The first that is old enough and waits for its reader.
    pub held: Option<Position>,
    /// There may be more behind it.
    pub more: bool,
}

/// A transition, and whose it is.
pub(crate) struct LogCandidate {
    pub(crate) tenant: String,
    pub(crate) row: Candidate,
}

/// What a walk does with a transition that is old enough for it.
enum Verdict {
    Take,
    /// It waits for its reader.
    Hold,
    /// It is another walk's, or kept for ever.
    Leave,
}

impl LogKeepers {
    /// The walks that there are.
    #[must_use]
    pub fn periods(&self) -> BTreeSet<Duration> {
        let policies = &self.policies;
        let kept = policies.tenants.values().chain([&policies.otherwise]).filter_map(|of| of.transitions);
        // What its readers have not read goes after a year all the same.
        kept.chain((!self.floors.is_empty()).then_some(CONSUMER_LAG_MAX)).collect()
    }

    fn judge(&self, walk: Duration, tenant: &str, position: Position) -> Verdict {
        let Some(period) = self.policies.of(tenant).transitions else { return Verdict::Leave };
        let floor = self.floors.get(tenant).filter(|_| period < CONSUMER_LAG_MAX);
        match floor {
            None if walk == period => Verdict::Take,
            // Of what was read too, so that they go in their order whichever walk comes first.
            Some(_) if walk == CONSUMER_LAG_MAX => Verdict::Take,
            Some(floor) if walk == period && position <= *floor => Verdict::Take,
            Some(_) if walk == period => Verdict::Hold,
            _ => Verdict::Leave,
        }
    }
}

impl LogPurge {
    /// Which of the first [`super::PURGE_ROWS_MAX`] transitions behind `after` go.
    pub(crate) fn choose(&self, mut found: Vec<LogCandidate>) -> (Vec<LogCandidate>, LogPurged) {
        let reached = reach(found.iter().map(|found| &found.row), self.now, self.period, PURGE_BYTES_MAX);
        found.truncate(reached.rows);
        let through = found.last().map_or(self.after, |last| last.row.position);
        let mut purged = LogPurged { rows: 0, through, held: None, more: reached.more };
        found.retain(|found| match self.keepers.judge(self.period, &found.tenant, found.row.position) {
            Verdict::Take => true,
            Verdict::Hold => {
                purged.held = purged.held.or(Some(found.row.position));
                false
            }
            Verdict::Leave => false,
        });
        purged.rows = found.len();
        (found, purged)
    }

    /// Nothing, and the walk is where it was: another service is about it.
    pub(crate) fn nothing(&self) -> LogPurged {
        LogPurged { through: self.after, ..LogPurged::default() }
    }
}

/// Through which positions each tenant's are gone once these are.
pub(crate) fn passed(gone: &[LogCandidate]) -> BTreeMap<&str, Position> {
    gone.iter().map(|gone| (gone.tenant.as_str(), gone.row.position)).collect()
}

#[cfg(test)]
mod tests;
