//! What differs between a booking as it is and as it would be.

use std::collections::BTreeMap;

use calbridge_booking::{Horizon, derive};
use calbridge_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{Booking, RefoldDifference},
};
use prost::{
    Message,
    encoding::{DecodeContext, decode_key, skip_field},
};
use prost_types::FileDescriptorSet;

use crate::store::{BookingKey, StoreError, StoredRow, view};

/// Both bookings and the names of the fields that differ. The clock plays no part: it is no evidence. One whose row is
/// damaged is not shown.
pub(super) fn difference(
    (tenant, uid): &BookingKey,
    stored: Option<&StoredRow>,
    refolded: Option<&StoredRow>,
) -> Result<RefoldDifference, StoreError> {
    let (stored, refolded) = (booking(uid, stored)?, booking(uid, refolded)?);
    let fields = differing(stored.as_ref(), refolded.as_ref());
    Ok(RefoldDifference { tenant: tenant.to_string(), uid: uid.clone(), stored, refolded, fields })
}

fn booking(uid: &str, row: Option<&StoredRow>) -> Result<Option<Booking>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    match view::decode(&row.state) {
        Err(StoreError::Damaged { .. }) => Ok(None),
        row => Ok(derive(uid, &row?, Horizon::NONE).map(|derived| derived.booking)),
    }
}

fn differing(one: Option<&Booking>, other: Option<&Booking>) -> Vec<String> {
    let fields = |booking: Option<&Booking>| booking.map(encoded_fields).unwrap_or_default();
    let (one, other) = (fields(one), fields(other));
    let names = names();
    let mut tags: Vec<u32> = one.keys().chain(other.keys()).copied().collect();
    tags.sort_unstable();
    tags.dedup();
    let differ = tags.into_iter().filter(|tag| one.get(tag) != other.get(tag));
    differ.map(|tag| names.get(&tag).cloned().unwrap_or_else(|| format!("field {tag}"))).collect()
}

/// The bytes of each field, by its number.
fn encoded_fields(booking: &Booking) -> BTreeMap<u32, Vec<u8>> {
    let bytes = booking.encode_to_vec();
    let mut rest = bytes.as_slice();
    let mut fields: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while let Ok((tag, wire_type)) = decode_key(&mut rest) {
        let begin = rest;
        if skip_field(wire_type, tag, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
        fields.entry(tag).or_default().extend_from_slice(&begin[..begin.len() - rest.len()]);
    }
    fields
}

/// The schema's own names.
fn names() -> BTreeMap<u32, String> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default().file;
    let messages = files.into_iter().filter(|file| file.package() == "calbridge.v1").flat_map(|file| file.message_type);
    let fields = messages.filter(|message| message.name() == "Booking").flat_map(|message| message.field);
    fields.map(|field| (u32::try_from(field.number()).unwrap_or_default(), field.name().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_differ_are_named_as_the_schema_names_them() {
        let one = Booking { title: "a".into(), metadata: [("k".into(), "v".into())].into(), ..Booking::default() };
        let other = Booking { title: "b".into(), status: 3, ..one.clone() };
        assert_eq!(differing(Some(&one), Some(&other)), ["status", "title"]);
        assert_eq!(differing(Some(&one), None), ["title", "metadata"]);
        assert_eq!(differing(Some(&one), Some(&one)), Vec::<String>::new());
    }
}
