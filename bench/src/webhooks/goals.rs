//! The speed to reach, line by line, beside what was measured. It informs; nothing fails by it.

use serde_json::{Value, json};

use super::{
    meter::Memory,
    results::{Case, Load, Results},
    rig::{Store, Traces},
    sample::count,
};

/// The path that the goals speak of.
const SQLITE: Case = Case::Full(Store::Sqlite, Traces::Tenth);
const POSTGRES: Case = Case::Full(Store::Postgres, Traces::Tenth);

/// What the trial of such a handler had where the goals were set: of bare hyper, milliseconds, microseconds. What is
/// asked of calbridge beside a plain handler is what was asked beside this one, as if the two handlers were one.
mod trial {
    pub(super) const SQLITE_64: f64 = 0.16;
    pub(super) const SQLITE_256: f64 = 0.19;
    pub(super) const POSTGRES_64: f64 = 0.13;
    pub(super) const P99_AT_1_000: f64 = 5.5;
    pub(super) const P99_AT_5_000: f64 = 12.0;
    pub(super) const CPU: f64 = 94.0;
}

/// Where the goals were set, a trial of such a log took 0.61 of bare hyper's rate, and the edge is to take 0.4; and the
/// trial had a p99 of 1 ms where the edge's is to be under 2.
const BURST_OF_LOG: f64 = 0.4 / 0.61;
const MIB: f64 = 1_024.0 * 1_024.0;

/// A goal and how near it is.
#[derive(Debug)]
pub struct Goal {
    /// What is measured.
    pub what: String,
    /// Nothing where it was not.
    pub measured: Option<f64>,
    /// What it should be.
    pub reach: Reach,
}

/// What a goal asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reach {
    /// So much or more.
    AtLeast(f64),
    /// Less than this.
    Under(f64),
}

impl Goal {
    /// Whether it is reached; nothing where it was not measured.
    #[must_use]
    pub fn reached(&self) -> Option<bool> {
        self.measured.map(|measured| match self.reach {
            Reach::AtLeast(least) => measured >= least,
            Reach::Under(most) => measured < most,
        })
    }

    /// As the JSON report has it.
    #[must_use]
    pub fn json(&self) -> Value {
        let (word, bound) = match self.reach {
            Reach::AtLeast(least) => ("at_least", least),
            Reach::Under(most) => ("under", most),
        };
        json!({ "what": self.what, "measured": self.measured, word: bound, "reached": self.reached() })
    }
}

/// Every goal of the run that compares.
#[must_use]
pub fn of(results: &Results) -> Vec<Goal> {
    let of_bare = |case, connections| results.of_bare(results.cell(case, Load::Closed(connections))?);
    let storm = || results.cell(SQLITE, Load::Storm(64))?.ratio(results.cell(SQLITE, Load::Closed(64))?);
    let mut goals = vec![
        goal("SQLite + Redis, 64 connections, of bare hyper", of_bare(SQLITE, 64), Reach::AtLeast(0.15)),
        goal("SQLite + Redis, 256 connections, of bare hyper", of_bare(SQLITE, 256), Reach::AtLeast(0.18)),
        goal("PostgreSQL + Redis, 64 connections, of bare hyper", of_bare(POSTGRES, 64), Reach::AtLeast(0.11)),
        goal("SQLite, p99 at 1,000/s, ms", p99(results, SQLITE, 1_000), Reach::Under(6.0)),
        goal("SQLite, p99 at 5,000/s, ms", p99(results, SQLITE, 5_000), Reach::Under(12.0)),
        goal("CPU µs a webhook, adapter + service, 64 connections", cpu(results, SQLITE, 64), Reach::Under(105.0)),
        goal("CPU µs a webhook, adapter + service, 256 connections", cpu(results, SQLITE, 256), Reach::Under(105.0)),
        goal("a retry storm of one body, of the rate of new ones", storm(), Reach::AtLeast(2.0)),
        goal("SQLite, bytes of file a webhook", disk(results, SQLITE), Reach::Under(3_000.0)),
        goal("adapter, MiB beside mapped files", memory(results, SQLITE, "adapter"), Reach::Under(40.0)),
        goal("service, MiB beside mapped files", memory(results, SQLITE, "service"), Reach::Under(120.0)),
    ];
    goals.extend(beside_plain(results));
    goals
}

/// The same beside a plain handler, which is as slow on a slow machine.
fn beside_plain(results: &Results) -> [Goal; 6] {
    let rate = |case, connections| results.of_plain(results.cell(case, Load::Closed(connections))?);
    let times = |of: fn(&Results, Case, u32) -> Option<f64>, load| {
        Some(of(results, SQLITE, load)? / of(results, Case::Plain(Store::Sqlite), load)?)
    };
    let (least, under) = (|asked, trial| Reach::AtLeast(asked / trial), |asked, trial| Reach::Under(asked / trial));
    [
        ("SQLite + Redis, 64 connections, of a plain handler", rate(SQLITE, 64), least(0.15, trial::SQLITE_64)),
        ("SQLite + Redis, 256 connections, of a plain handler", rate(SQLITE, 256), least(0.18, trial::SQLITE_256)),
        ("PostgreSQL + Redis, 64 connections, of a plain handler", rate(POSTGRES, 64), least(0.11, trial::POSTGRES_64)),
        ("SQLite, p99 at 1,000/s, of a plain handler's", times(p99, 1_000), under(6.0, trial::P99_AT_1_000)),
        ("SQLite, p99 at 5,000/s, of a plain handler's", times(p99, 5_000), under(12.0, trial::P99_AT_5_000)),
        ("CPU a webhook, 64 connections, of a plain handler's", times(cpu, 64), under(105.0, trial::CPU)),
    ]
    .map(|(what, measured, reach)| goal(what, measured, reach))
}

