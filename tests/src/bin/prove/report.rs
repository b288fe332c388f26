//! The report: what was done, to what, on what, and what came of it.

use std::{env, fmt::Write, process::Command, time::Duration};

use calbridge_e2e::{chance::SEED, machine::Machine, postgres, program};

use crate::{Kind, load::Heard, scene::Struck};

/// What one store has shown.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) kind: Kind,
    pub(crate) webhooks: usize,
    pub(crate) rate: u32,
    pub(crate) struck: Struck,
    pub(crate) heard: Heard,
    /// What the judge said.
    pub(crate) laws: Vec<String>,
    pub(crate) holds: bool,
    pub(crate) took: Duration,
}

/// In Markdown.
pub(crate) fn text(proofs: &[Proof], seed: u64) -> String {
    let verdict = if proofs.iter().all(|proof| proof.holds) { "every law held" } else { "A LAW WAS BROKEN" };
    let mut text = format!("# Proof by fire: {verdict}\n\nSeed `{SEED}={seed}`. On {}.\n\n", machine());
    for version in versions() {
        writeln!(text, "- {version}").unwrap();
    }
    for proof in proofs {
        text.push_str(&section(proof));
    }
    text
}

fn section(proof: &Proof) -> String {
    let Proof { kind, webhooks, rate, struck, heard, laws, took, .. } = proof;
    let mut text =
        format!("\n## {}\n\n{webhooks} webhooks, {rate} a second, in {:.0} s.\n\n", kind.name(), took.as_secs_f64());
    text.push_str("| misfortune | times |\n| --- | ---: |\n");
    for (what, times) in struck {
        writeln!(text, "| {what} | {times} |").unwrap();
    }
    text.push_str("\n| answer | times |\n| --- | ---: |\n");
    for (status, times) in &heard.answers {
        writeln!(text, "| {status} | {times} |").unwrap();
    }
    writeln!(text, "| none within its time | {} |", heard.silent).unwrap();
    writeln!(text, "| given up after the last try | {} |", heard.given_up).unwrap();
    writeln!(text, "\nA 2xx took {}.\n", times(&heard.took)).unwrap();
    for law in laws {
        writeln!(text, "- {law}").unwrap();
    }
    text
}

fn times(took: &[Duration]) -> String {
    let mut took = took.to_vec();
    took.sort_unstable();
    let part = |thousandths: usize| {
        let place = (took.len() * thousandths / 1_000).min(took.len().saturating_sub(1));
        took.get(place).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
    };
    format!("{:.1} ms (p50), {:.1} ms (p99), {:.1} ms (p99.9)", part(500), part(990), part(999))
}

fn machine() -> String {
    Machine::of(&env::temp_dir()).line()
}

/// Of everything that took part; the built programs say their own.
fn versions() -> Vec<String> {
    let of = |program: Command| {
        let mut program = program;
        let told = program.arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&told).trim().to_owned()
    };
    let built = if cfg!(debug_assertions) { "debug" } else { "release" };
    let calbridge = of(Command::new(program::path("calbridge-service")));
    let mut all = vec![format!("{calbridge}, {built} build"), of(Command::new("redis-server"))];
    if postgres::is_installed() {
        all.push(of(Command::new(postgres::program("postgres"))));
    }
    all
}
