//! What the fuzz targets reach of this room (`fuzz/`). No part of its interface: nothing else may use it.
//!
//! Nothing here does anything of its own: what a target meets is what a request or a start meets.

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::UNIX_EPOCH};

use calbridge_process::Tenant;
use http::HeaderMap;

use crate::{
    signature::{Keyring, Verdict},
    spool,
};

/// The keys of some tenants.
#[allow(missing_debug_implementations, reason = "it holds keys")]
pub struct Keys(Keyring);

impl Keys {
    /// Made as the edge makes them.
    #[must_use]
    pub fn new(tenants: &BTreeMap<String, Tenant>) -> Self {
        Self(Keyring::new(tenants))
    }

    /// The name of the secret that lets a request in; none where it is refused.
    pub async fn verify(&self, tenant: &str, headers: &HeaderMap, body: &[u8]) -> Option<Arc<str>> {
        match self.0.verify(tenant, headers, body, UNIX_EPOCH).await {
            Verdict::Signed(id) | Verdict::Unsigned(id) => Some(id),
            Verdict::Missing | Verdict::Invalid => None,
        }
    }
}

/// What a start finds in a spool, in the order in which it would be sent: tenant, time and event.
///
/// # Errors
///
/// Those that keep a process from starting.
pub fn recover(directory: &Path) -> io::Result<Vec<(String, i64, Vec<u8>)>> {
    spool::recovered(directory)
}
