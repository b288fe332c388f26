//! Which rows a list looks at: one index, chosen here and not by the planner, walked in the order asked for from the
//! cursor on. The filter decides on each of them; what the index stands for may be too much, never too little.
//!
//! Invariant: the work of a page is bounded. An index that does not have the order asked for is sorted, so it leads
//! only where few rows are behind it.

use super::{BookingCursor, BookingOrder, BookingQuery, Comparison, Condition, Filter, Micros, SORTED_ROWS_MAX, terms};
use calbridge_proto::v1::BookingStatus;

/// A statement and the values of its parameters.
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    Text(String),
}

/// Whose SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// It is told which index to walk.
    Sqlite,
    /// It chooses by itself. The leading condition is the only one that it is told of, beside the bounds of the order,
    /// so that there is one index to choose.
    Postgres,
}

/// What a row says before its state is decoded.
pub(crate) struct Columns {
    pub(crate) status: i32,
    pub(crate) start_time: Micros,
    pub(crate) update_time: Micros,
    pub(crate) organizer: Option<String>,
    pub(crate) event_type_id: Option<i64>,
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

/// False where the columns show that the filter does not mean the row.
pub(crate) fn may_match(filter: &Filter, columns: &Columns) -> bool {
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

/// Chooses the narrowest index that a condition has, as far as it is worth counting: an index whose rows are to be
/// counted before is answered with the statement that does, and its number comes back through [`Choice::counted`].
pub(crate) struct Choice<'q> {
    query: &'q BookingQuery,
    dialect: Dialect,
    leads: Vec<Lead<'q>>,
    narrowest: (usize, Lead<'q>),
    next: usize,
}

impl<'q> Choice<'q> {
    pub(crate) fn new(dialect: Dialect, query: &'q BookingQuery) -> Self {
        let leads = query.filter.0.iter().filter_map(|condition| Lead::of(&query.tenant, condition)).collect();
        Self { query, dialect, leads, narrowest: (usize::MAX, Lead::Order(query.order)), next: 0 }
    }

    /// How the next index is counted, or one more than are sorted.
    pub(crate) fn to_count(&self) -> Option<Statement> {
        // Nothing to choose from: the one that there is has the order asked for.
        if self.query.order == BookingOrder::StartTime && self.leads.len() == 1 {
            return None;
        }
        let lead = *self.leads.get(self.next)?;
        let mut text = Text::new(self.dialect);
        let (from, wanted) = lead.source(&self.query.tenant, &mut text);
        let limit = text.value(Value::Integer(i64::try_from(SORTED_ROWS_MAX + 1).unwrap_or(i64::MAX)));
        let wanted = wanted.join(" AND ");
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {from} WHERE {wanted} LIMIT {limit}) counted");
        Some(Statement { sql, values: text.values })
    }

    pub(crate) fn counted(&mut self, rows: i64) {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        if let Some(lead) = self.leads.get(self.next)
            && rows < self.narrowest.0
        {
            self.narrowest = (rows, *lead);
        }
        self.next += 1;
    }

    /// The candidates of a page behind `after`, the first `limit` of them.
    pub(crate) fn candidates(&self, after: Option<&BookingCursor>, limit: Option<usize>) -> Statement {
        statement(self.dialect, self.query, self.lead(), after, limit)
    }

    fn lead(&self) -> Lead<'q> {
        match (self.query.order, self.leads.as_slice()) {
            (BookingOrder::StartTime, [only]) => *only,
            (BookingOrder::UpdateTime, _) if self.narrowest.0 > SORTED_ROWS_MAX => Lead::Order(self.query.order),
            _ => self.narrowest.1,
        }
    }
}

