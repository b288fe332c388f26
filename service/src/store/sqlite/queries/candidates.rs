//! Which rows a list looks at: one index, chosen here and not by the planner, walked in the order asked for from the
//! cursor on. The filter decides on each of them; what the index stands for may be too much, never too little.
//!
//! Invariant: the work of a page is bounded. An index that does not have the order asked for is sorted, so it leads
//! only where few rows are behind it.

use calbridge_proto::v1::BookingStatus;
use rusqlite::{Connection, params_from_iter, types::Value};

use crate::store::{
    BookingOrder, BookingQuery, Comparison, Condition, Filter, Micros, SORTED_ROWS_MAX, StoreError, terms,
};

/// A statement and the values of its parameters.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// What a row says before its state is decoded.
pub(super) struct Columns {
    pub(super) status: i32,
    pub(super) start_time: Micros,
    pub(super) update_time: Micros,
    pub(super) organizer: Option<String>,
    pub(super) event_type_id: Option<i64>,
}

/// The index that is walked.
#[derive(Clone, Copy)]
enum Lead<'a> {
    /// Attendees and metadata.
    Term(i64),
    Organizer(&'a str),
    EventType(i64),
    Status(BookingStatus),
    /// All of the tenant's, in the order asked for.
    Order(BookingOrder),
}

/// The candidates of a page.
pub(super) fn candidates(connection: &Connection, query: &BookingQuery) -> Result<Statement, StoreError> {
    Ok(statement(query, lead(connection, query)?))
}

/// False where the columns show that the filter does not mean the row.
pub(super) fn may_match(filter: &Filter, columns: &Columns) -> bool {
    filter.0.iter().all(|condition| match condition {
        Condition::Status(comparison, status) => comparison.holds(columns.status.cmp(&i32::from(*status))),
        Condition::StartTime(comparison, time) => {
            // A row without a start has the least integer there.
            columns.start_time == Micros::MIN || comparison.holds(columns.start_time.cmp(time))
        }
        Condition::UpdateTime(comparison, time) => comparison.holds(columns.update_time.cmp(time)),
        Condition::OrganizerEmail(email) => columns.organizer.as_ref() == Some(email),
        Condition::EventTypeId(id) => columns.event_type_id == Some(*id),
        Condition::AttendeeEmail(_) | Condition::Metadata(..) => true,
    })
}

/// The narrowest index that a condition has, as far as it is worth counting.
fn lead<'a>(connection: &Connection, query: &'a BookingQuery) -> Result<Lead<'a>, StoreError> {
    let leads: Vec<Lead<'_>> =
        query.filter.0.iter().filter_map(|condition| Lead::of(&query.tenant, condition)).collect();
    if let (BookingOrder::StartTime, [only]) = (query.order, leads.as_slice()) {
        return Ok(*only);
    }
    let mut narrowest = (usize::MAX, Lead::Order(query.order));
    for lead in leads {
        let rows = count(connection, query, lead)?;
        if rows < narrowest.0 {
            narrowest = (rows, lead);
        }
    }
    let sorted = query.order == BookingOrder::UpdateTime;
    Ok(if sorted && narrowest.0 > SORTED_ROWS_MAX { Lead::Order(query.order) } else { narrowest.1 })
}

/// How many rows are behind an index, or one more than are sorted.
fn count(connection: &Connection, query: &BookingQuery, lead: Lead<'_>) -> Result<usize, StoreError> {
    let mut text = Text::default();
    let (from, wanted) = lead.source(&query.tenant, &mut text);
    let limit = text.value(Value::Integer(super::limit(SORTED_ROWS_MAX + 1)));
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {from} WHERE {} LIMIT {limit})", wanted.join(" AND "));
    let rows: i64 = connection.prepare_cached(&sql)?.query_row(params_from_iter(text.values), |row| row.get(0))?;
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}

