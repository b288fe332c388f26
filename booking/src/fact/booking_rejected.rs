//! `BOOKING_REJECTED`: the host declined what waited for approval.

use calbridge_proto::v1::BookingPayload;

use super::draft::Draft;
use crate::register::{Evidence, Field, Rank};

pub(super) fn tell(payload: &BookingPayload, own: &mut Draft) {
    own.evidence(Evidence::Rejected);
    own.at(Rank::Write).text(Field::RejectionReason, &payload.rejection_reason);
}
