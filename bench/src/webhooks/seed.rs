//! Filling a store past adapter and service: the first webhooks of a run, committed by the store itself.
//!
//! So a seeded store is what the service would have made of the same webhooks, whatever the schema is: deliveries with
//! their bodies, bookings, transitions, timelines, and all that finds them. Only the waiting for the disk is left out.

use std::{fs::File, ops::Range, sync::Arc};

use anyhow::Context;
use calbridge_e2e::system::TENANT;
use calbridge_process::Database;
use calbridge_service::store::{
    Batch, NewDelivery, Store,
    postgres::{self, PostgresStore},
    sqlite::{self, SqliteStore, Synchronous},
};
use secrecy::ExposeSecret;
use tokio::task::spawn_blocking;

use super::body::Bodies;
use crate::deliveries::Intake;

/// Webhooks of a round: their postings are as many as the service sorts at a time.
const ROUND: u64 = 1_024;
/// After how many webhooks a word is said.
const STEP: u64 = 100 * ROUND;

/// Fills a store that is empty, or not there yet, with the first `webhooks` of a run.
///
/// # Errors
///
/// It can't be made or written.
pub async fn fill(database: &Database, bodies: Bodies, webhooks: u64) -> anyhow::Result<()> {
    match database {
        Database::Sqlite(path) => {
            // Nothing is lost that could not be made again.
            let options = sqlite::Options { synchronous: Synchronous::Off, ..Default::default() };
            let store = SqliteStore::open(path, options)?;
            commit(&store, bodies, webhooks).await?;
            store.close().await;
            // What is measured must not wait for what was written before.
            let written = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            spawn_blocking(move || written.sync_all()).await?.context("waiting for the disk")
        }
        Database::Postgres { url, .. } => {
            let store = PostgresStore::open(url.expose_secret(), postgres::Options::default()).await?;
            commit(&store, bodies, webhooks).await?;
            store.close().await;
            Ok(())
        }
    }
}

async fn commit(store: &impl Store, bodies: Bodies, webhooks: u64) -> anyhow::Result<()> {
    let maker = Arc::new((bodies, Intake::new(TENANT)));
    let round = |first: u64| {
        let (maker, numbers) = (Arc::clone(&maker), first..(first + ROUND).min(webhooks));
        spawn_blocking(move || deliveries(&maker, numbers))
    };
    let mut next = round(0);
    for first in (0..webhooks).step_by(usize::try_from(ROUND)?) {
        let deliveries = next.await?;
        // Made while these are committed.
        next = round((first + ROUND).min(webhooks));
        let now = maker.0.created(first).as_microsecond();
        store.commit(Batch { deliveries, now, ..Batch::default() }).await?;
        if first.is_multiple_of(STEP) && first > 0 {
            eprintln!("seeded {first} of {webhooks} webhooks");
        }
    }
    Ok(())
}

fn deliveries((bodies, intake): &(Bodies, Intake), numbers: Range<u64>) -> Vec<NewDelivery> {
    let one = |number| {
        let mut body = Vec::new();
        bodies.write(number, &mut body);
        intake.delivery(number, bodies.created(number), body)
    };
    numbers.map(one).collect()
}
