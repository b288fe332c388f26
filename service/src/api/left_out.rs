//! Damaged bookings that lists leave out. Each is said once, or a list that is read again and again would fill the log.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use calbridge_telemetry::semconv;
use tracing::error;

/// So many are named. A store with more of them is to be restored, whichever they are.
const NAMED_MAX: usize = 1_024;

/// Those that were named.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    named: Mutex<HashSet<(String, String)>>,
}

impl LeftOut {
    /// A list of this tenant's left these out; how many of them no list did before.
    pub(super) fn say(&self, tenant: &str, uids: &[String]) -> usize {
        let new: Vec<&String> = uids.iter().filter(|uid| self.is_new(tenant, uid)).collect();
        for uid in &new {
            error!(
                { semconv::TENANT_ID } = tenant,
                { semconv::BOOKING_UID } = uid.as_str(),
                "lists leave out a booking whose row is damaged; restore it from a backup"
            );
        }
        new.len()
    }

    fn is_new(&self, tenant: &str, uid: &str) -> bool {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.len() < NAMED_MAX && named.insert((tenant.to_owned(), uid.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_and_so_many_at_the_most() {
        let left_out = LeftOut::default();
        assert!(left_out.is_new("acme", "u1") && left_out.is_new("other", "u1"));
        assert!(!left_out.is_new("acme", "u1"));
        let said = (0..2 * NAMED_MAX).filter(|number| left_out.is_new("acme", &format!("v{number}"))).count();
        assert_eq!(said, NAMED_MAX - 2);
    }
}
