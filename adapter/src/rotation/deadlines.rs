//! What is to be told of the ends of secrets, each once.
//!
//! A pure function of the tenants, the time, and what was told already; what a look may not tell any more the next one
//! does.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, SystemTime},
};

use calbridge_process::{Secret, Tenant};
use jiff::Timestamp;

/// Warned of a first time: somebody is at work on one of these days.
const SOON: Duration = Duration::from_hours(7 * 24);
/// And a second time.
const VERY_SOON: Duration = Duration::from_hours(24);
/// Lines of one look: with as many tenants as there may be, one day that ends many secrets is told within minutes
/// instead of at once.
const NOTICES_MOST: usize = 100;

/// A line for whoever keeps the secrets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) tenant: String,
    pub(super) what: What,
}

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It still lets in.
    Expires { id: String, expires: Timestamp, within: &'static str },
    /// It lets in no more; others of its tenant do.
    Expired { id: String, expires: Timestamp },
    /// So it was when the tenant was first seen as it is now.
    NoneActive,
    /// There was an active one until now.
    LastExpired { id: String },
    /// There was none until now.
    ActiveAgain,
}

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// By tenant and id: of which end, and how near it was.
    told: HashMap<(String, String), (Timestamp, Stage)>,
    /// Tenants with an active secret, and those without.
    active: HashSet<String>,
    silent: HashSet<String>,
}

/// How near an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Far,
    Soon,
    VerySoon,
    Over,
}

impl Deadlines {
    /// What is to be told now.
    pub(super) fn due(&mut self, tenants: &BTreeMap<String, Tenant>, now: SystemTime) -> Vec<Notice> {
        // A clock outside of the years 1 to 9999 tells nothing.
        let Ok(now) = Timestamp::try_from(now) else { return Vec::new() };
        self.forget(tenants);
        let mut notices = Vec::new();
        for (name, tenant) in tenants.iter().filter(|(_, tenant)| !tenant.secrets.is_empty()) {
            if notices.len() >= NOTICES_MOST {
                break;
            }
            let what = self.of_tenant(name, &tenant.secrets, now);
            notices.extend(what.into_iter().map(|what| Notice { tenant: name.clone(), what }));
        }
        notices
    }

    /// Whoever comes back is new.
    fn forget(&mut self, tenants: &BTreeMap<String, Tenant>) {
        let has_secrets = |name: &String| tenants.get(name).is_some_and(|tenant| !tenant.secrets.is_empty());
        let has = |name: &str, id: &str| {
            tenants.get(name).is_some_and(|tenant| tenant.secrets.iter().any(|secret| secret.id == id))
        };
        self.told.retain(|(name, id), _| has(name, id));
        self.active.retain(has_secrets);
        self.silent.retain(has_secrets);
    }

    fn of_tenant(&mut self, name: &str, secrets: &[Secret], now: Timestamp) -> Vec<What> {
        let mut notices = Vec::new();
        let mut ended: Option<&Secret> = None;
        for secret in secrets {
            let Some(expires) = secret.expires else { continue };
            let stage = stage(expires, now);
            let key = (name.to_owned(), secret.id.clone());
            // Another end is another matter; one that is over when it is first seen was told by somebody before.
            let before = self.told.get(&key).filter(|(told, _)| *told == expires).map(|(_, stage)| *stage);
            // A clock that goes back does not make anything new.
            self.told.insert(key, (expires, before.map_or(stage, |before| before.max(stage))));
            if before.is_some_and(|before| before >= stage) {
                continue;
            }
            let id = secret.id.clone();
            match stage {
                Stage::Soon => notices.push(What::Expires { id, expires, within: "7 days" }),
                Stage::VerySoon => notices.push(What::Expires { id, expires, within: "1 day" }),
                Stage::Over if before.is_some() => {
                    if ended.is_none_or(|ended| ended.expires < secret.expires) {
                        ended = Some(secret);
                    }
                    notices.push(What::Expired { id, expires });
                }
                Stage::Far | Stage::Over => {}
            }
        }
        if secrets.iter().any(|secret| secret.is_active(now)) {
            self.active.insert(name.to_owned());
            if self.silent.remove(name) {
                notices.push(What::ActiveAgain);
            }
        } else if self.silent.insert(name.to_owned()) {
            let was_active = self.active.remove(name);
            notices.push(match ended.filter(|_| was_active) {
                Some(last) => What::LastExpired { id: last.id.clone() },
                None => What::NoneActive,
            });
        }
        notices
    }
}

fn stage(expires: Timestamp, now: Timestamp) -> Stage {
    let left = Duration::try_from(expires.duration_since(now)).unwrap_or(Duration::ZERO);
    match left {
        Duration::ZERO => Stage::Over,
        left if left < VERY_SOON => Stage::VerySoon,
        left if left < SOON => Stage::Soon,
        _ => Stage::Far,
    }
}

#[cfg(test)]
mod tests;
