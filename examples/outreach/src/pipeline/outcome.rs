//! What stands in the log and in the plans of calls: of each meeting what is true of it, and nothing of lineages that
//! turned out to be parts of another.
//!
//! The log says that a meeting was booked and, while it is, that it was undone. An undoing that is itself undone leaves
//! no entry: whether it is heard at all may depend on the order in which two bookings' transitions arrive.

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan as _};
use rusqlite::{Transaction, named_params};

use crate::meeting::Meeting;

/// What is to be reached so many days after the call; the start of a preparation, and people write on.
const SECTIONS: [(i64, &str); 3] = [
    (30, "What must be better within 30 days for this to have been worth it: the first result, and who will see it."),
    (60, "What changes in their daily work within 60 days, who has to agree to it, and what stands in the way."),
    (90, "What is decided at 90 days, by whom, by which figures, and what the next step is if they are met."),
];

pub(super) fn write(
    change: &Transaction<'_>,
    touched: &BTreeSet<String>,
    meetings: &[Meeting],
) -> rusqlite::Result<()> {
    let current: BTreeSet<&str> = meetings.iter().map(|meeting| meeting.name.as_str()).collect();
    for name in touched.iter().filter(|name| !current.contains(name.as_str())) {
        change.prepare_cached("DELETE FROM outreach_log WHERE meeting = ?1")?.execute([name])?;
        change.prepare_cached("DELETE FROM call_plans WHERE meeting = ?1")?.execute([name])?;
    }
    for meeting in meetings {
        log(change, meeting)?;
        if let Some((starts, ends)) = &meeting.time {
            plan(change, meeting, starts, ends)?;
        }
    }
    Ok(())
}

fn log(change: &Transaction<'_>, meeting: &Meeting) -> rusqlite::Result<()> {
    let mut write = change.prepare_cached(
        "INSERT INTO outreach_log (meeting, entry, sequence_id, contact_id, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (meeting, entry) DO UPDATE
         SET sequence_id = excluded.sequence_id, contact_id = excluded.contact_id, at = excluded.at",
    )?;
    write.execute((&meeting.name, "BOOKED", &meeting.sequence, &meeting.contact, &meeting.booked_at))?;
    if let Some(at) = &meeting.undone_at {
        write.execute((&meeting.name, "UNDONE", &meeting.sequence, &meeting.contact, at))?;
    } else {
        let mut remove = change.prepare_cached("DELETE FROM outreach_log WHERE meeting = ?1 AND entry = 'UNDONE'")?;
        remove.execute([&meeting.name])?;
    }
    Ok(())
}

fn plan(change: &Transaction<'_>, meeting: &Meeting, starts: &str, ends: &str) -> rusqlite::Result<()> {
    let mut write = change.prepare_cached(
        "INSERT INTO call_plans (meeting, booking, sequence_id, contact_id, title, starts, ends, status)
         VALUES (:meeting, :booking, :sequence, :contact, :title, :starts, :ends, :status)
         ON CONFLICT (meeting) DO UPDATE SET booking = excluded.booking, sequence_id = excluded.sequence_id,
             contact_id = excluded.contact_id, title = excluded.title, starts = excluded.starts, ends = excluded.ends,
             status = excluded.status",
    )?;
    write.execute(named_params! {
        ":meeting": meeting.name, ":booking": meeting.booking, ":sequence": meeting.sequence,
        ":contact": meeting.contact, ":title": meeting.title, ":starts": starts, ":ends": ends,
        ":status": if meeting.undone_at.is_none() { "PLANNED" } else { "WITHDRAWN" },
    })?;
    // What people wrote into a section stays when the meeting is moved.
    let mut section = change.prepare_cached(
        "INSERT INTO call_plan_sections (meeting, days, until, goal) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (meeting, days) DO UPDATE SET until = excluded.until",
    )?;
    for (days, goal) in SECTIONS {
        section.execute((&meeting.name, days, days_after(starts, days), goal))?;
    }
    Ok(())
}

/// The day, in UTC.
fn days_after(starts: &str, days: i64) -> String {
    let start: Timestamp = starts.parse().unwrap_or_default();
    let day = start.checked_add((days * 24).hours()).unwrap_or(Timestamp::MAX);
    day.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_end_so_many_days_after_the_meeting() {
        let days = SECTIONS.map(|(days, _)| days_after("2026-10-01T23:30:00Z", days));
        assert_eq!(days, ["2026-10-31", "2026-11-30", "2026-12-30"]);
    }
}
