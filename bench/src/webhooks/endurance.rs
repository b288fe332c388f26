//! The long run: whether memory stays what it is over millions of webhooks.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{
    closed::{self, Load, Until, Window},
    disk::{self, Disk},
    goals::{Goal, of_endurance},
    ground::Ground,
    report::{sample_json, short},
    rig::{Store, Traces},
    sample::{Sample, count},
    target::Next,
    wire::Client,
};

/// After how many webhooks memory is looked at.
pub const STEP: u64 = 100_000;
const LOAD: Load = Load { client: Client::Lean, connections: 64, next: Next::New };
const ROLES: [&str; 2] = ["adapter", "service"];
const MIB: f64 = 1_024.0 * 1_024.0;

/// What a long run showed: a sample of every step.
#[derive(Debug)]
pub struct Endurance {
    samples: Vec<Sample>,
    disk: Disk,
    webhooks: u64,
}

/// Sends so many webhooks to `SQLite` and Redis with one trace in ten, as fast as they are taken.
///
/// # Errors
///
/// A program does not start, or a webhook failed.
pub async fn run(ground: &Ground, webhooks: u64) -> anyhow::Result<Endurance> {
    let rig = ground.rig("endurance", Store::Sqlite, Traces::Tenth).await?;
    let mut samples = Vec::new();
    for step in 1..=webhooks.div_ceil(STEP) {
        let until = (step * STEP).min(webhooks);
        let window = Window { warm_up: Duration::ZERO, until: Until::Sent(until) };
        let target = Arc::clone(&rig.target);
        let sample = spawn_blocking(move || closed::run(&target, LOAD, window)).await?;
        let sample = sample.with_context(|| rig.said())?;
        let anonymous = ROLES.map(|role| format!("{role} {:.1} MiB", mib(&sample, role).unwrap_or_default()));
        let percentiles = sample.latency.percentiles();
        eprintln!("{until} webhooks: {}, {:.0}/s, p99 {:.1} ms", anonymous.join(", "), sample.rate(), percentiles.p99);
        samples.push(sample);
    }
    let webhooks = rig.target.sent();
    let disk = disk::of(&rig.stop().await).await?;
    Ok(Endurance { samples, disk, webhooks })
}

impl Endurance {
    /// How far memory strayed.
    #[must_use]
    pub fn goals(&self) -> Vec<Goal> {
        ROLES.map(|role| of_endurance(role, strays(self.samples.iter().filter_map(|sample| mib(sample, role))))).into()
    }

    /// What else there is to say.
    #[must_use]
    pub fn line(&self) -> String {
        let each = short(count(self.disk.bytes) / count(self.webhooks));
        format!("{} webhooks, {each} bytes of file each", self.webhooks)
    }

    /// As the JSON report has it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "step": STEP,
            "webhooks": self.webhooks,
            "disk": self.disk.json(self.webhooks),
            "steps": self.samples.iter().map(sample_json).collect::<Vec<_>>(),
            "goals": self.goals().iter().map(Goal::json).collect::<Vec<_>>(),
        })
    }
}

fn mib(sample: &Sample, role: &str) -> Option<f64> {
    sample.memory.get(role).map(|memory| count(memory.anonymous) / MIB)
}

/// The largest distance from the middle between the least value and the largest, in percent of it; nothing where there
/// is no second one.
fn strays(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    let (least, largest) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
    (values.len() > 1).then(|| (largest - least) / (largest + least) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_strays_in_both_directions() {
        assert_eq!(strays([100.0, 110.0, 90.0].into_iter()), Some(10.0));
        assert_eq!(strays([100.0, 60.0].into_iter()), Some(25.0));
        assert_eq!(strays([100.0].into_iter()), None);
    }
}
