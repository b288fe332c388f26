//! What is asked of a store, and the pages that it answers: plain data.

use std::sync::Arc;

use calbridge_proto::v1;

use super::{BookingKey, Filter, Micros, Position};

/// One row as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// Of which booking.
    pub key: BookingKey,
    /// The encoded map of registers; what is left of it where it is damaged.
    pub state: Vec<u8>,
    /// The position at which something last spoke of it.
    pub mentioned: Position,
    /// No delivery that is kept before this one spoke of it; zero: unknown.
    pub first: Position,
}

/// Which way a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookingOrder {
    /// By `start_time`; bookings without one count as the earliest.
    StartTime,
    /// By `update_time`.
    UpdateTime,
}

/// The place of a booking in an order: where the next page goes on. Ties are broken by uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingCursor {
    /// The booking's time in the order asked for; `i64::MIN` where it has none.
    pub time: Micros,
    /// Its uid.
    pub uid: String,
}

/// A page of a tenant's visible bookings.
#[derive(Debug, Clone)]
pub struct BookingQuery {
    /// Whose bookings.
    pub tenant: Arc<str>,
    /// By which time.
    pub order: BookingOrder,
    /// Latest first.
    pub descending: bool,
    /// Which of them.
    pub filter: Filter,
    /// Go on behind this one.
    pub after: Option<BookingCursor>,
    /// At most this many.
    pub limit: usize,
}

/// A page of bookings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BookingPage {
    /// In the order asked for.
    pub bookings: Vec<v1::Booking>,
    /// Where the next page goes on; `None` on the last.
    pub next: Option<BookingCursor>,
    /// Uids of those that it leaves out because their rows are damaged.
    pub damaged: Vec<String>,
}

/// A part of a lineage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineagePage {
    /// Oldest first.
    pub bookings: Vec<v1::Booking>,
    /// There are more behind them.
    pub more: bool,
    /// Uids of those that it leaves out because their rows are damaged.
    pub damaged: Vec<String>,
}

/// A page of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowPage {
    /// By tenant and uid.
    pub rows: Vec<StoredRow>,
    /// There may be more behind them.
    pub more: bool,
}
