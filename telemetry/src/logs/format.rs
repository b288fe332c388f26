//! One event, one line: as JSON for machines, as text for people. Both carry the trace they belong to.
//!
//! A value can't break out of its line: JSON escapes, and text shows control characters escaped.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use serde_json::{Map, Value};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Fields;

/// How much of a trace id a person needs to find it.
const TRACE_ID_SHOWN: usize = 8;

/// One JSON object a line.
#[derive(Debug)]
pub(super) struct Json;

/// `2026-11-21T10:00:00.000000Z  INFO calbridge_service::ingest: message key=value trace=4bf92f35`.
#[derive(Debug)]
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let fields = Fields::of(event);
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), now().into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        line.insert("message".to_owned(), fields.message.into());
        if !fields.others.is_empty() {
            line.insert("fields".to_owned(), Value::Object(fields.others));
        }
        if let Some(span) = current_span() {
            line.insert("trace_id".to_owned(), span.trace_id().to_string().into());
            line.insert("span_id".to_owned(), span.span_id().to_string().into());
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (dim, colour, plain) = if writer.has_ansi_escapes() {
            ("\x1b[2m", colour(*event.metadata().level()), "\x1b[0m")
        } else {
            ("", "", "")
        };
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let fields = Fields::of(event);
        write!(writer, "{dim}{}{plain} {colour}{level:>5}{plain} {dim}{target}:{plain} ", now())?;
        write_escaped(&mut writer, &fields.message)?;
        for (name, value) in &fields.others {
            write!(writer, " {dim}{name}={plain}")?;
            match value {
                Value::String(text) if !text.is_empty() && text.chars().all(is_plain) => write!(writer, "{text}")?,
                other => write!(writer, "{other}")?,
            }
        }
        if let Some(span) = current_span() {
            let trace_id = span.trace_id().to_string();
            write!(writer, " {dim}trace={}{plain}", trace_id.get(..TRACE_ID_SHOWN).unwrap_or_default())?;
        }
        writeln!(writer)
    }
}

/// The span that the line belongs to, by `Traced`.
fn current_span() -> Option<SpanContext> {
    let context = Context::current();
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// RFC 3339 in UTC.
fn now() -> String {
    let mut now = String::new();
    // A String takes everything.
    let _ = SystemTime.format_time(&mut Writer::new(&mut now));
    now
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

fn is_plain(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && c != '"' && c != '='
}

fn write_escaped(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(writer, "{}", c.escape_default())?;
        } else {
            writer.write_char(c)?;
        }
    }
    Ok(())
}
