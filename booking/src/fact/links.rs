//! Reschedules: which booking replaced which, told by `rescheduleUid`, by `fromReschedule` and, as a hint, by
//! `iCalUID`. Cal.com sends nothing for the old booking, so the new one's event speaks for it.
//!
//! A seated event links nothing: its attendees move one by one, and the old booking may live on.

use calbridge_proto::v1::{BookingPayload, MeetingPayload};

use super::{
    draft::{Pen, Story},
    seats,
};
use crate::{
    register::{Field, Rank},
    subject::{replaced, uid},
};

/// Longest uid that a hint may name, in bytes: Cal.com's have 22 characters, and a hint is no place for more.
const MAX_HINTED_UID: usize = 64;

/// What hosted Cal.com writes behind the uid; a self-hosted one writes its own name.
const CAL_COM: &str = "Cal.com";

/// Characters of Cal.com's uids.
const UID_LENGTHS: std::ops::RangeInclusive<usize> = 21..=22;

pub(super) fn tell<'a>(payload: &'a BookingPayload, story: &mut Story<'a>) {
    if seats::is_seated(payload) {
        return;
    }
    let old = replaced(payload);
    if let Some(old) = old {
        story.own().at(Rank::Write).text(Field::RescheduledFrom, old);
        let new = story.own_uid();
        let mut pen = story.about(old).at(Rank::Fill);
        pen.successor(new);
        tell_old(payload, &mut pen);
    }
    tell_chain(&payload.ical_uid, old, story);
}

pub(super) fn tell_meeting<'a>(payload: &'a MeetingPayload, story: &mut Story<'a>) {
    let old = uid(&payload.from_reschedule).filter(|old| *old != story.own_uid());
    if let Some(old) = old {
        hint(old, Rank::Column, story);
    }
    tell_chain(&payload.ical_uid, old, story);
}

/// What the `iCalUID` says of the first booking of the chain, and of the one in between that is named besides.
fn tell_chain<'a>(ical_uid: &'a str, old: Option<&'a str>, story: &mut Story<'a>) {
    let Some(first) = first_of_chain(ical_uid, story.own_uid()) else { return };
    hint(first, Rank::Hint, story);
    // The chain kept its `iCalUID` all along, so the booking in between descends from the same first one.
    if let Some(old) = old.filter(|old| *old != first) {
        story.about(old).at(Rank::Hint).text(Field::RescheduledFrom, first);
    }
}

/// What a reschedule says of the old booking, beside that it is replaced.
pub(super) fn tell_old(payload: &BookingPayload, old: &mut Pen<'_>) {
    old.times(payload.reschedule_start_time.as_ref(), payload.reschedule_end_time.as_ref());
    old.number(Field::BookingId, payload.reschedule_id);
}

fn hint<'a>(old: &'a str, rank: Rank, story: &mut Story<'a>) {
    story.own().at(rank).text(Field::RescheduledFrom, old);
    let new = story.own_uid();
    story.about(old).at(rank).successor(new);
}

/// The uid in `<uid>@Cal.com`, if it is another booking's. Self-hosted senders have their own name behind the `@`.
/// Calendar apps may overwrite the `iCalUID` with an id of theirs: behind a host of the internet it must look like a
/// uid.
fn first_of_chain<'a>(ical_uid: &'a str, own_uid: &str) -> Option<&'a str> {
    let (first, host) = ical_uid.split_once('@')?;
    let is_uid = (1..=MAX_HINTED_UID).contains(&first.len())
        && !first.contains(|c: char| c.is_whitespace() || c.is_control())
        && (host.eq_ignore_ascii_case(CAL_COM) || !host.contains('.') || looks_like_uid(first));
    (is_uid && first != own_uid).then_some(first)
}

fn looks_like_uid(text: &str) -> bool {
    UID_LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::first_of_chain;

    #[test]
    fn an_ical_uid_names_the_first_booking_of_a_chain() {
        let own = "sCEmEqGapo2Dc3bUdBeWp7";
        assert_eq!(first_of_chain("fKzeAR64jXo9UTXpt7sZsC@Cal.com", own), Some("fKzeAR64jXo9UTXpt7sZsC"));
        assert_eq!(first_of_chain("u1@Our Calendar", own), Some("u1"));
        assert_eq!(first_of_chain("fKzeAR64jXo9UTXpt7sZsC@book.example", own), Some("fKzeAR64jXo9UTXpt7sZsC"));
        for none in [
            "sCEmEqGapo2Dc3bUdBeWp7@Cal.com",
            "7kukuqrfedlm2f9t0vc4hg5n8k@google.com",
            "4A7F22B0-9E1C-4D57@icloud.com",
            "040000008200E00074C5B7101A82E008",
            "@Cal.com",
            "",
            "two words@Cal.com",
            &format!("{}@Cal.com", "x".repeat(65)),
        ] {
            assert_eq!(first_of_chain(none, own), None, "{none}");
        }
    }
}
