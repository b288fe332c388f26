//! The run that compares: limits, plain handlers and full paths, window by window in turn, and medians of all rounds.
//!
//! Each round of each store stands on ground of its own: stores are empty when its windows begin, a database server is
//! new, and nothing that was left behind is tidied up beside it. So rounds are rounds of the same; how speed changes
//! with what is stored is looked at for itself ([`growth`](super::growth)). It also keeps the machine's memory warm: on
//! a virtual machine the host may give a page of memory only when it is touched first, at many times the cost of the
//! page, and files that grow through a whole run touch ever new ones.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use calbridge_e2e::program::Program;
use tokio::task::spawn_blocking;

use super::{
    closed::{self, Until, Window},
    disk,
    ground::{Ground, Site},
    limits::Limit,
    open::{self, Schedule},
    results::{Case, Load, Results},
    rig::{Plain, Rig, Store, Traces},
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

/// Measures everything, on `PostgreSQL` too where it is asked for.
///
/// # Errors
///
/// A program does not start, or a webhook failed. A store that can't be used is a missing case instead.
pub async fn run(site: &Site, postgres: bool, extent: &Extent) -> anyhow::Result<Results> {
    let mut results = Results::default();
    if !postgres {
        results.no_postgres = Some("it was not asked for".to_owned());
    }
    for store in [Store::Sqlite, Store::Postgres] {
        for round in 1..=extent.rounds {
            closed_round(site, store, round, extent, &mut results).await?;
        }
        for round in 1..=extent.rounds {
            open_round(site, store, round, extent, &mut results).await?;
        }
    }
    Ok(results)
}

async fn closed_round(
    site: &Site,
    store: Store,
    round: u32,
    extent: &Extent,
    results: &mut Results,
) -> anyhow::Result<()> {
    let limits: &[Limit] = match store {
        Store::Sqlite => &[Limit::Bare, Limit::Hmac, Limit::Json],
        Store::Postgres => &[Limit::Bare],
    };
    let limits = limits.iter().map(|limit| Case::Limit(*limit, store));
    // What is compared stands side by side: a machine that others share is another one a few seconds later.
    let full = [Traces::Off, Traces::Tenth, Traces::All].map(|traces| Case::Full(store, traces));
    let cases = limits.chain([Case::Plain(store)]).chain(full);
    let Some((ground, subjects)) = start(site, store, cases, results).await? else { return Ok(()) };
    for connections in &extent.connections {
        closed_windows(&subjects, *connections, round, extent, results).await?;
    }
    for Subject { case, target, up } in subjects {
        if let Up::Rig(rig) = up {
            let disk = disk::of(&rig.stop().await).await?;
            results.add_stored(case, target.sent(), disk);
        }
    }
    drop(ground);
    Ok(())
}

async fn open_round(
    site: &Site,
    store: Store,
    round: u32,
    extent: &Extent,
    results: &mut Results,
) -> anyhow::Result<()> {
    let full = Case::Full(store, Traces::Tenth);
    let cases = match store {
        Store::Sqlite => vec![Case::Plain(store), full],
        Store::Postgres => vec![full],
    };
    let Some((_ground, subjects)) = start(site, store, cases, results).await? else { return Ok(()) };
    for rate in &extent.rates {
        let schedule = Schedule { rate: *rate, warm_up: WARM_UP, counted: extent.open_window };
        for subject in turned(&subjects, round) {
            let load = Load::Open(*rate);
            let target = Arc::clone(&subject.target);
            let work = move || open::run(&target, OPEN_CONNECTIONS, schedule);
            window(subject, load, round, extent, results, work).await?;
        }
    }
    // Killed, a program that counts what it does (`deploy/train`) would leave no counts.
    for subject in subjects {
        if let Up::Rig(rig) = subject.up {
            rig.stop().await;
        }
    }
    Ok(())
}

async fn closed_windows(
    subjects: &[Subject],
    connections: usize,
    round: u32,
    extent: &Extent,
    results: &mut Results,
) -> anyhow::Result<()> {
    let times = Window { warm_up: WARM_UP, until: Until::Passed(extent.window) };
    let client = extent.client;
    let first = extent.connections.first() == Some(&connections);
    for subject in turned(subjects, round) {
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

/// From one end in one round and from the other in the next: what changes in the course of a round falls on all alike.
fn turned<T>(subjects: &[T], round: u32) -> Vec<&T> {
    let mut turned: Vec<&T> = subjects.iter().collect();
    if round.is_multiple_of(2) {
        turned.reverse();
    }
    turned
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

/// Starts everything of a round; nothing where its store can't be used.
async fn start(
    site: &Site,
    store: Store,
    cases: impl IntoIterator<Item = Case>,
    results: &mut Results,
) -> anyhow::Result<Option<(Ground, Vec<Subject>)>> {
    if store == Store::Postgres && results.no_postgres.is_some() {
        return Ok(None);
    }
    let ground = Ground::prepare(site, store == Store::Postgres).await?;
    let mut subjects = Vec::new();
    for (number, case) in cases.into_iter().enumerate() {
        match subject(&ground, &format!("store-{number}"), case).await {
            Ok(subject) => subjects.push(subject),
            Err(why) if store == Store::Postgres => {
                eprintln!("PostgreSQL: not measured: {why:#}");
                results.no_postgres = Some(format!("{why:#}"));
                return Ok(None);
            }
            Err(why) => return Err(why.context(case.name())),
        }
    }
    Ok(Some((ground, subjects)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_begin_at_both_ends_in_turn() {
        let first = |round| turned(&["bare", "full"], round).first().copied().copied();
        assert_eq!([1, 2, 3].map(first), [Some("bare"), Some("full"), Some("bare")]);
    }

    #[test]
    fn what_was_not_meant_is_no_result() {
        assert!(check(Load::Closed(64), &Sample::of(10, 0), true).is_ok());
        assert!(check(Load::Closed(64), &Sample::of(10, 1), true).is_err());
        assert!(check(Load::Closed(64), &Sample::of(10, 1), false).is_ok());
        assert!(check(Load::Storm(64), &Sample::of(10, 9), true).is_err());
        assert!(check(Load::Open(1_000), &Sample::of(0, 0), true).is_err());
    }
}
