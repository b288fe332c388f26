//! A row as bytes: one version byte, the least `createdAt`, a table of the stamps and one of the e-mail addresses that
//! the registers refer to by number, then the registers in the order of their keys.
//!
//! Invariant: equal rows have equal bytes. Decoding refuses what is out of order, cut short or left over, and allocates
//! no more than a small multiple of the bytes that it was given.

use std::sync::Arc;

use prost::encoding::{decode_varint, encode_varint};

use super::Row;
use crate::register::{Detail, Email, Entry, Evidence, Field, Key, Rank, Role, Stamp, Value};

/// The first byte. Another layout takes another number, and `decode` goes on reading this one.
const VERSION: u8 = 1;

const KEY_EVIDENCE: u8 = 0;
const KEY_FIELD: u8 = 1;
const KEY_METADATA: u8 = 2;
const KEY_RESPONSE: u8 = 3;
const KEY_SUCCESSOR: u8 = 4;
const KEY_PERSON: u8 = 5;
const KEY_NO_SHOW: u8 = 6;
const KEY_SEAT_TAKEN: u8 = 7;
const KEY_SEAT_LEFT: u8 = 8;

const VALUE_NOTHING: u8 = 0;
const VALUE_FALSE: u8 = 1;
const VALUE_TRUE: u8 = 2;
const VALUE_NUMBER: u8 = 3;
const VALUE_SPAN: u8 = 4;
const VALUE_TEXT: u8 = 5;
const VALUE_ANSWER: u8 = 6;
const VALUE_PEOPLE: u8 = 7;

/// The shortest register: two bytes of key, one of stamp and one of value. No count makes us reserve for more.
const REGISTER_BYTES_MIN: usize = 4;
/// What a register takes with its part of the tables, rounded up: most rows are then written without growing.
const REGISTER_BYTES_USUAL: usize = 32;

/// Why bytes are not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a release that knows another layout.
    #[error("a row of layout {0} can't be read by this release")]
    UnknownLayout(u8),
    /// Not what `encode` writes.
    #[error("the bytes are not a row: {0}")]
    Malformed(&'static str),
}

type Result<T> = std::result::Result<T, DecodeError>;

pub(super) fn encode(row: &Row) -> Vec<u8> {
    let stamps = row.registers.iter().map(|(_, entry)| &entry.stamp).filter(|stamp| **stamp != Stamp::EVIDENCE);
    let stamps = Table::of(stamps);
    let emails = Table::of(row.registers.iter().flat_map(emails_of));
    let mut bytes = Vec::with_capacity(REGISTER_BYTES_USUAL * row.registers.len());
    bytes.push(VERSION);
    let mut out = Writer { bytes, stamps, emails };
    out.optional(row.first_told);
    out.tables();
    out.count(row.registers.len());
    for (key, entry) in row.registers.iter() {
        out.key(key);
        out.stamp(&entry.stamp);
        out.value(&entry.value);
    }
    out.bytes
}

fn emails_of((key, entry): &(Key, Entry)) -> impl Iterator<Item = &Email> {
    let in_key = match key {
        Key::Person(_, email, _) | Key::NoShow(_, email) | Key::SeatTaken(email, _) | Key::SeatLeft(email) => {
            Some(email)
        }
        Key::Evidence(_) | Key::Field(_) | Key::Metadata(_) | Key::Response(_) | Key::Successor(_) => None,
    };
    let in_value = if let Value::People(people) = &entry.value { people.as_slice() } else { &[] };
    in_key.into_iter().chain(in_value)
}

/// What the registers refer to by number.
struct Table<'a, T> {
    /// Ascending, each once.
    members: Vec<&'a T>,
    /// Where the last one was found that was asked for.
    last: usize,
}

impl<'a, T: Ord> Table<'a, T> {
    fn of(members: impl Iterator<Item = &'a T>) -> Self {
        let mut members: Vec<&T> = members.collect();
        // Neighbours often share a stamp or an address: this leaves little to sort.
        members.dedup();
        members.sort_unstable();
        members.dedup();
        Self { members, last: 0 }
    }

    fn place(&mut self, member: &T) -> Option<usize> {
        // For the same reason most are found where the one before was.
        if self.members.get(self.last).is_none_or(|last| *last != member) {
            self.last = self.members.binary_search(&member).ok()?;
        }
        Some(self.last)
    }
}

struct Writer<'a> {
    bytes: Vec<u8>,
    /// Without the stamp of evidence, which is number 0.
    stamps: Table<'a, Stamp>,
    emails: Table<'a, Email>,
}

