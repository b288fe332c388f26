//! What every `BOOKING_*` payload says of its own booking: the fields and the people. The status is the business of
//! each family.

use calbridge_proto::v1::{BookingPayload, ResponsePayload, Trigger};

use super::{draft::Draft, seats};
use crate::register::{Field, Rank, Role};

pub(super) fn tell(trigger: Trigger, payload: &BookingPayload, own: &mut Draft) {
    // The metadata of BOOKING_PAID is another map altogether; the booker's own keys must outlive it.
    let metadata_rank = if trigger == Trigger::BookingPaid { Rank::Fill } else { Rank::Write };
    own.at(metadata_rank).metadata(&payload.metadata);

    // A seat that moves may carry the row number of the booking that it left.
    let id_rank = if seats::moves_one(payload) { Rank::Fill } else { Rank::Write };
    own.at(id_rank).number(Field::BookingId, payload.booking_id);

    let mut pen = own.at(Rank::Write);
    pen.text(Field::Title, &payload.title);
    pen.text(Field::EventTypeSlug, &payload.event_type_slug);
    pen.number(Field::EventTypeId, payload.event_type_id);
    pen.times(payload.start_time.as_ref(), payload.end_time.as_ref());
    pen.text(Field::Location, &payload.location);
    // Cal.com fills `description` from `additionalNotes` on most paths; on the others we do.
    pen.text(Field::Description, first_of(&payload.description, &payload.additional_notes));
    let own_ical_uid = payload.ical_uid.split('@').next() == Some(&payload.uid);
    if !seats::is_seated(payload) || own_ical_uid {
        pen.text(Field::IcalUid, &payload.ical_uid);
    }
    pen.number(Field::PriceMinor, payload.price_minor);
    pen.text(Field::Currency, &payload.currency);
    pen.number(Field::PaymentId, payload.payment_id);
    pen.number(Field::SeatsPerTimeSlot, seats::per_time_slot(payload));
    if !seats::moves_one(payload) {
        pen.span(Field::PreviousTimes, payload.reschedule_start_time.as_ref(), payload.reschedule_end_time.as_ref());
        pen.text(Field::RescheduledBy, &payload.rescheduled_by);
    }
    pen.answers(answers(payload));
    tell_hosts(payload, own);
    tell_attendees(trigger, payload, own);
}

/// The form's answers; `userFieldsResponses` repeats some of them, and counts where `responses` is not sent.
fn answers(payload: &BookingPayload) -> impl Iterator<Item = (&String, &ResponsePayload)> {
    let answered = |slug| payload.responses.get(slug).is_some_and(|answer| answer.value.is_some());
    let more = payload.user_fields_responses.iter().filter(move |(slug, _)| !answered(slug.as_str()));
    payload.responses.iter().chain(more)
}

fn tell_hosts(payload: &BookingPayload, own: &mut Draft) {
    let mut pen = own.at(Rank::Write);
    if let Some(organizer) = payload.organizer.as_ref().and_then(|person| pen.person(Role::Host, person)) {
        pen.text(Field::Organizer, organizer.as_str());
    }
    if let Some(team) = &payload.team {
        let members = pen.people(Role::Host, &team.members);
        pen.list(Field::Team, members);
    }
}

/// Who is listed; where the list is about seats, `seats` says what it means.
fn tell_attendees(trigger: Trigger, payload: &BookingPayload, own: &mut Draft) {
    let mut pen = own.at(Rank::Write);
    let listed = pen.people(Role::Attendee, &payload.attendees);
    if !seats::list_is_of_seats(trigger, payload) {
        pen.list(Field::Attendees, listed);
    }
}

fn first_of<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}
