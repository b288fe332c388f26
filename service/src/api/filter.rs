//! The filters of `ListBookings` and of the log: conditions of AIP-160, joined by `AND`.
//!
//! A condition is a field, an operator and a value. A value is a word, or a text in quotes, double or single, in which
//! a backslash stands before a quote or a backslash. A refusal says at which character; it repeats nothing of the
//! filter, which may hold somebody's address.

use calbridge_proto::v1::BookingStatus;

use super::errors::ApiError;
use crate::{
    settings::{FILTER_BYTES, FILTER_CONDITIONS},
    store::{Comparison, Condition, Filter, Micros},
};

mod log;

pub(super) use self::log::parse as parse_log;

const FIELDS: &str = "a field: status, start_time, update_time, organizer_email, attendee_email, event_type_id or \
                      metadata.KEY";

/// Reads a filter of bookings; the empty one is of every booking.
pub(super) fn parse(text: &str) -> Result<Filter, ApiError> {
    conditions(text, Reader::condition).map(Filter)
}

/// Reads each condition of a filter.
fn conditions<'a, T>(
    text: &'a str,
    condition: impl Fn(&mut Reader<'a>) -> Result<T, ApiError>,
) -> Result<Vec<T>, ApiError> {
    if text.len() > FILTER_BYTES {
        return Err(ApiError::InvalidField { field: "filter", why: "is longer than 8 KiB" });
    }
    // No text of the store has one; PostgreSQL would take the question for damage.
    if let Some(at) = text.find('\0') {
        return Err(refused(text, at, "a text without a NUL"));
    }
    let mut reader = Reader { text, at: 0 };
    let mut conditions = Vec::new();
    reader.skip_blanks();
    while !reader.is_at_end() {
        if !conditions.is_empty() {
            reader.and()?;
        }
        if conditions.len() == FILTER_CONDITIONS {
            return Err(reader.refuse("the end: a filter has at most 16 conditions"));
        }
        conditions.push(condition(&mut reader)?);
        reader.skip_blanks();
    }
    Ok(conditions)
}

struct Reader<'a> {
    text: &'a str,
    /// The byte that comes next.
    at: usize,
}

/// A condition as it is written, and where each part of it stands.
struct Written<'a> {
    text: &'a str,
    begin: usize,
    field: String,
    compared_at: usize,
    comparison: Comparison,
    value_at: usize,
    value: String,
}

impl<'a> Reader<'a> {
    fn condition(&mut self) -> Result<Condition, ApiError> {
        let written = self.written()?;
        let Written { comparison, value, .. } = &written;
        match written.field.as_str() {
            "status" => Ok(Condition::Status(written.equal_or_not()?, written.status()?)),
            "start_time" => Ok(Condition::StartTime(*comparison, written.time()?)),
            "update_time" => Ok(Condition::UpdateTime(*comparison, written.time()?)),
            "organizer_email" => written.equal_only().map(|()| Condition::OrganizerEmail(address(value))),
            "attendee_email" => written.equal_only().map(|()| Condition::AttendeeEmail(address(value))),
            "event_type_id" => Ok(Condition::EventTypeId(written.event_type_id()?)),
            field => match field.strip_prefix(METADATA) {
                Some(key) if !key.is_empty() => {
                    written.equal_only().map(|()| Condition::Metadata(key.to_owned(), value.clone()))
                }
                _ => Err(written.unknown(FIELDS)),
            },
        }
    }