impl Writer<'_> {
    fn tables(&mut self) {
        self.count(self.stamps.members.len());
        for place in 0..self.stamps.members.len() {
            let stamp = self.stamps.members[place];
            self.bytes.push(stamp.rank as u8);
            self.number(stamp.time);
            self.bytes.extend_from_slice(&stamp.hash);
        }
        self.count(self.emails.members.len());
        for place in 0..self.emails.members.len() {
            let email = self.emails.members[place];
            self.blob(email.as_str().as_bytes());
        }
    }

    fn key(&mut self, key: &Key) {
        match key {
            Key::Evidence(evidence) => self.bytes.extend([KEY_EVIDENCE, *evidence as u8]),
            Key::Field(field) => self.bytes.extend([KEY_FIELD, *field as u8]),
            Key::Metadata(name) => self.named(KEY_METADATA, name),
            Key::Response(slug) => self.named(KEY_RESPONSE, slug),
            Key::Successor(uid) => self.named(KEY_SUCCESSOR, uid),
            Key::Person(role, email, detail) => {
                self.bytes.extend([KEY_PERSON, *role as u8]);
                self.email(email);
                self.bytes.push(*detail as u8);
            }
            Key::NoShow(role, email) => {
                self.bytes.extend([KEY_NO_SHOW, *role as u8]);
                self.email(email);
            }
            Key::SeatTaken(email, id) => {
                self.bytes.push(KEY_SEAT_TAKEN);
                self.email(email);
                self.blob(id.as_bytes());
            }
            Key::SeatLeft(email) => {
                self.bytes.push(KEY_SEAT_LEFT);
                self.email(email);
            }
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Nothing => self.bytes.push(VALUE_NOTHING),
            Value::Flag(false) => self.bytes.push(VALUE_FALSE),
            Value::Flag(true) => self.bytes.push(VALUE_TRUE),
            Value::Number(number) => {
                self.bytes.push(VALUE_NUMBER);
                self.number(*number);
            }
            Value::Span(start, end) => {
                self.bytes.push(VALUE_SPAN);
                self.optional(*start);
                self.optional(*end);
            }
            Value::Text(text) => self.named(VALUE_TEXT, text),
            Value::Answer(bytes) => {
                self.bytes.push(VALUE_ANSWER);
                self.blob(bytes);
            }
            Value::People(people) => {
                self.bytes.push(VALUE_PEOPLE);
                self.count(people.len());
                for email in people {
                    self.email(email);
                }
            }
        }
    }

    fn stamp(&mut self, stamp: &Stamp) {
        let number = self.stamps.place(stamp).map_or(0, |place| place + 1);
        self.count(number);
    }

    fn email(&mut self, email: &Email) {
        // Every address of the row is in the table, so the search can't miss.
        let number = self.emails.place(email).unwrap_or_default();
        self.count(number);
    }

    fn named(&mut self, tag: u8, name: &str) {
        self.bytes.push(tag);
        self.blob(name.as_bytes());
    }

    fn blob(&mut self, blob: &[u8]) {
        self.count(blob.len());
        self.bytes.extend_from_slice(blob);
    }

    fn optional(&mut self, number: Option<i64>) {
        self.bytes.push(u8::from(number.is_some()));
        if let Some(number) = number {
            self.number(number);
        }
    }

    fn count(&mut self, count: usize) {
        match u8::try_from(count) {
            // Nearly all are numbers of a table, or short lengths.
            Ok(small @ ..0x80) => self.bytes.push(small),
            _ => encode_varint(count as u64, &mut self.bytes),
        }
    }

    /// Zigzag, so that small negative numbers stay small.
    fn number(&mut self, number: i64) {
        encode_varint((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned(), &mut self.bytes);
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Row> {
    let mut reader = Reader { bytes, stamps: vec![Stamp::EVIDENCE], emails: Vec::new() };
    let layout = reader.byte()?;
    if layout != VERSION {
        return Err(DecodeError::UnknownLayout(layout));
    }
    let first_told = reader.optional()?;
    reader.tables()?;
    let count = reader.count()?;
    let mut registers: Vec<(Key, Entry)> = Vec::with_capacity(count.min(reader.bytes.len() / REGISTER_BYTES_MIN));
    for _ in 0..count {
        let key = reader.key()?;
        if registers.last().is_some_and(|(last, _)| *last >= key) {
            return Err(DecodeError::Malformed("keys out of order"));
        }
        let stamp = reader.stamp()?;
        let value = reader.value()?;
        registers.push((key, Entry { stamp, value }));
    }
    if !reader.bytes.is_empty() {
        return Err(DecodeError::Malformed("bytes left over"));
    }
    Ok(Row { registers: Arc::new(registers), first_told })
}

struct Reader<'a> {
    bytes: &'a [u8],
    stamps: Vec<Stamp>,
    emails: Vec<Email>,
}

impl<'a> Reader<'a> {
    fn tables(&mut self) -> Result<()> {
        for _ in 0..self.count()? {
            let rank = self.member(&Rank::ALL)?;
            let time = self.number()?;
            let hash = self.take(32)?.try_into().map_err(|_| DecodeError::Malformed("hash"))?;
            let stamp = Stamp { rank, time, hash };
            if stamp == Stamp::EVIDENCE || self.stamps[1..].last().is_some_and(|last| *last >= stamp) {
                return Err(DecodeError::Malformed("stamps out of order"));
            }
            self.stamps.push(stamp);
        }
        for _ in 0..self.count()? {
            let email = Email::from_stored(self.str()?);
            if self.emails.last().is_some_and(|last| *last >= email) {
                return Err(DecodeError::Malformed("addresses out of order"));
            }
            self.emails.push(email);
        }
        Ok(())
    }

    fn key(&mut self) -> Result<Key> {
        Ok(match self.byte()? {
            KEY_EVIDENCE => Key::Evidence(self.member(&Evidence::ALL)?),
            KEY_FIELD => Key::Field(self.member(&Field::ALL)?),
            KEY_METADATA => Key::Metadata(self.text()?),
            KEY_RESPONSE => Key::Response(self.text()?),
            KEY_SUCCESSOR => Key::Successor(self.text()?),
            KEY_PERSON => Key::Person(self.member(&Role::ALL)?, self.email()?, self.member(&Detail::ALL)?),
            KEY_NO_SHOW => Key::NoShow(self.member(&Role::ALL)?, self.email()?),
            KEY_SEAT_TAKEN => Key::SeatTaken(self.email()?, self.text()?),
            KEY_SEAT_LEFT => Key::SeatLeft(self.email()?),
            _ => return Err(DecodeError::Malformed("unknown key")),
        })
    }

    fn value(&mut self) -> Result<Value> {
        Ok(match self.byte()? {
            VALUE_NOTHING => Value::Nothing,
            VALUE_FALSE => Value::Flag(false),
            VALUE_TRUE => Value::Flag(true),
            VALUE_NUMBER => Value::Number(self.number()?),
            VALUE_SPAN => Value::Span(self.optional()?, self.optional()?),
            VALUE_TEXT => Value::Text(self.text()?),
            VALUE_ANSWER => {
                let size = self.count()?;
                Value::Answer(self.take(size)?.to_vec())
            }
            VALUE_PEOPLE => {
                let mut people = Vec::new();
                for _ in 0..self.count()? {
                    people.push(self.email()?);
                }
                Value::People(people)
            }
            _ => return Err(DecodeError::Malformed("unknown value")),
        })
    }

    fn stamp(&mut self) -> Result<Stamp> {
        let place = self.count()?;
        self.stamps.get(place).copied().ok_or(DecodeError::Malformed("no such stamp"))
    }

    fn email(&mut self) -> Result<Email> {
        let place = self.count()?;
        self.emails.get(place).cloned().ok_or(DecodeError::Malformed("no such address"))
    }

    fn member<T: Copy>(&mut self, all: &[T]) -> Result<T> {
        let number = usize::from(self.byte()?);
        all.get(number).copied().ok_or(DecodeError::Malformed("unknown member"))
    }

    fn text(&mut self) -> Result<String> {
        self.str().map(str::to_owned)
    }

    fn str(&mut self) -> Result<&'a str> {
        let size = self.count()?;
        std::str::from_utf8(self.take(size)?).map_err(|_| DecodeError::Malformed("text"))
    }

    fn optional(&mut self) -> Result<Option<i64>> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.number().map(Some),
            _ => Err(DecodeError::Malformed("neither there nor absent")),
        }
    }

    fn number(&mut self) -> Result<i64> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn count(&mut self) -> Result<usize> {
        usize::try_from(self.varint()?).map_err(|_| DecodeError::Malformed("count"))
    }

    fn varint(&mut self) -> Result<u64> {
        decode_varint(&mut self.bytes).map_err(|_| DecodeError::Malformed("number"))
    }

    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.bytes.split_first().ok_or(DecodeError::Malformed("too short"))?;
        self.bytes = rest;
        Ok(*first)
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(size).ok_or(DecodeError::Malformed("too short"))?;
        self.bytes = rest;
        Ok(taken)
    }
}
