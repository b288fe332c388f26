//! What a store has, in plain SQL: no line of calbridge stands between it and a history. Both stores call things by the
//! same names; how a value is printed is each one's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::{
    postgres::Postgres,
    v1::Booking,
    webhook::{Answer, sha256},
};

/// The log: changes of bookings, and deliveries that were kept and change none (outcome 4), which have no kind.
const LOG: &str = "SELECT t.position, t.tenant, t.uid, t.kind, t.from_status, t.to_status, d.delivery_id
    FROM transitions t LEFT JOIN deliveries d ON d.position = t.delivery
    UNION ALL SELECT position, tenant, coalesce(booking_uid, ''), 0, 0, 0, delivery_id
    FROM deliveries WHERE outcome = 4";

/// One store.
#[derive(Debug)]
pub enum Truth<'a> {
    /// A database of a server.
    Postgres(&'a Postgres, &'static str),
    /// A file, which a service may have open.
    Sqlite(PathBuf),
}

impl Truth<'_> {
    /// Writes down everything that a history is judged by. `bookings` are as the service shows them.
    pub fn write(&self, folder: &Path, bookings: &[Booking]) {
        let mut lines = self.log();
        lines.extend(self.consumers());
        lines.extend(self.deliveries());
        lines.extend(self.states());
        lines.extend(bookings.iter().map(|booking| {
            let Booking { tenant, uid, status, payment_status, .. } = booking;
            json!({"booking": {"tenant": tenant, "uid": uid, "status": status, "payment": payment_status}})
        }));
        write_lines(folder, "truth", &lines);
    }

    /// Writes down the rows of the same bookings as a store has them that nothing ever disturbed.
    pub fn write_calm(&self, folder: &Path) {
        write_lines(folder, "calm", &self.states());
    }

    /// The end of the log, as clients know positions.
    #[must_use]
    pub fn head(&self) -> String {
        self.query(&format!("SELECT {} FROM head", self.position("position"))).remove(0)
    }

    /// The last entry of the log that is so.
    #[must_use]
    pub fn last_of(&self, condition: &str) -> String {
        let last = self.position("max(position)");
        self.query(&format!("SELECT {last} FROM ({LOG}) AS log WHERE {condition}")).remove(0)
    }

    /// Entries of the log.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.query(&format!("SELECT count(*) FROM ({LOG}) AS log")).remove(0).parse().unwrap()
    }

    /// The SHA-256 of every body that is kept, with its tenant.
    #[must_use]
    pub fn bodies(&self) -> Vec<(String, String)> {
        let text = |fact: &Value, name: &str| fact["delivery"][name].as_str().unwrap().to_owned();
        self.deliveries().iter().map(|fact| (text(fact, "tenant"), text(fact, "body"))).collect()
    }

    /// As a history tells it, oldest first.
    fn log(&self) -> Vec<Value> {
        let (object, position, id) = (self.object(), self.position("position"), self.id("delivery_id"));
        self.facts(&format!(
            "SELECT {object}('log', {object}('position', {position}, 'tenant', tenant, 'uid', uid, 'kind', kind,
             'from', from_status, 'to', to_status, 'delivery', coalesce({id}, ''))) FROM ({LOG}) AS log
             ORDER BY position"
        ))
    }

    fn consumers(&self) -> Vec<Value> {
        let (object, position) = (self.object(), self.position("position"));
        let of = |fact: &str, rows: &str| {
            self.facts(&format!(
                "SELECT {object}('{fact}', {object}('tenant', tenant, 'consumer', name, 'position', {position}))
                 FROM {rows} ORDER BY position"
            ))
        };
        let replayed = if matches!(self, Self::Postgres(..)) { "NOT replayed" } else { "replayed = 0" };
        [of("letter", &format!("dead_letters WHERE {replayed}")), of("unsettled", "consumer_items")].concat()
    }

    fn deliveries(&self) -> Vec<Value> {
        let (object, id) = (self.object(), self.id("delivery_id"));
        let body = self.hex("coalesce(body_sha256, identity)");
        self.facts(&format!(
            "SELECT {object}('delivery', {object}('tenant', tenant, 'body', {body}, 'delivery', {id}))
             FROM deliveries ORDER BY position"
        ))
    }

    /// Every row of a booking, as its SHA-256: two are the same byte for byte, or they are not.
    fn states(&self) -> Vec<Value> {
        let (object, state) = (self.object(), self.hex("state"));
        let mut rows = self.facts(&format!(
            "SELECT {object}('state', {object}('tenant', tenant, 'uid', uid, 'row', {state})) FROM bookings
             ORDER BY tenant, uid"
        ));
        for row in &mut rows {
            let state = &mut row["state"]["row"];
            *state = hex::encode(sha256(state.as_str().unwrap().as_bytes())).into();
        }
        rows
    }

    fn facts(&self, sql: &str) -> Vec<Value> {
        self.query(sql).iter().map(|fact| serde_json::from_str(fact).unwrap()).collect()
    }

    /// The one column of a statement, as text.
    fn query(&self, sql: &str) -> Vec<String> {
        match self {
            Self::Postgres(server, database) => server.query_in(database, sql).lines().map(str::to_owned).collect(),
            Self::Sqlite(file) => {
                let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
                let mut statement = database.prepare(sql).unwrap();
                let rows = statement.query_map([], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
                rows.map(|value| text(value.unwrap())).collect()
            }
        }
    }

    fn object(&self) -> &'static str {
        if matches!(self, Self::Postgres(..)) { "json_build_object" } else { "json_object" }
    }

    fn position(&self, column: &str) -> String {
        match self {
            Self::Postgres(..) => format!("lpad(to_hex({column}), 16, '0')"),
            Self::Sqlite(_) => format!("printf('%016x', {column})"),
        }
    }

    fn hex(&self, column: &str) -> String {
        match self {
            Self::Postgres(..) => format!("encode({column}, 'hex')"),
            Self::Sqlite(_) => format!("lower(hex({column}))"),
        }
    }

    /// Without hyphens.
    fn id(&self, column: &str) -> String {
        match self {
            Self::Postgres(..) => format!("replace({column}::text, '-', '')"),
            Self::Sqlite(_) => format!("lower(hex({column}))"),
        }
    }
}

/// What an edge answered with a 2xx, as a history tells it.
#[must_use]
pub fn answered(tenant: &str, body: &[u8], answer: &Answer) -> Value {
    let delivery = answer.delivery_id().replace('-', "");
    json!({"tenant": tenant, "body": hex::encode(sha256(body)), "delivery": delivery, "outcome": answer.outcome()})
}

/// Writes a part of a history: a line for each.
pub fn write_lines(folder: &Path, name: &str, lines: &[Value]) {
    let text = lines.iter().fold(String::new(), |text, line| text + &line.to_string() + "\n");
    fs::write(folder.join(format!("{name}.jsonl")), text).unwrap();
}

fn text(value: rusqlite::types::Value) -> String {
    use rusqlite::types::Value;
    match value {
        Value::Text(text) => text,
        Value::Integer(number) => number.to_string(),
        other => panic!("{other:?} is neither a text nor a number"),
    }
}
