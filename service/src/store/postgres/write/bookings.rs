//! Rows of bookings, and the terms that find them.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
};

use tokio_postgres::{Error, Statement};

use super::{
    super::records::{Fault, Record, Records},
    Statements, column, text,
};
use crate::store::{
    Position,
    fold::{Columns, FoldedBooking, Shows},
    pack::Packer,
};

/// A term, where it stands in the order of a list, and whom it finds.
type Term<'r> = (i64, i64, &'r str);

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
        let (new, known): (Vec<_>, Vec<_>) = bookings.iter().partition(|booking| booking.is_new);
        tokio::try_join!(
            biased;
            self.shown_new(shown(true), &new, first),
            self.shown(shown(false)),
            self.as_before(as_before.collect()),
            self.hidden(hidden.collect(), first),
            self.terms(&self.not_found_by, &known, false),
            self.terms(&self.found_by, &known, true),
        )?;
        Ok(())
    }

    /// Bookings that are not kept, and what finds them.
    async fn shown_new(
        &self,
        rows: Vec<(&PackedRow<'_>, &Columns)>,
        bookings: &[&FoldedBooking],
        first: Position,
    ) -> Result<(), Error> {
        let terms = terms(bookings, true);
        if rows.is_empty() && terms.is_empty() {
            return Ok(());
        }
        let rows = Records { rows: &rows, write: booking };
        let terms = Records { rows: &terms, write: term };
        self.client.execute(&self.shown_new, &[&rows, &terms, &first.0]).await?;
        Ok(())
    }

    async fn shown(&self, rows: Vec<(&PackedRow<'_>, &Columns)>) -> Result<(), Error> {
        self.records(&self.shown, &rows, booking).await
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
        self.records(statement, &terms(bookings, wanted), term).await
    }
}

/// What finds these bookings, or does so no more.
fn terms<'r>(bookings: &[&'r FoldedBooking], wanted: bool) -> Vec<Term<'r>> {
    let of = |booking: &'r FoldedBooking| {
        let wanted = booking.terms.iter().filter(move |(_, finds)| **finds == wanted);
        wanted.map(|((term, start), _)| (*term, *start, booking.key.1.as_str()))
    };
    bookings.iter().copied().flat_map(of).collect()
}

fn term((term, start, uid): &Term<'_>, record: &mut Record<'_>) -> Result<(), Fault> {
    record.put(&[term, start, uid])
}

fn booking((row, columns): &(&PackedRow<'_>, &Columns), record: &mut Record<'_>) -> Result<(), Fault> {
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
}
