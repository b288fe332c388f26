//! Adapters, services, their clients and Cal.com on one thread, in a network, a time and a chance that one number
//! tells.
//!
//!     cargo run --profile ci -p calbridge-simulation --example simulate -- --seeds 10000
//!     cargo run --profile ci -p calbridge-simulation --example simulate -- --seed 7
//!
//! The second tells the whole story of a seed; with `--log`, what adapters and services would log as well. What runs is
//! the real code: edge, forwarder, spool with its files, ingest, readers; a store in memory stands for what is durable,
//! and outlives the services.

mod calcom;
mod disk;
mod laws;
mod network;
mod plan;
mod readers;
mod seen;
mod store;
mod story;
mod world;

use std::{
    env,
    io::{self, Write as _},
    process::{ExitCode, exit},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use calbridge_simulation::{command, is_begun, run_all};
use clap::Parser;

use self::{plan::Plan, world::World};

/// A seed takes a fraction of a second of the machine's time; one that takes this long goes round in circles.
const WATCHDOG: Duration = Duration::from_secs(45);
/// What is said to the process that runs one seed, besides.
const PASSED_ON: [&str; 3] = ["--digest", "--log", "--quiet"];
/// So many failing seeds are told in full.
const TOLD_MOST: usize = 5;
/// Whoever waits hears of every so many.
const SEEDS_A_LINE: u64 = 500;

#[derive(Debug, Parser)]
struct Options {
    /// Tells the story of this seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Runs so many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Beginning with this one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// So many at a time.
    #[arg(long, default_value_t = 2)]
    at_a_time: usize,
    /// Also prints the digest of all messages and of all that would be logged.
    #[arg(long, requires = "seed")]
    digest: bool,
    /// Tells what adapters and services would log as well.
    #[arg(long, requires = "seed")]
    log: bool,
    /// Prints the last line alone.
    #[arg(long)]
    quiet: bool,
}

/// Something panicked, in whatever task.
static PANICKED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.seed {
        Some(seed) if is_begun(seed) => Ok(one(seed, &options)),
        Some(seed) => env::current_exe().and_then(|program| {
            let arguments = env::args_os().filter(|argument| PASSED_ON.iter().any(|passed| argument == passed));
            Ok(command(&program, seed).args(arguments).status()?.success())
        }),
        None => many(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("a seed can't be run: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one seed in this process; whether all laws held.
fn one(seed: u64, options: &Options) -> bool {
    thread::spawn(move || {
        thread::sleep(WATCHDOG);
        eprintln!("CALBRIDGE_SEED={seed} does not end: some task is ready for ever, so that time stands still");
        exit(2);
    });
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::Relaxed);
        report(panic);
    }));
    if !options.quiet {
        story::be_loud();
    }
    let everything = (options.digest || options.log).then(|| story::take_everything(options.log));
    let run = World::new(Plan::of(seed)).map_err(|why| why.to_string()).and_then(World::run);
    let run = if PANICKED.load(Ordering::Relaxed) { Err("something panicked".to_owned()) } else { run };
    if let Some(everything) = everything {
        println!("digest of everything: {:016x}", everything());
    }
    match run {
        Ok(summary) => {
            println!("seed {seed}: {}, story {:016x}", summary.line, story::digest());
            true
        }
        Err(broken) => {
            println!("CALBRIDGE_SEED={seed} breaks a law: {broken}");
            false
        }
    }
}

/// Runs many, each in a process of its own; whether all laws held in all of them.
fn many(options: &Options) -> io::Result<bool> {
    let (program, begun) = (env::current_exe()?, Instant::now());
    let (failed, seeds) = (Mutex::new(Vec::new()), options.from..options.from.saturating_add(options.seeds));
    let run = AtomicU64::new(0);
    run_all(&program, seeds, options.at_a_time, |outcome| {
        let run = run.fetch_add(1, Ordering::Relaxed) + 1;
        if run.is_multiple_of(SEEDS_A_LINE) && run < options.seeds && !options.quiet {
            eprintln!("{run} of {} seeds are run", options.seeds);
        }
        if outcome.holds {
            return;
        }
        let Ok(mut failed) = failed.lock() else { return };
        failed.push(outcome.seed);
        if failed.len() <= TOLD_MOST && !options.quiet {
            println!("{}", outcome.said);
        }
        println!("CALBRIDGE_SEED={} failed; alone: {} --seed {0}", outcome.seed, program.display());
        // Whoever waits for the rest sees it now.
        let _ = io::stdout().flush();
    })?;
    let failed = failed.into_inner().unwrap_or_default();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} seeds from {}, {} of them failed, {seconds:.1} s", options.seeds, options.from, failed.len());
    Ok(failed.is_empty())
}
