//! `BOOKING_RESCHEDULED`: a booking under a new uid took the place of an old one (`links` says so of both), the owner
//! moved a seated booking under its own uid, or an attendee took a seat from one seated booking to another.

use calbridge_proto::v1::BookingPayload;

use super::{draft::Story, links, seats};
use crate::{
    register::{Evidence, Field, Rank},
    subject::replaced,
};

pub(super) fn tell<'a>(payload: &'a BookingPayload, story: &mut Story<'a>) {
    story.own().evidence(Evidence::Accepted);
    seats::take(payload, story.own());
    if seats::moves_one(payload) {
        leave_old(payload, story);
    }
}

/// Those who took a seat here leave the old booking. It may live on for others: no link, and it is not rescheduled.
fn leave_old<'a>(payload: &'a BookingPayload, story: &mut Story<'a>) {
    let Some(old) = replaced(payload) else { return };
    let new = story.own_uid();
    let old = story.about(old);
    old.evidence(Evidence::Accepted);
    let mut pen = old.at(Rank::Write);
    for email in seats::movers(payload) {
        pen.seat_left(email, new);
    }
    let mut pen = old.at(Rank::Fill);
    pen.number(Field::SeatsPerTimeSlot, seats::per_time_slot(payload));
    links::tell_old(payload, &mut pen);
}
