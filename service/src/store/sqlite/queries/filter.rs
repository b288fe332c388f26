//! A filter as SQL: what an index finds. It may find too much (two terms of one number), never too little.

use rusqlite::types::Value;

use crate::store::{BookingOrder, BookingQuery, Condition, terms};

/// A statement and the values of its parameters.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// Candidates in the order asked for. The same shape of a filter is the same text, so it is prepared once.
pub(super) fn statement(query: &BookingQuery) -> Statement {
    let mut values = Vec::new();
    let mut value = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let terms: Vec<i64> = query.filter.0.iter().filter_map(|condition| term(&query.tenant, condition)).collect();
    // A term is the narrowest that there is, and its index has the order of a list by start.
    let by_term = terms.first().map(|term| value(Value::Integer(*term)));
    let (from, start, uid) = match by_term {
        Some(_) => ("terms t CROSS JOIN bookings b", "t.start_time", "t.uid"),
        None => ("bookings b", "b.start_time", "b.uid"),
    };
    let mut wanted =
        vec!["b.visible = 1".to_owned(), format!("b.tenant = {}", value(Value::Text(query.tenant.to_string())))];
    wanted.extend(by_term.map(|term| format!("t.term = {term} AND b.uid = t.uid AND b.start_time = t.start_time")));
    for term in terms.iter().skip(1) {
        let term = value(Value::Integer(*term));
        wanted.push(format!(
            "EXISTS (SELECT 1 FROM terms o WHERE o.term = {term} AND o.start_time = b.start_time AND o.uid = b.uid)"
        ));
    }
    for condition in &query.filter.0 {
        wanted.extend(column(condition).map(|(text, wants)| format!("{text} {}", value(wants))));
    }
    let column = match query.order {
        BookingOrder::StartTime => start,
        BookingOrder::UpdateTime => "b.update_time",
    };
    let (direction, beyond) = if query.descending { ("DESC", "<") } else { ("ASC", ">") };
    if let Some(after) = &query.after {
        let (time, behind) = (value(Value::Integer(after.time)), value(Value::Text(after.uid.clone())));
        wanted.push(format!("({column}, {uid}) {beyond} ({time}, {behind})"));
    }
    let sql = format!(
        "SELECT b.uid, b.state, b.clock_told, b.position, b.update_time FROM {from} WHERE {}
        ORDER BY {column} {direction}, {uid} {direction}",
        wanted.join(" AND ")
    );
    Statement { sql, values }
}

fn term(tenant: &str, condition: &Condition) -> Option<i64> {
    match condition {
        Condition::AttendeeEmail(email) => Some(terms::attendee(tenant, email)),
        Condition::Metadata(key, value) => Some(terms::metadata(tenant, key, value)),
        _ => None,
    }
}

/// What a column decides: its comparison, and the value that it is compared with.
fn column(condition: &Condition) -> Option<(String, Value)> {
    match condition {
        Condition::Status(comparison, status) => {
            Some((format!("b.status {}", comparison.as_str()), Value::Integer(i32::from(*status).into())))
        }
        Condition::StartTime(comparison, time) => {
            Some((format!("b.start_time {}", comparison.as_str()), Value::Integer(*time)))
        }
        Condition::UpdateTime(comparison, time) => {
            Some((format!("b.update_time {}", comparison.as_str()), Value::Integer(*time)))
        }
        Condition::OrganizerEmail(email) => Some(("b.organizer =".to_owned(), Value::Text(email.clone()))),
        Condition::EventTypeId(id) => Some(("b.event_type_id =".to_owned(), Value::Integer(*id))),
        Condition::AttendeeEmail(_) | Condition::Metadata(..) => None,
    }
}
