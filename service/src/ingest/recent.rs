//! Bodies that came a moment ago. One that comes again is most likely a copy, of which nothing is read but whose it is;
//! whoever is wrongly taken for one is read later.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bodies that are remembered at most: what comes within a second at the highest rates.
const SLOTS: usize = 4_096;

/// What is remembered of each: eight bytes of its hash, at a place that eight others say.
#[derive(Debug)]
pub(super) struct Recent(Box<[AtomicU64]>);

impl Recent {
    pub(super) fn new() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether the body with this hash came a moment ago; from now on it did.
    pub(super) fn came(&self, body_sha256: &[u8; 32]) -> bool {
        let (place, rest) = body_sha256.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let print = u64::from_be_bytes(*rest.first_chunk().unwrap_or(&[0; 8]));
        // The remainder is below the number of slots, so it fits and is there.
        let slot = usize::try_from(u64::from_be_bytes(*place) % SLOTS as u64).ok().and_then(|slot| self.0.get(slot));
        slot.is_some_and(|slot| slot.swap(print, Ordering::Relaxed) == print)
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn what_came_a_moment_ago_is_known() {
        let recent = Recent::new();
        let hash = |number: u32| -> [u8; 32] { Sha256::digest(number.to_be_bytes()).into() };
        assert!((0..100).all(|number| !recent.came(&hash(number))));
        let known = (0..100).filter(|number| recent.came(&hash(*number))).count();
        assert!(known > 90, "only {known} of 100: another takes a place now and then");
        let others = (100..100_000).filter(|number| recent.came(&hash(*number))).count();
        assert_eq!(others, 0);
    }
}
