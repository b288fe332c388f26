//! `replay`: kept webhooks typed and merged again, as this release understands them. One of them, all of a tenant's,
//! or, as a dry run of all, the whole journal folded into a fresh state and compared with the stored one.

use std::process::ExitCode;

use calbridge_proto::v1::{
    self, ListDeliveriesRequest, RefoldDeliveriesRequest, RefoldDifference, ReplayDeliveryRequest,
    ReplayDeliveryResponse, SubmitOutcome, refold_deliveries_response::Step,
};
use clap::Args;

use crate::{
    client::{Deliveries, MAX_PAGES, PAGE_SIZE, Reader, refused},
    output::{Format, plain, print, print_json, report, short},
};

/// The exit code of a check that found a difference.
const DIFFERENT: u8 = 1;

/// `calbridge replay`.
#[derive(Args)]
pub(crate) struct Replay {
    /// The delivery
    #[arg(required_unless_present = "all", value_name = "DELIVERY_ID")]
    delivery_id: Option<String>,
    /// Every delivery of the tenant; with `--dry-run` and without `--tenant`, of every tenant
    #[arg(long, conflicts_with = "delivery_id")]
    all: bool,
    /// Change nothing: say what would come of it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    reader: Reader,
}

impl Replay {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut client = self.reader.connect_to_deliveries().await?;
        match (&self.delivery_id, self.dry_run) {
            (Some(id), _) => self.one(&mut client, id).await,
            (None, true) => self.check(&mut client).await,
            (None, false) => self.all(&mut client).await,
        }
    }

    async fn one(&self, client: &mut Deliveries, id: &str) -> anyhow::Result<ExitCode> {
        let answer = replay(client, &self.reader.tenant(), id, self.dry_run).await?;
        match self.reader.output {
            Format::Json => print_json("ReplayDeliveryResponse", &answer)?,
            Format::Table => print(replayed(id, &answer))?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Newest first, as they are listed: the order is of no account.
    async fn all(&self, client: &mut Deliveries) -> anyhow::Result<ExitCode> {
        let (mut page_token, mut done, mut applied) = (String::new(), 0_usize, 0_usize);
        for _ in 0..MAX_PAGES {
            let tenant = self.reader.tenant();
            let request = ListDeliveriesRequest { tenant, page_size: PAGE_SIZE, page_token, ..Default::default() };
            let page = client.list_deliveries(request).await.map_err(|status| refused(&status))?.into_inner();
            for delivery in page.deliveries {
                let answer = replay(client, &self.reader.tenant(), &delivery.delivery_id, false).await?;
                if answer.outcome() == SubmitOutcome::Applied {
                    applied += 1;
                    match self.reader.output {
                        Format::Json => print_json("ReplayDeliveryResponse", &answer)?,
                        Format::Table => print(replayed(&delivery.delivery_id, &answer))?,
                    }
                }
                done += 1;
            }
            report(format_args!("{done} deliveries replayed, {applied} changed a booking"));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn check(&self, client: &mut Deliveries) -> anyhow::Result<ExitCode> {
        let tenant = self.reader.said_tenant().unwrap_or_default().to_owned();
        let request = RefoldDeliveriesRequest { tenant };
        let mut steps = client.refold_deliveries(request).await.map_err(|status| refused(&status))?.into_inner();
        let mut different = false;
        while let Some(step) = steps.message().await.map_err(|status| refused(&status))? {
            match step.step {
                Some(Step::Progress(so_far)) => report(format_args!(
                    "{} deliveries folded again, {} bookings compared",
                    so_far.deliveries, so_far.bookings
                )),
                Some(Step::Difference(difference)) => match self.reader.output {
                    Format::Json => print_json("RefoldDifference", &difference)?,
                    Format::Table => print(differing(&difference))?,
                },
                Some(Step::Summary(summary)) => {
                    different = summary.differences > 0;
                    match self.reader.output {
                        Format::Json => print_json("RefoldSummary", &summary)?,
                        Format::Table => print(format_args!(
                            "{} deliveries, {} bookings compared: {} would differ, {} could not be checked",
                            summary.deliveries, summary.bookings, summary.differences, summary.unchecked
                        ))?,
                    }
                }
                None => {}
            }
        }
        Ok(if different { ExitCode::from(DIFFERENT) } else { ExitCode::SUCCESS })
    }
}

async fn replay(
    client: &mut Deliveries,
    tenant: &str,
    id: &str,
    dry_run: bool,
) -> anyhow::Result<ReplayDeliveryResponse> {
    let request = ReplayDeliveryRequest { tenant: tenant.to_owned(), delivery_id: id.to_owned(), dry_run };
    Ok(client.replay_delivery(request).await.map_err(|status| refused(&status))?.into_inner())
}

fn replayed(id: &str, answer: &ReplayDeliveryResponse) -> String {
    let outcome = short(answer.outcome().as_str_name(), "SUBMIT_OUTCOME_").to_lowercase();
    let change = |made: &v1::Transition| {
        let status = |status: v1::BookingStatus| short(status.as_str_name(), "BOOKING_STATUS_").to_owned();
        format!(
            "\n  {}: {} → {} ({})",
            plain(&made.uid),
            status(made.from_status()),
            status(made.to_status()),
            plain(&made.rule)
        )
    };
    let changes: String = answer.transitions.iter().map(change).collect();
    format!("{}  {outcome}{changes}", plain(id))
}

/// Names, never values: what differs may be somebody's address.
fn differing(difference: &RefoldDifference) -> String {
    let status = |booking: Option<&v1::Booking>| match booking {
        Some(booking) => short(booking.status().as_str_name(), "BOOKING_STATUS_").to_owned(),
        None => "not shown".to_owned(),
    };
    let (stored, refolded) = (status(difference.stored.as_ref()), status(difference.refolded.as_ref()));
    let fields = if difference.fields.is_empty() {
        "nothing that is seen: keys that a later webhook may show".to_owned()
    } else {
        difference.fields.join(", ")
    };
    format!("{}/{}  {stored} → {refolded}: {fields}", plain(&difference.tenant), plain(&difference.uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_fields_and_no_values() {
        let booking = |status: v1::BookingStatus| {
            Some(v1::Booking { status: status.into(), title: "Mara's own".into(), ..v1::Booking::default() })
        };
        let difference = RefoldDifference {
            tenant: "acme".into(),
            uid: "u1".into(),
            stored: booking(v1::BookingStatus::Scheduled),
            refolded: booking(v1::BookingStatus::Cancelled),
            fields: vec!["status".into(), "title".into()],
        };
        assert_eq!(differing(&difference), "acme/u1  SCHEDULED → CANCELLED: status, title");
        let appears = RefoldDifference { stored: None, ..difference.clone() };
        assert_eq!(differing(&appears), "acme/u1  not shown → CANCELLED: status, title");
        let unseen = RefoldDifference { fields: Vec::new(), ..difference };
        assert!(differing(&unseen).contains("nothing that is seen"));
    }

    #[test]
    fn a_replay_tells_each_change() {
        let made = v1::Transition {
            uid: "u1".into(),
            to_status: v1::BookingStatus::Scheduled.into(),
            rule: "accepted".into(),
            ..v1::Transition::default()
        };
        let answer = ReplayDeliveryResponse { outcome: SubmitOutcome::Applied.into(), transitions: vec![made] };
        assert_eq!(replayed("d1", &answer), "d1  applied\n  u1: - → SCHEDULED (accepted)");
    }
}
