//! `BOOKING_NO_SHOW_UPDATED` (marks set or taken back by hand) and `AFTER_*_CAL_VIDEO_NO_SHOW` (Cal Video saw somebody
//! missing). Of all marks the newest holds, whoever set it; anywhere else `noShow` is a leaked column.

use calbridge_proto::v1::{CalVideoNoShowPayload, NoShowPayload, PersonPayload, Trigger};

use super::draft::{Draft, MAX_PEOPLE};
use crate::register::{Email, Evidence, Field, Rank, Role};

/// Carries the attendees whose mark changed, and no other.
pub(super) fn tell_updated(payload: &NoShowPayload, own: &mut Draft) {
    tell_attendance(own);
    own.at(Rank::Write).number(Field::BookingId, payload.booking_id);
    for person in payload.attendees.iter().take(MAX_PEOPLE) {
        if let Some(mark) = person.no_show {
            tell_mark(person, mark, own);
        }
    }
}

/// Lists everybody who was invited, and apart from that who did not join.
pub(super) fn tell_cal_video(trigger: Trigger, payload: &CalVideoNoShowPayload, own: &mut Draft) {
    tell_attendance(own);
    let mut pen = own.at(Rank::Fill);
    pen.number(Field::BookingId, payload.booking_id);
    pen.text(Field::Title, &payload.title);
    pen.times(payload.start_time.as_ref(), payload.end_time.as_ref());
    pen.number(Field::EventTypeId, payload.event_type_id);
    pen.text(Field::RescheduledBy, &payload.rescheduled_by);
    let listed = pen.people(Role::Attendee, &payload.attendees);
    pen.list(Field::Attendees, listed);
    if trigger == Trigger::AfterGuestsCalVideoNoShow {
        // Rows of all guests; those who came say `noShow: false`, and that takes no mark back that was set by hand.
        let missing = payload.guests.iter().take(MAX_PEOPLE).filter(|guest| guest.no_show != Some(false));
        for guest in missing {
            tell_mark(guest, true, own);
        }
    } else if let Some(host) = Email::new(&payload.host_email) {
        // One webhook for each host that is missing. `noShowHost` is a column about the organizer, whoever this is.
        own.at(Rank::Write).no_show(Role::Host, host, true);
    }
}

fn tell_mark(person: &PersonPayload, mark: bool, own: &mut Draft) {
    if let Some(email) = own.at(Rank::Fill).person(Role::Attendee, person) {
        own.at(Rank::Write).no_show(Role::Attendee, email, mark);
    }
}

/// Nobody can be missed before the start, nor at a booking that was never accepted.
fn tell_attendance(own: &mut Draft) {
    own.evidence(Evidence::Accepted);
    own.evidence(Evidence::Attendance);
}
