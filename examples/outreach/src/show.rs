//! `show`: what a booking has made of the pipeline, its six states side by side.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, PipelineError, records};

/// The states as JSON; nothing where no transition of this booking was heard.
///
/// # Errors
///
/// Where the database can't be read.
pub fn states(pipeline: &mut Pipeline, uid: &str) -> Result<Option<Value>, PipelineError> {
    // One state of the database for all that is read.
    let read = pipeline.connection().transaction()?;
    let known = "SELECT status FROM bookings WHERE uid = ?1";
    let Some(booking) = read.query_row(known, [uid], |row| row.get::<_, String>(0)).optional()? else {
        return Ok(None);
    };
    let meeting = meeting(&read, uid)?;
    let log = list(
        &read,
        "SELECT entry, at, sequence_id, contact_id FROM outreach_log WHERE meeting = ?1 ORDER BY at, entry",
        &meeting,
        |row| Ok(json!({ "entry": text(row, 0)?, "at": text(row, 1)? })),
    )?;
    let named = "SELECT sequence_id, contact_id FROM outreach_log WHERE meeting = ?1 AND entry = 'BOOKED'";
    let named = read.query_row(named, [&meeting], |row| Ok((text(row, 0)?, text(row, 1)?))).optional()?;
    let (sequence, contact) = named.unwrap_or_default();
    let prospect: Option<String> = read.query_row(
        "SELECT coalesce((SELECT prospect_id FROM contacts WHERE id = ?1),
                         (SELECT prospect_id FROM sequences WHERE id = ?2))",
        params![contact, sequence],
        |row| row.get(0),
    )?;
    let states = json!({
        "booking": { "id": uid, "status": booking },
        "sequence": one(&read, "SELECT id, status FROM sequences WHERE id = ?1", sequence.as_deref())?,
        "steps": list(
            &read,
            "SELECT number, status FROM steps WHERE sequence_id = ?1 ORDER BY number",
            sequence.as_deref().unwrap_or_default(),
            |row| Ok(json!({ "number": row.get::<_, i64>(0)?, "status": text(row, 1)? })),
        )?,
        "contact": one(&read, "SELECT id, status FROM contacts WHERE id = ?1", contact.as_deref())?,
        "prospect": one(&read, "SELECT id, status FROM prospects WHERE id = ?1", prospect.as_deref())?,
        "log": log,
        "plan": plan(&read, &meeting)?,
    });
    Ok(Some(states))
}

/// The same for people, a line a state.
#[must_use]
pub fn table(states: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
    let mut lines = String::new();
    let mut line = |name: &str, what: String| {
        // A text takes whatever is written.
        let _ = writeln!(lines, "{name:<10}{what}");
    };
    for name in ["booking", "sequence", "contact", "prospect"] {
        line(name, format!("{} {}", word(&states[name]["id"]), word(&states[name]["status"])));
        if name == "sequence" {
            let steps = states["steps"].as_array().into_iter().flatten();
            let steps: Vec<_> = steps.map(|step| format!("{} {}", step["number"], word(&step["status"]))).collect();
            line("steps", if steps.is_empty() { "-".to_owned() } else { steps.join(", ") });
        }
    }
    for entry in states["log"].as_array().into_iter().flatten() {
        line("log", format!("{} {}", word(&entry["at"]), word(&entry["entry"])));
    }
    let plan = &states["plan"];
    line("plan", format!("{} {} by {}", word(&plan["starts"]), word(&plan["status"]), word(&plan["booking"])));
    for section in plan["sections"].as_array().into_iter().flatten() {
        line("", format!("{} days, {}: {}", section["days"], word(&section["until"]), word(&section["goal"])));
    }
    lines
}

/// The lineage's: the one of its uids that has a log.
fn meeting(read: &Connection, uid: &str) -> Result<String, PipelineError> {
    let mut is_meeting = read.prepare("SELECT 1 FROM outreach_log WHERE meeting = ?1")?;
    for name in records::lineage(read, uid)? {
        if is_meeting.exists([&name])? {
            return Ok(name);
        }
    }
    Ok(uid.to_owned())
}

fn plan(read: &Connection, meeting: &str) -> Result<Value, PipelineError> {
    let sections = list(
        read,
        "SELECT days, until, goal FROM call_plan_sections WHERE meeting = ?1 ORDER BY days",
        meeting,
        |row| Ok(json!({ "days": row.get::<_, i64>(0)?, "until": text(row, 1)?, "goal": text(row, 2)? })),
    )?;
    let plan = "SELECT booking, status, title, starts, ends FROM call_plans WHERE meeting = ?1";
    let plan = read.query_row(plan, [meeting], |row| {
        Ok(json!({
            "booking": text(row, 0)?, "status": text(row, 1)?, "title": text(row, 2)?, "starts": text(row, 3)?,
            "ends": text(row, 4)?, "sections": sections,
        }))
    });
    Ok(plan.optional()?.unwrap_or(Value::Null))
}

fn one(read: &Connection, sql: &str, id: Option<&str>) -> Result<Value, PipelineError> {
    let state = |row: &Row<'_>| Ok(json!({ "id": text(row, 0)?, "status": text(row, 1)? }));
    Ok(read.query_row(sql, [id], state).optional()?.unwrap_or(Value::Null))
}

fn list(
    read: &Connection,
    sql: &str,
    id: &str,
    entry: impl FnMut(&Row<'_>) -> rusqlite::Result<Value>,
) -> Result<Value, PipelineError> {
    let mut read = read.prepare(sql)?;
    let found: rusqlite::Result<Vec<Value>> = read.query_map([id], entry)?.collect();
    Ok(Value::Array(found?))
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    row.get(column)
}
