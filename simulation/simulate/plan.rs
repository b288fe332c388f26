//! What a seed tells: who is there, what Cal.com sends and when, and what breaks meanwhile.
//!
//! Invariant: a plan is a function of its seed. Every fault has an end.

use std::{fmt, time::Duration};

use calbridge_calcom::golden::{self, lives};
use calbridge_e2e::{chance::Chance, webhook::sha256};
use calbridge_process::{Ack, Limits};

use crate::store::Mood;

/// Webhooks are first sent, and faults begin, within this time.
pub(crate) const BUSY: Duration = Duration::from_secs(4);

/// So many webhooks make a history, at the least; the last life is told to its end.
const WEBHOOKS: usize = 20;
/// And up to so many more.
const WEBHOOKS_MORE: usize = 25;
/// Faults, at the least.
const FAULTS: usize = 3;
/// And up to so many more.
const FAULTS_MORE: usize = 6;
/// A fault is long once in so many times.
const LONG_ONCE_IN: usize = 20;
/// And lasts up to so many milliseconds then: longer than anybody waits for an answer.
const LONG: usize = 15_000;
/// Cal.com's tries of one webhook.
const TRIES_MOST: usize = 4;
/// Requests that are soon too many.
const FEW_IN_FLIGHT: usize = 3;
/// A spool that soon is full, in bytes.
const SMALL_SPOOL: u64 = 64 * 1024;

/// One seed's history.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) adapters: usize,
    pub(crate) services: usize,
    /// When the adapters answer.
    pub(crate) ack: Ack,
    /// How many requests each may have in flight.
    pub(crate) in_flight: usize,
    /// How many deliveries a service remembers.
    pub(crate) dedupe_keys: usize,
    /// What their spools may hold.
    pub(crate) spool_bytes: u64,
    /// The longest that a message is on its way while all is well.
    pub(crate) latency: Duration,
    /// Hosts take their turns in an order of chance.
    pub(crate) shuffled: bool,
    /// One to a tenant, by number.
    pub(crate) lives: Vec<lives::Life>,
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) faults: Vec<Fault>,
}

/// One body, and when it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) tenant: usize,
    pub(crate) body: Vec<u8>,
    /// Its SHA-256, as deliveries have it.
    pub(crate) sha256: Vec<u8>,
    /// Which of its life's it is; none for a body that can't be typed.
    pub(crate) step: Option<usize>,
    /// Each time that Cal.com sends it, and how often it tries then.
    pub(crate) sent: Vec<(Duration, usize)>,
}

/// Something that breaks for a while.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) begins: Duration,
    pub(crate) ends: Duration,
    pub(crate) what: What,
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Nothing gets through between these; what is on its way is lost.
    Cut(Host, Host),
    /// Nothing gets through from the first to the second.
    Deaf(Host, Host),
    /// What is on its way stays there, and comes when it is over.
    Hold(Host, Host),
    /// Every message takes so many milliseconds.
    Slow(Host, Host, u64),
    /// Now and then a message is lost, and what is on its way with it.
    Lossy(Host, Host),
    /// The process dies, and its files are as it left them.
    Kill(Host),
    /// The machine loses its power: what its disk was not told to keep may be gone.
    Power(usize),
    /// An adapter's machine loses its power in the middle of the next sync of its spool.
    PowerInSync(usize),
    /// The process is told to end, and does.
    Stop(Host),
    /// A service finds its store so.
    Store(usize, Mood),
}

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    Adapter(usize),
    Service(usize),
    /// Sends the webhooks.
    Calcom,
    /// Reads the log of a tenant.
    Watcher(usize),
    /// A client of a durable consumer.
    Worker,
}

impl Plan {
    /// That of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        // Not the sequence that the system's chance is: it would be the same numbers.
        let mut chance = Chance::new(seed.rotate_left(32) ^ 0x5EED);
        let (adapters, services) = (1 + chance.below(2), 1 + chance.below(2));
        let ack = if chance.once_in(4) { Ack::Spooled } else { Ack::Committed };
        let in_flight = if chance.once_in(6) { FEW_IN_FLIGHT } else { Limits::default().in_flight };
        let dedupe_keys = [0, 2, 1_000, 1_000][chance.below(4)];
        let spool_bytes = if chance.once_in(6) { SMALL_SPOOL } else { 1 << 30 };
        let latency = Duration::from_millis([5, 10, 20, 50][chance.below(4)]);
        let shuffled = chance.once_in(2);
        let most = WEBHOOKS + chance.below(WEBHOOKS_MORE);
        let (mut told, mut webhooks) = (Vec::new(), Vec::new());
        let all = lives::all();
        while webhooks.len() < most {
            let life = all[chance.below(all.len())].clone();
            webhooks.extend(tell(&life, told.len(), &mut chance));
            told.push(life);
        }
        let hosts = Hosts { adapters, services };
        let count = FAULTS + chance.below(FAULTS_MORE);
        let mut faults: Vec<_> = (0..count).map(|_| hosts.fault(&mut chance)).collect();
        faults.sort_by_key(|fault| fault.begins);
        Self {
            seed,
            adapters,
            services,
            ack,
            in_flight,
            dedupe_keys,
            spool_bytes,
            latency,
            shuffled,
            lives: told,
            webhooks,
            faults,
        }
    }

    /// From here on nothing is broken any more.
    pub(crate) fn healed(&self) -> Duration {
        self.faults.iter().map(|fault| fault.ends).max().unwrap_or_default()
    }
}

