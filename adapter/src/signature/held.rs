//! One key, when it holds, and when it let somebody in last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use calbridge_process::Secret;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Key, key};

/// A secret of a tenant, ready for use.
pub(crate) struct Held {
    pub(crate) tenant: Arc<str>,
    pub(crate) id: Arc<str>,
    pub(super) key: Key,
    value: SecretString,
    not_before: Option<SystemTime>,
    pub(crate) expires: Option<SystemTime>,
    /// Microseconds since 1970, zero for never. Shared with the key that takes this one's place in another ring.
    used: Arc<AtomicU64>,
}

impl Held {
    /// `before` finds the tenant's key of the same id in the ring before.
    pub(super) fn new<'a>(tenant: &str, secret: &Secret, before: impl Fn(&str) -> Option<&'a Self>) -> Self {
        // The name of a file may stay while what is in it is rotated: that is another secret.
        let same = before(&secret.id).filter(|held| held.value.expose_secret() == secret.value.expose_secret());
        Self {
            tenant: tenant.into(),
            id: secret.id.as_str().into(),
            key: key(secret.value.expose_secret().as_bytes()),
            value: secret.value.clone(),
            not_before: secret.not_before.map(Into::into),
            expires: secret.expires.map(Into::into),
            used: same.map(|held| Arc::clone(&held.used)).unwrap_or_default(),
        }
    }

    /// Tenant and id: no other key of a ring has both.
    pub(super) fn names(&self) -> (&str, &str) {
        (&self.tenant, &self.id)
    }

    /// Whether it lets in at this moment.
    pub(super) fn is_active(&self, now: SystemTime) -> bool {
        self.not_before.is_none_or(|start| start <= now) && self.expires.is_none_or(|end| now < end)
    }

    /// It has let somebody in.
    pub(super) fn used(&self, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.used.fetch_max(u64::try_from(since.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When that was, if it was in this process.
    pub(crate) fn last_used(&self) -> Option<SystemTime> {
        let micros = self.used.load(Ordering::Relaxed);
        (micros > 0).then(|| UNIX_EPOCH.checked_add(Duration::from_micros(micros)))?
    }
}
