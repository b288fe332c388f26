//! Filters: whatever is written is read or refused at a place in it, and what was read means the same when it is
//! written out and read again.

use std::fmt::Write as _;

use calbridge_service::{
    fuzzing::{filter, log_filter},
    store::{Comparison, Condition, Filter, LogCondition, LogFilter},
};
use jiff::Timestamp;

/// A filter is no longer than this, in bytes; written out, one may grow beyond it.
const BYTES: usize = 8 * 1024;
/// Nor has it more conditions.
const CONDITIONS: usize = 16;

pub(crate) fn judge(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let read = filter(&text);
    judge_refusal(&text, read.as_ref().map(|_| ()).map_err(|at| *at));
    if let Ok(Filter(conditions)) = &read {
        assert!(conditions.len() <= CONDITIONS);
        let written = join(conditions.iter().map(write_condition));
        assert!(written.len() > BYTES || filter(&written) == read, "{text:?} is {read:?}, but not {written:?}");
    }
    let read = log_filter(&text);
    judge_refusal(&text, read.as_ref().map(|_| ()).map_err(|at| *at));
    if let Ok(LogFilter(conditions)) = &read {
        assert!(conditions.len() <= CONDITIONS);
        let written = join(conditions.iter().map(write_log_condition));
        assert!(written.len() > BYTES || log_filter(&written) == read, "{text:?} is {read:?}, but not {written:?}");
    }
}

fn judge_refusal(text: &str, read: Result<(), Option<usize>>) {
    match read {
        Err(Some(character)) => {
            assert!((1..=text.chars().count() + 1).contains(&character), "{character} of {text:?}");
        }
        Err(None) => assert!(text.len() > BYTES, "{text:?} is refused, and not said where"),
        Ok(()) => {}
    }
}

fn join(conditions: impl Iterator<Item = String>) -> String {
    conditions.collect::<Vec<_>>().join(" AND ")
}

fn write_condition(condition: &Condition) -> String {
    let time = |field: &str, comparison: &Comparison, micros: i64| {
        let time = Timestamp::from_microsecond(micros).expect("a time that was read");
        format!("{field}{}\"{time}\"", comparison.as_str())
    };
    match condition {
        Condition::Status(comparison, status) => format!("status{}{}", comparison.as_str(), status.as_str_name()),
        Condition::StartTime(comparison, micros) => time("start_time", comparison, *micros),
        Condition::UpdateTime(comparison, micros) => time("update_time", comparison, *micros),
        Condition::OrganizerEmail(address) => format!("organizer_email={}", quoted(address)),
        Condition::AttendeeEmail(address) => format!("attendee_email = {}", quoted(address)),
        Condition::EventTypeId(id) => format!("event_type_id = {id}"),
        Condition::Metadata(key, value) => format!("metadata.{} = {}", quoted(key), quoted(value)),
    }
}

fn write_log_condition(condition: &LogCondition) -> String {
    match condition {
        LogCondition::Status(comparison, status) => format!("status {} {}", comparison.as_str(), status.as_str_name()),
        LogCondition::Kind(comparison, kind) => format!("kind{} {}", comparison.as_str(), kind.as_str_name()),
        LogCondition::EventTypeId(id) => format!("event_type_id={id}"),
        LogCondition::Uid(uid) => format!("uid={}", quoted(uid)),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.write_char(character).expect("a string takes what comes");
    }
    quoted + "\""
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "",
        "status = SCHEDULED AND start_time >= \"2026-09-01T00:00:00Z\"",
        "status != BOOKING_STATUS_NO_SHOW AND update_time<'2026-09-01T02:00:00+02:00'",
        "start_time > \"2026-09-01T00:00:00.123456789Z\" AND update_time <= 2026-09-01T00:00:00Z AND start_time=x",
        "organizer_email = \"Mara@harbour-studio.example\" AND attendee_email = tomas@lighthouse.example",
        "event_type_id = 310 AND metadata.room = '4' AND metadata.\"a \\\"key\\\\\" = \"a value\"",
        "kind = MOVED AND uid = \"u1\" AND status = CANCELLED AND event_type_id = -7",
        "kind != TRANSITION_KIND_STATUS_CHANGED AND kind = APPEARED",
        "status = CANCELLED OR (status = REJECTED)",
        "status = AWAITING_HOST AND status = IN_PROGRESS AND status = COMPLETED AND status = REQUESTED",
    ];
    seeds.map(|seed| seed.as_bytes().to_vec()).into()
}
