//! The run that compares: limits, plain handlers and full paths, window by window in turn, and medians of all rounds.
//!
//! Each store has a part of the run for itself: what a database server tidies up behind its windows, for minutes, is
//! beside no other store's.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use calbridge_e2e::program::Program;
use tokio::task::spawn_blocking;

use super::{
    closed::{self, Until, Window},
    disk::{self, Disk},
    limits::Limit,
    open::{self, Schedule},
    rig::{Ground, Plain, Rig, Store, Traces},
    sample::Sample,
    target::{Next, Target},
    wire::Client,
};

/// Under load before anything counts.
pub(super) const WARM_UP: Duration = Duration::from_millis(400);
/// Connections of the open loop: more than webhooks are ever under way while the rate is held.
pub(super) const OPEN_CONNECTIONS: usize = 256;
/// What of a failed case's log lines is shown.
const SHOWN_LOG: usize = 2_000;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Extent {
    /// How often each window is repeated.
    pub rounds: u32,
    /// How long a closed window is.
    pub window: Duration,
    /// How long an open window is: rare answers are what it looks for.
    pub open_window: Duration,
    /// Keep-alive connections of the closed loops.
    pub connections: Vec<usize>,
    /// Webhooks a second of the open loops.
    pub rates: Vec<u32>,
    /// What the closed loops send with.
    pub client: Client,
    /// Whether webhooks are new ones alone: then a duplicate is a fault.
    pub all_new: bool,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Keeps nothing. It is measured beside the paths of a store.
    Limit(Limit, Store),
    /// A plain durable handler.
    Plain(Store),
    /// The full durable path.
    Full(Store, Traces),
}

impl Case {
    /// As the report names it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Limit(limit, Store::Sqlite) => limit.name().to_owned(),
            Self::Limit(limit, Store::Postgres) => format!("{}, beside {}", limit.name(), Store::Postgres.name()),
            Self::Plain(store) => format!("a plain handler, {} + Redis", store.name()),
            Self::Full(store, traces) => format!("{} + Redis, {}", store.name(), traces.name()),
        }
    }

    /// In whose part of the run it is measured.
    fn store(self) -> Store {
        let (Self::Limit(_, store) | Self::Plain(store) | Self::Full(store, _)) = self;
        store
    }
}

/// How it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// So many connections, each with one webhook under way.
    Closed(usize),
    /// The same with one body over and over.
    Storm(usize),
    /// So many webhooks a second.
    Open(u32),
}

/// One case under one load: a sample of each round.
#[derive(Debug)]
pub struct Cell {
    /// What.
    pub case: Case,
    /// How.
    pub load: Load,
    /// In the order of the rounds.
    pub samples: Vec<Sample>,
}

/// What a case's store took.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Whose.
    pub case: Case,
    /// Webhooks in it.
    pub webhooks: u64,
    /// What they take.
    pub disk: Disk,
}

/// All that a run showed.
#[derive(Debug, Default)]
pub struct Results {
    /// In the order of the first round.
    pub cells: Vec<Cell>,
    /// Of the full paths under closed loops.
    pub stored: Vec<Stored>,
    /// Why nothing was measured on `PostgreSQL`, where nothing was.
    pub no_postgres: Option<String>,
}

impl Results {
    /// What was measured of a case under a load.
    #[must_use]
    pub fn cell(&self, case: Case, load: Load) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.case == case && cell.load == load)
    }

    /// Of the rate of bare hyper over as many connections, in the same round of the same store's part.
    #[must_use]
    pub fn of_bare(&self, cell: &Cell) -> Option<f64> {
        let Load::Closed(_) = cell.load else { return None };
        cell.ratio(self.cell(Case::Limit(Limit::Bare, cell.case.store()), cell.load)?)
    }

    /// Of the rate of a plain handler over as many connections and the same store, in the same round.
    #[must_use]
    pub fn of_plain(&self, cell: &Cell) -> Option<f64> {
        let (Case::Full(store, _), Load::Closed(_)) = (cell.case, cell.load) else { return None };
        cell.ratio(self.cell(Case::Plain(store), cell.load)?)
    }

    fn add(&mut self, case: Case, load: Load, sample: Sample) {
        match self.cells.iter_mut().find(|cell| cell.case == case && cell.load == load) {
            Some(cell) => cell.samples.push(sample),
            None => self.cells.push(Cell { case, load, samples: vec![sample] }),
        }
    }
}

impl Cell {
    /// The median of what is read off each sample.
    #[must_use]
    pub fn median(&self, read: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(read).collect()).unwrap_or_default()
    }

    /// The median of the ratios of this one's rate to another's, round by round.
    #[must_use]
    pub fn ratio(&self, to: &Self) -> Option<f64> {
        let pairs = self.samples.iter().zip(&to.samples);
        median(pairs.map(|(sample, to)| sample.rate() / to.rate()).collect())
    }
}

/// The one in the middle, or between the two in the middle.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(values[middle - 1], upper)) }
}

