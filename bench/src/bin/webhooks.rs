//! What the built programs can do on this machine under load, beside what hyper alone and a plain handler can, and how
//! near that is to the speed to reach.
//!
//! Prints tables and writes the same as JSON. It decides nothing; a webhook that fails ends it.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use calbridge_bench::webhooks::{
    body::{Mix, Traffic},
    comparison::{self, Extent},
    endurance,
    ground::{Ground, Site},
    growth,
    limits::{self, Limit, Means},
    plain::{self, Keeps},
    report,
    rig::Store,
    sink, spool,
    wire::Client,
};
use calbridge_e2e::{machine::Machine, program};
use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The limits allocate with what the programs that are shipped do.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How fast webhooks are taken in on this machine, beside what hyper alone and a plain handler can do.
///
/// Build the programs first: `deploy/build`, as they are released, or `cargo build --release --workspace`.
#[derive(Parser)]
#[command(name = "webhooks", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: Options,
}

/// Processes that the bench starts itself.
#[derive(Subcommand)]
enum Part {
    /// Serves one of the limits.
    #[command(hide = true)]
    Limit {
        /// How much it does.
        limit: Limit,
        #[command(flatten)]
        means: Means,
    },
    /// Keeps for a plain handler.
    #[command(hide = true)]
    Keeper {
        /// The file that it keeps in.
        #[arg(long, value_name = "FILE", required_unless_present = "database_url")]
        file: Option<PathBuf>,
        /// Or the database.
        #[arg(long, value_name = "URL")]
        database_url: Option<String>,
        /// Its Redis.
        #[arg(long, value_name = "URL")]
        redis_url: String,
    },
    /// Takes OTLP and throws it away.
    #[command(hide = true)]
    Sink,
}

#[derive(Args)]
struct Options {
    /// The folder for all data meanwhile; on the disk that is meant, not in memory [default: target/bench]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// The folder of the programs that are measured [default: this one's]
    #[arg(long, value_name = "PATH")]
    programs: Option<PathBuf>,
    /// Where the results are written as JSON [default: target/bench/webhooks.json, for the long runs of their name]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often each window is repeated
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// How long a window of a closed loop is
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = humantime::parse_duration)]
    window: Duration,
    /// How long a window at a fixed rate is
    #[arg(long, default_value = "4s", value_name = "TIME", value_parser = humantime::parse_duration)]
    open_window: Duration,
    /// Keep-alive connections of the closed loops
    #[arg(long, default_value = "64,256", value_name = "COUNTS", value_delimiter = ',', value_parser = connections)]
    connections: Vec<usize>,
    /// Webhooks a second of the open loops
    #[arg(long, default_value = "1000,5000", value_name = "RATES", value_delimiter = ',', value_parser = rate)]
    rates: Vec<u32>,
    /// Which webhooks: bookings being created, each of which costs a store most, or what really comes: their lives
    /// (created, moved, then cancelled or held)
    #[arg(long, value_enum, default_value = "created")]
    mix: Mix,
    /// How many of a hundred webhooks are copies of earlier ones
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=90))]
    copies: u64,
    /// What the closed loops send with: hyper's client, which costs about what the generator did that the speed to
    /// reach was set with, or bare sockets, which leave bare hyper more of the machine and make ratios to it smaller
    #[arg(long, value_enum, default_value = "hyper")]
    client: Client,
    /// Leave `PostgreSQL` out
    #[arg(long)]
    no_postgres: bool,
    /// Instead: compare stores that are seeded with so many bookings, the fewest first, as in 10000,1000000; they are
    /// those of the first webhooks, and a million take about 2 GiB and a minute
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', conflicts_with_all = ["endurance", "copies"])]
    seed_bookings: Vec<u64>,
    /// Which store is seeded
    #[arg(long, value_enum, default_value = "sqlite", value_name = "STORE", requires = "seed_bookings")]
    seed_store: Store,
    /// Instead: compare an adapter without a spool, with one, and with one that answers before the commit
    #[arg(long, conflicts_with_all = ["endurance", "copies", "seed_bookings"])]
    spool: bool,
    /// Instead: send so many webhooks to one `SQLite` store and look at memory after every 100,000
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    endurance: Option<u64>,
}

/// What the adapter takes by default.
const CONNECTIONS_MOST: usize = 1_000;
/// A generator on one thread keeps this well.
const RATE_MOST: u32 = 100_000;

fn connections(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=CONNECTIONS_MOST).contains(count));
    count.ok_or_else(|| format!("from 1 to {CONNECTIONS_MOST}"))
}

