//! Who comes too often: one budget for each source, before its body is read, and one for each tenant, after the
//! signature, so that nobody without a secret can use a tenant's budget up.
//!
//! Both are off unless the operator sets them. What is remembered is bounded: whoever came the longest ago is
//! forgotten, which gives it its whole budget back and nobody else anything.

use std::{
    hash::Hash,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use calbridge_process::{Limits, MAX_TENANTS, Rate};
use http::HeaderMap;
use ipnet::IpNet;
use lru::LruCache;
use tokio::time::Instant;

use crate::{
    meter::Meter,
    source::{Source, source},
};

/// Sources that are remembered, about 6 MB: more than a flood needs to be told from those who come often, and whoever
/// has as many addresses to send from is stopped by no limit on one address.
const SOURCES_MOST: usize = 65_536;

/// The budgets of all.
pub(crate) struct Rates {
    sources: Option<Budgets<Source>>,
    tenants: Option<Budgets<Box<str>>>,
    trusted: Vec<IpNet>,
}

impl Rates {
    pub(crate) fn new(limits: &Limits, trusted_proxies: Vec<IpNet>) -> Self {
        Self {
            sources: limits.source_rate.map(|rate| Budgets::new(rate, SOURCES_MOST)),
            tenants: limits.tenant_rate.map(|rate| Budgets::new(rate, MAX_TENANTS)),
            trusted: trusted_proxies,
        }
    }

    /// Takes one request off its source's budget; the error is when there is room for one again.
    pub(crate) fn source(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Duration> {
        let Some(budgets) = &self.sources else { return Ok(()) };
        // Behind a proxy that does not say for whom it asks, all would share one budget.
        source(peer, headers, &self.trusted).map_or(Ok(()), |source| budgets.take(source, Instant::now()))
    }

    /// The address that a request is counted for; the other end of its connection where no better one is known.
    pub(crate) fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        match source(peer, headers, &self.trusted) {
            Some(Source::Address(address)) => address,
            Some(Source::Disputed) | None => peer,
        }
    }

    /// Takes one webhook off its tenant's budget; the error is when there is room for one again.
    pub(crate) fn tenant(&self, tenant: &str) -> Result<(), Duration> {
        let Some(budgets) = &self.tenants else { return Ok(()) };
        budgets.take(tenant.into(), Instant::now())
    }
}

/// One budget for each key, kept as the moment at which all that was taken from it is made good again.
struct Budgets<K> {
    meter: Meter,
    made_good: Mutex<LruCache<K, Instant>>,
}

impl<K: Hash + Eq> Budgets<K> {
    fn new(rate: Rate, keys_most: usize) -> Self {
        Self {
            meter: Meter::new(rate.per_second.get(), rate.burst.get()),
            made_good: Mutex::new(LruCache::new(NonZeroUsize::new(keys_most).unwrap_or(NonZeroUsize::MIN))),
        }
    }

    fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut made_good = self.made_good.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = made_good.get_or_insert_mut(key, || now);
        *moment = now + self.meter.take(moment.saturating_duration_since(now))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
