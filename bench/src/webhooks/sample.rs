//! What one window showed.

use std::{collections::BTreeMap, time::Duration};

use super::{
    latency::Latency,
    meter::{Memory, Watched, memory, times},
    wire::{Failure, Outcome},
};

/// What connections counted within a window.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answers: u64,
    pub(super) duplicates: u64,
    /// Also outside the window proper.
    pub(super) failures: u64,
    pub(super) first_failure: Option<String>,
    pub(super) latency: Latency,
}

impl Tally {
    pub(super) fn answer(&mut self, outcome: Outcome, took: Duration) {
        self.answers += 1;
        self.duplicates += u64::from(outcome == Outcome::Duplicate);
        self.latency.record(took);
    }

    pub(super) fn failure(&mut self, failure: &Failure) {
        self.failures += 1;
        self.first_failure.get_or_insert_with(|| failure.to_string());
    }

    pub(super) fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.duplicates += other.duplicates;
        self.failures += other.failures;
        self.latency.add(&other.latency);
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    /// The sum of all, where nothing failed.
    pub(super) fn sum(parts: impl IntoIterator<Item = Self>) -> anyhow::Result<Self> {
        let mut all = Self::default();
        parts.into_iter().for_each(|part| all.add(part));
        match &all.first_failure {
            Some(first) => anyhow::bail!("{} webhooks failed; the first was {first}", all.failures),
            None => Ok(all),
        }
    }
}

/// What one window showed.
#[derive(Debug, Clone)]
pub struct Sample {
    /// How long it was.
    pub seconds: f64,
    /// Answers within it.
    pub answers: u64,
    /// How many of these said *duplicate*.
    pub duplicates: u64,
    /// How long answers took. Where webhooks were sent at a rate also of those that were due within the window and
    /// answered after it.
    pub latency: Latency,
    /// Microseconds on a core for each answer, by role.
    pub cpu: BTreeMap<&'static str, f64>,
    /// Resident memory at its end, by role.
    pub memory: BTreeMap<&'static str, Memory>,
    /// Where webhooks were sent at a rate: how well that rate was held.
    pub pace: Option<Pace>,
}

/// How well a rate was held.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Webhooks a second that were meant.
    pub rate: u32,
    /// How late webhooks of 99 in 100 were handed to a connection by the generator itself, in milliseconds.
    pub late_p99: f64,
    /// Webhooks that were due and for which no connection was free at the window's end.
    pub waiting: u64,
}

/// More webhooks than this part of a second's that wait at the end: the rate was not held.
const WAITING_MOST: f64 = 0.02;
/// A generator that is later than this measures itself, in milliseconds.
const LATE_MOST: f64 = 2.0;

impl Pace {
    /// Why the rate was not held, where it was not.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if f64::from(u32::try_from(self.waiting).unwrap_or(u32::MAX)) > f64::from(self.rate) * WAITING_MOST {
            return Some(format!("the rate is too high for it: {} webhooks waited at the end", self.waiting));
        }
        let late = self.late_p99 > LATE_MOST;
        late.then(|| format!("the generator could not keep the rate: {:.1} ms late at p99", self.late_p99))
    }
}

impl Sample {
    /// Answers a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        count(self.answers) / self.seconds
    }

    /// Microseconds on a core for each answer: the sum of these roles.
    #[must_use]
    pub fn cpu_of(&self, roles: &[&str]) -> f64 {
        roles.iter().filter_map(|role| self.cpu.get(role)).sum()
    }
}

/// Looks at processes at both ends of a window.
#[derive(Debug)]
pub(super) struct Costs<'a> {
    watched: &'a [Watched],
    before: BTreeMap<&'static str, Duration>,
}

impl<'a> Costs<'a> {
    pub(super) fn begin(watched: &'a [Watched]) -> Self {
        Self { watched, before: times(watched) }
    }

    /// Microseconds on a core since the beginning, and memory now.
    pub(super) fn end(self) -> (BTreeMap<&'static str, f64>, BTreeMap<&'static str, Memory>) {
        let after = times(self.watched);
        let spent = after.into_iter().map(|(role, time)| {
            let before = self.before.get(role).copied().unwrap_or_default();
            (role, time.saturating_sub(before).as_secs_f64() * 1e6)
        });
        (spent.collect(), memory(self.watched))
    }
}

/// Divides what was spent among the answers.
pub(super) fn for_each_answer(spent: BTreeMap<&'static str, f64>, answers: u64) -> BTreeMap<&'static str, f64> {
    spent.into_iter().map(|(role, micros)| (role, micros / count(answers.max(1)))).collect()
}

/// A count to divide by.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "no run counts to 2^53")]
pub fn count(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
impl Sample {
    /// So many answers within two seconds, of which so many were duplicates, and nothing else.
    pub(super) fn of(answers: u64, duplicates: u64) -> Self {
        let (cpu, memory) = (BTreeMap::new(), BTreeMap::new());
        Self { seconds: 2.0, answers, duplicates, latency: Latency::new(), cpu, memory, pace: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_no_result() {
        let mut failed = Tally::default();
        failed.failure(&Failure::Answer("HTTP/1.1 503".to_owned()));
        let why = Tally::sum([Tally::default(), failed]).unwrap_err().to_string();
        assert!(why.contains("1 webhooks failed") && why.contains("503"), "{why}");
    }

    #[test]
    fn a_rate_that_was_not_held_says_so() {
        let held = Pace { rate: 5_000, late_p99: 0.2, waiting: 3 };
        assert!(held.fault().is_none());
        assert!(Pace { waiting: 400, ..held }.fault().unwrap().contains("400 webhooks waited"));
        assert!(Pace { late_p99: 9.0, ..held }.fault().unwrap().contains("generator"));
    }
}
