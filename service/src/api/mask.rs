//! What of a message is shown to a caller who may not see personal data: `read.pii` is what he lacks.
//!
//! Invariant: each message is taken apart field by field, so a field that the schema gains does not compile until it is
//! decided here whether it is personal.

use std::collections::BTreeMap;

use calbridge_process::Scope;
use calbridge_proto::v1::{
    self,
    consume_response::{Item, Response},
    refold_deliveries_response::Step,
    watch_transitions_response::Entry,
};
use prost_types::{Struct, Value, value::Kind};
use uuid::Uuid;

use crate::{auth::Caller, store::view::etag};

/// What stands where something is that is not shown. Nothing stands where nothing is.
const MASK: &str = "[masked]";

/// A message that may hold personal data.
pub(super) trait Masked: Sized {
    /// The same without it.
    fn masked(self) -> Self;
}

/// The message as this caller may see it.
pub(super) fn shown<M: Masked>(caller: &Caller, message: M) -> M {
    if caller.has(Scope::ReadPii) { message } else { message.masked() }
}

/// The same of many.
pub(super) fn all_shown<M: Masked>(caller: &Caller, messages: Vec<M>) -> Vec<M> {
    if caller.has(Scope::ReadPii) { messages } else { masked_all(messages) }
}

impl Masked for v1::Booking {
    fn masked(self) -> Self {
        let Self {
            tenant,
            uid,
            calcom_booking_id,
            status,
            payment_status,
            title,
            event_type_slug,
            event_type_id,
            start_time,
            end_time,
            location,
            organizer,
            attendees,
            ical_uid,
            rescheduled_from_uid,
            rescheduled_to_uid,
            origin_uid,
            previous_start_time,
            previous_end_time,
            rescheduled_by,
            reschedule_reason,
            description,
            hosts,
            price_minor,
            currency,
            payment_id,
            cancellation_reason,
            cancelled_by,
            rejection_reason,
            reschedule_requested,
            seats_per_time_slot,
            metadata,
            responses,
            create_time,
            update_time,
            position,
            etag: tag,
            rescheduled_from_evidence,
            rescheduled_to_evidence,
        } = self;
        let mut booking = Self {
            tenant,
            uid,
            calcom_booking_id,
            status,
            payment_status,
            title: text(title),
            event_type_slug,
            event_type_id,
            start_time,
            end_time,
            location: text(location),
            organizer: organizer.map(Masked::masked),
            attendees: masked_all(attendees),
            ical_uid: unless_address(ical_uid),
            rescheduled_from_uid,
            rescheduled_to_uid,
            origin_uid,
            previous_start_time,
            previous_end_time,
            rescheduled_by: unless_id(rescheduled_by),
            reschedule_reason: text(reschedule_reason),
            description: text(description),
            hosts: masked_all(hosts),
            price_minor,
            currency,
            payment_id,
            cancellation_reason: text(cancellation_reason),
            cancelled_by: unless_id(cancelled_by),
            rejection_reason: text(rejection_reason),
            reschedule_requested,
            seats_per_time_slot,
            metadata: values(metadata),
            responses: responses.map(answers),
            create_time,
            update_time,
            position,
            etag: String::new(),
            rescheduled_from_evidence,
            rescheduled_to_evidence,
        };
        // The tag of the whole booking would tell whoever guesses an address that he guessed right.
        if !tag.is_empty() {
            booking.etag = etag(&booking);
        }
        booking
    }
}

impl Masked for v1::Attendee {
    fn masked(self) -> Self {
        let Self { email, name, time_zone, language, utc_offset_minutes, phone_number, seat_uid, no_show } = self;
        Self {
            email: text(email),
            name: text(name),
            time_zone,
            language,
            utc_offset_minutes,
            phone_number: text(phone_number),
            seat_uid,
            no_show,
        }
    }
}

impl Masked for v1::Organizer {
    fn masked(self) -> Self {
        let Self { id, email, name, username, time_zone, language, no_show } = self;
        Self { id, email: text(email), name: text(name), username: text(username), time_zone, language, no_show }
    }
}

impl Masked for v1::Transition {
    fn masked(self) -> Self {
        let Self {
            position,
            tenant,
            uid,
            kind,
            from_status,
            to_status,
            booking,
            delivery_id,
            trigger,
            commit_time,
            event_time,
            trace_id,
            rule,
            source,
        } = self;
        Self {
            position,
            tenant,
            uid,
            kind,
            from_status,
            to_status,
            booking: booking.map(Masked::masked),
            delivery_id,
            trigger,
            commit_time,
            event_time,
            trace_id,
            rule,
            source,
        }
    }
}

