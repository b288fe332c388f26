//! `BOOKING_LOCATION_UPDATED` and `BOOKING_REASSIGNED`: another place, another host. The status stays what it was:
//! accepted, unless the payload says that the booking still waits.

use calbridge_proto::v1::BookingPayload;

use super::draft::Draft;
use crate::register::Evidence;

pub(super) fn tell(payload: &BookingPayload, own: &mut Draft) {
    let waits = payload.status == "PENDING";
    own.evidence(if waits { Evidence::Requested } else { Evidence::Accepted });
}
