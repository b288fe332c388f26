//! Whether a webhook comes from somebody who holds one of the tenant's secrets.
//!
//! The MAC covers the raw body alone, so it is checked before anything of the body is looked into, in constant time. A
//! refusal costs the same for every tenant, known or not: neither the answer nor its time tells which tenants exist.
//! That is a MAC for each secret of the tenant that has the most, twice if the body ends in a line end. A secret
//! outside its time counts as none and costs the same.

mod held;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use calbridge_process::Tenant;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::Sha256;
use tokio::{sync::Semaphore, task::yield_now};

pub(crate) use self::held::Held;

/// Where a signature may stand; the first of these names that is present decides.
const HEADERS: [&str; 4] = ["x-cal-signature-256", "cal-signature-256", "x-cal-signature", "cal-signature"];

/// What some proxies and other senders write before the hex digits.
const PREFIX: &[u8] = b"sha256=";

/// What Cal.com sends in the header where the subscription has no secret.
const NO_SECRET: &[u8] = b"no-secret-provided";

/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// What a delivery's `secret_id` says where the tenant allows unsigned webhooks.
const UNSIGNED: &str = "unsigned";

/// Bodies above this many bytes take turns, and leave the thread to others each time that so many are passed over: each
/// key costs a pass over the body. Cal.com's are far below.
const LARGE_ABOVE_BYTES: usize = 64 * 1024;

/// Large bodies being verified at once: a flood of them holds up each other, and everybody else for no longer than one
/// body at the bound would.
const LARGE_AT_ONCE: usize = 1;

type Key = Hmac<Sha256>;

/// What the signature says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One of the tenant's secrets signed the body; this is its name.
    Signed(Arc<str>),
    /// The tenant lets everything in.
    Unsigned(Arc<str>),
    /// The header is absent, or says that the subscription has no secret.
    Missing,
    /// No active secret of this tenant made the signature, or there is no such tenant.
    Invalid,
}

impl Verdict {
    /// As metrics and the log name it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Signed(_) => "valid",
            Self::Unsigned(_) => "unsigned",
            Self::Missing => "missing",
            Self::Invalid => "invalid",
        }
    }
}

/// Every tenant's keys, made once: a key's state is cloned for each body. It is never changed; another takes its place.
pub(crate) struct Keyring {
    tenants: HashMap<String, Entry>,
    /// Every key, by the names of the tenants and in the order of their lists.
    order: Vec<Arc<Held>>,
    /// Keys that a refusal tries, whoever the tenant is.
    rounds: usize,
    /// Tried in the place of keys that a tenant does not have.
    dummy: Key,
    unsigned: Arc<str>,
    /// One permit for each turn of a large body.
    turns: Arc<Semaphore>,
}

/// One tenant's way in.
enum Entry {
    Keys(Vec<Arc<Held>>),
    AllowUnsigned,
}

impl Keyring {
    /// The keys of these tenants.
    pub(crate) fn new(tenants: &BTreeMap<String, Tenant>) -> Self {
        Self::with(tenants, &[], Arc::new(Semaphore::new(LARGE_AT_ONCE)))
    }

    /// The keys of these tenants in the place of this ring's: when a secret was used last is known of those that stay.
    pub(crate) fn renewed(&self, tenants: &BTreeMap<String, Tenant>) -> Self {
        Self::with(tenants, &self.order, Arc::clone(&self.turns))
    }

    fn with(tenants: &BTreeMap<String, Tenant>, before: &[Arc<Held>], turns: Arc<Semaphore>) -> Self {
        let before: HashMap<_, _> = before.iter().map(|held| (held.names(), held)).collect();
        let (mut entries, mut order) = (HashMap::with_capacity(tenants.len()), Vec::new());
        for (name, tenant) in tenants {
            if tenant.allow_unsigned {
                entries.insert(name.clone(), Entry::AllowUnsigned);
                continue;
            }
            let same = |id: &str| before.get(&(name.as_str(), id)).map(|held| &***held);
            let held = |secret| Arc::new(Held::new(name, secret, same));
            let keys: Vec<_> = tenant.secrets.iter().map(held).collect();
            order.extend(keys.iter().cloned());
            entries.insert(name.clone(), Entry::Keys(keys));
        }
        Self {
            tenants: entries,
            order,
            rounds: tenants.values().map(|tenant| tenant.secrets.len()).max().unwrap_or(0).max(1),
            dummy: key(b"nobody signs with this"),
            unsigned: Arc::from(UNSIGNED),
            turns,
        }
    }

