//! What the spool costs while nothing is wrong, and what it can take: the edge without one, with one behind the commit,
//! and with one that answers before it; and beside that bare hyper, and a plain log.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use calbridge_e2e::program::Program;
use serde_json::{Value, json};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    closed::{self, Until, Window},
    comparison::{Extent, OPEN_CONNECTIONS, WARM_UP},
    goals::{Goal, of_spool},
    ground::Ground,
    limits::Limit,
    open::{self, Schedule},
    report::{sample_json, table},
    results::median,
    rig::{Rig, Spool, Store, Traces},
    sample::Sample,
    target::{Next, Target},
};

/// Keep-alive connections of the closed loops.
const CONNECTIONS: [usize; 2] = [64, 256];
/// Between two looks at what waits in a spool.
const LOOK: Duration = Duration::from_millis(50);
/// For a burst to be sent on.
const DRAIN_MOST: Duration = Duration::from_mins(2);

/// One edge, or what it is compared with.
#[derive(Debug)]
pub struct Edge {
    what: What,
    /// Of closed loops over so many connections, round by round.
    closed: Vec<(usize, Vec<Sample>)>,
    /// Of each rate, round by round.
    open: Vec<(u32, Vec<Sample>)>,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Limit(Limit),
    Edge(Spool),
}

/// Something that is up.
enum Up {
    Limit { _program: Program, target: Arc<Target> },
    Rig(Box<Rig>),
}

impl Up {
    fn target(&self) -> Arc<Target> {
        match self {
            Self::Limit { target, .. } => Arc::clone(target),
            Self::Rig(rig) => Arc::clone(&rig.target),
        }
    }

