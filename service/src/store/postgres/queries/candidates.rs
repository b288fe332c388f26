//! The statement of a list by update time. The planner is told of no condition beside the range of the order, so that
//! it has no choice.

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::{ROWS_BYTES, within};
use crate::store::{BookingCursor, BookingQuery, candidates::Range};

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
    Texts(Vec<String>),
}

/// Visible bookings by update time, of all that the tenant has or of these, behind `after`, the first `limit` of them;
/// those that stand behind [`ROWS_BYTES`] of states come without their own.
pub(super) fn by_update(
    query: &BookingQuery,
    uids: Option<&[String]>,
    after: Option<&BookingCursor>,
    limit: usize,
) -> Statement {
    let mut text = Text::default();
    let tenant = text.value(Value::Text(query.tenant.to_string()));
    let (from, mut wanted) = match uids {
        None => ("bookings b".to_owned(), vec![format!("b.tenant = {tenant} AND b.visible = 1")]),
        Some(uids) => {
            let uids = text.value(Value::Texts(uids.to_vec()));
            // Each is looked up by itself: no index of the order is to be walked for them.
            let one = format!(
                "SELECT * FROM bookings WHERE tenant = {tenant} AND uid = wanted.name AND visible + 0 = 1 LIMIT 1"
            );
            (format!("unnest({uids}) AS wanted (name) CROSS JOIN LATERAL ({one}) b"), Vec::new())
        }
    };
    for (comparison, bound) in Range::of(query).comparisons() {
        wanted.push(format!("b.update_time {} {}", comparison.as_str(), text.value(Value::Integer(bound))));
    }
    let (direction, beyond) = if query.descending { ("DESC", "<") } else { ("ASC", ">") };
    if let Some(after) = after {
        let (at, behind) = (text.value(Value::Integer(after.time)), text.value(Value::Text(after.uid.clone())));
        wanted.push(format!("(b.update_time, b.uid) {beyond} ({at}, {behind})"));
    }
    let wanted = if wanted.is_empty() { String::new() } else { format!("WHERE {}", wanted.join(" AND ")) };
    let limit = text.value(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    // The bound is counted on the rows that were found, so that it plays no part in how they are.
    let state = within(ROWS_BYTES, "state", &format!("update_time {direction}, uid {direction}"));
    let sql = format!(
        "SELECT uid, {state}, clock_told, position, update_time, status, start_time, organizer, event_type_id FROM
            (SELECT b.uid, b.state, b.clock_told, b.position, b.update_time, b.status, b.start_time, b.organizer,
                b.event_type_id
            FROM {from} {wanted} ORDER BY b.update_time {direction}, b.uid {direction} LIMIT {limit}) found
        ORDER BY update_time {direction}, uid {direction}"
    );
    Statement { sql, values: text.values }
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
            Value::Texts(_) => "text[]",
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
            Self::Texts(values) => values.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        <i64 as ToSql>::accepts(kind) || <String as ToSql>::accepts(kind) || <Vec<String> as ToSql>::accepts(kind)
    }

    to_sql_checked!();
}
