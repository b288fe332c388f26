//! Seeds of the simulation, in processes of their own: that every law holds in each, and that each is one story.

use std::{collections::BTreeSet, env, sync::Mutex};

use calbridge_simulation::{Outcome, SEED, program, run, run_all};

/// What every run of the tests looks at; more by command: see `simulate/main.rs`.
const SEEDS: u64 = 1_000;
/// Seeds that are told twice.
const TOLD_TWICE: u64 = 20;
/// At a time: as many as a small machine has cores.
const AT_A_TIME: usize = 2;

/// `CALBRIDGE_SEED=7` looks at that one alone, and with `--no-capture` tells its story.
#[test]
fn every_law_holds_in_a_thousand_seeds() {
    let program = program().unwrap();
    let failed = Mutex::new(Vec::new());
    let take = |outcome: Outcome| {
        if !outcome.holds {
            failed.lock().unwrap().push(outcome);
        }
    };
    match env::var_os(SEED) {
        Some(seed) => {
            let seed = seed.to_str().and_then(|seed| seed.parse().ok()).expect("CALBRIDGE_SEED is a number");
            let outcome = run(&program, seed, &[]).unwrap();
            println!("{}", outcome.said);
            take(outcome);
        }
        None => run_all(&program, 1..SEEDS + 1, AT_A_TIME, take).unwrap(),
    }
    let failed = failed.into_inner().unwrap();
    for outcome in &failed {
        println!("{}\nCALBRIDGE_SEED={} failed; alone: {} --seed {1}\n", outcome.said, outcome.seed, program.display());
    }
    let seeds: Vec<_> = failed.iter().map(|outcome| outcome.seed).collect();
    assert!(seeds.is_empty(), "a law is broken in the seeds {seeds:?}: set CALBRIDGE_SEED to one of them");
}

#[test]
fn a_seed_is_one_story() {
    let program = program().unwrap();
    let tell = |seed| run(&program, seed, &["--digest", "--quiet"]).unwrap();
    let stories: BTreeSet<_> = (1..=TOLD_TWICE)
        .map(|seed| {
            let told = tell(seed);
            assert_eq!(told, tell(seed), "every message and every line, and when");
            assert!(told.said.contains("digest of everything"), "{}", told.said);
            told.said
        })
        .collect();
    assert_eq!(u64::try_from(stories.len()).unwrap(), TOLD_TWICE, "and no other seed's");
}
