//! `timeline`: the history of a booking, to be read like a log of commits: an entry a paragraph, the oldest first.

use std::fmt::Write as _;

use calbridge_proto::v1::{
    self, GetTimelineRequest, SubmitOutcome, TimelineEntry, TimelineNote, Transition, TransitionKind, TransitionSource,
};
use clap::Args;

use crate::{
    client::{Client, MAX_PAGES, PAGE_SIZE, Reader, refused},
    output::{Format, or_dash, plain, print, print_json, short, status_name},
    time::shown,
};

/// `calbridge timeline UID`.
#[derive(Args)]
pub(crate) struct Timeline {
    /// Cal.com's uid, case-sensitive
    uid: String,
    #[command(flatten)]
    reader: Reader,
}

impl Timeline {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect().await?;
        let entries = read(&mut client, &self.reader.tenant(), &self.uid).await?;
        match self.reader.output {
            Format::Json => {
                let answer = v1::GetTimelineResponse { entries, next_page_token: String::new() };
                print_json("GetTimelineResponse", &answer)
            }
            Format::Table if entries.is_empty() => print(format_args!("nothing spoke of {}", plain(&self.uid))),
            Format::Table => print(log(&self.uid, &entries).trim_end()),
        }
    }
}

/// Every entry of a booking's timeline, oldest first.
pub(crate) async fn read(client: &mut Client, tenant: &str, uid: &str) -> anyhow::Result<Vec<TimelineEntry>> {
    let mut entries = Vec::new();
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let request =
            GetTimelineRequest { tenant: tenant.to_owned(), uid: uid.to_owned(), page_size: PAGE_SIZE, page_token };
        let page = client.get_timeline(request).await.map_err(|status| refused(&status))?.into_inner();
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(entries)
}

/// The entries as text, with a blank line behind each.
pub(crate) fn log(uid: &str, entries: &[TimelineEntry]) -> String {
    let mut text = String::new();
    for entry in entries {
        // A String takes whatever is written to it.
        let _ = write_entry(&mut text, uid, entry);
    }
    text
}

fn write_entry(text: &mut String, uid: &str, entry: &TimelineEntry) -> std::fmt::Result {
    writeln!(text, "position {}  {}", plain(&entry.position), headline(entry))?;
    writeln!(text, "  Cause:    {}", cause(uid, entry))?;
    if let Some(made) = &entry.transition {
        writeln!(text, "  Rule:     {}", plain(&made.rule))?;
    }
    writeln!(text, "  Date:     {}", dates(entry))?;
    if !entry.delivery_id.is_empty() {
        writeln!(text, "  Delivery: {}, verified by {}", plain(&entry.delivery_id), or_dash(&plain(&entry.secret_id)))?;
    }
    if !entry.trace_id.is_empty() {
        writeln!(text, "  Trace:    {}", plain(&entry.trace_id))?;
    }
    for note in entry.notes() {
        writeln!(text, "\n      {}", note_text(note))?;
    }
    writeln!(text)
}

/// What came of it, in a few words.
fn headline(entry: &TimelineEntry) -> String {
    match &entry.transition {
        Some(made) => change(made),
        None => match entry.outcome() {
            SubmitOutcome::Duplicate => "duplicate: the same webhook again".to_owned(),
            SubmitOutcome::Recorded => "recorded: it states nothing of the booking".to_owned(),
            _ => "no change".to_owned(),
        },
    }
}

/// What a transition is, in a few words.
pub(crate) fn change(made: &Transition) -> String {
    match made.kind() {
        TransitionKind::Appeared => format!("appeared as {}", status_name(made.to_status())),
        TransitionKind::StatusChanged => {
            format!("{} → {}", status_name(made.from_status()), status_name(made.to_status()))
        }
        kind => {
            let what = short(kind.as_str_name(), "TRANSITION_KIND_").to_lowercase().replace('_', " ");
            format!("{what}, {} as before", status_name(made.to_status()))
        }
    }
}

/// Who spoke, and of which booking where it is another.
fn cause(uid: &str, entry: &TimelineEntry) -> String {
    let trigger = plain(&entry.trigger_name);
    let trigger = if trigger.is_empty() { "a webhook that names no trigger".to_owned() } else { trigger };
    let about = match entry.booking_uid.as_str() {
        "" => String::new(),
        own if own == uid => String::new(),
        other => format!(" of {}", plain(other)),
    };
    match entry.source() {
        TransitionSource::Clock => "the clock: its end has passed by the policy of its tenant".to_owned(),
        TransitionSource::Replay => format!("a replay of {trigger}{about}"),
        TransitionSource::Unspecified | TransitionSource::Webhook => format!("{trigger}{about}"),
    }
}

