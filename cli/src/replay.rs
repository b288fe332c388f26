//! `replay`: kept webhooks typed and merged again, as this release understands them. One of them, all of a tenant's,
//! or, as a dry run of all, the whole journal folded into a fresh state and compared with the stored one.

use std::{fmt, process::ExitCode};

use calbridge_proto::v1::{
    self, ListDeliveriesRequest, RefoldDeliveriesRequest, RefoldDifference, RefoldSummary, ReplayDeliveryRequest,
    ReplayDeliveryResponse, SubmitOutcome, refold_deliveries_response::Step,
};
use clap::Args;

use crate::{
    client::{Deliveries, MAX_PAGES, PAGE_SIZE, Reader, refused},
    output::{Format, plain, print, print_json, print_json_line, report, short, status_name},
};

/// The exit code of a check after which not every booking is known to be the same. 1 is any failure's.
const DIFFERENT: u8 = 3;

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
            Format::Table => print(replayed(&answer))?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Newest first, as they are listed: the order is of no account. One that fails holds no other up.
    async fn all(&self, client: &mut Deliveries) -> anyhow::Result<ExitCode> {
        let mut counts = Counts::default();
        let mut page_token = String::new();
        for _ in 0..MAX_PAGES {
            let tenant = self.reader.tenant();
            let request = ListDeliveriesRequest { tenant, page_size: PAGE_SIZE, page_token, ..Default::default() };
            let page = client.list_deliveries(request).await.map_err(|status| refused(&status))?.into_inner();
            for delivery in page.deliveries {
                if delivery.raw_body_purged {
                    counts.purged += 1;
                    continue;
                }
                match replay(client, &self.reader.tenant(), &delivery.delivery_id, false).await {
                    Ok(answer) => self.tell(&mut counts, &answer)?,
                    Err(failure) => {
                        counts.failed += 1;
                        report(format_args!("{}: {failure}", plain(&delivery.delivery_id)));
                    }
                }
            }
            report(format_args!("{counts}"));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
        }
        anyhow::bail!("there are more deliveries than one command replays: the oldest were left out")
    }

    fn tell(&self, counts: &mut Counts, answer: &ReplayDeliveryResponse) -> anyhow::Result<()> {
        counts.replayed += 1;
        if answer.outcome() == SubmitOutcome::Applied {
            counts.applied += 1;
            match self.reader.output {
                Format::Json => print_json_line("ReplayDeliveryResponse", answer)?,
                Format::Table => print(replayed(answer))?,
            }
        }
        Ok(())
    }

    async fn check(&self, client: &mut Deliveries) -> anyhow::Result<ExitCode> {
        let request = RefoldDeliveriesRequest { tenant: self.reader.said_tenant().unwrap_or_default().to_owned() };
        let mut steps = client.refold_deliveries(request).await.map_err(|status| refused(&status))?.into_inner();
        while let Some(answer) = steps.message().await.map_err(|status| refused(&status))? {
            if self.reader.output == Format::Json && !matches!(answer.step, Some(Step::Progress(_))) {
                print_json_line("RefoldDeliveriesResponse", &answer)?;
            }
            match answer.step {
                Some(Step::Progress(so_far)) => report(format_args!(
                    "{} deliveries folded again, {} bookings compared",
                    so_far.deliveries, so_far.bookings
                )),
                Some(Step::Difference(difference)) if self.reader.output == Format::Table => {
                    print(differing(&difference))?;
                }
                Some(Step::Summary(summary)) => return self.conclude(&summary),
                _ => {}
            }
        }
        anyhow::bail!("the service ended the check before its end; run it again")
    }

    fn conclude(&self, summary: &RefoldSummary) -> anyhow::Result<ExitCode> {
        if self.reader.output == Format::Table {
            print(format_args!(
                "{} deliveries, {} bookings compared: {} would differ, {} could not be checked; {} with purged \
                 webhooks were left out",
                summary.deliveries, summary.bookings, summary.differences, summary.unchecked, summary.not_checkable
            ))?;
        }
        let same = summary.differences == 0 && summary.unchecked == 0;
        Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
    }
}

/// What came of the replays so far.
#[derive(Default)]
struct Counts {
    replayed: usize,
    applied: usize,
    failed: usize,
    /// Their bodies are past their retention.
    purged: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replayed, applied, failed, purged } = self;
        write!(
            out,
            "{replayed} deliveries replayed, {applied} changed a booking, {failed} failed, {purged} without a body"
        )
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

fn replayed(answer: &ReplayDeliveryResponse) -> String {
    let outcome = short(answer.outcome().as_str_name(), "SUBMIT_OUTCOME_").to_lowercase();
    let change = |made: &v1::Transition| {
        format!(
            "\n  {}: {} → {} ({})",
            plain(&made.uid),
            status_name(made.from_status()),
            status_name(made.to_status()),
            plain(&made.rule)
        )
    };
    let changes: String = answer.transitions.iter().map(change).collect();
    format!("{}  {outcome}{changes}", plain(&answer.delivery_id))
}

/// Names, never values: what differs may be somebody's address.
fn differing(difference: &RefoldDifference) -> String {
    let status = |booking: Option<&v1::Booking>| match booking {
        Some(booking) => status_name(booking.status()),
        None => "not shown",
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
        let answer = ReplayDeliveryResponse {
            outcome: SubmitOutcome::Applied.into(),
            transitions: vec![made],
            delivery_id: "d1".into(),
        };
        assert_eq!(replayed(&answer), "d1  applied\n  u1: - → SCHEDULED (accepted)");
    }
}
