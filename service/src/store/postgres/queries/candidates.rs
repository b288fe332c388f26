//! The statements of a list. The planner chooses the index by itself; the leading condition is the only one that it is
//! told of, beside the Range of the order, so that there is one to choose.

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::{ROWS_BYTES, within};
use crate::store::{
    BookingCursor, BookingOrder, BookingQuery, SORTED_ROWS_MAX,
    candidates::{Lead, Range},
};

/// A statement and the values of its parameters.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
}

/// How many rows are behind a lead, or one more than are sorted.
pub(super) fn count(query: &BookingQuery, lead: Lead<'_>) -> Statement {
    let mut text = Text::default();
    let (from, wanted) = source(lead, &query.tenant, &mut text);
    let limit = text.value(Value::Integer(i64::try_from(SORTED_ROWS_MAX + 1).unwrap_or(i64::MAX)));
    let wanted = wanted.join(" AND ");
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {from} WHERE {wanted} LIMIT {limit}) counted");
    Statement { sql, values: text.values }
}

/// The candidates of a page behind `after`, the first `limit` of them; those that stand behind [`ROWS_BYTES`] of states
/// come without their own.
pub(super) fn page(query: &BookingQuery, lead: Lead<'_>, after: Option<&BookingCursor>, limit: usize) -> Statement {
    let mut text = Text::default();
    let (from, mut wanted) = source(lead, &query.tenant, &mut text);
    let (time, uid) = match (query.order, lead) {
        (BookingOrder::StartTime, Lead::Term(_)) => ("t.start_time", "t.uid"),
        (BookingOrder::StartTime, _) => ("b.start_time", "b.uid"),
        (BookingOrder::UpdateTime, Lead::Order(_)) => ("b.update_time", "b.uid"),
        // The other order's column must draw no index of its own in.
        (BookingOrder::UpdateTime, _) => ("b.update_time + 0", "b.uid"),
    };
    for (comparison, bound) in Range::of(query).comparisons() {
        wanted.push(format!("{time} {} {}", comparison.as_str(), text.value(Value::Integer(bound))));
    }
    let (direction, beyond) = if query.descending { ("DESC", "<") } else { ("ASC", ">") };
    if let Some(after) = after {
        let (at, behind) = (text.value(Value::Integer(after.time)), text.value(Value::Text(after.uid.clone())));
        wanted.push(format!("({time}, {uid}) {beyond} ({at}, {behind})"));
    }
    let limit = text.value(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    // The bound is counted on the rows that were found, so that it plays no part in how they are.
    let order = match query.order {
        BookingOrder::StartTime => format!("start_time {direction}, uid {direction}"),
        BookingOrder::UpdateTime => format!("update_time {direction}, uid {direction}"),
    };
    let state = within(ROWS_BYTES, "state", &order);
    let sql = format!(
        "SELECT uid, {state}, clock_told, position, update_time, status, start_time, organizer, event_type_id FROM
            (SELECT b.uid, b.state, b.clock_told, b.position, b.update_time, b.status, b.start_time, b.organizer,
                b.event_type_id
            FROM {from} WHERE {} ORDER BY {time} {direction}, {uid} {direction} LIMIT {limit}) found
        ORDER BY {order}",
        wanted.join(" AND ")
    );
    Statement { sql, values: text.values }
}

/// The rows behind a lead: from where, and which of them.
fn source(lead: Lead<'_>, tenant: &str, text: &mut Text) -> (&'static str, Vec<String>) {
    let tenant = text.value(Value::Text(tenant.to_owned()));
    let mut wanted = vec!["b.visible = 1".to_owned(), format!("b.tenant = {tenant}")];
    let (from, own) = match lead {
        Lead::Order(_) => return ("bookings b", wanted),
        Lead::Term(term) => {
            let term = text.value(Value::Integer(term));
            let own = format!("t.term = {term} AND b.uid = t.uid AND b.start_time = t.start_time");
            ("terms t CROSS JOIN bookings b", own)
        }
        Lead::Organizer(email) => {
            let own = format!("b.organizer = {}", text.value(Value::Text(email.to_owned())));
            ("bookings b", own)
        }
        Lead::EventType(id) => {
            let own = format!("b.event_type_id = {}", text.value(Value::Integer(id)));
            ("bookings b", own)
        }
        Lead::Status(status) => {
            let own = format!("b.status = {}", text.value(Value::Integer(i32::from(status).into())));
            ("bookings b", own)
        }
    };
    wanted.push(own);
    (from, wanted)
}

/// The parameters of a statement, numbered as they are named.
#[derive(Default)]
struct Text {
    values: Vec<Value>,
}

impl Text {
    fn value(&mut self, value: Value) -> String {
        let kind = match value {
            Value::Integer(_) => "bigint",
            Value::Text(_) => "text",
        };
        self.values.push(value);
        format!("${}::{kind}", self.values.len())
    }
}

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Integer(value) => value.to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        <i64 as ToSql>::accepts(kind) || <String as ToSql>::accepts(kind)
    }

    to_sql_checked!();
}
