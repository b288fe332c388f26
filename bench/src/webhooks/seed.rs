//! Filling a `SQLite` store with bookings, past the service: rows that it wrote itself, again and again with other ids.
//!
//! What makes a large store slow is where a new booking's entries land: bookings with all their indexes, terms and
//! timelines are there in full. Deliveries, bodies and transitions only ever grow at their end, so none are made.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, Transaction, params_from_iter, types::Value};

use super::body::{scatter, seeded_uid};

/// Holds the indexes of ten million bookings: they are written in no order.
const CACHE_KIB: i64 = 6 * 1024 * 1024;
/// After how many bookings a word is said.
const STEP: u64 = 100_000;
/// How far starts are moved: half-hours of a year.
const HALF_HOURS: u64 = 365 * 48;
const HALF_HOUR_MICROS: i64 = 30 * 60 * 1_000_000;
/// What each booking takes of the log's numbers: its delivery and its transition.
const POSITIONS: i64 = 2;

/// The tables that tell of a booking, and the column that names it.
const TABLES: [&str; 3] = ["bookings", "terms", "mentions"];

/// Fills the store in `data` until it holds so many bookings.
///
/// # Errors
///
/// The store has no bookings to begin with, or is not built as it is expected.
pub fn fill(data: &Path, bookings: u64) -> anyhow::Result<()> {
    let path = data.join("calbridge.db");
    let mut database = Connection::open(&path).with_context(|| format!("opening {}", path.display()))?;
    // Nothing is lost that could not be made again, and nobody else is there.
    for (pragma, value) in [("journal_mode", "DELETE"), ("journal_mode", "OFF"), ("locking_mode", "EXCLUSIVE")] {
        database.pragma_update(None, pragma, value)?;
    }
    database.pragma_update(None, "synchronous", "OFF")?;
    database.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let templates = Templates::read(&database)?;
    let mut position: i64 = database.query_row("SELECT position FROM head", [], |row| row.get(0))?;
    let mut number = templates.bookings();
    while number < bookings {
        let until = (number + STEP).min(bookings);
        let transaction = database.transaction()?;
        for booking in number..until {
            position += POSITIONS;
            templates.write(&transaction, booking, position)?;
        }
        transaction.execute("UPDATE head SET position = ?1", [position])?;
        transaction.commit()?;
        number = until;
        eprintln!("seeding {number} of {bookings} bookings");
    }
    database.pragma_update(None, "journal_mode", "WAL")?;
    Ok(())
}

/// The rows that the service wrote, by booking.
struct Templates {
    tables: Vec<Table>,
}

/// One table's.
struct Table {
    insert: String,
    columns: Vec<String>,
    /// Of each booking, in one order for all tables.
    rows: Vec<Vec<Vec<Value>>>,
    /// Terms that several bookings share: a host, a campaign. They stay.
    shared: BTreeMap<i64, usize>,
}

impl Templates {
    fn read(database: &Connection) -> anyhow::Result<Self> {
        let tables = TABLES.map(|table| Table::read(database, table));
        let mut tables = tables.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let (rows, told) = tables.split_first_mut().context("no tables")?;
        ensure!(!rows.rows.is_empty(), "the store holds no bookings that others could be made after");
        // In the order of the first: each table was read ordered by uid, and only it has every booking.
        ensure!(
            told.iter().all(|table| table.rows.len() == rows.rows.len()),
            "a booking of the store has no terms, or no timeline: it is not built as this expects"
        );
        Ok(Self { tables })
    }

    fn bookings(&self) -> u64 {
        self.tables.first().and_then(|table| u64::try_from(table.rows.len()).ok()).unwrap_or_default()
    }

    fn write(&self, transaction: &Transaction<'_>, booking: u64, position: i64) -> anyhow::Result<()> {
        let shift = i64::try_from(scatter(booking) % HALF_HOURS)? * HALF_HOUR_MICROS;
        let uid = seeded_uid(booking);
        for table in &self.tables {
            let mut insert = transaction.prepare_cached(&table.insert)?;
            let template = usize::try_from(booking % self.bookings())?;
            for (row, place) in table.rows[template].iter().zip(0_u64..) {
                let values = table.columns.iter().zip(row).map(|(column, value)| match (column.as_str(), value) {
                    ("id", _) => Value::Null,
                    ("uid", _) => Value::Text(uid.clone()),
                    ("position" | "delivery", _) => Value::Integer(position),
                    ("start_time" | "clock_end", Value::Integer(time)) => Value::Integer(time.saturating_add(shift)),
                    ("update_time", Value::Integer(time)) => Value::Integer(time.saturating_add(position)),
                    ("term", Value::Integer(term)) => Value::Integer(table.term(*term, booking, place)),
                    (_, value) => value.clone(),
                });
                insert.execute(params_from_iter(values))?;
            }
        }
        Ok(())
    }
}

