//! The proof by fire: webhooks come at a steady rate while whatever stands in their way is killed, frozen and cut off,
//! and a program that shares nothing with calbridge judges what is left.
//!
//!     cargo run --release -p calbridge-e2e --bin prove -- --report PROOF.md
//!
//! The same seed tells the same webhooks and brings the same misfortunes in the same order. The exit code is 0 where
//! every law held.
#![allow(clippy::panic, clippy::unwrap_used, reason = "what nothing explains ends the proof")]

mod calm;
mod load;
mod misfortune;
mod report;
mod scene;

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use calbridge_e2e::{
    api::Api,
    chance::{Chance, SEED, seed},
    program::{Ended, Start},
    stories::{self, Plan, Stories},
    truth::write_lines,
};
use clap::{Parser, ValueEnum};
use serde_json::json;
use tempfile::TempDir;

use self::{load::Load, misfortune::Misfortune, report::Proof, scene::Scene};

const TENANTS: [&str; 2] = ["acme", "birch"];
/// Bookings of each tenant that change all the time, and forms.
const RESTLESS: (usize, i64) = (4, 50);
const FORMS: i64 = 30;

/// Kills, freezes and cuts off everything that a webhook meets, and shows that nothing is lost by it.
#[derive(Debug, Parser)]
#[command(name = "prove")]
struct Arguments {
    /// Where the services keep what they know.
    #[arg(long, value_enum, default_values = ["sqlite", "postgres"], value_delimiter = ',')]
    store: Vec<Kind>,
    /// About how many webhooks, copies included.
    #[arg(long, default_value_t = 100_000)]
    webhooks: usize,
    /// How many a second, whatever the answers are.
    #[arg(long, default_value_t = 250)]
    rate: u32,
    /// How many kills; there are a quarter as many freezes and half as many cuts of the network besides.
    #[arg(long, default_value_t = 260)]
    kills: usize,
    /// The number of an earlier run, to have its chances again; `CALBRIDGE_SEED` says the same.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the report is written to.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// A store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// One service, and a file.
    Sqlite,
    /// Two services, and a server.
    Postgres,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(seed);
    println!("{SEED}={seed}");
    let mut proofs = Vec::new();
    for kind in &arguments.store {
        proofs.push(prove(*kind, &arguments, seed).await);
    }
    if let Some(file) = &arguments.report {
        fs::write(file, report::text(&proofs, seed)).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        println!("the report is in {}", file.display());
    }
    if proofs.iter().all(|proof| proof.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One store's turn.
async fn prove(kind: Kind, arguments: &Arguments, seed: u64) -> Proof {
    let began = Instant::now();
    let folder = TempDir::new().unwrap();
    let mut chance = Chance::new(seed);
    let stories = stories::tell(plan(arguments.webhooks), &mut chance);
    let misfortunes = misfortune::all(kind, arguments.kills, &mut chance);
    let (webhooks, all) = (stories.posts.len(), misfortunes.len());
    println!("{}: {webhooks} webhooks, {} a second, and {all} misfortunes", kind.name(), arguments.rate);
    let mut scene = Scene::start(kind, folder.path(), &TENANTS, &mut chance).await;
    let load = Load::start(stories.posts.clone(), arguments.rate, scene.edges(), &mut chance);

    rage(&mut scene, &load, misfortunes).await;
    let heard = load.end().await;
    scene.recover().await;
    scene.settle().await;
    println!("all is quiet after {:?}", began.elapsed());

    let mut bookings = Vec::new();
    for tenant in TENANTS {
        bookings.extend(Api::new(scene.any_service()).all_bookings(tenant).await);
    }
    scene.truth().write(folder.path(), &bookings);
    tell(&folder, &scene, &stories, &heard);
    calm::write(&stories, &scene, folder.path()).await;
    let struck = scene.struck().clone();
    scene.stop().await;
    println!("a store that nothing disturbed has the same webhooks after {:?}", began.elapsed());

    let Ended { code, stdout, stderr } = Start::new("check_history").arg(folder.path()).run().await;
    print!("{stdout}{stderr}");
    let holds = code == Some(0) && heard.strange.is_empty();
    for (status, times) in &heard.strange {
        println!("VIOLATION: {times} answers had the status {status}");
    }
    if !holds {
        println!("the history is kept in {}", folder.keep().display());
    }
    let laws = stdout.lines().map(str::to_owned).collect();
    Proof { kind, webhooks, rate: arguments.rate, struck, heard, laws, holds, took: began.elapsed() }
}

/// So much that there are about so many webhooks, copies included.
fn plan(webhooks: usize) -> Plan {
    let others = TENANTS.len() * (RESTLESS.0 * usize::try_from(RESTLESS.1 + FORMS).unwrap());
    let each = TENANTS.len() * stories::steps() * 9 / 8;
    Plan {
        tenants: &TENANTS,
        tellings: webhooks.saturating_sub(others).div_ceil(each),
        restless: RESTLESS,
        forms: FORMS,
    }
}

/// Lets the misfortunes come, one after the other, evenly over the load.
async fn rage(scene: &mut Scene, load: &Load, misfortunes: Vec<Misfortune>) {
    let all = misfortunes.len();
    for (number, misfortune) in misfortunes.into_iter().enumerate() {
        let due = load.webhooks() * number / all;
        loop {
            scene.go_on().await;
            if load.sent() >= due && scene.may_strike(&misfortune) {
                break;
            }
            load.tell(number, all, scene);
        }
        scene.strike(misfortune);
    }
    while !load.is_done() {
        scene.go_on().await;
        load.tell(all, all, scene);
    }
}

/// Writes down what was sent, what was answered, and who was to see what.
fn tell(folder: &TempDir, scene: &Scene, stories: &Stories, heard: &load::Heard) {
    let folder = folder.path();
    write_lines(folder, "sent", &stories.sent());
    write_lines(folder, "lives", &stories.lives);
    write_lines(folder, "senders", &heard.kept);
    write_lines(folder, "operator", &[]);
    fs::write(folder.join("plan.json"), json!({"watchers": scene.watchers(), "consumers": []}).to_string()).unwrap();
}