fn rate(text: &str) -> Result<u32, String> {
    let rate = text.parse().ok().filter(|rate| (1..=RATE_MOST).contains(rate));
    rate.ok_or_else(|| format!("from 1 to {RATE_MOST}"))
}

fn main() -> ExitCode {
    let Arguments { part, options } = Arguments::parse();
    match run(part, &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("webhooks: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(part: Option<Part>, options: &Options) -> anyhow::Result<()> {
    match part {
        // As adapter and service have it.
        Some(Part::Limit { limit, means }) => tokio::runtime::Runtime::new()?.block_on(limits::serve(limit, means)),
        Some(Part::Keeper { file, database_url, redis_url }) => {
            let keeps = file.map(Keeps::Sqlite).or(database_url.map(Keeps::Postgres));
            let keeps = keeps.context("neither a file nor a database")?;
            tokio::runtime::Runtime::new()?.block_on(plain::serve(keeps, redis_url))
        }
        Some(Part::Sink) => single()?.block_on(sink::serve()),
        None => single()?.block_on(async {
            tokio::select! {
                ended = bench(options) => ended,
                // What was started and written ends with the future.
                _ = tokio::signal::ctrl_c() => bail!("stopped"),
            }
        }),
    }
}

fn single() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn bench(options: &Options) -> anyhow::Result<()> {
    let own = program::folder();
    let target = own.parent().context("no target folder")?.join("bench");
    let programs = std::path::absolute(options.programs.as_ref().unwrap_or(&own))?;
    let data = options.data.clone().unwrap_or_else(|| target.clone());
    let traffic = Traffic { mix: options.mix, copies_per_thousand: options.copies * 10 };
    #[expect(clippy::disallowed_methods, reason = "where this program meets the world: its webhooks are of today")]
    let origin = Timestamp::now();
    std::fs::create_dir_all(&data).with_context(|| format!("making {}", data.display()))?;
    let site = Site { data: data.clone(), origin, traffic, programs };
    let machine = Machine::of(&data.canonicalize()?);
    eprintln!("{}", machine.line());
    if machine.keeps_nothing() {
        eprintln!("WARNING: {} lies in memory; name a folder on a disk with --data", data.display());
    }
    let mean = site.bodies(0).mean_bytes();
    let (name, mut report) = measure(&site, options).await?;
    let file = options.json.clone().unwrap_or_else(|| target.join(name));
    report["machine"] = machine.json();
    report["programs"] = json!(site.programs);
    report["options"] = json!({
        "rounds": options.rounds,
        "window_s": options.window.as_secs_f64(),
        "open_window_s": options.open_window.as_secs_f64(),
        "mix": format!("{:?}", options.mix).to_lowercase(),
        "mean_body_bytes": mean,
        "client": format!("{:?}", options.client).to_lowercase(),
        "copies_percent": options.copies,
    });
    report::write(&file, &report)?;
    println!("{}", machine.line());
    println!("programs of {}", site.programs.display());
    println!("webhooks of {mean} bytes on average: {}", options.mix.says());
    println!("all of it as JSON: {}", file.display());
    Ok(())
}

/// Measures what is asked for, prints it, and says under which name it is kept.
async fn measure(site: &Site, options: &Options) -> anyhow::Result<(&'static str, Value)> {
    let extent = Extent {
        rounds: options.rounds,
        window: options.window,
        open_window: options.open_window,
        connections: options.connections.clone(),
        rates: options.rates.clone(),
        client: options.client,
        all_new: options.copies == 0,
    };
    if options.seed_bookings.is_empty() && options.endurance.is_none() && !options.spool {
        let results = comparison::run(site, !options.no_postgres, &extent).await?;
        println!("{}", report::tables(&results));
        return Ok(("webhooks.json", report::json(&results)));
    }
    let ground = Ground::prepare(site, options.seed_store == Store::Postgres).await?;
    if let Some(webhooks) = options.endurance {
        let endurance = endurance::run(&ground, webhooks).await?;
        println!("{}\n\n{}\n", endurance.line(), report::goals_table(&endurance.goals()));
        return Ok(("endurance.json", endurance.json()));
    }
    if !options.seed_bookings.is_empty() {
        let grown = growth::run(&ground, &extent, options.seed_store, &options.seed_bookings).await?;
        println!("{}\n{}\n", growth::tables(options.seed_store, &grown), report::goals_table(&growth::goals(&grown)));
        return Ok(("growth.json", growth::json(&grown)));
    }
    let edges = spool::run(&ground, &extent).await?;
    println!("{}\n{}\n", spool::tables(&edges), report::goals_table(&spool::goals(&edges)));
    Ok(("spool.json", spool::json(&edges)))
}
