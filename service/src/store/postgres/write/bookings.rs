//! Rows of bookings.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
};

use tokio_postgres::Error;

use super::{
    super::records::{Fault, Record, Records},
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
    /// `first` is where the round began.
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
        tokio::try_join!(
            biased;
            self.shown_new(shown(true), first),
            self.shown(shown(false)),
            self.as_before(as_before.collect()),
            self.hidden(hidden.collect(), first),
        )?;
        Ok(())
    }

    /// Bookings that are not kept.
    async fn shown_new(&self, rows: Vec<(&PackedRow<'_>, &Columns)>, first: Position) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows = Records { rows: &rows, write: booking };
        self.client.execute(&self.shown_new, &[&rows, &first.0]).await?;
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
