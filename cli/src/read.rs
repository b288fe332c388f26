//! `get`, `list`, `timeline`: what is known, over gRPC.

use calbridge_proto::v1::{
    self, Booking, BookingStatus, GetBookingRequest, GetTimelineRequest, ListBookingsRequest, PaymentStatus,
    TimelineEntry, TransitionKind,
};
use clap::Args;
use comfy_table::Table;

use crate::{
    client::{Client, Reader, refused},
    output::{Format, print, print_json, row, short, table},
    time::shown,
};

/// The most pages that one command reads: a bound on a server that never ends.
const MAX_PAGES: usize = 10_000;
/// The service's own maximum.
const PAGE_SIZE: i32 = 1000;

/// `calbridge get UID`.
#[derive(Args)]
pub(crate) struct Get {
    /// Cal.com's uid, case-sensitive
    uid: String,
    #[command(flatten)]
    reader: Reader,
}

/// `calbridge list`.
#[derive(Args)]
pub(crate) struct List {
    /// At most this many bookings
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: usize,
    /// `start_time` or `update_time`, either with ` desc`
    #[arg(long, default_value = "start_time", value_name = "ORDER")]
    order_by: String,
    #[command(flatten)]
    reader: Reader,
}

/// `calbridge timeline UID`.
#[derive(Args)]
pub(crate) struct Timeline {
    /// Cal.com's uid, case-sensitive
    uid: String,
    #[command(flatten)]
    reader: Reader,
}

impl Get {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect().await?;
        let request = GetBookingRequest { tenant: self.reader.tenant, uid: self.uid, ..Default::default() };
        let answer = client.get_booking(request).await.map_err(|status| refused(&status))?.into_inner();
        let booking = answer.booking.unwrap_or_default();
        match self.reader.output {
            Format::Json => print_json("Booking", &booking),
            Format::Table => print(booking_table(&booking)),
        }
    }
}

impl List {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect().await?;
        let mut listed = v1::ListBookingsResponse::default();
        for _ in 0..MAX_PAGES {
            let left = self.limit.saturating_sub(listed.bookings.len());
            if left == 0 {
                break;
            }
            let request = ListBookingsRequest {
                tenant: self.reader.tenant.clone(),
                page_size: i32::try_from(left).unwrap_or(PAGE_SIZE).min(PAGE_SIZE),
                page_token: listed.next_page_token,
                order_by: self.order_by.clone(),
                filter: String::new(),
            };
            let page = client.list_bookings(request).await.map_err(|status| refused(&status))?.into_inner();
            listed.bookings.extend(page.bookings);
            listed.next_page_token = page.next_page_token;
            if listed.next_page_token.is_empty() {
                break;
            }
        }
        match self.reader.output {
            Format::Json => print_json("ListBookingsResponse", &listed),
            Format::Table => print_list(&listed),
        }
    }
}

impl Timeline {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect().await?;
        let entries = timeline(&mut client, &self.reader.tenant, &self.uid).await?;
        match self.reader.output {
            Format::Json => {
                let answer = v1::GetTimelineResponse { entries, next_page_token: String::new() };
                print_json("GetTimelineResponse", &answer)
            }
            Format::Table => print(timeline_table(&entries)),
        }
    }
}

/// Every entry of a booking's timeline, oldest first.
pub(crate) async fn timeline(client: &mut Client, tenant: &str, uid: &str) -> anyhow::Result<Vec<TimelineEntry>> {
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

/// A booking's history as a table, a line an entry.
pub(crate) fn timeline_table(entries: &[TimelineEntry]) -> Table {
    let mut lines = table(["received", "event", "outcome", "change", "rule", "trace"]);
    for entry in entries {
        let (change, rule) = match &entry.transition {
            Some(transition) => (change(transition), transition.rule.clone()),
            None => ("-".to_owned(), "-".to_owned()),
        };
        lines.add_row(row([
            shown(entry.receive_time.as_ref()),
            entry.trigger_name.clone(),
            short(entry.outcome().as_str_name(), "SUBMIT_OUTCOME_").to_lowercase(),
            change,
            rule,
            or_dash(&entry.trace_id),
        ]));
    }
    lines
}

fn change(transition: &v1::Transition) -> String {
    let status = |status: BookingStatus| short(status.as_str_name(), "BOOKING_STATUS_").to_owned();
    match transition.kind() {
        TransitionKind::Appeared => format!("appeared as {}", status(transition.to_status())),
        TransitionKind::StatusChanged => {
            format!("{} → {}", status(transition.from_status()), status(transition.to_status()))
        }
        kind => short(kind.as_str_name(), "TRANSITION_KIND_").to_lowercase().replace('_', " "),
    }
}

fn print_list(listed: &v1::ListBookingsResponse) -> anyhow::Result<()> {
    let mut lines = table(["uid", "status", "start", "title", "organizer", "attendees"]);
    for booking in &listed.bookings {
        lines.add_row(row([
            booking.uid.clone(),
            status(booking),
            shown(booking.start_time.as_ref()),
            booking.title.clone(),
            booking.organizer.as_ref().map_or_else(|| "-".to_owned(), |organizer| organizer.email.clone()),
            booking.attendees.iter().map(|attendee| attendee.email.as_str()).collect::<Vec<_>>().join(", "),
        ]));
    }
    print(lines)?;
    if !listed.next_page_token.is_empty() {
        print(format_args!("there are more: say --limit above {}", listed.bookings.len()))?;
    }
    Ok(())
}

fn booking_table(booking: &Booking) -> Table {
    let mut lines = table(["field", "value"]);
    let mut line = |field: &str, value: String| {
        if !value.is_empty() && value != "-" {
            lines.add_row(row([field.to_owned(), value]));
        }
    };
    line("uid", booking.uid.clone());
    line("status", status(booking));
    line("payment", short(booking.payment_status().as_str_name(), "PAYMENT_STATUS_").to_owned());
    line("title", booking.title.clone());
    line("event type", booking.event_type_slug.clone());
    line("start", shown(booking.start_time.as_ref()));
    line("end", shown(booking.end_time.as_ref()));
    line("location", booking.location.clone());
    line(
        "organizer",
        booking.organizer.as_ref().map(|host| person(&host.name, &host.email, host.no_show)).unwrap_or_default(),
    );
    for attendee in &booking.attendees {
        line("attendee", person(&attendee.name, &attendee.email, attendee.no_show));
    }
    line("rescheduled from", booking.rescheduled_from_uid.clone());
    line("rescheduled to", booking.rescheduled_to_uid.clone());
    line("reschedule reason", booking.reschedule_reason.clone());
    line("cancellation reason", booking.cancellation_reason.clone());
    line("rejection reason", booking.rejection_reason.clone());
    if let Some(price) = booking.price_minor.filter(|_| booking.payment_status() != PaymentStatus::None) {
        line("price", format!("{price} minor units of {}", booking.currency));
    }
    for (key, value) in &booking.metadata {
        line(&format!("metadata.{key}"), value.clone());
    }
    line("created", shown(booking.create_time.as_ref()));
    line("updated", shown(booking.update_time.as_ref()));
    line("position", booking.position.clone());
    lines
}

fn status(booking: &Booking) -> String {
    short(booking.status().as_str_name(), "BOOKING_STATUS_").to_owned()
}

fn person(name: &str, email: &str, no_show: bool) -> String {
    let mark = if no_show { " (no-show)" } else { "" };
    if name.is_empty() { format!("{email}{mark}") } else { format!("{name} <{email}>{mark}") }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
