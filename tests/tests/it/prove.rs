//! The proof by fire in the small, on each store; README says how to have it in the large.

use std::time::Duration;

use calbridge_e2e::{chance, program::Start};

/// So many that everybody is hit at least once.
const KILLS: &str = "20";
const WEBHOOKS: &str = "2500";
/// What a debug build takes in beside other tests.
const RATE: &str = "120";

/// For all of it. The webhooks alone take twenty seconds.
const PATIENCE: Duration = Duration::from_mins(4);

async fn proves(store: &str) {
    let seed = chance::seed().to_string();
    let prove = Start::new("prove").flag("--store", store).flag("--seed", seed);
    let ended = prove.flag("--webhooks", WEBHOOKS).flag("--kills", KILLS).flag("--rate", RATE);
    let ended = ended.run_for(PATIENCE).await;
    println!("{}", ended.stdout);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn nothing_is_lost_on_sqlite() {
    proves("sqlite").await;
}

#[tokio::test]
async fn nothing_is_lost_on_postgres() {
    proves("postgres").await;
}
