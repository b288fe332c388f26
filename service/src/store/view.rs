//! From what a store kept to the messages of the API. What is derived when read is derived here: a booking's
//! `origin_uid`, by a bounded walk along its links, and its `etag`.

use calbridge_booking::{Horizon, Row, derive};
use calbridge_proto::v1;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{Micros, Position, StoreError, time::timestamp};

/// How far back the walk to a lineage's origin goes. Each step is one indexed read; a booking that was moved more often
/// answers the sixty-fourth before it.
pub(crate) const ORIGIN_STEPS_MAX: usize = 64;

/// How much of a SHA-256 an etag is: it tells two states of one booking apart, it resists nobody.
const ETAG_BYTES: usize = 12;

/// The booking of a visible row; [`seal`] makes it whole.
pub(crate) fn booking(
    tenant: &str,
    uid: &str,
    state: &[u8],
    position: Position,
    update_time: Micros,
) -> Result<v1::Booking, StoreError> {
    let hidden = || StoreError::Damaged { what: "booking", why: "it is shown, and only hints are known".to_owned() };
    let mut booking = derive(uid, &decode(state)?, Horizon::NONE).ok_or_else(hidden)?.booking;
    place(&mut booking, tenant, uid, position, update_time);
    Ok(booking)
}

/// Says whose booking it is and when we learned. What only a reader can know is left empty.
pub(crate) fn place(booking: &mut v1::Booking, tenant: &str, uid: &str, position: Position, update_time: Micros) {
    tenant.clone_into(&mut booking.tenant);
    uid.clone_into(&mut booking.uid);
    booking.position = position.to_token();
    booking.update_time = Some(timestamp(update_time));
    booking.origin_uid.clear();
    booking.etag.clear();
}

/// Fills what is derived when read.
pub(crate) fn seal(booking: &mut v1::Booking, origin_uid: String) {
    booking.origin_uid = origin_uid;
    booking.etag.clear();
    booking.etag = hex::encode(&Sha256::digest(booking.encode_to_vec())[..ETAG_BYTES]);
}

/// The walk from a booking to the one that no other precedes.
///
/// A cycle has no such booking; all that lead into it then answer its least uid, whichever they entered it by.
pub(crate) struct Walk {
    path: Vec<String>,
}

impl Walk {
    pub(crate) fn from(uid: &str) -> Self {
        Self { path: vec![uid.to_owned()] }
    }

    /// Goes on to the booking that the last one replaced. `Err` is the end of the walk: the origin.
    pub(crate) fn step(&mut self, replaced: Option<String>) -> Result<&str, String> {
        let here = self.path.len() - 1;
        let Some(uid) = replaced else { return Err(self.path.swap_remove(here)) };
        if let Some(entered) = self.path.iter().position(|seen| *seen == uid) {
            return Err(self.path.drain(entered..).min().unwrap_or(uid));
        }
        if self.path.len() > ORIGIN_STEPS_MAX {
            return Err(self.path.swap_remove(here));
        }
        self.path.push(uid);
        Ok(&self.path[here + 1])
    }
}

/// The row that a store kept.
pub(crate) fn decode(state: &[u8]) -> Result<Row, StoreError> {
    Row::decode(state).map_err(|error| StoreError::Damaged { what: "booking", why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn origin(links: &HashMap<String, String>, uid: &str) -> String {
        let mut walk = Walk::from(uid);
        let mut at = uid.to_owned();
        loop {
            match walk.step(links.get(&at).cloned()) {
                Ok(next) => next.clone_into(&mut at),
                Err(origin) => return origin,
            }
        }
    }

    fn links(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(uid, from)| ((*uid).to_owned(), (*from).to_owned())).collect()
    }

    #[test]
    fn the_walk_ends_where_nothing_precedes() {
        let links = links(&[("c", "b"), ("b", "a")]);
        for (uid, expected) in [("c", "a"), ("b", "a"), ("a", "a"), ("z", "z")] {
            assert_eq!(origin(&links, uid), expected);
        }
    }

    #[test]
    fn every_way_into_a_cycle_names_the_same_origin() {
        let links = links(&[("d", "c"), ("c", "b"), ("b", "a"), ("a", "c"), ("e", "e")]);
        for (uid, expected) in [("a", "a"), ("b", "a"), ("c", "a"), ("d", "a"), ("e", "e")] {
            assert_eq!(origin(&links, uid), expected);
        }
    }

    #[test]
    fn the_walk_is_bounded() {
        let links = (1..1_000).map(|n| (format!("{n}"), format!("{}", n - 1))).collect();
        assert_eq!(origin(&links, "64"), "0");
        assert_eq!(origin(&links, "999"), format!("{}", 999 - ORIGIN_STEPS_MAX));
    }

    #[test]
    fn the_etag_follows_what_is_seen() {
        let mut booking = v1::Booking { title: "a".to_owned(), ..Default::default() };
        seal(&mut booking, "u".to_owned());
        let first = booking.etag.clone();
        seal(&mut booking, "u".to_owned());
        assert_eq!(booking.etag, first);
        seal(&mut booking, "v".to_owned());
        assert_ne!(booking.etag, first);
    }
}