    fn written(&mut self) -> Result<Written<'a>, ApiError> {
        let begin = self.at;
        let field = self.field()?;
        self.skip_blanks();
        let compared_at = self.at;
        let comparison = self.comparison()?;
        self.skip_blanks();
        let value_at = self.at;
        let value = self.value()?;
        Ok(Written { text: self.text, begin, field, compared_at, comparison, value_at, value })
    }

    /// A word; behind `metadata.` also a text in quotes.
    fn field(&mut self) -> Result<String, ApiError> {
        if self.rest().strip_prefix(METADATA).is_some_and(|key| key.starts_with(QUOTES)) {
            self.at += METADATA.len();
            return Ok(format!("{METADATA}{}", self.quoted()?));
        }
        let word = self.word();
        if word.is_empty() { Err(self.refuse(FIELDS)) } else { Ok(word.to_owned()) }
    }

    fn comparison(&mut self) -> Result<Comparison, ApiError> {
        // The longer ones first.
        for comparison in [
            Comparison::NotEqual,
            Comparison::LessOrEqual,
            Comparison::GreaterOrEqual,
            Comparison::Equal,
            Comparison::Less,
            Comparison::Greater,
        ] {
            if self.rest().starts_with(comparison.as_str()) {
                self.at += comparison.as_str().len();
                return Ok(comparison);
            }
        }
        Err(self.refuse("a comparison: =, !=, <, <=, > or >="))
    }

    fn value(&mut self) -> Result<String, ApiError> {
        if self.rest().starts_with(QUOTES) {
            return self.quoted();
        }
        let word = self.word();
        if word.is_empty() {
            Err(self.refuse("a value, in quotes where it is no plain word"))
        } else {
            Ok(word.to_owned())
        }
    }

    fn quoted(&mut self) -> Result<String, ApiError> {
        let begin = self.at;
        let mut text = String::new();
        let mut characters = self.rest().char_indices();
        let quote = characters.next().map(|(_, quote)| quote);
        while let Some((place, character)) = characters.next() {
            match character {
                closing if Some(closing) == quote => {
                    self.at = begin + place + 1;
                    return Ok(text);
                }
                '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                _ => text.push(character),
            }
        }
        Err(refused(self.text, begin, "a text that ends in the quote that it begins with"))
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let ends = |c: char| c.is_whitespace() || matches!(c, '=' | '!' | '<' | '>' | '"' | '(' | ')');
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn and(&mut self) -> Result<(), ApiError> {
        let begin = self.at;
        if self.word() != "AND" {
            return Err(refused(self.text, begin, "AND, the one way in which conditions are joined"));
        }
        self.skip_blanks();
        Ok(())
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn refuse(&self, expected: &'static str) -> ApiError {
        refused(self.text, self.at, expected)
    }
}

impl Written<'_> {
    fn equal_only(&self) -> Result<(), ApiError> {
        match self.comparison {
            Comparison::Equal => Ok(()),
            _ => Err(refused(self.text, self.compared_at, "=, the one comparison that this field has")),
        }
    }

    fn equal_or_not(&self) -> Result<Comparison, ApiError> {
        match self.comparison {
            Comparison::Equal | Comparison::NotEqual => Ok(self.comparison),
            _ => Err(refused(self.text, self.compared_at, "= or !=")),
        }
    }

    fn status(&self) -> Result<BookingStatus, ApiError> {
        let status = BookingStatus::from_str_name(&self.name("BOOKING_STATUS_"));
        let known = status.filter(|status| *status != BookingStatus::Unspecified);
        known.ok_or_else(|| self.wrong("a status, like SCHEDULED"))
    }

    fn time(&self) -> Result<Micros, ApiError> {
        let time = self.value.parse::<jiff::Timestamp>().map_err(|_| self.wrong(TIME))?;
        Ok(time.as_microsecond())
    }

    fn event_type_id(&self) -> Result<i64, ApiError> {
        self.equal_only()?;
        self.value.parse().map_err(|_| self.wrong("a whole number"))
    }

    /// The value as an enum of the schema has it, with or without the enum's own prefix.
    fn name(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.value.strip_prefix(prefix).unwrap_or(&self.value))
    }

    fn wrong(&self, expected: &'static str) -> ApiError {
        refused(self.text, self.value_at, expected)
    }

    fn unknown(&self, fields: &'static str) -> ApiError {
        refused(self.text, self.begin, fields)
    }
}

const QUOTES: [char; 2] = ['"', '\''];
const METADATA: &str = "metadata.";
const TIME: &str = "a time like \"2026-09-01T00:00:00Z\"";

/// Counted in characters, from one on, as an editor does.
fn refused(text: &str, at: usize, expected: &'static str) -> ApiError {
    ApiError::FilterSyntax { character: text[..at].chars().count() + 1, expected }
}

fn address(value: &str) -> String {
    value.trim().to_lowercase()
}

#[cfg(test)]
mod tests;
