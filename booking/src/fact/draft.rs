//! The pen with which the families write: what they say lands in registers, stamped with the event's own key.
//!
//! Invariant: a field that the sender left out, sent as null or sent empty writes nothing, so it erases nothing.

use std::collections::{BTreeMap, BTreeSet};

use calbridge_proto::v1::{BookingEvent, PersonPayload, ResponsePayload, booking_event::Payload};
use prost::Message;
use prost_types::{Timestamp, value::Kind};

use super::Fact;
use crate::{
    register::{Detail, Email, Entry, Evidence, Field, Key, MAX_EMAIL, Rank, Role, Stamp, Value, cut},
    row::{MAX_KEYS, Row},
    time::micros,
};

/// Longest description or answer, in bytes. Notes of 64 KiB occur; a body holds 1 MiB.
const MAX_TEXT: usize = 256 * 1024;
/// Longest of the other texts, in bytes: titles, places, reasons, values of metadata.
const MAX_LINE: usize = 16 * 1024;
/// Longest detail of a person but for the address, in bytes. A thousand people with four of them are still less than a
/// message holds.
const MAX_DETAIL: usize = 256;
/// Longest metadata key, form slug or seat reference, in bytes: far beyond any that a form editor offers.
const MAX_KEY: usize = 256;
/// People that one list may name: Cal.com's seats end at 1,000.
pub(super) const MAX_PEOPLE: usize = 1_000;
/// Registers that an event about one host and one guest tells of its own booking, rounded up.
const USUAL_REGISTERS: usize = 32;

/// The event's key in time.
#[derive(Clone, Copy)]
pub(super) struct Source {
    time: i64,
    hash: [u8; 32],
    /// Unset where there is no envelope: then the event has no time of its own and tells no first mention.
    told: Option<i64>,
}

impl Source {
    pub(super) fn of(event: &BookingEvent, body_sha256: &[u8; 32]) -> Self {
        // A flat MEETING_* carries `createdAt` of the booking's row where an envelope has its own.
        let flat = matches!(&event.payload, Some(Payload::Meeting(meeting)) if !meeting.enveloped);
        let told = event.event_time.as_ref().filter(|_| !flat).map(micros);
        Self { time: told.unwrap_or(0), hash: *body_sha256, told }
    }

    fn stamp(&self, rank: Rank) -> Stamp {
        Stamp { rank, time: self.time, hash: self.hash }
    }
}

/// All that one event says; never empty, for its own booking comes first.
pub(super) struct Story<'a> {
    source: Source,
    own_uid: &'a str,
    own: Draft,
    others: Vec<(&'a str, Draft)>,
}

impl<'a> Story<'a> {
    pub(super) fn new(source: Source, own_uid: &'a str) -> Self {
        Self { source, own_uid, own: Draft::new(source, USUAL_REGISTERS), others: Vec::new() }
    }

    pub(super) fn own_uid(&self) -> &'a str {
        self.own_uid
    }

    pub(super) fn own(&mut self) -> &mut Draft {
        &mut self.own
    }

    /// What is said about the booking `uid`; for the same uid the same draft.
    pub(super) fn about<'s>(&'s mut self, uid: &'a str) -> &'s mut Draft {
        if uid == self.own_uid {
            return &mut self.own;
        }
        let place = self.others.iter().position(|(known, _)| *known == uid).unwrap_or_else(|| {
            self.others.push((uid, Draft::new(self.source, 0)));
            self.others.len() - 1
        });
        &mut self.others[place].1
    }

    pub(super) fn finish(self) -> Vec<Fact> {
        let told = std::iter::once((self.own_uid, self.own)).chain(self.others);
        told.filter(|(_, draft)| !draft.told.is_empty())
            .map(|(uid, draft)| Fact { uid: uid.to_owned(), registers: Row::of(draft.told, self.source.told) })
            .collect()
    }
}

/// What is said about one booking.
pub(super) struct Draft {
    source: Source,
    told: Vec<(Key, Entry)>,
}

impl Draft {
    /// With room for so many registers.
    fn new(source: Source, registers: usize) -> Self {
        Self { source, told: Vec::with_capacity(registers) }
    }

    /// A pen of that rank.
    pub(super) fn at(&mut self, rank: Rank) -> Pen<'_> {
        Pen { stamp: self.source.stamp(rank), told: &mut self.told }
    }

    pub(super) fn evidence(&mut self, evidence: Evidence) {
        self.tell(evidence, Value::Nothing);
    }

    /// A timer rang; `own` is the start or end for which it was set. Of several timers the latest stands, and one that
    /// names no time stands for any.
    pub(super) fn timer(&mut self, evidence: Evidence, own: Option<&Timestamp>) {
        let own = own.map_or(i64::MAX, micros);
        self.tell(evidence, Value::Number(own));
    }

    fn tell(&mut self, evidence: Evidence, value: Value) {
        self.told.push((Key::Evidence(evidence), Entry { stamp: Stamp::EVIDENCE, value }));
    }
}

/// Writes registers at one rank.
pub(super) struct Pen<'d> {
    stamp: Stamp,
    told: &'d mut Vec<(Key, Entry)>,
}

