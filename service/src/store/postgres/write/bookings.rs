//! Rows of bookings, and the terms that find them.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
};

use tokio_postgres::{Error, Statement, types::ToSql};

use super::{
    super::records::{Record, Records},
    Statements, column, text,
};
use crate::store::{
    Position,
    fold::{Columns, FoldedBooking, Shows},
    pack::Packer,
};

/// A row as it is written: its registers packed.
struct PackedRow<'r> {
    booking: &'r FoldedBooking,
    state: Cow<'r, [u8]>,
}

impl Statements<'_> {
    /// Rows, each with what finds it. `first` is where the round began.
    pub(in crate::store::postgres) async fn bookings(
        &self,
        packer: &Mutex<Packer>,
        bookings: &[FoldedBooking],
        first: Position,
    ) -> Result<(), Error> {
        let rows: Vec<PackedRow<'_>> = {
            let mut packer = packer.lock().unwrap_or_else(PoisonError::into_inner);
            bookings.iter().map(|booking| PackedRow { state: packer.row(&booking.state), booking }).collect()
        };
        let shown = |new: bool| {
            let of_kind = rows.iter().filter(move |row| row.booking.is_new == new);
            let shown = of_kind.filter_map(|row| match &row.booking.shows {
                Shows::Otherwise(columns) => Some((row, columns)),
                Shows::AsBefore | Shows::Nothing(_) => None,
            });
            shown.collect::<Vec<_>>()
        };
        let hidden = rows.iter().filter_map(|row| match &row.booking.shows {
            Shows::Nothing(link) => Some((row, link.as_ref())),
            Shows::AsBefore | Shows::Otherwise(_) => None,
        });
        let as_before = rows.iter().filter(|row| matches!(row.booking.shows, Shows::AsBefore));
        let first_position: [&(dyn ToSql + Sync); 1] = [&first.0];
        let (new, known): (Vec<_>, Vec<_>) = bookings.iter().partition(|booking| booking.is_new);
        tokio::try_join!(
            biased;
            self.shown(&self.shown_new, shown(true), &first_position),
            self.shown(&self.shown, shown(false), &[]),
            self.as_before(as_before.collect()),
            self.hidden(hidden.collect(), first),
            self.terms(&self.not_found_by, &known, false),
            self.terms(&self.found_by, &known, true),
            self.terms(&self.found_by_new, &new, true),
        )?;
        Ok(())
    }

    /// `more` is what the statement has behind the rows.
    async fn shown(
        &self,
        statement: &Statement,
        rows: Vec<(&PackedRow<'_>, &Columns)>,
        more: &[&(dyn ToSql + Sync)],
    ) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let write = |(row, columns): &(&PackedRow<'_>, &Columns), record: &mut Record<'_>| {
            let booking = row.booking;
            record.put(&[
                &booking.key.0.as_ref(),
                &booking.key.1,
                &row.state.as_ref(),
                &columns.status,
                &columns.start_time,
                &columns.update_time,
                &columns.position.0,
                &columns.rescheduled_from.as_deref().map(text),
                &columns.link,
                &columns.seated,
                &columns.organizer.as_deref().map(text),
                &columns.event_type_id,
                &booking.clock_end,
                &booking.clock_told,
            ])
        };
        let records: [&(dyn ToSql + Sync); 1] = [&Records { rows: &rows, write }];
        self.client.execute(statement, &[&records, more].concat()).await?;
        Ok(())
    }

    async fn as_before(&self, rows: Vec<&PackedRow<'_>>) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.client
            .execute(
                &self.as_before,
                &[
                    &column(&rows, |row| row.booking.key.0.as_ref()),
                    &column(&rows, |row| row.booking.key.1.as_str()),
                    &column(&rows, |row| row.state.as_ref()),
                    &column(&rows, |row| row.booking.clock_end),
                    &column(&rows, |row| row.booking.clock_told),
                ],
            )
            .await?;
        Ok(())
    }

    /// Rows of hints alone: kept, not shown, and links of a chain all the same.
    async fn hidden(&self, rows: Vec<(&PackedRow<'_>, Option<&(String, i32)>)>, first: Position) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.client
            .execute(
                &self.hidden,
                &[
                    &column(&rows, |(row, _)| row.booking.key.0.as_ref()),
                    &column(&rows, |(row, _)| row.booking.key.1.as_str()),
                    &column(&rows, |(row, _)| row.state.as_ref()),
                    &column(&rows, |(_, link)| link.map(|(from, _)| text(from))),
                    &column(&rows, |(_, link)| link.map_or(0, |(_, evidence)| *evidence)),
                    &first.0,
                ],
            )
            .await?;
        Ok(())
    }

    async fn terms(&self, statement: &Statement, bookings: &[&FoldedBooking], wanted: bool) -> Result<(), Error> {
        let rows: Vec<_> = bookings
            .iter()
            .flat_map(|booking| booking.terms.iter().map(move |(term, finds)| (term, *finds, booking.key.1.as_str())))
            .filter(|(_, finds, _)| *finds == wanted)
            .collect();
        let write = |((term, start), _, uid): &(&(i64, i64), bool, &str), record: &mut Record<'_>| {
            record.put(&[term, start, uid])
        };
        self.records(statement, &rows, write).await
    }
}
