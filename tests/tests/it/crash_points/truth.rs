//! What the store has, in plain SQL: no line of calbridge stands between it and the verdict.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use calbridge_e2e::system::TENANT;
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// The log: changes of bookings, and deliveries that were kept and change none (outcome 4).
const LOG: &str = "SELECT position, uid, from_status, to_status FROM transitions WHERE tenant = 'default'
    UNION ALL SELECT position, coalesce(booking_uid, ''), -1, -1 FROM deliveries
    WHERE tenant = 'default' AND outcome = 4 ORDER BY 1";
const BODIES: &str = "SELECT coalesce(body_sha256, identity) FROM deliveries WHERE tenant = 'default'";
/// What a consumer has not settled, and up to where it has settled all.
const UNSETTLED: &str = "SELECT position FROM consumer_items WHERE tenant = 'default'";
const CURSOR: &str = "SELECT cursor FROM consumers WHERE tenant = 'default'";

/// Where to look.
pub(super) enum Truth {
    Sqlite(PathBuf),
    Postgres(String),
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As clients know it.
    pub(super) position: String,
    pub(super) uid: String,
    from: i64,
    to: i64,
}

impl Truth {
    pub(super) fn of(data: &Path, database: Option<String>) -> Self {
        database.map_or_else(|| Self::Sqlite(data.join("calbridge.db")), Self::Postgres)
    }

    /// How often each body is there, by its SHA-256 in hex.
    pub(super) async fn bodies(&self) -> BTreeMap<String, usize> {
        let mut bodies = BTreeMap::new();
        for row in self.rows(BODIES).await {
            *bodies.entry(row[0].clone()).or_default() += 1;
        }
        bodies
    }

    pub(super) async fn log(&self) -> Vec<Entry> {
        let number = |text: &String| text.parse::<i64>().unwrap();
        let entry = |row: Vec<String>| Entry {
            position: token(number(&row[0])),
            uid: row[1].clone(),
            from: number(&row[2]),
            to: number(&row[3]),
        };
        self.rows(LOG).await.into_iter().map(entry).collect()
    }

    /// Up to where the consumer has settled all; none where something behind that is not settled.
    pub(super) async fn settled(&self) -> Option<String> {
        if !self.rows(UNSETTLED).await.is_empty() {
            return None;
        }
        self.rows(CURSOR).await.first().map(|row| token(row[0].parse().unwrap()))
    }

    /// The row of each booking as it is kept, hidden or not.
    pub(super) async fn states(&self, tenant: &str) -> Vec<Vec<String>> {
        self.rows(&format!("SELECT uid, state FROM bookings WHERE tenant = '{tenant}' ORDER BY uid")).await
    }

    /// How many rows a table has of the tenant.
    pub(super) async fn count(&self, table: &str) -> usize {
        let of_tenant = if table == "bodies" {
            "position IN (SELECT position FROM deliveries WHERE tenant = 'default')".to_owned()
        } else {
            format!("tenant = '{TENANT}'")
        };
        self.rows(&format!("SELECT count(*) FROM {table} WHERE {of_tenant}")).await[0][0].parse().unwrap()
    }

    /// The rows of a query, whatever they hold as text.
    async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        match self {
            Self::Sqlite(path) => of_sqlite(path, sql),
            Self::Postgres(url) => of_postgres(url, sql).await,
        }
    }

    /// Does something to all rows, as if time had passed.
    pub(super) async fn change(&self, sqlite: &str, postgres: &str) {
        match self {
            Self::Sqlite(path) => Connection::open(path).unwrap().execute_batch(sqlite).unwrap(),
            Self::Postgres(url) => drop(of_postgres(url, postgres).await),
        }
    }
}

/// Each booking goes on from where it was.
pub(super) fn is_a_chain(log: &[Entry]) {
    let mut at = BTreeMap::new();
    for entry in log.iter().filter(|entry| entry.to >= 0) {
        let before = at.insert(&entry.uid, entry.to).unwrap_or(0);
        assert_eq!(entry.from, before, "{entry:?}");
    }
}

/// A position as clients know it.
fn token(position: i64) -> String {
    format!("{position:016x}")
}

fn of_sqlite(path: &Path, sql: &str) -> Vec<Vec<String>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut select = connection.prepare(sql).unwrap();
    let columns = select.column_count();
    let rows = select.query_map([], |row| {
        (0..columns)
            .map(|column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => String::new(),
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Real(number) => number.to_string(),
                    ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                    ValueRef::Blob(bytes) => hex::encode(bytes),
                })
            })
            .collect()
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

async fn of_postgres(url: &str, sql: &str) -> Vec<Vec<String>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connected = tokio::spawn(connection);
    let answers = client.simple_query(sql).await.unwrap();
    drop(client);
    connected.await.unwrap().unwrap();
    let text = |value: Option<&str>| {
        let value = value.unwrap_or_default();
        // Bytes are told so.
        value.strip_prefix("\\x").unwrap_or(value).to_owned()
    };
    let rows = answers.iter().filter_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| text(row.get(column))).collect()),
        _ => None,
    });
    rows.collect()
}
