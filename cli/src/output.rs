//! How answers are printed: tables for people, JSON for programs.

use std::io::{self, Write as _};

use anyhow::Context as _;
use calbridge_process::environment;
use calbridge_proto::{FILE_DESCRIPTOR_SET, v1::BookingStatus};
use calbridge_telemetry::{LogFormat, Settings, log_lines};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::ser::Formatter;

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs; of what is a message, the protobuf JSON mapping with the field names of the schema.
    Json,
}

/// An empty table with these columns.
pub(crate) fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled).set_header(columns);
    table
}

/// A row whose cells can't move the terminal's cursor.
pub(crate) fn row<const N: usize>(cells: [String; N]) -> [String; N] {
    cells.map(|cell| plain(&cell))
}

/// Text that can move neither the terminal's cursor nor the order of what stands around it: titles and names are
/// written by strangers.
pub(crate) fn plain(text: &str) -> String {
    // The marks by which Unicode turns the direction of writing.
    let turns =
        |character| matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(|character: char| character.is_control() || turns(character), "\u{fffd}")
}

/// A dash where there is nothing.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Writes a line to stdout. A reader that has gone (`| head`) is no error worth a word, but ends the command.
pub(crate) fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("stdout is closed")
}

/// Writes a line to stdout for whoever still reads it: a server serves on without a reader.
pub(crate) fn say(text: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Says on stderr how far long work has come, beside what stdout is read for.
pub(crate) fn report(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Has stderr tell what goes wrong on the way of a command that tries on: why a service takes nothing.
pub(crate) fn report_warnings() -> anyhow::Result<()> {
    let settings = Settings {
        service_name: "calbridge",
        service_version: env!("CARGO_PKG_VERSION"),
        log_format: LogFormat::Text,
        log_filter: Some("error,calbridge=warn".to_owned()),
        environment,
    };
    Ok(log_lines(&settings)?)
}

/// Prints a message of `calbridge.v1` as JSON.
pub(crate) fn print_json(message_name: &str, message: &impl Message) -> anyhow::Result<()> {
    print(json(message_name, message)?)
}

/// Prints a value that is no message of the schema as JSON.
pub(crate) fn print_value(value: &serde_json::Value) -> anyhow::Result<()> {
    print(format_args!("{value:#}"))
}

/// Prints one of many messages as JSON, in a line of its own.
pub(crate) fn print_json_line(message_name: &str, message: &impl Message) -> anyhow::Result<()> {
    print(encode(message_name, message, serde_json::ser::CompactFormatter)?)
}

/// The protobuf JSON mapping of a message, indented, with the field names of the schema.
fn json(message_name: &str, message: &impl Message) -> anyhow::Result<String> {
    encode(message_name, message, serde_json::ser::PrettyFormatter::new())
}

fn encode(message_name: &str, message: &impl Message, style: impl Formatter) -> anyhow::Result<String> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).context("the embedded schema is damaged")?;
    let descriptor = pool
        .get_message_by_name(&format!("calbridge.v1.{message_name}"))
        .with_context(|| format!("the schema has no message {message_name}"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, style);
    dynamic.serialize_with_options(&mut serializer, &SerializeOptions::new().use_proto_field_name(true))?;
    Ok(String::from_utf8(out)?)
}

/// The last word of an enum value's name, as people say it: `BOOKING_STATUS_NO_SHOW` is `NO_SHOW`.
pub(crate) fn short<'a>(name: &'a str, prefix: &str) -> &'a str {
    match name.strip_prefix(prefix) {
        Some("UNSPECIFIED") => "-",
        Some(rest) => rest,
        None => name,
    }
}

/// A status as the command line names it.
pub(crate) fn status_name(status: BookingStatus) -> &'static str {
    short(status.as_str_name(), "BOOKING_STATUS_")
}

#[cfg(test)]
mod tests {
    use calbridge_proto::v1;

    use super::*;

    #[test]
    fn json_has_the_names_of_the_schema() {
        let booking = v1::Booking {
            uid: "u".to_owned(),
            status: v1::BookingStatus::NoShow.into(),
            start_time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            ..v1::Booking::default()
        };
        let text = json("Booking", &booking).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"uid": "u", "status": "BOOKING_STATUS_NO_SHOW", "start_time": "1970-01-01T00:00:00Z"})
        );
    }

    #[test]
    fn a_strangers_name_can_not_drive_the_terminal() {
        assert_eq!(row(["\u{1b}[2JGrace\n".to_owned()]), ["\u{fffd}[2JGrace\u{fffd}"]);
        assert_eq!(plain("\u{202e}ecarG\u{2066}"), "\u{fffd}ecarG\u{fffd}");
    }

    #[test]
    fn an_enum_is_shown_by_its_last_word() {
        assert_eq!(short("BOOKING_STATUS_NO_SHOW", "BOOKING_STATUS_"), "NO_SHOW");
        assert_eq!(short("BOOKING_STATUS_UNSPECIFIED", "BOOKING_STATUS_"), "-");
    }
}
