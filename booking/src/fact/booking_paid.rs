//! `BOOKING_PAYMENT_INITIATED` and `BOOKING_PAID`: payment runs beside the status. Cal.com sends CREATED and PAID in
//! either order; only the `status` of PAID tells whether the booking is accepted or still waits for approval.

use calbridge_proto::v1::BookingPayload;

use super::{draft::Draft, seats};
use crate::register::Evidence;

/// The booking waits for the payment, whatever `status` says: Cal.com sends ACCEPTED here and stores PENDING.
pub(super) fn tell_initiated(own: &mut Draft) {
    own.evidence(Evidence::PaymentInitiated);
    own.evidence(Evidence::Requested);
}

pub(super) fn tell_paid(payload: &BookingPayload, own: &mut Draft) {
    own.evidence(Evidence::Paid);
    if payload.status == "ACCEPTED" {
        // The host approved before the payment came: nothing else is ever sent.
        seats::let_in(payload, own);
    }
    own.evidence(match payload.status.as_str() {
        "ACCEPTED" => Evidence::Accepted,
        "REJECTED" => Evidence::Rejected,
        "CANCELLED" => Evidence::Cancelled,
        // PENDING, and whatever promises nothing.
        _ => Evidence::Requested,
    });
}
