//! Whether a store that holds millions of bookings is as quick as one that holds few: seeded stores, compared in turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    closed::{self, Load, Until, Window},
    comparison::Extent,
    goals::{Goal, of_growth},
    ground::Ground,
    meter::{Watched, times},
    report::{sample_json, table},
    results::median,
    rig::{Rig, Store, Traces},
    sample::Sample,
    target::Next,
    wire::Client,
};

const LOAD: Load = Load { client: Client::Lean, connections: 64, next: Next::New };
/// Longer than between empty stores: pages of the indexes have to be met again.
const WARM_UP: Duration = Duration::from_secs(1);

/// Whose work is waited for.
const RESTING: [&str; 2] = ["service", "postgres"];
/// Between two looks at the time that they spent...
const REST_LOOK: Duration = Duration::from_secs(2);
/// ...which says that they rest when it is no more than this.
const REST_WORK: Duration = Duration::from_millis(60);
/// Ten million bookings are merged in a few minutes.
const REST_MOST: Duration = Duration::from_mins(15);

/// A store with so many bookings.
#[derive(Debug)]
pub struct Grown {
    bookings: u64,
    samples: Vec<Sample>,
}

/// Seeds a store for each of these numbers and compares them.
///
/// # Errors
///
/// A program does not start, a store can't be seeded, or a webhook failed.
pub async fn run(ground: &Ground, extent: &Extent, store: Store, bookings: &[u64]) -> anyhow::Result<Vec<Grown>> {
    let mut rigs = Vec::new();
    let mut grown = Vec::new();
    for count in bookings {
        rigs.push(seeded(ground, store, *count).await?);
        grown.push(Grown { bookings: *count, samples: Vec::new() });
    }
    let window = Window { warm_up: WARM_UP, until: Until::Passed(extent.window) };
    for round in 1..=extent.rounds {
        for (rig, grown) in rigs.iter().zip(&mut grown) {
            let target = Arc::clone(&rig.target);
            let sample = spawn_blocking(move || closed::run(&target, LOAD, window)).await?;
            let sample = sample.with_context(|| rig.said())?;
            eprintln!("round {round}/{}  {} bookings: {:.0}/s", extent.rounds, grown.bookings, sample.rate());
            grown.samples.push(sample);
        }
    }
    for rig in rigs {
        rig.stop().await;
    }
    Ok(grown)
}

/// Starts over a store that holds so many bookings, and waits until what filling it left to be done is done.
async fn seeded(ground: &Ground, store: Store, bookings: u64) -> anyhow::Result<Rig> {
    let webhooks = ground.traffic().webhooks_of(bookings);
    let rig = ground.seeded(&format!("seeded-{bookings}"), store, Traces::Tenth, webhooks).await?;
    rest(&rig.target.watched).await?;
    Ok(rig)
}

/// Waits until the programs do next to nothing: sorted runs are merged, pages are written.
async fn rest(watched: &[Watched]) -> anyhow::Result<()> {
    let at_work: Vec<_> = watched.iter().filter(|process| RESTING.contains(&process.role)).cloned().collect();
    let end = Instant::now() + REST_MOST;
    while Instant::now() < end {
        let before: Duration = times(&at_work).values().sum();
        sleep(REST_LOOK).await;
        let after: Duration = times(&at_work).values().sum();
        if after.saturating_sub(before) <= REST_WORK {
            return Ok(());
        }
    }
    bail!("the programs are still at work {REST_MOST:?} after their store was filled")
}

/// Of the rate with the fewest bookings, round by round.
fn ratio(grown: &Grown, fewest: &Grown) -> Option<f64> {
    let pairs = grown.samples.iter().zip(&fewest.samples);
    median(pairs.map(|(sample, fewest)| sample.rate() / fewest.rate()).collect())
}

/// How the larger ones compare with the first.
#[must_use]
pub fn goals(grown: &[Grown]) -> Vec<Goal> {
    let Some((fewest, more)) = grown.split_first() else { return Vec::new() };
    more.iter().map(|grown| of_growth(grown.bookings, ratio(grown, fewest))).collect()
}

/// For people.
#[must_use]
pub fn tables(store: Store, grown: &[Grown]) -> String {
    let mut table = table(&["stored bookings", "webhooks/s", "adapter µs", "service µs", "p50 ms", "p99 ms"], 0);
    for of in grown {
        let median = |read: &dyn Fn(&Sample) -> f64| median(of.samples.iter().map(read).collect()).unwrap_or_default();
        table.add_row([
            of.bookings.to_string(),
            format!("{:.0}", median(&Sample::rate)),
            format!("{:.1}", median(&|sample| sample.cpu_of(&["adapter"]))),
            format!("{:.1}", median(&|sample| sample.cpu_of(&["service"]))),
            format!("{:.2}", median(&|sample| sample.latency.percentiles().p50)),
            format!("{:.2}", median(&|sample| sample.latency.percentiles().p99)),
        ]);
    }
    format!("{} + Redis, traces 10 %, {} connections\n\n{table}\n", store.name(), LOAD.connections)
}

/// For programs.
#[must_use]
pub fn json(grown: &[Grown]) -> Value {
    let one = |grown: &Grown| {
        json!({
            "bookings": grown.bookings,
            "windows": grown.samples.iter().map(sample_json).collect::<Vec<_>>(),
        })
    };
    json!({
        "stores": grown.iter().map(one).collect::<Vec<_>>(),
        "goals": goals(grown).iter().map(Goal::json).collect::<Vec<_>>(),
    })
}
