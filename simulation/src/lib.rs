//! How seeds are run: each in a process of its own, so that whatever is global in a program begins anew with it, and
//! with the system's chance replaced by the seed's (`chance.c`).
//!
//! Invariant: what a seed does is a function of its number and of the program.

use std::{
    env, io,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Tells the process, and all that it draws, its seed.
pub const SEED: &str = "CALBRIDGE_SEED";
/// What the dynamic linker puts before the system's libraries.
const PRELOAD: &str = "LD_PRELOAD";
/// The library that is put there.
const CHANCE: &str = env!("CALBRIDGE_CHANCE");

/// What became of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its number.
    pub seed: u64,
    /// Every law held.
    pub holds: bool,
    /// What the process said.
    pub said: String,
}

/// The program that simulates: an example of this package, which lies beside the programs of the same build.
///
/// # Errors
///
/// It is not there, or this program does not know where it is itself.
pub fn program() -> io::Result<PathBuf> {
    let here = env::current_exe()?;
    let built = here.ancestors().nth(2).unwrap_or(&here).join("examples/simulate");
    if built.exists() {
        return Ok(built);
    }
    let mend = format!("{} is not there: build it with cargo build --workspace --all-targets", built.display());
    Err(io::Error::new(io::ErrorKind::NotFound, mend))
}

/// The command that runs one seed.
#[must_use]
pub fn command(program: &Path, seed: u64) -> Command {
    let mut command = Command::new(program);
    command.args(["--seed", &seed.to_string()]).env(SEED, seed.to_string()).env(PRELOAD, CHANCE);
    command
}

/// Whether this process is one that [`command`] began for this seed.
#[must_use]
pub fn is_begun(seed: u64) -> bool {
    env::var_os(SEED).is_some_and(|own| *own == *seed.to_string())
        && env::var_os(PRELOAD).is_some_and(|own| *own == *CHANCE)
}

/// Runs one seed to its end, with these arguments besides.
///
/// # Errors
///
/// The process can't be started.
pub fn run(program: &Path, seed: u64, arguments: &[&str]) -> io::Result<Outcome> {
    let ended = command(program, seed).args(arguments).stdin(Stdio::null()).output()?;
    let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok(Outcome { seed, holds: ended.status.success(), said })
}

/// Runs many, so many at a time, and tells `each` what became of them as it comes.
///
/// # Errors
///
/// A process can't be started.
pub fn run_all(program: &Path, seeds: Range<u64>, at_a_time: usize, each: impl Fn(Outcome) + Sync) -> io::Result<()> {
    let next = AtomicU64::new(seeds.start);
    let work = || -> io::Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(());
            }
            each(run(program, seed, &[])?);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(work)).collect();
        // A panic in one of them is one in `each`, and is said where it happened.
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })
}