/// Something that is up.
struct Subject {
    case: Case,
    target: Arc<Target>,
    up: Up,
}

enum Up {
    Limit { _program: Program },
    Plain(Box<Plain>),
    Rig(Box<Rig>),
}

/// Measures everything.
///
/// # Errors
///
/// A program does not start, or a webhook failed. A store that can't be used is a missing case instead.
pub async fn run(ground: &Ground, extent: &Extent) -> anyhow::Result<Results> {
    let mut results = Results::default();
    for store in [Store::Sqlite, Store::Postgres] {
        closed_part(ground, store, extent, &mut results).await?;
        open_part(ground, store, extent, &mut results).await?;
    }
    Ok(results)
}

async fn closed_part(ground: &Ground, store: Store, extent: &Extent, results: &mut Results) -> anyhow::Result<()> {
    let limits: &[Limit] = match store {
        Store::Sqlite => &[Limit::Bare, Limit::Hmac, Limit::Json],
        Store::Postgres => &[Limit::Bare],
    };
    let limits = limits.iter().map(|limit| Case::Limit(*limit, store));
    // What is compared stands side by side: a machine that others share is another one a few seconds later.
    let full = [Traces::Off, Traces::Tenth, Traces::All].map(|traces| Case::Full(store, traces));
    let cases = limits.chain([Case::Plain(store)]).chain(full);
    let subjects = start(ground, &format!("{}-closed", store.name()), cases, results).await?;
    if store == Store::Postgres && results.no_postgres.is_some() {
        return Ok(());
    }
    for round in 1..=extent.rounds {
        for connections in &extent.connections {
            closed_round(&subjects, *connections, round, extent, results).await?;
        }
    }
    stop(subjects, results).await
}

async fn open_part(ground: &Ground, store: Store, extent: &Extent, results: &mut Results) -> anyhow::Result<()> {
    let full = Case::Full(store, Traces::Tenth);
    let cases = match store {
        Store::Sqlite => vec![Case::Plain(store), full],
        Store::Postgres => vec![full],
    };
    let subjects = start(ground, &format!("{}-open", store.name()), cases, results).await?;
    for round in 1..=extent.rounds {
        for rate in &extent.rates {
            let schedule = Schedule { rate: *rate, warm_up: WARM_UP, counted: extent.open_window };
            for subject in &subjects {
                let load = Load::Open(*rate);
                let target = Arc::clone(&subject.target);
                let work = move || open::run(&target, OPEN_CONNECTIONS, schedule);
                window(subject, load, round, extent, results, work).await?;
            }
        }
    }
    stop(subjects, &mut Results::default()).await
}

async fn closed_round(
    subjects: &[Subject],
    connections: usize,
    round: u32,
    extent: &Extent,
    results: &mut Results,
) -> anyhow::Result<()> {
    let times = Window { warm_up: WARM_UP, until: Until::Passed(extent.window) };
    let client = extent.client;
    let first = extent.connections.first() == Some(&connections);
    for subject in subjects {
        let target = Arc::clone(&subject.target);
        let work = move || closed::run(&target, closed::Load { client, connections, next: Next::New }, times);
        window(subject, Load::Closed(connections), round, extent, results, work).await?;
        // Once, and right behind the rate with which it is compared.
        if first && subject.case == Case::Full(Store::Sqlite, Traces::Tenth) {
            let target = Arc::clone(&subject.target);
            let work = move || closed::run(&target, closed::Load { client, connections, next: Next::TheFirst }, times);
            window(subject, Load::Storm(connections), round, extent, results, work).await?;
        }
    }
    Ok(())
}

async fn window(
    subject: &Subject,
    load: Load,
    round: u32,
    extent: &Extent,
    results: &mut Results,
    work: impl FnOnce() -> anyhow::Result<Sample> + Send + 'static,
) -> anyhow::Result<()> {
    let name = subject.case.name();
    let sample = spawn_blocking(work).await?;
    let sample = sample.with_context(|| format!("{name}, {}\n{}", load.name(), subject.tail()))?;
    check(load, &sample, extent.all_new).with_context(|| format!("{name}, {}", load.name()))?;
    let rounds = extent.rounds;
    eprintln!("round {round}/{rounds}  {name}, {}: {:.0}/s", load.name(), sample.rate());
    if let Some(fault) = sample.pace.and_then(|pace| pace.fault()) {
        eprintln!("             {fault}");
    }
    results.add(subject.case, load, sample);
    Ok(())
}

/// Whether what was measured is what was meant.
fn check(load: Load, sample: &Sample, all_new: bool) -> anyhow::Result<()> {
    if sample.answers == 0 {
        bail!("nothing was answered within {:.1} s", sample.seconds);
    }
    match load {
        Load::Storm(_) if sample.duplicates != sample.answers => {
            bail!("{} of {} copies were no duplicates", sample.answers - sample.duplicates, sample.answers)
        }
        Load::Closed(_) | Load::Open(_) if all_new && sample.duplicates > 0 => {
            bail!("{} of {} new webhooks were answered as duplicates", sample.duplicates, sample.answers)
        }
        _ => Ok(()),
    }
}

