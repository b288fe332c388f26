//! From what a store kept to the messages of the API. What only a reader can know of a booking is filled in here: its
//! origin and its etag.

use calbridge_booking::{Horizon, Row, derive};
use calbridge_proto::v1;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{Micros, Position, StoreError, lineage::Origin, pack, time::timestamp};

/// How much of a SHA-256 an etag is: it tells two states of one booking apart, it resists nobody.
const ETAG_BYTES: usize = 12;

/// A row as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadedRow {
    /// The encoded registers, packed or not.
    pub(crate) state: Vec<u8>,
    /// The log says that the clock completed it.
    pub(crate) clock_told: bool,
}

/// The booking of a visible row, as the log has told it; [`seal`] makes it whole.
pub(crate) fn booking(
    tenant: &str,
    uid: &str,
    stored: &LoadedRow,
    position: Position,
    update_time: Micros,
) -> Result<v1::Booking, StoreError> {
    let hidden = || StoreError::Damaged { what: "booking", why: "it is shown, and only hints are known".to_owned() };
    let derived = derive(uid, &decode(&stored.state)?, told(stored.clock_told)).ok_or_else(hidden)?;
    let mut booking = derived.booking;
    place(&mut booking, tenant, uid, position, update_time);
    Ok(booking)
}

/// The horizon at which a booking shows as the log has told it.
pub(crate) fn told(by_clock: bool) -> Horizon {
    if by_clock { Horizon::ALL } else { Horizon::NONE }
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
pub(crate) fn seal(booking: &mut v1::Booking, origin: Origin) {
    if origin.void {
        booking.rescheduled_from_uid.clear();
        booking.rescheduled_from_evidence = v1::LinkEvidence::Unspecified.into();
    }
    booking.origin_uid = origin.uid;
    booking.etag.clear();
    booking.etag = etag(booking);
}

/// Tells states of a booking apart; its own field is to be empty.
pub(crate) fn etag(booking: &v1::Booking) -> String {
    hex::encode(&Sha256::digest(booking.encode_to_vec())[..ETAG_BYTES])
}

/// The row that a store kept.
pub(crate) fn decode(state: &[u8]) -> Result<Row, StoreError> {
    Row::decode(&pack::row(state)?).map_err(|error| StoreError::Damaged { what: "booking", why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_follows_what_is_seen() {
        let origin = |uid: &str| Origin { uid: uid.to_owned(), void: false };
        let mut booking = v1::Booking { title: "a".to_owned(), ..Default::default() };
        seal(&mut booking, origin("u"));
        let first = booking.etag.clone();
        seal(&mut booking, origin("u"));
        assert_eq!(booking.etag, first);
        seal(&mut booking, origin("v"));
        assert_ne!(booking.etag, first);
    }

    #[test]
    fn a_void_link_is_not_shown() {
        let mut booking = v1::Booking {
            rescheduled_from_uid: "u1".to_owned(),
            rescheduled_from_evidence: v1::LinkEvidence::IcalUid.into(),
            ..Default::default()
        };
        seal(&mut booking, Origin { uid: "u2".to_owned(), void: true });
        assert_eq!(booking.rescheduled_from_uid, "");
        assert_eq!(booking.rescheduled_from_evidence(), v1::LinkEvidence::Unspecified);
    }
}