fn statement(
    dialect: Dialect,
    query: &BookingQuery,
    lead: Lead<'_>,
    after: Option<&BookingCursor>,
    limit: Option<usize>,
) -> Statement {
    let mut text = Text::new(dialect);
    let (from, mut wanted) = lead.source(&query.tenant, &mut text);
    let (time, uid) = match (query.order, lead) {
        (BookingOrder::StartTime, Lead::Term(_)) => ("t.start_time", "t.uid"),
        (BookingOrder::StartTime, _) => ("b.start_time", "b.uid"),
        (BookingOrder::UpdateTime, Lead::Order(_)) => ("b.update_time", "b.uid"),
        // The other order's column must draw no index of its own in.
        (BookingOrder::UpdateTime, _) if dialect == Dialect::Sqlite => ("+b.update_time", "+b.uid"),
        (BookingOrder::UpdateTime, _) => ("b.update_time + 0", "b.uid"),
    };
    for (comparison, bound) in bounds(query) {
        wanted.push(format!("{time} {} {}", comparison.as_str(), text.value(Value::Integer(bound))));
    }
    let (direction, beyond) = if query.descending { ("DESC", "<") } else { ("ASC", ">") };
    if let Some(after) = after {
        let (at, behind) = (text.value(Value::Integer(after.time)), text.value(Value::Text(after.uid.clone())));
        wanted.push(format!("({time}, {uid}) {beyond} ({at}, {behind})"));
    }
    let limit = limit.map(|rows| {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        format!(" LIMIT {}", text.value(Value::Integer(rows)))
    });
    let sql = format!(
        "SELECT b.uid, b.state, b.clock_told, b.position, b.update_time, b.status, b.start_time, b.organizer,
            b.event_type_id
        FROM {from} WHERE {} ORDER BY {time} {direction}, {uid} {direction}{}",
        wanted.join(" AND "),
        limit.unwrap_or_default()
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
    fn source(self, tenant: &str, text: &mut Text) -> (String, Vec<String>) {
        let tenant = text.value(Value::Text(tenant.to_owned()));
        let mut wanted = vec!["b.visible = 1".to_owned(), format!("b.tenant = {tenant}")];
        let (from, own) = match self {
            Self::Order(BookingOrder::StartTime) => return (text.by("bookings_by_start"), wanted),
            Self::Order(BookingOrder::UpdateTime) => return (text.by("bookings_by_update"), wanted),
            Self::Term(term) => {
                let term = text.value(Value::Integer(term));
                // Found by its uid alone: with the plus no index of its start is drawn in.
                let start = if text.dialect == Dialect::Sqlite { "+b.start_time" } else { "b.start_time + 0" };
                let own = format!("t.term = {term} AND b.uid = t.uid AND {start} = t.start_time");
                ("terms t CROSS JOIN bookings b".to_owned(), own)
            }
            Self::Organizer(email) => {
                let own = format!("b.organizer = {}", text.value(Value::Text(email.to_owned())));
                (text.by("bookings_by_organizer"), own)
            }
            Self::EventType(id) => {
                let own = format!("b.event_type_id = {}", text.value(Value::Integer(id)));
                (text.by("bookings_by_event_type"), own)
            }
            Self::Status(status) => {
                let own = format!("b.status = {}", text.value(Value::Integer(i32::from(status).into())));
                (text.by("bookings_by_status"), own)
            }
        };
        wanted.push(own);
        (from, wanted)
    }
}

/// The parameters of a statement, numbered as they are named.
struct Text {
    dialect: Dialect,
    values: Vec<Value>,
}

impl Text {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, values: Vec::new() }
    }

    fn value(&mut self, value: Value) -> String {
        let kind = match value {
            Value::Integer(_) => "bigint",
            Value::Text(_) => "text",
        };
        self.values.push(value);
        let number = self.values.len();
        match self.dialect {
            Dialect::Sqlite => format!("?{number}"),
            Dialect::Postgres => format!("${number}::{kind}"),
        }
    }

    fn by(&self, index: &str) -> String {
        match self.dialect {
            Dialect::Sqlite => format!("bookings b INDEXED BY {index}"),
            Dialect::Postgres => "bookings b".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
