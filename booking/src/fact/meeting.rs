//! `MEETING_STARTED` and `MEETING_ENDED`: timers, not attendance. They carry the booking's row as it was when the
//! timer was set, so they fill gaps only, and `status`, the reasons and the marks in them are not the booking's any
//! more.

use calbridge_proto::v1::{MeetingPayload, Trigger};

use super::{draft::Story, links};
use crate::register::{Evidence, Field, Rank, Role};

pub(super) fn tell<'a>(trigger: Trigger, payload: &'a MeetingPayload, story: &mut Story<'a>) {
    let own = story.own();
    own.evidence(Evidence::Accepted);
    if trigger == Trigger::MeetingEnded {
        own.timer(Evidence::EndTimer, payload.end_time.as_ref());
    } else {
        own.timer(Evidence::StartTimer, payload.start_time.as_ref());
    }
    if payload.paid == Some(true) {
        own.evidence(Evidence::Paid);
    }
    let mut pen = own.at(Rank::Fill);
    pen.number(Field::BookingId, payload.booking_id);
    pen.text(Field::Title, &payload.title);
    pen.text(Field::Description, &payload.description);
    pen.times(payload.start_time.as_ref(), payload.end_time.as_ref());
    pen.text(Field::Location, &payload.location);
    pen.number(Field::EventTypeId, payload.event_type_id);
    pen.text(Field::EventTypeSlug, &payload.event_type_slug);
    pen.text(Field::IcalUid, &payload.ical_uid);
    pen.text(Field::RescheduledBy, &payload.rescheduled_by);
    pen.metadata(&payload.metadata);
    pen.answers(payload.responses.iter());
    if let Some(organizer) = payload.organizer.as_ref().and_then(|person| pen.person(Role::Host, person)) {
        pen.text(Field::Organizer, organizer.as_str());
    }
    let listed = pen.people(Role::Attendee, &payload.attendees);
    pen.list(Field::Attendees, listed);
    links::tell_meeting(payload, story);
}