fn statement(query: &BookingQuery, lead: Lead<'_>) -> Statement {
    let mut text = Text::default();
    let (from, mut wanted) = lead.source(&query.tenant, &mut text);
    // The other order's column must draw no index of its own in.
    let (time, uid) = match (query.order, lead) {
        (BookingOrder::StartTime, Lead::Term(_)) => ("t.start_time", "t.uid"),
        (BookingOrder::StartTime, _) => ("b.start_time", "b.uid"),
        (BookingOrder::UpdateTime, Lead::Order(_)) => ("b.update_time", "b.uid"),
        (BookingOrder::UpdateTime, _) => ("+b.update_time", "+b.uid"),
    };
    for (comparison, bound) in bounds(query) {
        wanted.push(format!("{time} {} {}", comparison.as_str(), text.value(Value::Integer(bound))));
    }
    let (direction, beyond) = if query.descending { ("DESC", "<") } else { ("ASC", ">") };
    if let Some(after) = &query.after {
        let (at, behind) = (text.value(Value::Integer(after.time)), text.value(Value::Text(after.uid.clone())));
        wanted.push(format!("({time}, {uid}) {beyond} ({at}, {behind})"));
    }
    let sql = format!(
        "SELECT b.uid, b.state, b.clock_told, b.position, b.update_time, b.status, b.start_time, b.organizer,
            b.event_type_id
        FROM {from} WHERE {} ORDER BY {time} {direction}, {uid} {direction}",
        wanted.join(" AND ")
    );
    Statement { sql, values: text.values }
}

/// The bounds that the filter sets to the time that orders the list: where the walk may begin and end.
fn bounds(query: &BookingQuery) -> impl Iterator<Item = (Comparison, Micros)> {
    query.filter.0.iter().filter_map(|condition| match (query.order, condition) {
        (BookingOrder::StartTime, Condition::StartTime(comparison, time))
        | (BookingOrder::UpdateTime, Condition::UpdateTime(comparison, time)) => {
            (*comparison != Comparison::NotEqual).then_some((*comparison, *time))
        }
        _ => None,
    })
}

impl<'a> Lead<'a> {
    fn of(tenant: &str, condition: &'a Condition) -> Option<Self> {
        match condition {
            Condition::AttendeeEmail(email) => Some(Self::Term(terms::attendee(tenant, email))),
            Condition::Metadata(key, value) => Some(Self::Term(terms::metadata(tenant, key, value))),
            Condition::OrganizerEmail(email) => Some(Self::Organizer(email)),
            Condition::EventTypeId(id) => Some(Self::EventType(*id)),
            Condition::Status(Comparison::Equal, status) => Some(Self::Status(*status)),
            Condition::Status(..) | Condition::StartTime(..) | Condition::UpdateTime(..) => None,
        }
    }

    /// Its rows: from where, and which of them.
    fn source(self, tenant: &str, text: &mut Text) -> (&'static str, Vec<String>) {
        let tenant = text.value(Value::Text(tenant.to_owned()));
        let mut wanted = vec!["b.visible = 1".to_owned(), format!("b.tenant = {tenant}")];
        let (from, own) = match self {
            Self::Order(BookingOrder::StartTime) => return ("bookings b INDEXED BY bookings_by_start", wanted),
            Self::Order(BookingOrder::UpdateTime) => return ("bookings b INDEXED BY bookings_by_update", wanted),
            Self::Term(term) => {
                let term = text.value(Value::Integer(term));
                // Found by its uid alone: with the plus no index of its start is drawn in.
                let own = format!("t.term = {term} AND b.uid = t.uid AND +b.start_time = t.start_time");
                ("terms t CROSS JOIN bookings b", own)
            }
            Self::Organizer(email) => {
                let own = format!("b.organizer = {}", text.value(Value::Text(email.to_owned())));
                ("bookings b INDEXED BY bookings_by_organizer", own)
            }
            Self::EventType(id) => {
                let own = format!("b.event_type_id = {}", text.value(Value::Integer(id)));
                ("bookings b INDEXED BY bookings_by_event_type", own)
            }
            Self::Status(status) => {
                let own = format!("b.status = {}", text.value(Value::Integer(i32::from(status).into())));
                ("bookings b INDEXED BY bookings_by_status", own)
            }
        };
        wanted.push(own);
        (from, wanted)
    }
}

/// The parameters of a statement, numbered as they are named.
#[derive(Default)]
struct Text {
    values: Vec<Value>,
}

impl Text {
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }
}

#[cfg(test)]
mod tests;
