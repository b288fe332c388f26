//! How far consumers are behind, for whoever is woken by it: measured every few seconds, whether or not a client is
//! there, and shown as it was measured last. A consumer that is deleted is shown no more.

use std::sync::{Arc, Mutex, PoisonError};

use calbridge_telemetry::{
    meter,
    semconv::{metric, unit},
};
use opentelemetry::KeyValue;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, instrument::WithSubscriber, subscriber::NoSubscriber, warn};

use crate::{
    clock::Clock,
    metrics::{of_consumer, seconds_between},
    settings::{LAG_CONSUMERS, LAG_INTERVAL, LAG_PAGE},
    store::{ConsumerStatus, Micros, Store, StoreError},
};

/// What the task needs.
pub(crate) struct Lag<S> {
    pub(crate) store: Arc<S>,
    pub(crate) clock: Clock,
}

/// One consumer as it was measured.
#[derive(Debug, PartialEq)]
struct Measured {
    consumer: [KeyValue; 2],
    /// Seconds.
    lag: f64,
    dead_letters: u64,
}

/// What was measured last.
type Shown = Arc<Mutex<Vec<Measured>>>;

impl<S: Store> Lag<S> {
    /// Runs until `stopping` fires.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let shown = Shown::default();
        show(&shown);
        let (mut failing, mut crowded) = (false, false);
        while !stopping.is_cancelled() {
            // A look every few seconds is no trace worth keeping.
            let measured = self.measure().with_subscriber(NoSubscriber::new()).await;
            // An outage is said once, and its end once.
            match &measured {
                Err(failure) if !failing => warn!(error = %failure, "how far consumers are behind can't be measured"),
                Ok(_) if failing => info!("how far consumers are behind is measured again"),
                _ => {}
            }
            failing = measured.is_err();
            // What was true is better than nothing: an alert must not end because the store is away.
            if let Ok(measured) = measured {
                if measured.len() >= LAG_CONSUMERS && !crowded {
                    warn!(most = LAG_CONSUMERS, "there are more consumers than are measured: delete what nobody uses");
                }
                crowded = measured.len() >= LAG_CONSUMERS;
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = measured;
            }
            tokio::select! {
                () = stopping.cancelled() => {}
                () = sleep(LAG_INTERVAL) => {}
            }
        }
    }

    async fn measure(&self) -> Result<Vec<Measured>, StoreError> {
        let (mut measured, mut after) = (Vec::new(), None);
        while measured.len() < LAG_CONSUMERS {
            let page = self.store.consumers(None, after, LAG_PAGE).await?;
            let now = (self.clock)();
            measured.extend(page.iter().map(|status| Measured::of(status, now)));
            match page.last() {
                Some(last) if page.len() == LAG_PAGE => after = Some(last.consumer.key.clone()),
                _ => break,
            }
        }
        Ok(measured)
    }
}

impl Measured {
    fn of(status: &ConsumerStatus, now: Micros) -> Self {
        Self {
            consumer: of_consumer(&status.consumer.key),
            lag: status.behind_since.map_or(0.0, |since| seconds_between(since, now)),
            dead_letters: u64::try_from(status.dead_letters).unwrap_or(u64::MAX),
        }
    }
}

/// Has both gauges read from what was measured last.
fn show(shown: &Shown) {
    let lags = Arc::clone(shown);
    // The instruments live in the meter provider, which keeps the callbacks.
    let _ = meter()
        .f64_observable_gauge(metric::CONSUMER_LAG)
        .with_description("How long the first entry behind the consumer's cursor has been committed.")
        .with_unit(unit::SECONDS)
        .with_callback(move |gauge| each(&lags, |one| gauge.observe(one.lag, &one.consumer)))
        .build();
    let letters = Arc::clone(shown);
    let _ = meter()
        .u64_observable_gauge(metric::DEADLETTERS)
        .with_description("What the consumer gave up on and nobody has replayed or deleted.")
        .with_unit(unit::MESSAGES)
        .with_callback(move |gauge| each(&letters, |one| gauge.observe(one.dead_letters, &one.consumer)))
        .build();
}

fn each(shown: &Shown, observe: impl FnMut(&Measured)) {
    shown.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(observe);
}
