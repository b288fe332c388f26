//! The key of a delivery in Redis: short, bounded, and without personal data.
//!
//! Sixteen bytes of the body's hash are enough for a hint. Two bodies that share them cost the second one a read of the
//! store, which says that it is new: never a wrong answer. Redis remembers every delivery of a week, and so spends 88
//! bytes on each instead of 120.

use std::iter::successors;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    settings::TENANT_BYTES,
    store::{DeliveryKey, Identity},
};

/// In front of every key. An operator's ACL rule names it: `~calbridge:*`.
const PREFIX: &str = "calbridge:";
/// Of a hash. A request id has as many, all of them.
const DIGEST_BYTES: usize = 16;
/// The same as text.
const DIGEST_TEXT: usize = 22;
/// The longest key.
pub(super) const KEY_BYTES: usize = PREFIX.len() + TENANT_BYTES + ":b:".len() + DIGEST_TEXT;

/// The key of a delivery. No brace is in it, which a cluster would read as a hash tag: a tenant has none, and neither
/// has base64.
pub(super) fn of(key: &DeliveryKey) -> String {
    let (kind, digest) = match &key.identity {
        Identity::Body(hash) => ("b", &hash[..DIGEST_BYTES]),
        Identity::Request(id) => ("r", &id.as_bytes()[..]),
    };
    let mut name = String::with_capacity(KEY_BYTES);
    for part in [PREFIX, &*key.tenant, ":", kind, ":"] {
        name.push_str(part);
    }
    URL_SAFE_NO_PAD.encode_string(digest, &mut name);
    name
}

/// The keys of the trial commands, without end. Not those of any delivery: they have one colon less.
pub(super) fn trials() -> impl Iterator<Item = String> {
    successors(Some(0_u32), |number| number.checked_add(1)).map(|number| format!("{PREFIX}trial{number}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;

    fn key(tenant: &str, identity: Identity) -> DeliveryKey {
        DeliveryKey { tenant: Arc::from(tenant), time: 5, identity }
    }

    #[test]
    fn a_key_is_named_by_tenant_and_identity_alone() {
        let body = of(&key("acme", Identity::Body([0xff; 32])));
        assert_eq!(body, format!("calbridge:acme:b:{}w", "_".repeat(21)));
        let request = key("acme", Identity::Request(Uuid::from_u128(1)));
        assert_eq!(of(&request), format!("calbridge:acme:r:{}Q", "A".repeat(20) + "A"));
        assert_eq!(of(&DeliveryKey { time: 6, ..request.clone() }), of(&request));
    }

    #[test]
    fn no_key_is_longer_than_its_bound() {
        let tenant = "a".repeat(TENANT_BYTES);
        for identity in [Identity::Body([7; 32]), Identity::Request(Uuid::max())] {
            let name = of(&key(&tenant, identity));
            assert_eq!(name.len(), KEY_BYTES);
            assert!(!name.contains(['{', '}']), "{name}");
        }
        assert!(trials().take(1000).all(|name| name.len() < KEY_BYTES && name.starts_with(PREFIX)));
    }
}
