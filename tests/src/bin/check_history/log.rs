//! The truth: the log as the store has it in the end. It must itself be a log: its places rise, each change of a
//! booking begins where the one before it ended, and whatever a sender was told has changed something is there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    Report,
    entry::{Entry, Position},
    history::{Fact, History},
    plan::Scope,
};

/// Every entry, by its place.
#[derive(Debug, Default)]
pub(crate) struct Log(pub(crate) BTreeMap<Position, Entry>);

impl Log {
    pub(crate) fn of(history: &History, report: &mut Report) -> Self {
        let mut log = BTreeMap::new();
        let mut causes = BTreeSet::new();
        let mut statuses: HashMap<(&str, &str), i32> = HashMap::new();
        for fact in &history.truth {
            let Fact::Log { entry, delivery } = fact else { continue };
            if log.last_key_value().is_some_and(|(last, _)| *last >= entry.position) {
                report.violation(format!("the store's log is not in order at {entry}"));
            }
            if entry.kind != 0 {
                let before = statuses.insert((&entry.tenant, &entry.uid), entry.to).unwrap_or(0);
                if before != entry.from {
                    report.violation(format!("{entry} does not begin where its booking stood, which is {before}"));
                }
            }
            causes.insert(delivery.as_str());
            log.insert(entry.position, entry.clone());
        }
        let mut changes = 0;
        for answer in &history.answers {
            let is_there = causes.contains(answer.delivery.as_str());
            if ["applied", "recorded"].contains(&answer.outcome.as_str()) {
                changes += 1;
                if !is_there {
                    let (delivery, outcome) = (&answer.delivery, &answer.outcome);
                    report.violation(format!("the sender of {delivery} was told {outcome}, and the log has nothing"));
                }
            }
        }
        report.checked(format!(
            "the log: {} entries of {} bookings, in order; {} webhooks were answered, {changes} of them with a change \
             that is there",
            log.len(),
            statuses.len(),
            history.answers.len(),
        ));
        Self(log)
    }

    /// What somebody was to see, in order.
    pub(crate) fn meant<'l>(&'l self, scope: &Scope, report: &mut Report) -> BTreeMap<Position, &'l Entry> {
        let mut meant = BTreeMap::new();
        for (position, entry) in &self.0 {
            match scope.means(entry) {
                Ok(true) => drop(meant.insert(*position, entry)),
                Ok(false) => {}
                Err(why) => {
                    report.violation(why);
                    break;
                }
            }
        }
        meant
    }
}
