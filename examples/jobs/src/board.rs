//! The table of jobs: each is its booking as the newest transition tells it.
//!
//! A reschedule makes a new booking, so it makes a new job; the old one stays, SUPERSEDED by it. Whoever looks at a day
//! sees both: what is to be done, and that nothing is to be done at the old time any more.

use std::{path::Path, time::Duration};

use calbridge_client::v1::{Booking, BookingStatus, Transition};
use rusqlite::{Connection, TransactionBehavior, named_params};

/// For somebody else's transaction to end.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS jobs (
    id              INTEGER PRIMARY KEY,
    tenant          TEXT NOT NULL,
    calcom_event_id TEXT NOT NULL,
    status          TEXT NOT NULL,
    title           TEXT NOT NULL,
    -- Seconds of Unix.
    starts          INTEGER,
    ends            INTEGER,
    -- The calcom_event_id of the job that took its place.
    superseded_by   TEXT,
    UNIQUE (tenant, calcom_event_id)
) STRICT;
-- Which transitions are in it: one that comes again changes nothing.
CREATE TABLE IF NOT EXISTS applied (
    tenant   TEXT NOT NULL,
    position TEXT NOT NULL,
    PRIMARY KEY (tenant, position)
) STRICT, WITHOUT ROWID;";

/// The file of jobs.
pub(crate) struct Board {
    connection: Connection,
}

impl Board {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // What is acked must outlive a power cut: the service never tells it again.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection })
    }

    /// Makes the job, or brings it up to date.
    pub(crate) fn take(&mut self, made: &Transition) -> rusqlite::Result<()> {
        let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let note = "INSERT OR IGNORE INTO applied (tenant, position) VALUES (?1, ?2)";
        if change.execute(note, [&made.tenant, &made.position])? == 0 {
            return Ok(());
        }
        let missing = Booking::default();
        let booking = made.booking.as_ref().unwrap_or(&missing);
        let superseded_by = Some(&booking.rescheduled_to_uid).filter(|uid| !uid.is_empty());
        change.execute(
            "INSERT INTO jobs (tenant, calcom_event_id, status, title, starts, ends, superseded_by)
             VALUES (:tenant, :uid, :status, :title, :starts, :ends, :superseded_by)
             ON CONFLICT (tenant, calcom_event_id) DO UPDATE SET status = excluded.status, title = excluded.title,
                 starts = excluded.starts, ends = excluded.ends, superseded_by = excluded.superseded_by",
            named_params! {
                ":tenant": made.tenant,
                ":uid": made.uid,
                ":status": status(booking.status()),
                ":title": booking.title,
                ":starts": booking.start_time.as_ref().map(|time| time.seconds),
                ":ends": booking.end_time.as_ref().map(|time| time.seconds),
                ":superseded_by": superseded_by,
            },
        )?;
        change.commit()
    }

    /// A line a job, by tenant and start.
    pub(crate) fn list(&self) -> rusqlite::Result<Vec<String>> {
        let mut read = self.connection.prepare(
            "SELECT concat_ws('\t', tenant, calcom_event_id, status, coalesce(datetime(starts, 'unixepoch'), '-'),
                              title, 'superseded by ' || superseded_by)
             FROM jobs ORDER BY tenant, starts, calcom_event_id",
        )?;
        read.query_map([], |row| row.get(0))?.collect()
    }
}

/// What is to be done.
fn status(status: BookingStatus) -> &'static str {
    match status {
        BookingStatus::Unspecified | BookingStatus::Requested | BookingStatus::AwaitingHost => "PENDING",
        BookingStatus::Scheduled => "PLANNED",
        BookingStatus::InProgress => "RUNNING",
        BookingStatus::Completed => "DONE",
        BookingStatus::NoShow => "MISSED",
        BookingStatus::Cancelled | BookingStatus::Rejected => "CANCELLED",
        BookingStatus::Rescheduled => "SUPERSEDED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tenant: &str, position: &str, status: BookingStatus, to: &str) -> Transition {
        let booking = Booking {
            status: status.into(),
            title: "Repair".to_owned(),
            rescheduled_to_uid: to.to_owned(),
            ..Booking::default()
        };
        Transition {
            tenant: tenant.to_owned(),
            uid: "u1".to_owned(),
            position: position.to_owned(),
            booking: Some(booking),
            ..Transition::default()
        }
    }

    #[test]
    fn a_job_is_what_its_booking_is_tenant_by_tenant() {
        let mut board = Board::open(Path::new(":memory:")).unwrap();
        let story = [
            told("a", "1", BookingStatus::Requested, ""),
            told("a", "2", BookingStatus::Scheduled, ""),
            told("b", "3", BookingStatus::Scheduled, ""),
            told("a", "4", BookingStatus::Rescheduled, "u2"),
        ];
        for _ in 0..2 {
            for told in &story {
                board.take(told).unwrap();
            }
            let expected = ["a\tu1\tSUPERSEDED\t-\tRepair\tsuperseded by u2", "b\tu1\tPLANNED\t-\tRepair"];
            assert_eq!(board.list().unwrap(), expected);
        }
    }
}
