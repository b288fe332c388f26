//! Inserting the rows of a round, several by one statement. Of what `SQLite` does for a row that has a statement of its
//! own, a quarter is the statement's.

use std::sync::OnceLock;

use rusqlite::{CachedStatement, ToSql, Transaction};

use crate::store::StoreError;

/// How many rows one statement takes at most, as a power of two: eight. Of more nothing is to be had.
const MOST_LOG: usize = 3;

/// What inserts rows into one table.
pub(super) struct Insert {
    /// The statement up to `VALUES`.
    into: &'static str,
    texts: OnceLock<Texts>,
}

struct Texts {
    columns: usize,
    /// For one row, for two, and so on, each for twice as many as the one before.
    by_log: [String; MOST_LOG + 1],
}

/// One row's place among the parameters of a statement.
pub(super) struct Row<'s, 'c> {
    statement: &'s mut CachedStatement<'c>,
    columns: usize,
    /// How many rows stand before it.
    before: usize,
}

/// Says that a row has its values: no statement runs with those of another one.
pub(super) struct Set(());

impl Insert {
    /// `into` names the table and its columns, and what becomes of a row that can't be. By `INSERT OR FAIL` the rows
    /// before it stay, and so `SQLite` keeps no copies of pages to undo them: whoever meets an error gives up the
    /// transaction.
    pub(super) const fn new(into: &'static str) -> Self {
        Self { into, texts: OnceLock::new() }
    }

    /// Inserts a row for each item, in order; `set` gives it its values. Answers how many rows went in.
    pub(super) fn rows<T>(
        &self,
        transaction: &Transaction<'_>,
        mut items: &[T],
        mut set: impl FnMut(&T, Row<'_, '_>) -> Result<Set, StoreError>,
    ) -> Result<usize, StoreError> {
        let Texts { columns, by_log } = self.texts.get_or_init(|| Texts::of(self.into));
        let mut inserted = 0;
        for (log, text) in by_log.iter().enumerate().rev() {
            let at_once = 1 << log;
            if items.len() < at_once {
                continue;
            }
            let mut statement = transaction.prepare_cached(text)?;
            while let Some((some, rest)) = items.split_at_checked(at_once) {
                for (before, item) in some.iter().enumerate() {
                    set(item, Row { statement: &mut statement, columns: *columns, before })?;
                }
                inserted += statement.raw_execute()?;
                items = rest;
            }
        }
        Ok(inserted)
    }
}

impl Texts {
    fn of(into: &str) -> Self {
        let columns = into.split(',').count();
        let row = format!("({})", vec!["?"; columns].join(", "));
        let text = |log: usize| format!("{into} VALUES {}", vec![row.as_str(); 1 << log].join(", "));
        Self { columns, by_log: std::array::from_fn(text) }
    }
}

impl Row<'_, '_> {
    /// Gives it its values, in the order of the columns.
    ///
    /// # Errors
    ///
    /// There is not one for each column.
    pub(super) fn set(self, values: &[&dyn ToSql]) -> Result<Set, StoreError> {
        let Self { statement, columns, before } = self;
        if values.len() != columns {
            return Err(rusqlite::Error::InvalidParameterCount(values.len(), columns).into());
        }
        for (place, value) in values.iter().enumerate() {
            statement.raw_bind_parameter(before * columns + place + 1, value)?;
        }
        Ok(Set(()))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params};

    use super::*;

    static NUMBERS: Insert = Insert::new("INSERT OR FAIL INTO numbers (number, text)");
    static PERHAPS: Insert = Insert::new("INSERT OR IGNORE INTO numbers (number, text)");

    fn open() -> Connection {
        let open = Connection::open_in_memory().unwrap();
        open.execute_batch("CREATE TABLE numbers (number INTEGER NOT NULL UNIQUE, text TEXT NOT NULL) STRICT").unwrap();
        open
    }

    fn insert(insert: &Insert, transaction: &Transaction<'_>, numbers: &[i64]) -> Result<usize, StoreError> {
        insert.rows(transaction, numbers, |number, row| row.set(params![number, format!("{number}")]))
    }

    fn kept(open: &Connection) -> Vec<i64> {
        let mut select = open.prepare("SELECT number, text FROM numbers ORDER BY rowid").unwrap();
        let rows = select.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).unwrap();
        let rows = rows.map(|row| row.unwrap());
        rows.inspect(|(number, text)| assert_eq!(*text, number.to_string())).map(|(number, _)| number).collect()
    }

    #[test]
    fn each_item_is_a_row_and_the_rows_are_in_order() {
        for count in 0..40 {
            let mut open = open();
            let transaction = open.transaction().unwrap();
            let numbers: Vec<i64> = (0..count).map(|number| number * 7 % 41).collect();
            assert_eq!(insert(&NUMBERS, &transaction, &numbers).unwrap(), numbers.len());
            transaction.commit().unwrap();
            assert_eq!(kept(&open), numbers);
        }
    }

    #[test]
    fn those_that_are_there_are_not_counted() {
        let mut open = open();
        let transaction = open.transaction().unwrap();
        assert_eq!(insert(&PERHAPS, &transaction, &[1, 3, 11]).unwrap(), 3);
        let numbers: Vec<i64> = (0..13).collect();
        assert_eq!(insert(&PERHAPS, &transaction, &numbers).unwrap(), 10);
    }

    #[test]
    fn one_that_cannot_be_fails_all() {
        let mut open = open();
        for count in 2..20 {
            let transaction = open.transaction().unwrap();
            let mut numbers: Vec<i64> = (1..count).collect();
            numbers.push(1);
            assert!(insert(&NUMBERS, &transaction, &numbers).is_err(), "{count}");
            drop(transaction);
            assert_eq!(kept(&open), [0; 0]);
        }
    }

    #[test]
    fn a_row_has_a_value_for_each_column() {
        let mut open = open();
        let transaction = open.transaction().unwrap();
        for values in [params![1], params![1, "1", 1]] {
            assert!(NUMBERS.rows(&transaction, &[()], |(), row| row.set(values)).is_err());
        }
        assert_eq!(kept(&transaction), [0; 0]);
    }
}
