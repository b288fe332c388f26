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
    look::{self, Again, Place},
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
/// Tries of one that may itself be why none succeeds: of a booking whose row can't be read, say. They take some ten
/// seconds: a store that restarts is back by then.
const TRIES_MOST: u32 = 16;
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

/// What a quarantine's webhooks are worth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// By tenant.
    pub tenants: BTreeMap<String, Verdicts>,
    /// Webhooks and files that the disk does not give back.
    pub unreadable: usize,
}

/// How far a replay has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Webhooks that were looked at.
    pub seen: usize,
    /// Of those, how many verify and are in the store.
    pub admitted: usize,
    /// Of the admitted, how many the store had already.
    pub known: usize,
    /// How many no secret verifies; they stay.
    pub unverified: usize,
    /// How many verify, but the service does not take them, by its reason; they stay.
    pub refused: BTreeMap<&'static str, usize>,
    /// How many, and how many files, the disk does not give back; they stay.
    pub unreadable: usize,
    /// How many were not looked at, or not sent, when it was stopped; they stay.
    pub left: usize,
    /// A booking service answers.
    pub is_linked: bool,
}

/// What became of one.
enum Outcome {
    Admitted(Accepted),
    Unverified,
    /// The service does not take it, for this reason.
    Refused(&'static str),
    /// It is too old by now, and gone.
    Gone,
    /// The disk does not give it back.
    Unreadable,
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
/// The directory can't be read, or a file in it is another user's.
pub async fn verify_quarantine(
    directory: &Path,
    tenants: &BTreeMap<String, Tenant>,
) -> Result<Verified, QuarantineError> {
    let unusable = |why| QuarantineError::of(directory, why);
    let keyring = Keyring::new(tenants);
    let (places, unreadable) = look::places(directory).map_err(unusable)?;
    let mut verified = Verified { unreadable, ..Verified::default() };
    for place in places {
        let webhook = match look::read(directory, &place).map_err(unusable)? {
            Again::There(webhook) => webhook,
            Again::Gone => continue,
            Again::Unreadable => {
                verified.unreadable += 1;
                continue;
            }
        };
        let of_tenant = verified.tenants.entry(place.tenant.to_string()).or_default();
        match judge(&keyring, &place, &webhook).await {
            Some(secret_id) => *of_tenant.verified.entry(secret_id.to_string()).or_default() += 1,
            None => of_tenant.unverified += 1,
        }
    }
    Ok(verified)
}

/// Sends what these secrets verify to the booking service, until all of it is committed or refused, or `stop`. `told`
/// hears every second how far it has come.
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
    let unusable = |why| QuarantineError::of(directory, why);
    let _lock = lock(directory)?;
    let (places, unreadable) = look::places(directory).map_err(unusable)?;
    let linked = Readiness::new().check("service");
    let settings = Settings::sending(services, access);
    let metrics = Arc::new(Metrics::new());
    let (forwarder, forwarding) = forward::start(&settings, linked.clone(), &metrics, &CancellationToken::new())?;
    let replay = Replay { directory, keyring: Keyring::new(&tenants), forwarder };
    let mut replayed = Replayed { left: places.len(), unreadable, ..Replayed::default() };
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
            _ = tells.tick() => told(Replayed { is_linked: linked.is_ready(), ..replayed.clone() }),
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
        let webhook = match look::read(self.directory, place)? {
            Again::There(webhook) => webhook,
            Again::Gone => return Ok(Outcome::Gone),
            Again::Unreadable => return Ok(Outcome::Unreadable),
        };
        let Some(secret_id) = judge(&self.keyring, place, &webhook).await else { return Ok(Outcome::Unverified) };
        let event = forward::encode(&webhook.into_event(&place.tenant, place.time, &secret_id));
        let event = match event {
            Ok(event) => event,
            Err(refused) => return Ok(Outcome::Refused(refused.reason)),
        };
        // Of all kinds, and of those that may be its own.
        let (mut failures, mut in_vain) = (0, 0);
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
                Err(refused) => {
                    failures += 1;
                    in_vain += u32::from(refused.may_be_its_own());
                    if !refused.passes() || in_vain >= TRIES_MOST {
                        return Ok(Outcome::Refused(refused.reason));
                    }
                    time::sleep(forward::pause(failures, forward::random())).await;
                }
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
            Outcome::Refused(reason) => *self.refused.entry(reason).or_default() += 1,
            Outcome::Unreadable => self.unreadable += 1,
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
    let unusable = |why| QuarantineError::of(directory, why);
    let file = segment::open_beside(&directory.join("replay.lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(QuarantineError::Taken { directory: directory.to_owned() }),
        Err(TryLockError::Error(why)) => Err(unusable(why)),
    }
}
