//! `INSTANT_MEETING` and `INSTANT_MEETING_ACCEPTED`: somebody waits for a host, and the first host joined.

use calbridge_proto::v1::InstantMeetingPayload;

use super::draft::Draft;
use crate::register::{Evidence, Field, Rank};

pub(super) fn tell_asked(payload: &InstantMeetingPayload, own: &mut Draft) {
    own.evidence(Evidence::AwaitingHost);
    let mut pen = own.at(Rank::Write);
    let title = if payload.event_type_title.is_empty() { &payload.title } else { &payload.event_type_title };
    pen.text(Field::Title, title);
    pen.number(Field::EventTypeId, payload.event_type_id);
    pen.answers(payload.responses.iter());
}

/// Older senders send nothing at this point.
pub(super) fn tell_accepted(own: &mut Draft) {
    own.evidence(Evidence::Accepted);
}
