//! `BOOKING_CANCELLED`: the booking is off, or one seat of it was given up, or the host asks to be given another time.
//!
//! A seat that leaves and the end of the whole look alike but for `cancelledBy` and the list of attendees. The host's
//! asking is told by `requestReschedule` since 2026; in December 2025 such a webhook lacked `status`.

use calbridge_proto::v1::BookingPayload;

use super::{draft::Draft, seats};
use crate::register::{Evidence, Field, Rank};

pub(super) fn tell(payload: &BookingPayload, own: &mut Draft) {
    if seats::one_leaves(payload) {
        // Whoever can leave had been let in; the reason is the leaver's, not the booking's.
        own.evidence(Evidence::Accepted);
        if let Some(leaver) = seats::leaver(payload) {
            own.at(Rank::Write).seat_left(leaver, "");
        }
        return;
    }
    own.evidence(Evidence::Cancelled);
    if payload.request_reschedule.unwrap_or(payload.status.is_empty()) {
        own.evidence(Evidence::RescheduleRequested);
    }
    let mut pen = own.at(Rank::Write);
    pen.text(Field::CancellationReason, &payload.cancellation_reason);
    pen.text(Field::CancelledBy, &payload.cancelled_by);
}
