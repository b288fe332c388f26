//! The bookings that a delivery speaks of, as they lie in its row.

use prost::Message;

use super::{StoreError, fold::Mention};

#[derive(Clone, PartialEq, Message)]
struct Mentioned {
    #[prost(string, repeated, tag = "1")]
    uids: Vec<String>,
}

/// `None` where the delivery speaks of the booking that its body is about, and of no other: nearly always.
pub(crate) fn encode(about: Option<&str>, mentions: &[Mention]) -> Option<Vec<u8>> {
    encode_uids(about, mentions.iter().map(|mention| mention.uid.as_str()))
}

/// The same, of uids.
pub(crate) fn encode_uids<'u>(about: Option<&str>, uids: impl Iterator<Item = &'u str> + Clone) -> Option<Vec<u8>> {
    let plain = uids.clone().eq(about);
    (!plain).then(|| Mentioned { uids: uids.map(str::to_owned).collect() }.encode_to_vec())
}

/// What [`encode`] was given.
pub(crate) fn decode(about: Option<String>, mentioned: Option<Vec<u8>>) -> Result<Vec<String>, StoreError> {
    let Some(mentioned) = mentioned else { return Ok(about.into_iter().collect()) };
    let damaged = |_| StoreError::Damaged { what: "delivery", why: "its mentions can't be read".to_owned() };
    Ok(Mentioned::decode(&mentioned[..]).map_err(damaged)?.uids)
}