    /// Every key, by the names of the tenants and in the order of their lists.
    pub(crate) fn held(&self) -> &[Arc<Held>] {
        &self.order
    }

    /// Whether there is such a tenant. For what is written down about a request, never for what it is answered.
    pub(crate) fn knows(&self, tenant: &str) -> bool {
        self.tenants.contains_key(tenant)
    }

    /// Judges one request by its headers and its body as sent, at this moment.
    pub(crate) async fn verify(&self, tenant: &str, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Verdict {
        let keys = match self.tenants.get(tenant) {
            Some(Entry::AllowUnsigned) => return Verdict::Unsigned(self.unsigned.clone()),
            Some(Entry::Keys(keys)) => keys.as_slice(),
            None => &[],
        };
        let claimed = match claim(headers) {
            Claim::Mac(mac) => mac,
            Claim::Missing => return Verdict::Missing,
            Claim::Malformed => return Verdict::Invalid,
        };
        let large = takes_turns(body);
        // Nobody closes the semaphore.
        let _turn = if large { self.turns.acquire().await.ok() } else { None };
        for message in messages(body) {
            for round in 0..self.rounds {
                let held = keys.get(round).filter(|held| held.is_active(now));
                let key = held.map_or(&self.dummy, |held| &held.key);
                let matches = signs(key, message, large, &claimed).await;
                // What the dummy signs is no one's: only a place on the tenant's own list lets in.
                if let (true, Some(held)) = (matches, held) {
                    held.used(now);
                    return Verdict::Signed(Arc::clone(&held.id));
                }
            }
        }
        Verdict::Invalid
    }
}

/// Whether whoever sent the body may have to wait for others before that is known.
pub(crate) fn takes_turns(body: &[u8]) -> bool {
    body.len() > LARGE_ABOVE_BYTES
}

/// Whether the key makes this MAC of the message.
async fn signs(key: &Key, message: &[u8], large: bool, claimed: &[u8; MAC_BYTES]) -> bool {
    let mut mac = key.clone();
    for piece in message.chunks(LARGE_ABOVE_BYTES) {
        if large {
            yield_now().await;
        }
        mac.update(piece);
    }
    mac.verify_slice(claimed).is_ok()
}

fn key(secret: &[u8]) -> Key {
    // HMAC takes keys of every length: longer ones are hashed, shorter ones padded.
    #[expect(clippy::expect_used, reason = "no length of key is refused by HMAC")]
    Key::new_from_slice(secret).expect("HMAC takes keys of every length")
}

/// The header by which a request claims to be signed, where that is a MAC at all: what some secret may have made.
pub(crate) fn claimed(headers: &HeaderMap) -> Option<(&'static str, &[u8])> {
    let name = HEADERS.into_iter().find(|name| headers.contains_key(*name))?;
    let is_mac = matches!(claim(headers), Claim::Mac(_));
    headers.get(name).filter(|_| is_mac).map(|value| (name, value.as_bytes().trim_ascii()))
}

/// What the headers claim the MAC to be.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    Mac([u8; MAC_BYTES]),
    Missing,
    Malformed,
}

fn claim(headers: &HeaderMap) -> Claim {
    let Some(name) = HEADERS.into_iter().find(|name| headers.contains_key(*name)) else { return Claim::Missing };
    let mut values = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii());
    let Some(value) = values.next() else { return Claim::Missing };
    // Whoever could add a header could otherwise choose which of two the receiver believes.
    if values.any(|other| other != value) {
        return Claim::Malformed;
    }
    if value == NO_SECRET {
        return Claim::Missing;
    }
    let digits = match value.split_at_checked(PREFIX.len()) {
        Some((prefix, digits)) if prefix.eq_ignore_ascii_case(PREFIX) => digits,
        _ => value,
    };
    let mut mac = [0; MAC_BYTES];
    match hex::decode_to_slice(digits, &mut mac) {
        Ok(()) => Claim::Mac(mac),
        Err(_) => Claim::Malformed,
    }
}

/// The body as sent, then without its line end: some relays add one to the body that they pass on.
fn messages(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let without = body.strip_suffix(b"\r\n").or_else(|| body.strip_suffix(b"\n")).or_else(|| body.strip_suffix(b"\r"));
    std::iter::once(body).chain(without)
}

#[cfg(test)]
mod tests;
