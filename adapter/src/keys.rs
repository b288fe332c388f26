//! The keyring in force, and what metrics tell of its secrets.
//!
//! Invariant: a ring is replaced whole. A request that has begun keeps the ring that it began with.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::SystemTime,
};

use calbridge_process::Tenant;
use calbridge_telemetry::semconv::{self, metric, unit};
use opentelemetry::{KeyValue, StringValue, metrics::Meter};

use crate::{
    Moment,
    signature::{Held, Keyring},
};

/// The SDK holds so many sets of attributes for an instrument, and throws all others into one: secrets beyond it, by
/// the order of their tenants' names, are not shown.
const SECRETS_SHOWN_MOST: usize = 2_000;

/// Holds the ring in force.
pub(crate) struct Keys {
    current: RwLock<Arc<Keyring>>,
}

impl Keys {
    pub(crate) fn new(tenants: &BTreeMap<String, Tenant>) -> Self {
        Self { current: RwLock::new(Arc::new(Keyring::new(tenants))) }
    }

    /// The ring in force.
    pub(crate) fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// These tenants count from here on.
    pub(crate) fn replace(&self, tenants: &BTreeMap<String, Tenant>) {
        let renewed = Arc::new(self.ring().renewed(tenants));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
    }
}

/// Has the gauges read the ring that is in force whenever somebody collects them.
pub(crate) fn show(keys: &Arc<Keys>, meter: &Meter, moment: fn() -> Moment) {
    // The instruments live in the meter provider, which keeps the callbacks: they must not keep the keys.
    let shown = |name: &'static str, about: &'static str, of: fn(&Held, SystemTime) -> Option<f64>| {
        let keys: Weak<Keys> = Arc::downgrade(keys);
        let _ = meter
            .f64_observable_gauge(name)
            .with_unit(unit::SECONDS)
            .with_description(about)
            .with_callback(move |gauge| {
                let Some(keys) = keys.upgrade() else { return };
                let (ring, now) = (keys.ring(), moment().time);
                let samples = ring.held().iter().filter_map(|held| Some((held, of(held, now)?)));
                for (held, value) in samples.take(SECRETS_SHOWN_MOST) {
                    gauge.observe(value, &labels(held));
                }
            })
            .build();
    };
    shown(metric::SIGNATURE_SECRET_IDLE, "Since the secret let a webhook in last", |held, now| {
        held.last_used().map(|used| seconds(used, now).max(0.0))
    });
    shown(metric::SIGNATURE_SECRET_TIME_LEFT, "Until the secret expires; below zero it has", |held, now| {
        held.expires.map(|expires| seconds(now, expires))
    });
}

fn labels(held: &Held) -> [KeyValue; 2] {
    [(semconv::TENANT_ID, &held.tenant), (semconv::SECRET_ID, &held.id)]
        .map(|(key, value)| KeyValue::new(key, StringValue::from(Arc::clone(value))))
}

/// From the one to the other.
fn seconds(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use calbridge_process::Secret;
    use jiff::Timestamp;
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{AggregatedMetrics, Gauge, MetricData, ResourceMetrics, ScopeMetrics},
    };

    use super::*;

    /// As many as are told apart, and a tenth more.
    const MANY: usize = SECRETS_SHOWN_MOST + SECRETS_SHOWN_MOST / 10;

    fn keys(count: usize) -> Arc<Keys> {
        let expires = Some(Timestamp::from_second(4_000_000_000).unwrap());
        let secret = |number| Secret { expires, ..Secret::always(format!("id{number}"), "value") };
        let tenant = |number| Tenant { secrets: vec![secret(number)], allow_unsigned: false };
        Arc::new(Keys::new(&(0..count).map(|number| (format!("tenant{number}"), tenant(number))).collect()))
    }

    fn gauge(collected: &[ResourceMetrics], name: &str) -> Option<Gauge<f64>> {
        let mut metrics = collected.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
        metrics.find(|one| one.name() == name).and_then(|one| match one.data() {
            AggregatedMetrics::F64(MetricData::Gauge(gauge)) => Some(gauge.clone()),
            _ => None,
        })
    }

    #[test]
    fn no_more_secrets_are_shown_than_the_sdk_tells_apart() {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let keys = keys(MANY);
        show(&keys, &provider.meter("keys"), Moment::now);
        provider.force_flush().unwrap();
        let collected = exporter.get_finished_metrics().unwrap();
        let shown = gauge(&collected, metric::SIGNATURE_SECRET_TIME_LEFT).unwrap();
        assert_eq!(shown.data_points().count(), SECRETS_SHOWN_MOST);
        let known = |name: &str| [semconv::TENANT_ID, semconv::SECRET_ID].contains(&name);
        assert!(shown.data_points().all(|point| point.attributes().all(|pair| known(pair.key.as_str()))));
        assert!(shown.data_points().all(|point| point.value() > 1e9));
        let idle = gauge(&collected, metric::SIGNATURE_SECRET_IDLE);
        assert!(idle.is_none_or(|gauge| gauge.data_points().next().is_none()), "none was used");
    }

    #[test]
    fn a_time_is_below_zero_when_it_is_over() {
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        assert!((seconds(at(5), at(7)) - 2.0).abs() < f64::EPSILON);
        assert!((seconds(at(7), at(5)) + 2.0).abs() < f64::EPSILON);
    }
}
