//! When the clock completes a booking, tenant by tenant: `MEETING_ENDED` reaches only some receivers.

use std::{collections::BTreeMap, time::Duration};

use calbridge_booking::Horizon;

use super::Micros;

/// So much must a clock or a grace have gone back before a completion is taken back: the clocks of machines, and of one
/// machine after a correction, differ by less.
pub(crate) const SKEW: Micros = 60_000_000;

/// How long after its end an accepted booking counts as over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClockPolicies {
    /// Of tenants that are not named; `None`: the clock completes nothing.
    pub otherwise: Option<Duration>,
    /// Of those that are.
    pub tenants: BTreeMap<String, Option<Duration>>,
}

impl ClockPolicies {
    /// Up to which instant a tenant's ends have passed.
    pub(crate) fn horizon(&self, tenant: &str, now: Micros) -> Horizon {
        let grace = self.tenants.get(tenant).copied().unwrap_or(self.otherwise);
        grace.map_or(Horizon::NONE, |grace| Horizon::at(now, grace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_own_grace_or_the_common_one() {
        let tenants = [("own".to_owned(), Some(Duration::from_secs(1))), ("never".to_owned(), None)].into();
        let policies = ClockPolicies { otherwise: Some(Duration::from_secs(2)), tenants };
        for (tenant, expected) in [("own", Some(9_000_000)), ("never", None), ("other", Some(8_000_000))] {
            assert_eq!(policies.horizon(tenant, 10_000_000).instant(), expected, "{tenant}");
        }
        assert_eq!(ClockPolicies::default().horizon("any", 10_000_000), Horizon::NONE);
    }
}
