//! `tail`: the log as it is written, a line an entry. The watch keeps the cursor, so a service that goes away costs
//! nothing but the wait for it.

use std::sync::{Mutex, PoisonError};

use calbridge_client::{Watch, Watched};
use calbridge_proto::v1::{
    RecordedDelivery, Transition, WatchTransitionsRequest, WatchTransitionsResponse, watch_transitions_response::Entry,
};
use clap::Args;
use tonic::Status;

use crate::{
    client::{Reader, refused},
    output::{Format, or_dash, plain, print, print_json_line, report},
    time::shown,
    timeline::change,
};

/// What `--from` says besides positions.
const NOW: &str = "now";
const BEGINNING: &str = "beginning";

/// `calbridge tail`.
#[derive(Args)]
pub(crate) struct Tail {
    /// Where to begin: `now`, `beginning`, or behind a position that was printed before [default: now; with
    /// --stop-at-head the beginning]
    #[arg(long, value_name = "POSITION")]
    from: Option<String>,
    /// Conditions joined by AND, as in `kind = STATUS_CHANGED AND status = CANCELLED`; also `uid` and `event_type_id`
    #[arg(long, default_value = "", value_name = "FILTER", hide_default_value = true)]
    filter: String,
    /// Show also webhooks that are kept and change no booking
    #[arg(long)]
    recorded: bool,
    /// End when everything is shown that is committed by now
    #[arg(long)]
    stop_at_head: bool,
    #[command(flatten)]
    reader: Reader,
}

impl Tail {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !(self.stop_at_head && self.from.as_deref() == Some(NOW)),
            "--from now --stop-at-head: nothing is kept between now and the end; begin at a position, or the beginning"
        );
        // The first connection tells whether there is a service at all; each after it may find another replica.
        let first = Mutex::new(Some(self.reader.connection().await?));
        let connect = || async {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(connection) = first {
                return Ok(connection);
            }
            let again = self.reader.connection().await;
            again.map_err(|_| Status::unavailable("no booking service answers"))
        };
        let mut watch = Watch::new(connect, self.request());
        while let Some(watched) = watch.next().await.map_err(|status| refused(&status))? {
            match watched {
                Watched::Entry(entry) => self.show(entry)?,
                Watched::Interrupted { status, pause } => {
                    report(format_args!("{}; going on in {pause:?}", refused(&status)));
                }
            }
        }
        Ok(())
    }

    fn request(&self) -> WatchTransitionsRequest {
        let from = self.from.as_deref().unwrap_or(if self.stop_at_head { BEGINNING } else { NOW });
        let after_position = if [NOW, BEGINNING].contains(&from) { String::new() } else { from.to_owned() };
        WatchTransitionsRequest {
            tenant: self.reader.tenant(),
            after_position,
            filter: self.filter.clone(),
            from_head: from == NOW,
            stop_at_head: self.stop_at_head,
            include_recorded: self.recorded,
        }
    }

    fn show(&self, entry: Entry) -> anyhow::Result<()> {
        let line = match &entry {
            Entry::Heartbeat(_) => return Ok(()),
            Entry::Transition(made) => line(made),
            Entry::Recorded(recorded) => recorded_line(recorded),
        };
        match self.reader.output {
            Format::Json => {
                print_json_line("WatchTransitionsResponse", &WatchTransitionsResponse { entry: Some(entry) })
            }
            Format::Table => print(line),
        }
    }
}

fn line(made: &Transition) -> String {
    format!("{}  {}  {}  {}", made.position, shown(made.commit_time.as_ref()), plain(&made.uid), change(made))
}

fn recorded_line(recorded: &RecordedDelivery) -> String {
    let delivery = recorded.delivery.clone().unwrap_or_default();
    let (uid, trigger) = (or_dash(&plain(&delivery.booking_uid)), plain(&delivery.trigger_name));
    format!("{}  {}  {uid}  recorded: {trigger}", recorded.position, shown(delivery.receive_time.as_ref()))
}

#[cfg(test)]
mod tests {
    use calbridge_proto::v1::{BookingStatus, Delivery, TransitionKind};
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn an_entry_is_a_line() {
        let made = Transition {
            position: "07".to_owned(),
            uid: "u\u{1b}1".to_owned(),
            kind: TransitionKind::StatusChanged.into(),
            from_status: BookingStatus::Scheduled.into(),
            to_status: BookingStatus::Cancelled.into(),
            commit_time: Some(Timestamp { seconds: 61, nanos: 0 }),
            ..Transition::default()
        };
        assert_eq!(line(&made), "07  1970-01-01 00:01:01Z  u\u{fffd}1  SCHEDULED → CANCELLED");
        let delivery = Delivery { trigger_name: "FORM_SUBMITTED".to_owned(), ..Delivery::default() };
        let recorded = RecordedDelivery { position: "08".to_owned(), delivery: Some(delivery), event: None };
        assert_eq!(recorded_line(&recorded), "08  -  -  recorded: FORM_SUBMITTED");
    }
}
