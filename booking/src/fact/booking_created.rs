//! `BOOKING_REQUESTED` and `BOOKING_CREATED`: a booking comes to be. CREATED is sent at once, on the host's approval
//! or on payment, and again for each further seat of a seated event.

use calbridge_proto::v1::BookingPayload;

use super::{draft::Draft, seats};
use crate::register::Evidence;

/// Waits for the host's approval; also the reschedule of a booking that needs one.
pub(super) fn tell_requested(own: &mut Draft) {
    own.evidence(Evidence::Requested);
}

pub(super) fn tell_created(payload: &BookingPayload, own: &mut Draft) {
    own.evidence(Evidence::Accepted);
    seats::take(payload, own);
}
