//! How much of whom may be kept: a rate and a share of the bytes for each tenant, and for each address that sends to
//! it. Pure.
//!
//! Invariant: whatever comes, no tenant has more than its share, and in no time more than its burst and its rate allow;
//! and what is known of addresses is bounded. One that is forgotten begins anew, within its tenant's share.

use std::{collections::HashMap, net::IpAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use lru::LruCache;

use crate::{meter::Meter, source::network};

/// Records at once: what is known of each costs some 100 bytes of memory. At the usual size they fill the bytes.
const RECORDS_MOST: usize = 100_000;
/// Addresses that are known at once, about 100 bytes each; the one that sent longest ago is forgotten.
const SOURCES_MOST: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");
/// An address may bring at once what it may bring in so many seconds: a burst of Cal.com's after an outage of its own.
const BURST_SECONDS: u32 = 20;
/// A tenant may have so many times what one address may send: Cal.com's own senders are a few.
const TENANT_RATE: u32 = 10;
/// A tenant may hold this part of all bytes: a flood in the name of one leaves room for the others.
const TENANT_SHARE: u64 = 4;
/// An address may hold this part: a stranger who found one tenant's URL leaves room for its authentic sender.
const SOURCE_SHARE: u64 = 8;

/// Who sends, as far as the budget tells senders apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

/// What is in use of what is allowed.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    tenant: Meter,
    source: Meter,
    tenants: HashMap<Arc<str>, Share>,
    sources: LruCache<(Arc<str>, Source), Share>,
}

/// What one of them has.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    bytes: u64,
    /// When as many were allowed as have come; behind the present where there were fewer.
    due: Duration,
}

impl Source {
    /// The address itself; of IPv6 its /64, for whoever has one address there has them all.
    pub(super) fn of(address: IpAddr) -> Self {
        Self(network(address.to_canonical()))
    }
}

impl Budget {
    /// So many bytes in all, and so many in a second from each address.
    pub(super) fn new(bytes: u64, rate: u32) -> Self {
        // Grown as needed: a capacity given to the map would be allocated at the start.
        let mut sources = LruCache::unbounded();
        sources.resize(SOURCES_MOST);
        let meter = |rate: u32| Meter::new(rate, rate.saturating_mul(BURST_SECONDS));
        let (tenant, source) = (meter(rate.saturating_mul(TENANT_RATE)), meter(rate));
        Self { bytes, tenant, source, tenants: HashMap::new(), sources }
    }

    /// One of so many bytes may be kept, where so many records and bytes are kept in all. It counts against the rates
    /// from now on, the time since any fixed moment, and against the bytes once it is said to be [held](Self::hold).
    pub(super) fn admit(
        &mut self,
        tenant: &Arc<str>,
        source: Source,
        bytes: u64,
        (records, in_all): (usize, u64),
        now: Duration,
    ) -> bool {
        let of_tenant = self.tenants.get(tenant).copied().unwrap_or_default();
        let of_source = self.sources.get(&(Arc::clone(tenant), source)).copied().unwrap_or_default();
        let is_below = |has: u64, most: u64| has.saturating_add(bytes) <= most;
        if records >= RECORDS_MOST
            || !is_below(in_all, self.bytes)
            || !is_below(of_tenant.bytes, self.bytes / TENANT_SHARE)
            || !is_below(of_source.bytes, self.bytes / SOURCE_SHARE)
        {
            return false;
        }
        let (of_tenant, of_source) = (of_tenant.due.saturating_sub(now), of_source.due.saturating_sub(now));
        let (Ok(of_tenant), Ok(of_source)) = (self.tenant.take(of_tenant), self.source.take(of_source)) else {
            return false;
        };
        self.tenants.entry(Arc::clone(tenant)).or_default().due = now + of_tenant;
        self.sources.get_or_insert_mut((Arc::clone(tenant), source), Share::default).due = now + of_source;
        true
    }

    /// So many bytes more are kept.
    pub(super) fn hold(&mut self, tenant: &Arc<str>, source: Source, bytes: u64) {
        self.tenants.entry(Arc::clone(tenant)).or_default().bytes += bytes;
        self.sources.get_or_insert_mut((Arc::clone(tenant), source), Share::default).bytes += bytes;
    }

    /// So many bytes are not kept any more.
    pub(super) fn release(&mut self, tenant: &Arc<str>, source: Source, bytes: u64) {
        if let Some(share) = self.tenants.get_mut(tenant) {
            share.bytes = share.bytes.saturating_sub(bytes);
        }
        if let Some(share) = self.sources.peek_mut(&(Arc::clone(tenant), source)) {
            // It may have been forgotten since, and have begun anew.
            share.bytes = share.bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
