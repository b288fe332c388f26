//! Facts: what one event says, booking by booking. One file of `fact/` for each family of triggers says what its
//! webhooks do; `details`, `links` and `seats` hold what several of them share.
//!
//! Invariant: facts are a function of the event's body alone, never of headers, of the time of receipt or of what is
//! stored.

mod booking_cancelled;
mod booking_created;
mod booking_paid;
mod booking_rejected;
mod booking_rescheduled;
mod booking_updated;
mod details;
mod draft;
mod instant_meeting;
mod links;
mod meeting;
mod no_show;
mod seats;

use calbridge_proto::v1::{BookingEvent, BookingPayload, Trigger};

use self::draft::{Source, Story};
use crate::{
    row::Row,
    subject::{Said, Statement},
};

/// What one event says about one booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The booking.
    pub uid: String,
    /// What is said of it, ready to merge.
    pub registers: Row,
}

/// What `event` says: about its own booking first, then about the one that it replaces and the one that its `iCalUID`
/// names. At most three, and none for an event that is recorded alone or could not be typed.
///
/// `body_sha256` is the digest of the raw body; it parts two events of the same millisecond.
///
/// One event adds at most 1,000 people a list, 256 metadata keys and 256 answers. A description or an answer longer
/// than 256 KiB is cut, a nested answer longer than that left out; any other text is cut at 16 KiB, a detail of a
/// person at 256 bytes and an address at 320. The raw body has all of it.
#[must_use]
pub fn facts(event: &BookingEvent, body_sha256: &[u8; 32]) -> Vec<Fact> {
    let Some(Statement { uid, trigger, said }) = Statement::of(event) else { return Vec::new() };
    let mut story = Story::new(Source::of(event, body_sha256), uid);
    match said {
        Said::Booking(payload) => tell_booking(trigger, payload, &mut story),
        Said::Meeting(payload) => meeting::tell(trigger, payload, &mut story),
        Said::NoShow(payload) => no_show::tell_updated(payload, story.own()),
        Said::CalVideoNoShow(payload) => no_show::tell_cal_video(trigger, payload, story.own()),
        Said::InstantMeeting(payload) => instant_meeting::tell_asked(payload, story.own()),
    }
    story.finish()
}

fn tell_booking<'a>(trigger: Trigger, payload: &'a BookingPayload, story: &mut Story<'a>) {
    details::tell(trigger, payload, story.own());
    links::tell(payload, story);
    match trigger {
        Trigger::BookingRequested => booking_created::tell_requested(story.own()),
        Trigger::BookingCreated => booking_created::tell_created(payload, story.own()),
        Trigger::BookingRescheduled => booking_rescheduled::tell(payload, story),
        Trigger::BookingCancelled => booking_cancelled::tell(payload, story.own()),
        Trigger::BookingRejected => booking_rejected::tell(payload, story.own()),
        Trigger::BookingPaymentInitiated => booking_paid::tell_initiated(story.own()),
        Trigger::BookingPaid => booking_paid::tell_paid(payload, story.own()),
        Trigger::BookingLocationUpdated | Trigger::BookingReassigned => booking_updated::tell(payload, story.own()),
        Trigger::InstantMeetingAccepted => instant_meeting::tell_accepted(story.own()),
        // `Statement` lets no other trigger come with this payload.
        _ => {}
    }
}