impl Load {
    /// As the report names it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Closed(connections) => format!("{connections} connections"),
            Self::Storm(connections) => format!("{connections} connections, one body over and over"),
            Self::Open(rate) => format!("{rate}/s"),
        }
    }
}

impl Subject {
    fn tail(&self) -> String {
        let said = match &self.up {
            Up::Limit { .. } => return String::new(),
            Up::Plain(plain) => plain.said(),
            Up::Rig(rig) => rig.said(),
        };
        let mut from = said.len().saturating_sub(SHOWN_LOG);
        while !said.is_char_boundary(from) {
            from += 1;
        }
        said[from..].to_owned()
    }
}

async fn start(
    ground: &Ground,
    part: &str,
    cases: impl IntoIterator<Item = Case>,
    results: &mut Results,
) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for (number, case) in cases.into_iter().enumerate() {
        // What held the first of them up holds up the next.
        let on_postgres = matches!(case, Case::Plain(Store::Postgres) | Case::Full(Store::Postgres, _));
        if on_postgres && results.no_postgres.is_some() {
            continue;
        }
        match subject(ground, &format!("{part}-{number}"), case).await {
            Ok(subject) => subjects.push(subject),
            Err(why) if on_postgres => {
                eprintln!("PostgreSQL: not measured: {why:#}");
                results.no_postgres = Some(format!("{why:#}"));
            }
            Err(why) => return Err(why.context(case.name())),
        }
    }
    Ok(subjects)
}

async fn subject(ground: &Ground, name: &str, case: Case) -> anyhow::Result<Subject> {
    let (target, up) = match case {
        Case::Limit(limit, _) => {
            let (program, target) = ground.limit(limit).await?;
            (target, Up::Limit { _program: program })
        }
        Case::Plain(store) => {
            let plain = ground.plain(name, store).await?;
            (Arc::clone(&plain.target), Up::Plain(Box::new(plain)))
        }
        Case::Full(store, traces) => {
            let rig = ground.rig(name, store, traces).await?;
            (Arc::clone(&rig.target), Up::Rig(Box::new(rig)))
        }
    };
    Ok(Subject { case, target, up })
}

async fn stop(subjects: Vec<Subject>, results: &mut Results) -> anyhow::Result<()> {
    for Subject { case, target, up } in subjects {
        if let Up::Rig(rig) = up {
            let disk = disk::of(&rig.stop().await).await?;
            results.stored.push(Stored { case, webhooks: target.sent(), disk });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::webhooks::latency::Latency;

    fn sample(answers: u64, duplicates: u64) -> Sample {
        let (cpu, memory) = (BTreeMap::new(), BTreeMap::new());
        Sample { seconds: 2.0, answers, duplicates, latency: Latency::new(), cpu, memory, pace: None }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(vec![9.0, 1.0, 4.0, 2.0]), Some(3.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut results = Results::default();
        let (bare, full) = (Case::Limit(Limit::Bare, Store::Sqlite), Case::Full(Store::Sqlite, Traces::Tenth));
        // The second round was disturbed: half as much of everything.
        for (of_bare, of_full) in [(1_000, 200), (500, 100), (1_000, 210)] {
            results.add(bare, Load::Closed(64), sample(of_bare, 0));
            results.add(full, Load::Closed(64), sample(of_full, 0));
        }
        let cell = results.cell(full, Load::Closed(64)).unwrap();
        assert_eq!(results.of_bare(cell), Some(0.2));
        assert!((cell.median(Sample::rate) - 100.0).abs() < f64::EPSILON);
    }

    #[test]
    fn each_store_is_compared_with_the_limit_of_its_own_part() {
        let mut results = Results::default();
        for (store, of_bare) in [(Store::Sqlite, 1_000), (Store::Postgres, 500)] {
            results.add(Case::Limit(Limit::Bare, store), Load::Closed(64), sample(of_bare, 0));
            results.add(Case::Full(store, Traces::Off), Load::Closed(64), sample(100, 0));
        }
        let of_bare = [Store::Sqlite, Store::Postgres].map(|store| {
            let cell = results.cell(Case::Full(store, Traces::Off), Load::Closed(64));
            results.of_bare(cell.unwrap())
        });
        assert_eq!(of_bare, [Some(0.1), Some(0.2)]);
    }

    #[test]
    fn what_was_not_meant_is_no_result() {
        assert!(check(Load::Closed(64), &sample(10, 0), true).is_ok());
        assert!(check(Load::Closed(64), &sample(10, 1), true).is_err());
        assert!(check(Load::Closed(64), &sample(10, 1), false).is_ok());
        assert!(check(Load::Storm(64), &sample(10, 9), true).is_err());
        assert!(check(Load::Open(1_000), &sample(0, 0), true).is_err());
    }
}
