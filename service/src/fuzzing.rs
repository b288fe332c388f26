//! What the fuzz targets reach of this room (`fuzz/`). No part of its interface: nothing else may use it.
//!
//! Nothing here does anything of its own: what a target meets is what a call meets.

use calbridge_proto::v1::BookingEvent;
use http::HeaderMap;

pub use crate::api::fuzzing::{
    Choices, Place, consume_id, filter, log_filter, page_place, page_token, read_consume_id,
};
use crate::{auth, ingest, store::NewDelivery};

/// The delivery that a submitted event becomes; none where it is refused. `now` is in microseconds since 1970.
#[must_use]
pub fn submitted(event: BookingEvent, now: i64) -> Option<NewDelivery> {
    ingest::prepare_event(event, now, String::new()).ok()
}

/// The token that a call presents; none where it has none, and where what it has is refused.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    auth::presented(headers).ok().flatten()
}
