//! Whether this process can do its work: a set of named checks, ready when every one of them is.
//!
//! A check is born not ready, and a process without any is not ready either: no probe overtakes the start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tokio::sync::Notify;

use crate::semconv;

/// The readiness of a process: a cheap handle on one shared set of checks.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    checks: Arc<Mutex<Vec<Check>>>,
    changed: Arc<Notify>,
}

/// One thing that must hold for the process to be ready. Clones speak of the same check.
#[derive(Clone, Debug)]
pub struct Check {
    name: &'static str,
    ready: Arc<AtomicBool>,
    changed: Arc<Notify>,
}

impl Readiness {
    /// A process with no checks, which is not ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a check, not ready yet. The same name again gives the same check.
    #[must_use = "the process stays not ready until the check is"]
    pub fn check(&self, name: &'static str) -> Check {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = checks.iter().find(|check| check.name == name) {
            return check.clone();
        }
        let check = Check { name, ready: Arc::default(), changed: Arc::clone(&self.changed) };
        checks.push(check.clone());
        check
    }

    /// Whether there are checks and every one of them is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        !checks.is_empty() && checks.iter().all(Check::is_ready)
    }

    /// Waits until the process is ready.
    pub async fn wait_ready(&self) {
        loop {
            // Registered before the look, so that a change between the two is not missed.
            let changed = self.changed.notified();
            if self.is_ready() {
                return;
            }
            changed.await;
        }
    }

    /// Shows each check among the metrics, whenever somebody collects them.
    pub fn show(&self, meter: &Meter) {
        let checks = Arc::clone(&self.checks);
        // The instrument lives in the meter provider, which keeps the callback.
        let _ = meter
            .u64_observable_gauge(semconv::metric::READY)
            .with_description("1 while the check holds, else 0; the process is ready while all of them hold")
            .with_callback(move |gauge| {
                for check in checks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    gauge.observe(check.is_ready().into(), &[KeyValue::new(semconv::CHECK, check.name)]);
                }
            })
            .build();
    }

    /// The names of the checks that are not ready, in the order of their registration.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<&'static str> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.iter().filter(|check| !check.is_ready()).map(|check| check.name).collect()
    }
}

impl Check {
    /// From now on this holds.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// From now on this does not hold.
    pub fn not_ready(&self) {
        self.ready.store(false, Ordering::Release);
    }

    /// Whether this holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::SdkMeterProvider;

    use super::*;
    use crate::{MetricsPage, metrics::scope};

    #[test]
    fn a_process_is_ready_when_every_check_is() {
        let readiness = Readiness::new();
        assert!(!readiness.is_ready(), "nobody has said what to wait for");
        let store = readiness.check("store");
        let forwarder = readiness.check("forwarder");
        assert_eq!(readiness.waiting_for(), ["store", "forwarder"]);
        store.ready();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.waiting_for(), ["forwarder"]);
        forwarder.ready();
        assert!(readiness.is_ready());
        store.not_ready();
        assert_eq!(readiness.waiting_for(), ["store"]);
    }

    #[test]
    fn each_check_is_a_number() {
        let page = MetricsPage::default();
        let provider = SdkMeterProvider::builder().with_reader(page.reader().unwrap()).build();
        let readiness = Readiness::new();
        readiness.show(&provider.meter_with_scope(scope()));
        let (spool, _store) = (readiness.check("spool"), readiness.check("store"));
        let shows = |line: &str| assert!(page.render().lines().any(|found| found == line), "{}", page.render());
        shows("calbridge_ready{calbridge_check=\"spool\"} 0");
        spool.ready();
        shows("calbridge_ready{calbridge_check=\"spool\"} 1");
        shows("calbridge_ready{calbridge_check=\"store\"} 0");
    }

    #[test]
    fn handles_and_names_share_one_state() {
        let readiness = Readiness::new();
        let first = readiness.check("store");
        let again = readiness.clone().check("store");
        first.ready();
        assert!(again.is_ready());
        assert!(readiness.is_ready());
    }
}
