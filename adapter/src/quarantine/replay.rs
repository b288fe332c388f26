//! Judging again what is in quarantine, by the secrets as they are now, and admitting what verifies.
//!
//! It works beside a running adapter: it only reads the files, and marks what the service has committed. Should it end
//! before a mark is written, that webhook is sent again, and is a duplicate. One process replays at a time, by a lock
//! of its own.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io,
    path::Path,
    sync::Arc,
};

use calbridge_process::{
    Access, Tenant,
    crash::{self, Point},
};
use calbridge_proto::v1::SubmitOutcome;
use calbridge_telemetry::Readiness;
use futures_util::{StreamExt as _, stream};
use tokio::{
    select,
    time::{self, Duration},
};
use tokio_util::sync::CancellationToken;

use super::{
    QuarantineError,
    look::{self, Place},
    webhook::Webhook,
};
use crate::{
    Error, Moment, Settings,
    forward::{self, Accepted, Forwarder, Refused},
    metrics::Metrics,
    segment,
    signature::{Keyring, Verdict},
};

/// Webhooks on their way at once: enough for whole rounds of the service, and little beside what comes in meanwhile.
const IN_FLIGHT: usize = 32;
/// For the service to commit one: as long as it helps nobody to send it again.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often it is told how far it has come.
const TOLD: Duration = Duration::from_secs(1);

/// What would become of one tenant's webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// How many would be admitted, by the name of the secret that verifies them.
    pub verified: BTreeMap<String, usize>,
    /// How many none of its secrets verifies.
    pub unverified: usize,
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Webhooks that were looked at.
    pub seen: usize,
    /// Of those, how many verify and are in the store.
    pub admitted: usize,
    /// Of the admitted, how many the store had already.
    pub known: usize,
    /// How many no secret verifies; they stay.
    pub unverified: usize,
    /// How many verify, but the service will not take them; they stay.
    pub refused: usize,
    /// How many were not looked at, or not sent, when it was stopped; they stay.
    pub left: usize,
    /// A booking service answers.
    pub is_linked: bool,
}

/// What became of one.
enum Outcome {
    Admitted(Accepted),
    Unverified,
    /// The service will not take it.
    Refused,
    /// It is too old by now, and gone.
    Gone,
}

impl Verdicts {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.unverified + self.verified.values().sum::<usize>()
    }
}

/// Judges what is in the quarantine of a directory by these secrets, tenant by tenant. Nothing is changed.
///
/// # Errors
///
/// The directory or a file in it can't be read.
pub async fn verify_quarantine(
    directory: &Path,
    tenants: &BTreeMap<String, Tenant>,
) -> Result<BTreeMap<String, Verdicts>, QuarantineError> {
    let unusable = |why| QuarantineError::Unusable { directory: directory.to_owned(), why };
    let keyring = Keyring::new(tenants);
    let mut verdicts = BTreeMap::<String, Verdicts>::new();
    for place in look::places(directory).map_err(unusable)? {
        let Some(webhook) = look::read(directory, &place).map_err(unusable)? else { continue };
        let of_tenant = verdicts.entry(place.tenant.to_string()).or_default();
        match judge(&keyring, &place, &webhook).await {
            Some(secret_id) => *of_tenant.verified.entry(secret_id.to_string()).or_default() += 1,
            None => of_tenant.unverified += 1,
        }
    }
    Ok(verdicts)
}