/// When Cal.com sent it, when the adapter had it, when it was committed: as far as they are known.
fn dates(entry: &TimelineEntry) -> String {
    let commit = entry.transition.as_ref().and_then(|made| made.commit_time.as_ref());
    let times = [(entry.event_time.as_ref(), "sent"), (entry.receive_time.as_ref(), "received"), (commit, "committed")];
    let known = times.into_iter().filter_map(|(time, what)| time.map(|time| format!("{} {what}", shown(Some(time)))));
    or_dash(&known.collect::<Vec<_>>().join(", "))
}

fn note_text(note: TimelineNote) -> &'static str {
    match note {
        TimelineNote::SiblingsMayHaveChanged => {
            "It speaks for a series and names this booking alone: the others may have changed without a word."
        }
        TimelineNote::Unspecified => "There is more to know of it than this program can tell.",
    }
}

#[cfg(test)]
mod tests {
    use calbridge_proto::v1::Trigger;
    use prost_types::Timestamp;

    use calbridge_proto::v1::BookingStatus;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    fn entry(position: &str, outcome: SubmitOutcome) -> TimelineEntry {
        TimelineEntry {
            position: position.into(),
            receive_time: Some(at(61)),
            event_time: Some(at(60)),
            trigger: Trigger::BookingCancelled.into(),
            trigger_name: "BOOKING_CANCELLED".into(),
            delivery_id: "d1".into(),
            outcome: outcome.into(),
            secret_id: "env:S".into(),
            trace_id: "feed".into(),
            booking_uid: "u1".into(),
            source: TransitionSource::Webhook.into(),
            ..TimelineEntry::default()
        }
    }

    fn made(from: BookingStatus, to: BookingStatus, rule: &str) -> Transition {
        Transition {
            kind: TransitionKind::StatusChanged.into(),
            from_status: from.into(),
            to_status: to.into(),
            rule: rule.into(),
            commit_time: Some(at(62)),
            ..Transition::default()
        }
    }

    #[test]
    fn a_webhook_tells_its_change_cause_rule_dates_delivery_and_trace() {
        let cancelled = TimelineEntry {
            transition: Some(made(BookingStatus::Scheduled, BookingStatus::Cancelled, "cancelled")),
            notes: vec![TimelineNote::SiblingsMayHaveChanged.into()],
            ..entry("07", SubmitOutcome::Applied)
        };
        assert_eq!(
            log("u1", &[cancelled]),
            "position 07  SCHEDULED → CANCELLED\n  Cause:    BOOKING_CANCELLED\n  Rule:     cancelled\n  \
             Date:     1970-01-01 00:01:00Z sent, 1970-01-01 00:01:01Z received, 1970-01-01 00:01:02Z committed\n  \
             Delivery: d1, verified by env:S\n  Trace:    feed\n\n      \
             It speaks for a series and names this booking alone: the others may have changed without a word.\n\n"
        );
    }

    #[test]
    fn the_clock_a_replay_a_copy_and_another_booking_are_told_apart() {
        let clock = TimelineEntry {
            position: "08".into(),
            source: TransitionSource::Clock.into(),
            transition: Some(made(BookingStatus::Scheduled, BookingStatus::Completed, "ended_by_clock")),
            ..TimelineEntry::default()
        };
        let text = log("u1", &[clock]);
        assert!(text.starts_with("position 08  SCHEDULED → COMPLETED\n  Cause:    the clock: "), "{text}");
        assert!(!text.contains("Delivery") && !text.contains("Trace"), "{text}");

        let copy = log("u1", &[entry("09", SubmitOutcome::Duplicate)]);
        assert!(copy.starts_with("position 09  duplicate: the same webhook again\n"), "{copy}");
        let of_another = TimelineEntry { booking_uid: "u2".into(), ..entry("10", SubmitOutcome::NoChange) };
        assert!(log("u1", &[of_another]).contains("Cause:    BOOKING_CANCELLED of u2\n"));
        let replay = TimelineEntry { source: TransitionSource::Replay.into(), ..entry("11", SubmitOutcome::Recorded) };
        let text = log("u1", &[replay]);
        assert!(text.contains("recorded") && text.contains("Cause:    a replay of BOOKING_CANCELLED\n"), "{text}");
    }

    #[test]
    fn what_strangers_wrote_can_not_drive_the_terminal() {
        let strange = TimelineEntry { trigger_name: "\u{1b}[2J".into(), ..entry("12", SubmitOutcome::NoChange) };
        assert!(!log("u1", &[strange]).contains('\u{1b}'));
    }
}
