//! The keyring in force, and what metrics tell of its secrets.
//!
//! Invariant: a ring is replaced whole. A request that has begun keeps the ring that it began with.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::SystemTime,
};

use calbridge_process::Tenant;
use calbridge_telemetry::{
    meter,
    semconv::{self, metric, unit},
};
use opentelemetry::{KeyValue, StringValue};

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
pub(crate) fn show(keys: &Arc<Keys>, moment: fn() -> Moment) {
    // The instruments live in the meter provider, which keeps the callbacks: they must not keep the keys.
    let shown = |name: &'static str, about: &'static str, of: fn(&Held, SystemTime) -> Option<f64>| {
        let keys: Weak<Keys> = Arc::downgrade(keys);
        let _ = meter()
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