fn goal(what: &str, measured: Option<f64>, reach: Reach) -> Goal {
    Goal { what: what.to_owned(), measured, reach }
}

/// At a rate, in milliseconds.
fn p99(results: &Results, case: Case, rate: u32) -> Option<f64> {
    Some(results.cell(case, Load::Open(rate))?.median(|sample| sample.latency.percentiles().p99))
}

/// Of adapter and service together, in microseconds a webhook.
fn cpu(results: &Results, case: Case, connections: u32) -> Option<f64> {
    let connections = usize::try_from(connections).ok()?;
    Some(results.cell(case, Load::Closed(connections))?.median(|sample| sample.cpu_of(&["adapter", "service"])))
}

/// With so many stored bookings against the fewest.
#[must_use]
pub fn of_growth(bookings: u64, ratio: Option<f64>) -> Goal {
    let least = if bookings > 1_000_000 { 0.5 } else { 0.7 };
    let what = format!("with {bookings} stored bookings, of the rate with the fewest");
    Goal { what, measured: ratio, reach: Reach::AtLeast(least) }
}

/// What the spool costs while nothing is wrong, and what it can take: as `spool::goals` has measured it.
#[must_use]
pub fn of_spool(measured: [Option<f64>; 12]) -> Vec<Goal> {
    let goals = [
        ("with a spool, of the rate without one, 64 connections", Reach::AtLeast(0.9)),
        ("with a spool, of the rate without one, 256 connections", Reach::AtLeast(0.9)),
        ("with a spool, of the p50 without one, at 1,000/s", Reach::Under(1.1)),
        ("with a spool, of the p99 without one, at 1,000/s", Reach::Under(1.1)),
        ("with a spool, of the p50 without one, at 5,000/s", Reach::Under(1.1)),
        ("with a spool, of the p99 without one, at 5,000/s", Reach::Under(1.1)),
        ("--ack spooled, a burst over 64 connections, of bare hyper", Reach::AtLeast(0.4)),
        ("--ack spooled, a burst over 256 connections, of bare hyper", Reach::AtLeast(0.4)),
        ("--ack spooled, a burst over 64 connections, of a plain log", Reach::AtLeast(BURST_OF_LOG)),
        ("--ack spooled, a burst over 256 connections, of a plain log", Reach::AtLeast(BURST_OF_LOG)),
        ("--ack spooled, p99 at 5,000/s, ms", Reach::Under(2.0)),
        ("--ack spooled, p99 at 5,000/s, of a plain log's", Reach::Under(2.0)),
    ];
    let goal = |((what, reach), measured): ((&str, Reach), _)| Goal { what: what.to_owned(), measured, reach };
    goals.into_iter().zip(measured).map(goal).collect()
}

/// How far a program's memory strays to both sides of a middle, in percent of that.
#[must_use]
pub fn of_endurance(role: &str, percent: Option<f64>) -> Goal {
    Goal { what: format!("{role}, memory strays by percent"), measured: percent, reach: Reach::Under(10.0) }
}

/// Bytes of file for each webhook.
#[must_use]
pub fn disk(results: &Results, case: Case) -> Option<f64> {
    let stored = results.stored.iter().find(|stored| stored.case == case)?;
    (stored.webhooks > 0).then(|| count(stored.disk.bytes) / count(stored.webhooks))
}

/// The most that a program held beside mapped files, in MiB, over all windows.
#[must_use]
pub fn memory(results: &Results, case: Case, role: &str) -> Option<f64> {
    most(results, case, role, |memory| memory.anonymous)
}

/// The most of one part of a program's memory, in MiB.
#[must_use]
pub fn most(results: &Results, case: Case, role: &str, part: impl Fn(&Memory) -> u64) -> Option<f64> {
    let samples = results.cells.iter().filter(|cell| cell.case == case).flat_map(|cell| &cell.samples);
    let bytes = samples.filter_map(|sample| sample.memory.get(role)).map(part).max()?;
    Some(count(bytes) / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_on_its_own_side() {
        let goal = |measured, reach| Goal { what: String::new(), measured, reach };
        assert_eq!(goal(Some(0.15), Reach::AtLeast(0.15)).reached(), Some(true));
        assert_eq!(goal(Some(6.0), Reach::Under(6.0)).reached(), Some(false));
        assert_eq!(goal(None, Reach::Under(6.0)).reached(), None);
    }

    #[test]
    fn what_was_not_measured_is_no_zero() {
        let goals = of(&Results::default());
        assert_eq!(goals.len(), 17);
        assert!(goals.iter().all(|goal| goal.measured.is_none()));
    }
}
