//! What the fuzz targets reach of the grammars of this room: filters, page tokens, and the ids of a consumer's
//! deliveries.

use super::{errors::ApiError, filter, page::List, words};
use crate::store::{BookingCursor, DeliveryOf, Filter, LogFilter, Position};

/// What a list is of, as far as its pages share it.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a> {
    /// Whose.
    pub tenant: &'a str,
    /// The filter and the order.
    pub choices: &'a [&'a str],
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Behind an entry of the log.
    Position(Position),
    /// Behind a booking.
    Cursor(BookingCursor),
    /// Behind a name.
    Name(String),
}

/// The filter of `ListBookings`, or at which character it is none, where that is said.
///
/// # Errors
///
/// Counted in characters from one on.
pub fn filter(text: &str) -> Result<Filter, Option<usize>> {
    filter::parse(text).map_err(|error| character(&error))
}

/// The same of a filter of the log.
///
/// # Errors
///
/// Counted in characters from one on.
pub fn log_filter(text: &str) -> Result<LogFilter, Option<usize>> {
    filter::parse_log(text).map_err(|error| character(&error))
}

/// The token of the page at a place.
#[must_use]
pub fn page_token(of: Choices<'_>, place: &Place) -> String {
    match place {
        Place::Position(position) => list(of).token_at(*position),
        Place::Cursor(cursor) => list(of).token_behind(cursor),
        Place::Name(name) => list(of).token_behind_name(name),
    }
}

/// The place in a token, where it is of the same kind as `like`; none where it is refused, and for the first page.
#[must_use]
pub fn page_place(of: Choices<'_>, token: &str, like: &Place) -> Option<Place> {
    match like {
        Place::Position(_) => list(of).position(token).ok().flatten().map(Place::Position),
        Place::Cursor(_) => list(of).cursor(token).ok().flatten().map(Place::Cursor),
        Place::Name(_) => list(of).name(token).ok().flatten().map(Place::Name),
    }
}

/// What a consumer's client calls a delivery.
#[must_use]
pub fn consume_id(delivery: DeliveryOf) -> String {
    words::id(delivery)
}

/// The delivery that a consumer's client means.
#[must_use]
pub fn read_consume_id(id: &str) -> Option<DeliveryOf> {
    words::read_id(id)
}

fn list(Choices { tenant, choices }: Choices<'_>) -> List<'_> {
    List { method: "Fuzz", tenant, choices }
}

fn character(error: &ApiError) -> Option<usize> {
    if let ApiError::FilterSyntax { character, .. } = error { Some(*character) } else { None }
}
