//! Clocks that differ. Replicas read each other's times: when the lease of a consumer's entry ends, and whether a
//! booking is over. Each compares its machine's clock with the database's, which they share.

use std::sync::atomic::{AtomicBool, Ordering};

use calbridge_telemetry::{
    meter,
    semconv::{metric, unit},
};
use deadpool_postgres::ClientWrapper;
use opentelemetry::metrics::Gauge;
use tokio_postgres::Error;
use tracing::{info, warn};

use crate::{
    clock::{Clock, system_clock},
    store::Micros,
};

/// That clocks may differ by before it is said: beyond it the shortest leases end early elsewhere. The alert
/// `CalbridgeClocksDiffer` of `deploy/alerts.yaml` has the same bound.
const SKEW_MAX: Micros = 500_000;

/// How far the database's clock is ahead, as it is shown and said.
#[derive(Debug)]
pub(super) struct Skew {
    shown: Gauge<f64>,
    /// It was said that the clocks differ.
    is_said: AtomicBool,
}

impl Skew {
    pub(super) fn new() -> Self {
        let shown = meter()
            .f64_gauge(metric::STORE_CLOCK_AHEAD)
            .with_description("How far the database's clock is ahead of this machine's; below zero: behind.")
            .with_unit(unit::SECONDS)
            .build();
        Self { shown, is_said: AtomicBool::new(false) }
    }

    /// Shows it, and says once that the clocks differ, and that they do no more.
    ///
    /// # Errors
    /// The connection fails. Where the server can't tell the time nothing is shown.
    pub(super) async fn look(&self, client: &ClientWrapper) -> Result<(), Error> {
        let ahead = match ahead(client, system_clock).await {
            Ok(ahead) => ahead,
            Err(error) if error.as_db_error().is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a few years are exact")]
        let seconds = ahead as f64 / 1e6;
        self.shown.record(seconds, &[]);
        let was_said = self.is_said.load(Ordering::Relaxed);
        // Near the bound it would be said each second.
        let differ = ahead.abs() > if was_said { SKEW_MAX / 2 } else { SKEW_MAX };
        self.is_said.store(differ, Ordering::Relaxed);
        match (differ, was_said) {
            (true, false) => warn!(
                seconds,
                "the database's clock is ahead of this machine's by so much (below zero: behind); services of one \
                database read each other's times: have every machine's clock set (NTP)"
            ),
            (false, true) => info!("this machine's clock and the database's agree again"),
            _ => {}
        }
        Ok(())
    }
}

/// How far the server's clock is ahead of this one at the least: its answer was given between question and answer.
async fn ahead(client: &ClientWrapper, clock: Clock) -> Result<Micros, Error> {
    const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    // Before the time is taken: the first time that is a round trip of its own.
    let now = client.prepare_cached(NOW).await?;
    let asked = clock();
    let theirs: Micros = client.query_one(&now, &[]).await?.try_get(0)?;
    Ok(theirs - theirs.clamp(asked, clock().max(asked)))
}

#[cfg(test)]
mod tests {
    use calbridge_e2e::postgres::{Durability, Postgres};

    use super::*;
    use crate::store::postgres::connection::{Address, Role};

    const MINUTE: Micros = 60_000_000;

    #[tokio::test]
    async fn a_clock_that_is_wrong_is_seen() {
        let server = Postgres::start(Durability::Unsynced);
        let connections = Address::read(&server.url()).unwrap().connections(Role::Reader, 1).unwrap();
        let client = connections.lease().await.unwrap();
        assert_eq!(ahead(&client, system_clock).await.unwrap(), 0, "of one machine");
        for (clock, off) in [((|| system_clock() - MINUTE) as Clock, MINUTE), (|| system_clock() + MINUTE, -MINUTE)] {
            let seen = ahead(&client, clock).await.unwrap();
            assert!((seen - off).abs() < MINUTE / 2, "{seen} of {off}");
        }
    }
}