impl Pen<'_> {
    pub(super) fn text(&mut self, field: Field, text: &str) {
        let max = if field == Field::Description { MAX_TEXT } else { MAX_LINE };
        self.put_text(Key::Field(field), cut(text, max));
    }

    pub(super) fn number(&mut self, field: Field, number: Option<i64>) {
        if let Some(number) = number {
            self.put(Key::Field(field), Value::Number(number));
        }
    }

    /// The booking's times. A start without an end, or the other way round, must not tear a known pair apart.
    pub(super) fn times(&mut self, start: Option<&Timestamp>, end: Option<&Timestamp>) {
        let pair = start.is_some() && end.is_some();
        self.span(if pair { Field::Times } else { Field::LoneTimes }, start, end);
    }

    pub(super) fn span(&mut self, field: Field, start: Option<&Timestamp>, end: Option<&Timestamp>) {
        if start.is_some() || end.is_some() {
            self.put(Key::Field(field), Value::Span(start.map(micros), end.map(micros)));
        }
    }

    pub(super) fn metadata(&mut self, metadata: &BTreeMap<String, String>) {
        for (name, text) in metadata.iter().take(MAX_KEYS) {
            self.put_text(Key::Metadata(cut(name, MAX_KEY).to_owned()), cut(text, MAX_LINE));
        }
    }

    pub(super) fn answers<'p>(&mut self, answers: impl Iterator<Item = (&'p String, &'p ResponsePayload)>) {
        for (slug, answer) in answers.take(MAX_KEYS) {
            if let Some(bytes) = answer.value.as_ref().and_then(encode_answer) {
                self.put(Key::Response(cut(slug, MAX_KEY).to_owned()), Value::Answer(bytes));
            }
        }
    }

    /// Tells each person's details and answers who they are, each once, in the order of the list.
    pub(super) fn people(&mut self, role: Role, people: &[PersonPayload]) -> Vec<Email> {
        let mut known = BTreeSet::new();
        let mut named = Vec::new();
        for person in people.iter().take(MAX_PEOPLE) {
            if let Some(email) = self.person(role, person)
                && known.insert(email.clone())
            {
                named.push(email);
            }
        }
        named
    }

    /// Tells a person's details and answers who it is; nobody without an e-mail address.
    pub(super) fn person(&mut self, role: Role, person: &PersonPayload) -> Option<Email> {
        let email = Email::new(&person.email)?;
        let mut note = |detail, value| self.put(Key::Person(role, email.clone(), detail), value);
        let texts = [
            (Detail::Spelling, person.email.trim()),
            (Detail::Name, &person.name),
            (Detail::TimeZone, &person.time_zone),
            (Detail::Language, &person.language),
        ];
        for (detail, text) in texts {
            if !text.is_empty() {
                let max = if detail == Detail::Spelling { MAX_EMAIL } else { MAX_DETAIL };
                note(detail, Value::Text(cut(text, max).to_owned()));
            }
        }
        if let Some(minutes) = person.utc_offset_minutes {
            note(Detail::UtcOffset, Value::Number(minutes.into()));
        }
        let (own, text) = match role {
            Role::Host => (Detail::Username, &person.username),
            Role::Attendee => (Detail::PhoneNumber, &person.phone_number),
        };
        if !text.is_empty() {
            note(own, Value::Text(cut(text, MAX_DETAIL).to_owned()));
        }
        if let (Role::Host, Some(id)) = (role, person.id) {
            note(Detail::Id, Value::Number(id));
        }
        Some(email)
    }

    pub(super) fn list(&mut self, field: Field, people: Vec<Email>) {
        if !people.is_empty() {
            self.put(Key::Field(field), Value::People(people));
        }
    }

    pub(super) fn no_show(&mut self, role: Role, email: Email, mark: bool) {
        self.put(Key::NoShow(role, email), Value::Flag(mark));
    }

    pub(super) fn successor(&mut self, uid: &str) {
        self.put(Key::Successor(uid.to_owned()), Value::Nothing);
    }

    pub(super) fn seat_taken(&mut self, email: Email, id: &str) {
        self.put(Key::SeatTaken(email, cut(id, MAX_KEY).to_owned()), Value::Nothing);
    }

    /// Without a word of seats.
    pub(super) fn let_in(&mut self, email: Email) {
        self.put(Key::SeatTaken(email, String::new()), Value::LET_IN);
    }

    /// `to` is the booking that the seat went to; empty where it was given up.
    pub(super) fn seat_left(&mut self, email: Email, to: &str) {
        self.put(Key::SeatLeft(email), Value::Text(to.to_owned()));
    }

    fn put_text(&mut self, key: Key, text: &str) {
        if !text.is_empty() {
            self.put(key, Value::Text(text.to_owned()));
        }
    }

    fn put(&mut self, key: Key, value: Value) {
        self.told.push((key, Entry { stamp: self.stamp, value }));
    }
}

/// `None` for a question that was not answered, and for an answer too long to keep whole that can't be cut.
fn encode_answer(answer: &prost_types::Value) -> Option<Vec<u8>> {
    let bytes = match answer.kind.as_ref()? {
        Kind::NullValue(_) => return None,
        Kind::StringValue(text) if text.is_empty() => return None,
        Kind::ListValue(list) if list.values.is_empty() => return None,
        Kind::StructValue(object) if object.fields.is_empty() => return None,
        Kind::StringValue(text) if text.len() > MAX_TEXT => {
            prost_types::Value { kind: Some(Kind::StringValue(cut(text, MAX_TEXT).to_owned())) }.encode_to_vec()
        }
        _ => answer.encode_to_vec(),
    };
    // A cut text carries a few bytes of tag and length.
    (bytes.len() <= MAX_TEXT + 16).then_some(bytes)
}
