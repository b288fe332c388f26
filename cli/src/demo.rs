//! `calbridge up --demo`: the life of a booking, sent through the program's own HTTP edge.

use anyhow::Context as _;
use bytes::Bytes;
use calbridge_calcom::golden::{self, Golden};
use calbridge_proto::v1::{BookingStatus, GetBookingRequest, Trigger};
use http::Uri;
use jiff::{Timestamp, ToSpan as _};
use secrecy::SecretString;

use crate::{
    client::{Client, refused},
    output::{row, say, status_name, table},
    send::{fresh_uid, tomorrow},
    timeline,
    webhook::{Answer, Sender, sign, tampered},
};

/// The tenant that the demo plays.
pub(crate) const TENANT: &str = "default";

/// One webhook of the demo.
struct Step {
    what: &'static str,
    trigger: Trigger,
    uid: String,
    body: Bytes,
    forged: bool,
}

/// Sends the lifecycle, prints what each webhook was answered, then both bookings' timelines.
pub(crate) async fn run(url: &Uri, secret: &SecretString, client: &mut Client, now: Timestamp) -> anyhow::Result<()> {
    let (first, second) = (fresh_uid(), fresh_uid());
    let sender = Sender::new()?;
    let mut lines = table(["what happens", "webhook", "uid", "answer", "outcome"]);
    for step in lifecycle(&first, &second, now)? {
        let signature = sign(secret, &step.body)?;
        let body = if step.forged { tampered(&step.body) } else { step.body };
        let answer =
            sender.post(url, &signature, body).await.with_context(|| format!("the demo stopped at: {}", step.what))?;
        lines.add_row(row([
            step.what.to_owned(),
            golden::trigger_name(step.trigger).to_owned(),
            step.uid,
            answer.status.as_u16().to_string(),
            outcome(&answer),
        ]));
    }
    say("\nThe demo sent these webhooks to its own HTTP edge:");
    say(lines);
    for uid in [&first, &second] {
        let status = status(client, uid).await?;
        say(format_args!("\nTimeline of {uid}, which is now {status}:"));
        say(timeline::log(uid, &timeline::read(client, TENANT, uid).await?).trim_end());
    }
    Ok(())
}

/// Requested, confirmed (once more as a duplicate), forged, rescheduled, and nobody came.
fn lifecycle(first: &str, second: &str, now: Timestamp) -> anyhow::Result<Vec<Step>> {
    let mut booking = Golden::new(first, 1001, now, tomorrow(now)?);
    let mut steps = Vec::new();
    let mut step = |what, trigger, golden: &Golden, forged| {
        let body = Bytes::from(golden::body(trigger, golden));
        steps.push(Step { what, trigger, uid: golden.uid.clone(), body, forged });
    };
    step("somebody asks for a time", Trigger::BookingRequested, &booking, false);

    booking.created_at = now.checked_add(1.second())?;
    booking.path = golden::Path::Confirm;
    step("the host confirms", Trigger::BookingCreated, &booking, false);
    step("Cal.com sends it again", Trigger::BookingCreated, &booking, false);
    step("somebody forges a cancellation", Trigger::BookingCancelled, &booking, true);

    booking.path = golden::Path::Direct;
    let later = tomorrow(now)?.checked_add(24.hours())?;
    let mut moved = booking.moved(second, 1002, now.checked_add(2.seconds())?, later);
    step("the booker moves it: a new uid", Trigger::BookingRescheduled, &moved, false);

    moved.created_at = now.checked_add(3.seconds())?;
    step("nobody came", Trigger::BookingNoShowUpdated, &moved, false);
    Ok(steps)
}

/// The `outcome` of a 200, the `error` of anything else.
fn outcome(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let said = body.get("outcome").or_else(|| body.get("error")).and_then(serde_json::Value::as_str);
    said.unwrap_or("-").to_owned()
}

async fn status(client: &mut Client, uid: &str) -> anyhow::Result<&'static str> {
    let request = GetBookingRequest { tenant: TENANT.to_owned(), uid: uid.to_owned(), ..Default::default() };
    let answer = client.get_booking(request).await.map_err(|status| refused(&status))?.into_inner();
    let status = answer.booking.map_or(BookingStatus::Unspecified, |booking| booking.status());
    Ok(status_name(status))
}
