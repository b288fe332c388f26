//! Rotation of secrets while the adapter runs: what the files say now comes into force, and whoever keeps them is told
//! what comes to its end.
//!
//! Invariant: what can't be read or used, and what would let unsigned webhooks in from other machines, leaves the
//! tenants as they are. Lines name tenants and ids of secrets, never a secret.

mod changes;
mod deadlines;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use calbridge_process::{Tenant, TenantFiles, TenantNews, TenantWatch, tls::RELOAD_INTERVAL};
use calbridge_telemetry::semconv;
use tokio::{select, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{Moment, check_unsigned, keys::Keys, metrics::Metrics};

use self::{
    changes::{Change, changes},
    deadlines::{Deadlines, Notice},
};

/// From a change to the look that must see the same: whoever writes a file is done with it by then.
const SETTLE: Duration = Duration::from_millis(250);

/// Lines about tenants that one reload may write; the others are counted.
const CHANGES_TOLD_MOST: usize = 50;

/// Where tenants come from while the adapter runs, and what they may be.
#[derive(Debug, Clone)]
pub struct Reload {
    /// What is looked at.
    pub files: TenantFiles,
    /// Unsigned tenants may be reached beyond loopback.
    pub insecure_unsigned: bool,
}

/// The task that looks.
pub(crate) struct Rotation {
    pub(crate) keys: Arc<Keys>,
    /// In force.
    pub(crate) tenants: BTreeMap<String, Tenant>,
    pub(crate) reload: Option<Reload>,
    /// Where the edge listens.
    pub(crate) address: SocketAddr,
    pub(crate) moment: fn() -> Moment,
    pub(crate) metrics: Arc<Metrics>,
}

impl Rotation {
    /// Runs until `over` fires.
    pub(crate) async fn run(mut self, over: CancellationToken) {
        let mut watch = self.reload.as_ref().map(|reload| TenantWatch::new(reload.files.clone(), &self.tenants));
        let mut deadlines = Deadlines::default();
        warn_of_unsigned(self.tenants.iter());
        self.metrics.unsigned_tenants(self.tenants.values().filter(|tenant| tenant.allow_unsigned).count());
        let mut pause = Duration::ZERO;
        loop {
            select! {
                () = sleep(pause) => {}
                () = over.cancelled() => return,
            }
            deadlines.due(&self.tenants, (self.moment)().time).iter().for_each(tell);
            pause = RELOAD_INTERVAL;
            let Some(mut looking) = watch.take() else { continue };
            // Beside the reactor: the files may lie on a network.
            let looked = spawn_blocking(move || {
                let news = looking.look();
                (looking, news)
            });
            // A panic in there was said where it happened; or the runtime is ending.
            let Ok((looked, news)) = looked.await else { continue };
            watch = Some(looked);
            match news {
                TenantNews::Nothing => {}
                TenantNews::Unsettled => pause = SETTLE,
                TenantNews::Tenants(tenants) => {
                    self.take(tenants);
                    // What it means is told at once.
                    pause = Duration::ZERO;
                }
                TenantNews::Broken(why) => {
                    warn!(%why, "the tenants can't be read anew; those that were in force stay so");
                }
            }
        }
    }

    /// Puts these tenants into force, if they may be.
    fn take(&mut self, tenants: BTreeMap<String, Tenant>) {
        let insists = self.reload.as_ref().is_some_and(|reload| reload.insecure_unsigned);
        if let Err(why) = check_unsigned(&tenants, insists, self.address) {
            warn!(%why, "the tenants can't be taken anew; those that were in force stay so");
            return;
        }
        self.keys.replace(&tenants);
        let before = std::mem::replace(&mut self.tenants, tenants);
        let changes = changes(&before, &self.tenants);
        for Change { tenant, added, removed, changed } in changes.iter().take(CHANGES_TOLD_MOST) {
            info!({ semconv::TENANT_ID } = tenant, ?added, ?removed, ?changed, "the secrets of this tenant changed");
        }
        let fresh = |(name, _): &(&String, &Tenant)| before.get(*name).is_none_or(|tenant| !tenant.allow_unsigned);
        warn_of_unsigned(self.tenants.iter().filter(fresh));
        self.metrics.unsigned_tenants(self.tenants.values().filter(|tenant| tenant.allow_unsigned).count());
        info!(
            changed = changes.len(),
            "the tenants were read anew and are in force; whatever else changed in the config file needs a restart"
        );
    }
}

fn warn_of_unsigned<'a>(tenants: impl Iterator<Item = (&'a String, &'a Tenant)>) {
    for (tenant, _) in tenants.filter(|(_, tenant)| tenant.allow_unsigned) {
        warn!(
            { semconv::TENANT_ID } = tenant,
            "this tenant lets unsigned webhooks in: whoever finds its URL can invent bookings"
        );
    }
}

fn tell(notice: &Notice) {
    let Notice { tenant, what } = notice;
    match what {
        deadlines::What::Expires { id, expires, within } => warn!(
            { semconv::TENANT_ID } = tenant,
            { semconv::SECRET_ID } = id,
            %expires,
            "a secret expires in less than {within}"
        ),
        deadlines::What::Expired { id, expires } => info!(
            { semconv::TENANT_ID } = tenant,
            { semconv::SECRET_ID } = id,
            %expires,
            "a secret has expired: what it signs is refused"
        ),
        deadlines::What::NoneActive => warn!(
            { semconv::TENANT_ID } = tenant,
            "no secret of this tenant is within its time: its webhooks are refused until one is"
        ),
        deadlines::What::LastExpired { id } => error!(
            { semconv::TENANT_ID } = tenant,
            { semconv::SECRET_ID } = id,
            "the last active secret of this tenant has expired: its webhooks are refused from now on"
        ),
        deadlines::What::ActiveAgain => info!(
            { semconv::TENANT_ID } = tenant,
            "a secret of this tenant is within its time again: its webhooks are taken"
        ),
    }
}

#[cfg(test)]
mod tests;
