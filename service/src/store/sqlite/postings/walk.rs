//! What a term finds, in order.

use rusqlite::Connection;

use super::source::Source;
use crate::store::{
    StoreError,
    postings::{self, Entry, From, Met, block, union::Union},
};

/// A walk through a term.
pub(in crate::store::sqlite) struct Walk<'c> {
    union: Union<Source<'c>>,
    term: i64,
}

impl<'c> Walk<'c> {
    pub(in crate::store::sqlite) fn open(
        connection: &'c Connection,
        term: i64,
        from: From,
    ) -> Result<Self, StoreError> {
        let (from, direction) = from.place(term);
        let mut sources = vec![Source::of_entries(connection, tail(connection, Some(term))?, &from, direction)];
        let mut select = connection.prepare_cached("SELECT run FROM runs WHERE level >= 0 ORDER BY level, run DESC")?;
        for run in select.query_map([], |row| row.get(0))? {
            sources.push(Source::of_run(connection, run?, &from, direction)?);
        }
        Ok(Self { union: Union::new(sources, direction)?, term })
    }

    /// The next booking.
    pub(in crate::store::sqlite) fn next(&mut self) -> Result<Option<Met>, StoreError> {
        let next = self.union.next()?.filter(|entry| entry.posting.term == self.term);
        Ok(next.map(Entry::met))
    }
}

/// The tail, of one term or of all, sorted.
pub(super) fn tail(connection: &Connection, term: Option<i64>) -> Result<Vec<Entry>, StoreError> {
    let mut select = connection.prepare_cached("SELECT entries FROM tail ORDER BY id")?;
    let mut rows = select.query([])?;
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(row) = rows.next()? {
        let told = block::decode(row.get_ref(0)?.as_blob().map_err(|_| block::damage())?)?;
        entries.extend(told.into_iter().filter(|entry| term.is_none_or(|term| entry.posting.term == term)));
    }
    postings::sort(&mut entries);
    Ok(entries)
}