impl Webhook {
    fn new(tenant: usize, body: Vec<u8>, step: Option<usize>, sent: Vec<(Duration, usize)>) -> Self {
        Self { tenant, sha256: sha256(&body), body, step, sent }
    }
}

/// The webhooks of a life at this tenant, some of them sent twice, and now and then a body that can't be typed.
fn tell(life: &lives::Life, tenant: usize, chance: &mut Chance) -> Vec<Webhook> {
    let begins = milliseconds(chance.below(2_500));
    // Most lives come in their order; some all at once.
    let apart = [900, 300, 20, 0][chance.below(4)];
    let mut at = begins;
    let mut webhooks = Vec::new();
    for (step, (trigger, told)) in life.steps.iter().enumerate() {
        let mut sent = vec![(at.min(BUSY), tries(chance))];
        if chance.once_in(4) {
            sent.push(((at + milliseconds(chance.below(1_000))).min(BUSY), tries(chance)));
        }
        webhooks.push(Webhook::new(tenant, golden::body(*trigger, told), Some(step), sent));
        at += milliseconds(apart * (chance.below(100) + 50) / 100);
    }
    if chance.once_in(5) {
        let sent = vec![(at.min(BUSY), tries(chance))];
        webhooks.push(Webhook::new(tenant, format!("a template of {tenant}").into(), None, sent));
    }
    webhooks
}

/// Most senders insist, as far as they ever do.
fn tries(chance: &mut Chance) -> usize {
    if chance.once_in(3) { 1 + chance.below(TRIES_MOST) } else { TRIES_MOST }
}

struct Hosts {
    adapters: usize,
    services: usize,
}

impl Hosts {
    fn fault(&self, chance: &mut Chance) -> Fault {
        let begins = milliseconds(chance.below(usize::try_from(BUSY.as_millis()).unwrap_or(0)));
        // Many short ones: a deadline is a quarter of a second, a silence is noticed after half of one.
        let most = if chance.once_in(LONG_ONCE_IN) { LONG } else { [150, 600, 1_500, 2_900][chance.below(4)] };
        let ends = begins + milliseconds(20 + chance.below(most));
        Fault { begins, ends, what: self.what(chance) }
    }

    fn what(&self, chance: &mut Chance) -> What {
        let (from, to) = self.link(chance);
        match chance.below(15) {
            0 | 1 => What::Cut(from, to),
            2 => What::Deaf(from, to),
            3 | 4 => What::Hold(from, to),
            5 => What::Slow(from, to, 30 + 10 * u64::try_from(chance.below(60)).unwrap_or(0)),
            6 => What::Lossy(from, to),
            7 => What::Kill(Host::Adapter(chance.below(self.adapters))),
            8 if chance.once_in(4) => What::Kill([Host::Watcher(0), Host::Watcher(1), Host::Worker][chance.below(3)]),
            8 => What::Kill(Host::Service(chance.below(self.services))),
            9 => What::Power(chance.below(self.adapters)),
            10 => What::PowerInSync(chance.below(self.adapters)),
            11 if chance.once_in(2) => What::Stop(Host::Adapter(chance.below(self.adapters))),
            11 => What::Stop(Host::Service(chance.below(self.services))),
            12 => {
                What::Store(chance.below(self.services), Mood::Slow(10 * u64::try_from(chance.below(100)).unwrap_or(0)))
            }
            13 => What::Store(chance.below(self.services), Mood::Away),
            _ => What::Store(chance.below(self.services), Mood::Mute),
        }
    }

    /// Two that speak with each other, most often an adapter and a service.
    fn link(&self, chance: &mut Chance) -> (Host, Host) {
        let adapter = Host::Adapter(chance.below(self.adapters));
        let service = Host::Service(chance.below(self.services));
        let (one, other) = match chance.below(8) {
            0 => (Host::Calcom, adapter),
            1 => (Host::Watcher(chance.below(2)), service),
            2 => (Host::Worker, service),
            _ => (adapter, service),
        };
        if chance.once_in(2) { (one, other) } else { (other, one) }
    }
}

fn milliseconds(count: usize) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adapter(number) => write!(formatter, "adapter-{number}"),
            Self::Service(number) => write!(formatter, "service-{number}"),
            Self::Calcom => formatter.write_str("calcom"),
            Self::Watcher(number) => write!(formatter, "watcher-{number}"),
            Self::Worker => formatter.write_str("worker"),
        }
    }
}