    /// Waits until nothing is left in its spool: a burst of one window is no burden of the next.
    async fn rest(&self) -> anyhow::Result<()> {
        let Self::Rig(rig) = self else { return Ok(()) };
        let end = Instant::now() + DRAIN_MOST;
        while rig.spooled().await > 0.0 {
            if Instant::now() >= end {
                bail!("a spool is not empty {DRAIN_MOST:?} after a burst\n{}", rig.said());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Measures all of them in turn.
///
/// # Errors
///
/// A program does not start, or a webhook failed.
pub async fn run(ground: &Ground, extent: &Extent) -> anyhow::Result<Vec<Edge>> {
    let mut edges = Vec::new();
    for limit in [Limit::Bare, Limit::Log] {
        let (program, target) = ground.limit(limit).await?;
        edges.push((Edge::new(What::Limit(limit), extent), Up::Limit { _program: program, target }));
    }
    // What is compared stands side by side: a machine that others share is another one a few seconds later.
    for spool in [Spool::First, Spool::Off, Spool::Behind] {
        let rig = ground.rig_with(spool.word(), Store::Sqlite, Traces::Tenth, spool).await?;
        edges.push((Edge::new(What::Edge(spool), extent), Up::Rig(Box::new(rig))));
    }
    for round in 1..=extent.rounds {
        for (place, connections) in CONNECTIONS.into_iter().enumerate() {
            for (edge, up) in &mut edges {
                let target = up.target();
                let times = Window { warm_up: WARM_UP, until: Until::Passed(extent.window) };
                let load = closed::Load { client: extent.client, connections, next: Next::New };
                let sample = spawn_blocking(move || closed::run(&target, load, times)).await?;
                let sample = sample.with_context(|| edge.name())?;
                let (name, rate) = (edge.name(), sample.rate());
                eprintln!("round {round}/{}  {name}, {connections} connections: {rate:.0}/s", extent.rounds);
                edge.closed[place].1.push(sample);
                up.rest().await?;
            }
        }
        for place in 0..extent.rates.len() {
            for (edge, up) in &mut edges {
                let target = up.target();
                let (rate, samples) = &mut edge.open[place];
                let schedule = Schedule { rate: *rate, warm_up: WARM_UP, counted: extent.open_window };
                let sample = spawn_blocking(move || open::run(&target, OPEN_CONNECTIONS, schedule)).await??;
                samples.push(sample);
                up.rest().await?;
            }
        }
    }
    let mut all = Vec::new();
    for (edge, up) in edges {
        if let Up::Rig(rig) = up {
            rig.stop().await;
        }
        all.push(edge);
    }
    Ok(all)
}

impl Edge {
    fn new(what: What, extent: &Extent) -> Self {
        Self {
            what,
            closed: CONNECTIONS.map(|connections| (connections, Vec::new())).to_vec(),
            open: extent.rates.iter().map(|rate| (*rate, Vec::new())).collect(),
        }
    }

    fn name(&self) -> &'static str {
        match self.what {
            What::Limit(limit) => limit.name(),
            What::Edge(spool) => spool.name(),
        }
    }

    /// The median of the ratios of the rates over so many connections, round by round.
    fn of(&self, other: &Self, connections: usize) -> Option<f64> {
        let pairs = self.over(connections)?.iter().zip(other.over(connections)?);
        median(pairs.map(|(sample, other)| sample.rate() / other.rate()).collect())
    }

    /// What is read off its windows at a rate, of what is read off the other's.
    fn paced(&self, other: &Self, rate: u32, read: fn(&Sample) -> f64) -> Option<f64> {
        Some(self.at(rate, read)? / other.at(rate, read)?)
    }

    fn over(&self, connections: usize) -> Option<&[Sample]> {
        let (_, samples) = self.closed.iter().find(|(over, _)| *over == connections)?;
        Some(samples)
    }

    /// The median of what is read off each sample at a rate.
    fn at(&self, rate: u32, read: impl Fn(&Sample) -> f64) -> Option<f64> {
        let (_, samples) = self.open.iter().find(|(at, _)| *at == rate)?;
        median(samples.iter().map(read).collect())
    }
}

fn p50(sample: &Sample) -> f64 {
    sample.latency.percentiles().p50
}

fn p99(sample: &Sample) -> f64 {
    sample.latency.percentiles().p99
}

/// How near all of it is to what it should be.
#[must_use]
pub fn goals(edges: &[Edge]) -> Vec<Goal> {
    let [bare, log, first, off, behind] = edges else { return Vec::new() };
    of_spool([
        behind.of(off, 64),
        behind.of(off, 256),
        behind.paced(off, 1_000, p50),
        behind.paced(off, 1_000, p99),
        behind.paced(off, 5_000, p50),
        behind.paced(off, 5_000, p99),
        first.of(bare, 64),
        first.of(bare, 256),
        first.of(log, 64),
        first.of(log, 256),
        first.at(5_000, p99),
        first.paced(log, 5_000, p99),
    ])
}

/// For people.
#[must_use]
pub fn tables(edges: &[Edge]) -> String {
    let columns = ["edge", "load", "webhooks/s", "adapter µs", "service µs", "p50 ms", "p99 ms", "p99.9 ms"];
    let mut table = table(&columns, 2);
    for edge in edges {
        let closed = edge.closed.iter().map(|(connections, samples)| (format!("{connections} connections"), samples));
        let open = edge.open.iter().map(|(rate, samples)| (format!("{rate}/s"), samples));
        for (load, samples) in closed.chain(open).filter(|(_, samples)| !samples.is_empty()) {
            let median = |read: &dyn Fn(&Sample) -> f64| median(samples.iter().map(read).collect()).unwrap_or_default();
            table.add_row([
                edge.name().to_owned(),
                load,
                format!("{:.0}", median(&Sample::rate)),
                format!("{:.1}", median(&|sample| sample.cpu_of(&["adapter"]))),
                format!("{:.1}", median(&|sample| sample.cpu_of(&["service"]))),
                format!("{:.2}", median(&p50)),
                format!("{:.2}", median(&p99)),
                format!("{:.2}", median(&|sample| sample.latency.percentiles().p999)),
            ]);
        }
    }
    format!("SQLite + Redis, traces 10 %\n\n{table}\n")
}

/// For programs.
#[must_use]
pub fn json(edges: &[Edge]) -> Value {
    let windows = |samples: &[Sample]| samples.iter().map(sample_json).collect::<Vec<_>>();
    let one = |edge: &Edge| {
        let open = edge.open.iter().map(|(rate, samples)| json!({"rate": rate, "windows": windows(samples)}));
        let closed = edge.closed.iter();
        let closed = closed.map(|(over, samples)| json!({"connections": over, "windows": windows(samples)}));
        json!({"edge": edge.name(), "closed": closed.collect::<Vec<_>>(), "open": open.collect::<Vec<_>>()})
    };
    json!({
        "edges": edges.iter().map(one).collect::<Vec<_>>(),
        "goals": goals(edges).iter().map(Goal::json).collect::<Vec<_>>(),
    })
}