impl Table {
    fn read(database: &Connection, name: &str) -> anyhow::Result<Self> {
        let mut select = database.prepare(&format!("SELECT * FROM {name} ORDER BY uid"))?;
        let columns: Vec<String> = select.column_names().into_iter().map(str::to_owned).collect();
        let at = |wanted: &str| columns.iter().position(|column| column == wanted);
        let (Some(uid), term) = (at("uid"), at("term")) else { bail!("the table {name} has no column uid") };
        let (mut rows, mut shared) = (Vec::<Vec<Vec<Value>>>::new(), BTreeMap::new());
        let mut found = select.query([])?;
        while let Some(row) = found.next()? {
            let row = (0..columns.len()).map(|column| row.get(column)).collect::<Result<Vec<Value>, _>>()?;
            if let Some(Value::Integer(term)) = term.map(|term| &row[term]) {
                *shared.entry(*term).or_default() += 1;
            }
            match rows.last_mut() {
                Some(booking) if booking[0][uid] == row[uid] => booking.push(row),
                _ => rows.push(vec![row]),
            }
        }
        shared.retain(|_, bookings| *bookings > 1);
        let marks = vec!["?"; columns.len()].join(", ");
        let insert = format!("INSERT INTO {name} ({}) VALUES ({marks})", columns.join(", "));
        Ok(Self { insert, columns, rows, shared })
    }

    /// A guest's address is another one for each booking.
    fn term(&self, term: i64, booking: u64, place: u64) -> i64 {
        if self.shared.contains_key(&term) { term } else { scatter(booking ^ (place << 56)).cast_signed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables that are filled, with a few columns of each.
    const SCHEMA: &str = "CREATE TABLE head (position INTEGER NOT NULL);
        INSERT INTO head VALUES (4);
        CREATE TABLE bookings (id INTEGER PRIMARY KEY, tenant TEXT, uid TEXT, state BLOB, start_time INTEGER,
            UNIQUE (tenant, uid));
        CREATE TABLE terms (term INTEGER, start_time INTEGER, uid TEXT, PRIMARY KEY (term, start_time, uid));
        CREATE TABLE mentions (tenant TEXT, uid TEXT, position INTEGER, PRIMARY KEY (tenant, uid, position));
        INSERT INTO bookings VALUES (1, 'default', 'a', x'01', 10), (2, 'default', 'b', x'02', 20);
        INSERT INTO terms VALUES (7, 10, 'a'), (8, 10, 'a'), (7, 20, 'b'), (9, 20, 'b');
        INSERT INTO mentions VALUES ('default', 'a', 1), ('default', 'b', 3);";

    #[test]
    fn every_booking_has_its_own_ids_and_keeps_what_many_share() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Connection::open(folder.path().join("calbridge.db")).unwrap();
        database.execute_batch(SCHEMA).unwrap();
        fill(folder.path(), 1_000).unwrap();
        let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(DISTINCT uid) FROM bookings"), 1_000);
        assert_eq!(count("SELECT count(*) FROM terms WHERE term = 7"), 1_000);
        assert_eq!(count("SELECT count(DISTINCT term) FROM terms"), 1_001);
        assert_eq!(count("SELECT count(*) FROM bookings JOIN terms USING (uid, start_time)"), 2_000);
        assert_eq!(count("SELECT count(*) FROM bookings JOIN mentions USING (tenant, uid)"), 1_000);
        assert_eq!(count("SELECT position FROM head"), count("SELECT max(position) FROM mentions"));
    }

    #[test]
    fn an_empty_store_has_nothing_to_go_by() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Connection::open(folder.path().join("calbridge.db")).unwrap();
        database.execute_batch(SCHEMA).unwrap();
        database.execute_batch("DELETE FROM bookings; DELETE FROM terms; DELETE FROM mentions").unwrap();
        assert!(fill(folder.path(), 10).unwrap_err().to_string().contains("holds no bookings"));
    }
}