/// Sends what these secrets verify to the booking service, until all of it is committed or `stop`. `told` hears every
/// second how far it has come.
///
/// # Errors
///
/// Another process replays this quarantine, or it can't be used; an address of the service is none.
pub async fn replay_quarantine(
    directory: &Path,
    tenants: BTreeMap<String, Tenant>,
    services: Vec<String>,
    access: Access,
    stop: CancellationToken,
    mut told: impl FnMut(Replayed),
) -> Result<Replayed, Error> {
    let unusable = |why| QuarantineError::Unusable { directory: directory.to_owned(), why };
    let _lock = lock(directory)?;
    let places = look::places(directory).map_err(unusable)?;
    let linked = Readiness::new().check("service");
    let settings = Settings::sending(services, access);
    let metrics = Arc::new(Metrics::new());
    let (forwarder, forwarding) = forward::start(&settings, linked.clone(), &metrics, &CancellationToken::new())?;
    let replay = Replay { directory, keyring: Keyring::new(&tenants), forwarder };
    let mut replayed = Replayed { left: places.len(), ..Replayed::default() };
    let mut tells = time::interval(TOLD);
    // The first tick comes at once.
    tells.tick().await;
    let mut ways = stream::iter(&places).map(|place| replay.admit(place)).buffer_unordered(IN_FLIGHT);
    let ended = loop {
        select! {
            way = ways.next() => match way {
                Some(Ok(outcome)) => replayed.count(&outcome),
                Some(Err(why)) => break Err(unusable(why)),
                None => break Ok(()),
            },
            _ = tells.tick() => told(Replayed { is_linked: linked.is_ready(), ..replayed }),
            () = stop.cancelled() => break Ok(()),
        }
    };
    drop(ways);
    replayed.is_linked = linked.is_ready();
    forwarding.stop().await;
    ended?;
    Ok(replayed)
}

/// What every webhook of a replay needs.
struct Replay<'a> {
    directory: &'a Path,
    keyring: Keyring,
    forwarder: Forwarder,
}

impl Replay<'_> {
    async fn admit(&self, place: &Place) -> io::Result<Outcome> {
        let Some(webhook) = look::read(self.directory, place)? else { return Ok(Outcome::Gone) };
        let Some(secret_id) = judge(&self.keyring, place, &webhook).await else { return Ok(Outcome::Unverified) };
        let event = forward::encode(&webhook.into_event(&place.tenant, place.time, &secret_id));
        let Ok(event) = event else { return Ok(Outcome::Refused) };
        let mut failures = 0;
        loop {
            let answered = async {
                let mut ticket = self.forwarder.submit(event.clone())?;
                let late = |_| Err(Refused::away("deadline_exceeded"));
                time::timeout(DEADLINE, ticket.answer()).await.unwrap_or_else(late)
            };
            match answered.await {
                Ok(accepted) => {
                    crash::at(Point::QuarantineAdmitted);
                    segment::settle(self.directory, place.segment, [place.offset])?;
                    crash::at(Point::QuarantineMarked);
                    return Ok(Outcome::Admitted(accepted));
                }
                Err(refused) if refused.passes() => {
                    failures += 1;
                    time::sleep(forward::pause(failures, forward::random())).await;
                }
                Err(_) => return Ok(Outcome::Refused),
            }
        }
    }
}

impl Replayed {
    fn count(&mut self, outcome: &Outcome) {
        self.left -= 1;
        match outcome {
            Outcome::Admitted(accepted) => {
                self.admitted += 1;
                self.known += usize::from(accepted.outcome == SubmitOutcome::Duplicate);
            }
            Outcome::Unverified => self.unverified += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Gone => return,
        }
        self.seen += 1;
    }
}

/// Which secret verifies it. Where its tenant lets everything in by now, nothing verifies it: what was refused once was
/// not sent by whoever has no secret.
async fn judge(keyring: &Keyring, place: &Place, webhook: &Webhook) -> Option<Arc<str>> {
    // By what holds now: the secret that was added may have begun after the webhook came.
    let now = Moment::now().time;
    match keyring.verify(&place.tenant, &webhook.headers(), &webhook.raw_body, now).await {
        Verdict::Signed(secret_id) => Some(secret_id),
        Verdict::Unsigned(_) | Verdict::Missing | Verdict::Invalid => None,
    }
}

fn lock(directory: &Path) -> Result<File, QuarantineError> {
    let unusable = |why| QuarantineError::Unusable { directory: directory.to_owned(), why };
    let file = segment::open_beside(&directory.join("replay.lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(QuarantineError::Taken { directory: directory.to_owned() }),
        Err(TryLockError::Error(why)) => Err(unusable(why)),
    }
}
