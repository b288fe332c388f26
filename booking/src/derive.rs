//! The visible booking: a pure function of a row, and of what the clock has passed.
//!
//! Invariant: equal rows derive equal bookings at one horizon. What only the service knows stays empty: tenant,
//! position, etag and the time of our own learning.

use std::collections::BTreeMap;

use calbridge_proto::v1::{Booking, LinkEvidence};
use prost::Message;
use prost_types::Struct;

use crate::{
    clock::Horizon,
    lineage::{self, Link},
    people,
    register::{Entry, Evidence, Field, Key, Value},
    row::Row,
    status::{self, Rule, Standing},
    time::timestamp,
};

/// Bytes of metadata, answers, attendees and hosts that a booking shows: with its texts it is then less than the 4 MiB
/// that a client of gRPC takes unless told otherwise, and nobody who books can stop a reader of the log. A thousand
/// attendees of the longest details fit.
const MAX_METADATA_SHOWN: usize = 512 * 1024;
const MAX_ANSWERS_SHOWN: usize = 1024 * 1024;
const MAX_ATTENDEES_SHOWN: usize = 1664 * 1024;
const MAX_HOSTS_SHOWN: usize = 256 * 1024;

/// A booking as its row has it, with the rule that decided its status.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// Without `tenant`, `update_time`, `position` and `etag`, which the service fills in. `origin_uid` is the booking
    /// that this one replaced, else its own uid: the first of the lineage is found by walking on from there.
    pub booking: Booking,
    /// Why its status is what it is.
    pub rule: Rule,
    /// The end that the clock completes it by, in microseconds since 1970, whether that has passed or not; `None` for
    /// a booking that no clock completes.
    pub clock_end: Option<i64>,
}

/// The booking `uid` as `row` has it, where ends up to `horizon` count as past; `None` where hints are all that is
/// known of it, for those are not shown.
#[must_use]
pub fn derive(uid: &str, row: &Row, horizon: Horizon) -> Option<Derived> {
    if !row.is_visible() {
        return None;
    }
    let invited = people::invited(row);
    let (organizer, hosts) = people::hosts(row);
    let (start, end) = times(row);
    let successor = lineage::successor(row);
    let predecessor = lineage::predecessor(row);
    let evident = status::decide(row, &Standing { invited: &invited, replaced: successor.is_some(), start, end });
    let clock_end = end.filter(|_| evident.yields_to_clock());
    let rule = if clock_end.is_some_and(|end| horizon.passed(end)) { Rule::EndedByClock } else { evident };
    let (previous_start, previous_end) = span(row.field(Field::PreviousTimes));
    let (metadata, responses) = answers(row);
    let booking = Booking {
        uid: uid.to_owned(),
        calcom_booking_id: number(row, Field::BookingId),
        status: rule.status().into(),
        payment_status: status::payment(row).into(),
        title: text(row, Field::Title),
        event_type_slug: text(row, Field::EventTypeSlug),
        event_type_id: number(row, Field::EventTypeId),
        start_time: start.map(timestamp),
        end_time: end.map(timestamp),
        location: text(row, Field::Location),
        organizer,
        attendees: shown(invited.attendees, MAX_ATTENDEES_SHOWN),
        ical_uid: text(row, Field::IcalUid),
        rescheduled_from_uid: uid_of(predecessor.as_ref()),
        rescheduled_from_evidence: evidence_of(predecessor.as_ref()).into(),
        rescheduled_to_uid: uid_of(successor.as_ref()),
        rescheduled_to_evidence: evidence_of(successor.as_ref()).into(),
        origin_uid: predecessor.as_ref().map_or(uid, |link| link.uid).to_owned(),
        previous_start_time: previous_start.map(timestamp),
        previous_end_time: previous_end.map(timestamp),
        rescheduled_by: text(row, Field::RescheduledBy),
        reschedule_reason: reschedule_reason(&responses),
        description: text(row, Field::Description),
        hosts: shown(hosts, MAX_HOSTS_SHOWN),
        price_minor: number(row, Field::PriceMinor),
        currency: text(row, Field::Currency),
        payment_id: number(row, Field::PaymentId),
        cancellation_reason: text(row, Field::CancellationReason),
        cancelled_by: text(row, Field::CancelledBy),
        rejection_reason: text(row, Field::RejectionReason),
        reschedule_requested: row.evidence(Evidence::RescheduleRequested).is_some(),
        seats_per_time_slot: number(row, Field::SeatsPerTimeSlot).and_then(|seats| i32::try_from(seats).ok()),
        metadata,
        responses: (!responses.fields.is_empty()).then_some(responses),
        create_time: row.first_told().map(timestamp),
        ..Booking::default()
    };
    Some(Derived { booking, rule, clock_end })
}

fn uid_of(link: Option<&Link<'_>>) -> String {
    link.map_or_else(String::new, |link| link.uid.to_owned())
}

fn evidence_of(link: Option<&Link<'_>>) -> LinkEvidence {
    link.map_or(LinkEvidence::Unspecified, |link| link.evidence)
}

/// Start and end: the pair, or what came alone where no pair is known.
fn times(row: &Row) -> (Option<i64>, Option<i64>) {
    span(row.field(Field::Times).or_else(|| row.field(Field::LoneTimes)))
}

fn span(entry: Option<&Entry>) -> (Option<i64>, Option<i64>) {
    match entry.map(|entry| &entry.value) {
        Some(Value::Span(start, end)) => (*start, *end),
        _ => (None, None),
    }
}

fn text(row: &Row, field: Field) -> String {
    match row.field(field).map(|entry| &entry.value) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

fn number(row: &Row, field: Field) -> Option<i64> {
    match row.field(field).map(|entry| &entry.value) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    }
}

/// Metadata and answers, in the order of their keys, without those for which there is no more room.
fn answers(row: &Row) -> (BTreeMap<String, String>, Struct) {
    let mut metadata = BTreeMap::new();
    let mut responses = Struct::default();
    let (mut metadata_room, mut answers_room) = (MAX_METADATA_SHOWN, MAX_ANSWERS_SHOWN);
    for (key, entry) in row.registers() {
        match (key, &entry.value) {
            (Key::Metadata(name), Value::Text(text)) if takes(&mut metadata_room, name.len() + text.len()) => {
                metadata.insert(name.clone(), text.clone());
            }
            (Key::Response(slug), Value::Answer(bytes)) if takes(&mut answers_room, slug.len() + bytes.len()) => {
                // Bytes that are no value were never written by `facts`; such an answer is not shown.
                if let Ok(answer) = prost_types::Value::decode(bytes.as_slice()) {
                    responses.fields.insert(slug.clone(), answer);
                }
            }
            _ => {}
        }
    }
    (metadata, responses)
}

/// The people for whom there is room, without the first for whom there is none and all behind.
fn shown<M: Message>(mut people: Vec<M>, mut room: usize) -> Vec<M> {
    let fit = people.iter().take_while(|person| takes(&mut room, person.encoded_len())).count();
    people.truncate(fit);
    people
}

/// Whether there is room for so many bytes, which is then so much less.
fn takes(room: &mut usize, bytes: usize) -> bool {
    room.checked_sub(bytes).map(|left| *room = left).is_some()
}

/// Cal.com keeps the reason of a reschedule among the form's answers.
fn reschedule_reason(responses: &Struct) -> String {
    match responses.fields.get("rescheduleReason").and_then(|answer| answer.kind.as_ref()) {
        Some(prost_types::value::Kind::StringValue(reason)) => reason.clone(),
        _ => String::new(),
    }
}
