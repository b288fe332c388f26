//! `get`, `list`, `lineage`: what is known, over gRPC.

use calbridge_proto::v1::{
    self, Booking, GetBookingRequest, GetLineageRequest, LinkEvidence, ListBookingsRequest, PaymentStatus,
};
use clap::Args;
use comfy_table::Table;

use crate::{
    client::{MAX_PAGES, PAGE_SIZE, Reader, refused},
    output::{Format, or_dash, print, print_json, row, short, status_name, table},
    time::shown,
};

/// `calbridge get UID`.
#[derive(Args)]
pub(crate) struct Get {
    /// Cal.com's uid, case-sensitive
    uid: String,
    /// Show the last booking that its reschedules lead to
    #[arg(long)]
    follow: bool,
    /// Wait until the service has reached this position, as an ingest answered it
    #[arg(long, default_value = "", value_name = "POSITION", hide_default_value = true)]
    min_position: String,
    #[command(flatten)]
    reader: Reader,
}

/// `calbridge list`.
#[derive(Args)]
pub(crate) struct List {
    /// At most this many bookings
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: usize,
    /// Conditions joined by AND, as in `status = SCHEDULED AND metadata.campaign = "spring"`
    #[arg(long, default_value = "", value_name = "FILTER", hide_default_value = true)]
    filter: String,
    /// `start_time` or `update_time`, either with ` desc`
    #[arg(long, default_value = "start_time", value_name = "ORDER")]
    order_by: String,
    #[command(flatten)]
    reader: Reader,
}

/// `calbridge lineage UID`.
#[derive(Args)]
pub(crate) struct Lineage {
    /// Cal.com's uid of any booking of it, case-sensitive
    uid: String,
    #[command(flatten)]
    reader: Reader,
}

impl Get {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect().await?;
        let request = GetBookingRequest {
            tenant: self.reader.tenant(),
            uid: self.uid,
            min_position: self.min_position,
            follow_reschedules: self.follow,
        };
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
                tenant: self.reader.tenant(),
                page_size: i32::try_from(left).unwrap_or(PAGE_SIZE).min(PAGE_SIZE),
                page_token: listed.next_page_token,
                order_by: self.order_by.clone(),
                filter: self.filter.clone(),
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

impl Lineage {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.reader.connect().await?;
        let mut lineage = v1::GetLineageResponse::default();
        for _ in 0..MAX_PAGES {
            let (tenant, uid) = (self.reader.tenant(), self.uid.clone());
            let request = GetLineageRequest { tenant, uid, page_token: lineage.next_page_token };
            let page = client.get_lineage(request).await.map_err(|status| refused(&status))?.into_inner();
            lineage.bookings.extend(page.bookings);
            lineage.next_page_token = page.next_page_token;
            if lineage.next_page_token.is_empty() {
                break;
            }
        }
        match self.reader.output {
            Format::Json => print_json("GetLineageResponse", &lineage),
            Format::Table => print(lineage_table(&lineage.bookings)),
        }
    }
}

/// A booking a line, with what it replaced and how that is known.
fn lineage_table(bookings: &[Booking]) -> Table {
    let mut lines = table(["uid", "status", "start", "rescheduled from", "known by"]);
    for booking in bookings {
        lines.add_row(row([
            booking.uid.clone(),
            status(booking),
            shown(booking.start_time.as_ref()),
            or_dash(&booking.rescheduled_from_uid),
            known_by(booking.rescheduled_from_evidence()).to_owned(),
        ]));
    }
    lines
}

fn known_by(evidence: LinkEvidence) -> &'static str {
    match evidence {
        LinkEvidence::Unspecified => "-",
        LinkEvidence::RescheduleUid => "rescheduleUid",
        LinkEvidence::FromReschedule => "fromReschedule (a timer's frozen row)",
        LinkEvidence::IcalUid => "iCalUID (a hint: a webhook between them may have been lost)",
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
    line("rescheduled from", linked(&booking.rescheduled_from_uid, booking.rescheduled_from_evidence()));
    line("rescheduled to", linked(&booking.rescheduled_to_uid, booking.rescheduled_to_evidence()));
    line("origin", booking.origin_uid.clone());
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
    status_name(booking.status()).to_owned()
}

fn person(name: &str, email: &str, no_show: bool) -> String {
    let mark = if no_show { " (no-show)" } else { "" };
    if name.is_empty() { format!("{email}{mark}") } else { format!("{name} <{email}>{mark}") }
}

fn linked(uid: &str, evidence: LinkEvidence) -> String {
    match evidence {
        LinkEvidence::Unspecified | LinkEvidence::RescheduleUid => uid.to_owned(),
        hint => format!("{uid}, known by {}", known_by(hint)),
    }
}