impl Masked for v1::TimelineEntry {
    fn masked(self) -> Self {
        let Self {
            position,
            receive_time,
            event_time,
            trigger,
            trigger_name,
            delivery_id,
            outcome,
            secret_id,
            trace_id,
            transition,
            booking_uid,
            source,
            notes,
        } = self;
        Self {
            position,
            receive_time,
            event_time,
            trigger,
            trigger_name,
            delivery_id,
            outcome,
            secret_id,
            trace_id,
            transition: transition.map(Masked::masked),
            booking_uid,
            source,
            notes,
        }
    }
}

impl Masked for Entry {
    fn masked(self) -> Self {
        match self {
            Self::Transition(transition) => Self::Transition(transition.masked()),
            Self::Recorded(recorded) => Self::Recorded(recorded.masked()),
            Self::Heartbeat(heartbeat) => Self::Heartbeat(heartbeat),
        }
    }
}

impl Masked for v1::RecordedDelivery {
    fn masked(self) -> Self {
        // Answers of forms, links to recordings, reasons of absences: there is nothing in it that could stay.
        let Self { position, delivery, event: _ } = self;
        Self { position, delivery, event: None }
    }
}

impl Masked for Response {
    fn masked(self) -> Self {
        match self {
            Self::Item(item) => Self::Item(item.masked()),
            Self::Heartbeat(heartbeat) => Self::Heartbeat(heartbeat),
            Self::LeasesLost(lost) => Self::LeasesLost(lost),
        }
    }
}

impl Masked for Item {
    fn masked(self) -> Self {
        let Self { id, transition, delivery_count, lease_expire_time, recorded } = self;
        let (transition, recorded) = (transition.map(Masked::masked), recorded.map(Masked::masked));
        Self { id, transition, delivery_count, lease_expire_time, recorded }
    }
}

impl Masked for v1::DeadLetter {
    fn masked(self) -> Self {
        // The reason is a client's own words, and he is told that operators read it.
        let Self { tenant, consumer, transition, delivery_count, reason, create_time, recorded, position } = self;
        let (transition, recorded) = (transition.map(Masked::masked), recorded.map(Masked::masked));
        Self { tenant, consumer, transition, delivery_count, reason, create_time, recorded, position }
    }
}

impl Masked for v1::RefoldDeliveriesResponse {
    fn masked(self) -> Self {
        let Self { step } = self;
        Self {
            step: step.map(|step| match step {
                Step::Difference(difference) => Step::Difference(difference.masked()),
                Step::Progress(progress) => Step::Progress(progress),
                Step::Summary(summary) => Step::Summary(summary),
            }),
        }
    }
}

impl Masked for v1::RefoldDifference {
    fn masked(self) -> Self {
        let Self { tenant, uid, stored, refolded, fields } = self;
        Self { tenant, uid, stored: stored.map(Masked::masked), refolded: refolded.map(Masked::masked), fields }
    }
}

fn masked_all<M: Masked>(messages: Vec<M>) -> Vec<M> {
    messages.into_iter().map(Masked::masked).collect()
}

fn text(text: String) -> String {
    if text.is_empty() { text } else { MASK.to_owned() }
}

/// Who did something is told by a number or a UUID, or by an address or a name.
fn unless_id(who: String) -> String {
    let is_id = who.bytes().all(|byte| byte.is_ascii_digit()) || Uuid::try_parse(&who).is_ok();
    if is_id { who } else { text(who) }
}

/// Calendars make ids of addresses, too; Cal.com's own end in its name.
fn unless_address(id: String) -> String {
    let is_ours = id.rsplit_once('@').is_none_or(|(_, host)| host.eq_ignore_ascii_case("cal.com"));
    if is_ours { id } else { text(id) }
}

/// Which there are, and not what they are.
fn values(metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    metadata.into_iter().map(|(key, value)| (key, text(value))).collect()
}

/// Which questions were answered, and not how.
fn answers(Struct { fields }: Struct) -> Struct {
    let hidden = |_| Value { kind: Some(Kind::StringValue(MASK.to_owned())) };
    Struct { fields: fields.into_iter().map(|(slug, answer)| (slug, hidden(answer))).collect() }
}

#[cfg(test)]
mod tests;
