//! The filter of `ListBookings`: conditions of AIP-160, joined by `AND`.
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

const FIELDS: &str = "a field: status, start_time, update_time, organizer_email, attendee_email, event_type_id or \
                      metadata.KEY";

/// Reads a filter; the empty one is of every booking.
pub(super) fn parse(text: &str) -> Result<Filter, ApiError> {
    if text.len() > FILTER_BYTES {
        return Err(ApiError::InvalidField { field: "filter", why: "is longer than 8 KiB" });
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
        conditions.push(reader.condition()?);
        reader.skip_blanks();
    }
    Ok(Filter(conditions))
}

struct Reader<'a> {
    text: &'a str,
    /// The byte that comes next.
    at: usize,
}

impl<'a> Reader<'a> {
    fn condition(&mut self) -> Result<Condition, ApiError> {
        let begin = self.at;
        let field = self.field()?;
        self.skip_blanks();
        let compared_at = self.at;
        let comparison = self.comparison()?;
        self.skip_blanks();
        let value_at = self.at;
        let value = self.value()?;
        let equal_only = || match comparison {
            Comparison::Equal => Ok(()),
            _ => Err(refused(self.text, compared_at, "=, the one comparison that this field has")),
        };
        let wrong = |expected| refused(self.text, value_at, expected);
        match field.as_str() {
            "status" => match comparison {
                Comparison::Equal | Comparison::NotEqual => {
                    Ok(Condition::Status(comparison, status(&value).ok_or_else(|| wrong("a status, like SCHEDULED"))?))
                }
                _ => Err(refused(self.text, compared_at, "= or !=")),
            },
            "start_time" => Ok(Condition::StartTime(comparison, time(&value).ok_or_else(|| wrong(TIME))?)),
            "update_time" => Ok(Condition::UpdateTime(comparison, time(&value).ok_or_else(|| wrong(TIME))?)),
            "organizer_email" => equal_only().map(|()| Condition::OrganizerEmail(address(&value))),
            "attendee_email" => equal_only().map(|()| Condition::AttendeeEmail(address(&value))),
            "event_type_id" => {
                equal_only()?;
                Ok(Condition::EventTypeId(value.parse().map_err(|_| wrong("a whole number"))?))
            }
            _ => match field.strip_prefix(METADATA) {
                Some(key) if !key.is_empty() => equal_only().map(|()| Condition::Metadata(key.to_owned(), value)),
                _ => Err(refused(self.text, begin, FIELDS)),
            },
        }
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

const QUOTES: [char; 2] = ['"', '\''];
const METADATA: &str = "metadata.";
const TIME: &str = "a time like \"2026-09-01T00:00:00Z\"";

/// Counted in characters, from one on, as an editor does.
fn refused(text: &str, at: usize, expected: &'static str) -> ApiError {
    ApiError::FilterSyntax { character: text[..at].chars().count() + 1, expected }
}

fn status(value: &str) -> Option<BookingStatus> {
    let name = format!("BOOKING_STATUS_{}", value.strip_prefix("BOOKING_STATUS_").unwrap_or(value));
    BookingStatus::from_str_name(&name).filter(|status| *status != BookingStatus::Unspecified)
}

fn time(value: &str) -> Option<Micros> {
    value.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

fn address(value: &str) -> String {
    value.trim().to_lowercase()
}

#[cfg(test)]
mod tests;
