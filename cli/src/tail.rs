//! `tail`: the log as it is written, a line an entry. It keeps its own cursor, so a service that goes away costs
//! nothing but the wait for it.

use std::time::Duration;

use calbridge_proto::v1::{
    RecordedDelivery, Transition, WatchTransitionsRequest, WatchTransitionsResponse, watch_transitions_response::Entry,
};
use clap::Args;
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::{
    client::{Reader, refused},
    output::{Format, or_dash, plain, print, print_json_line, report},
    time::shown,
    timeline::change,
};

/// Before the service is asked again; doubled with each try.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// And no longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// `calbridge tail`.
#[derive(Args)]
pub(crate) struct Tail {
    /// Where to begin: `now`, `beginning`, or behind a position that was printed before
    #[arg(long, default_value = "now", value_name = "POSITION")]
    from: String,
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
        let mut request = self.request();
        let mut pause = PAUSE_MIN;
        // The first connection tells whether there is a service at all.
        let mut client = Some(self.reader.connect().await?);
        loop {
            let begun = request.after_position.clone();
            let ended = match client.take() {
                Some(mut client) => match client.watch_transitions(request.clone()).await {
                    Ok(stream) => self.follow(&mut request, stream.into_inner()).await?,
                    Err(status) => Some(status),
                },
                None => Some(Status::unavailable("no booking service answers")),
            };
            match ended {
                None => return Ok(()),
                Some(status) if !passes(&status) => return Err(refused(&status)),
                Some(status) => report(format_args!("{}; going on in {pause:?}", refused(&status))),
            }
            sleep(pause).await;
            pause = if request.after_position == begun { (pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
            client = self.reader.connect().await.ok();
        }
    }

    fn request(&self) -> WatchTransitionsRequest {
        let after_position = match self.from.as_str() {
            "now" | "beginning" => String::new(),
            position => position.to_owned(),
        };
        WatchTransitionsRequest {
            tenant: self.reader.tenant(),
            after_position,
            filter: self.filter.clone(),
            // What it would hear first is what it is to end with.
            from_head: self.from == "now" && !self.stop_at_head,
            stop_at_head: self.stop_at_head,
            include_recorded: self.recorded,
        }
    }

    /// Shows what comes and moves the cursor past it; answers why it ended, if not by itself.
    async fn follow(
        &self,
        request: &mut WatchTransitionsRequest,
        mut stream: tonic::Streaming<WatchTransitionsResponse>,
    ) -> anyhow::Result<Option<Status>> {
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(None),
                Err(status) => return Ok(Some(status)),
            };
            let position = match &message.entry {
                None => continue,
                Some(Entry::Heartbeat(heartbeat)) => &heartbeat.position,
                Some(Entry::Transition(made)) => {
                    self.show(&message, || line(made))?;
                    &made.position
                }
                Some(Entry::Recorded(recorded)) => {
                    self.show(&message, || recorded_line(recorded))?;
                    &recorded.position
                }
            };
            position.clone_into(&mut request.after_position);
            request.from_head = false;
        }
    }

    fn show(&self, message: &WatchTransitionsResponse, line: impl FnOnce() -> String) -> anyhow::Result<()> {
        match self.reader.output {
            Format::Json => print_json_line("WatchTransitionsResponse", message),
            Format::Table => print(line()),
        }
    }
}

/// Another try, perhaps at another replica, may succeed.
fn passes(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::Unknown | Code::Cancelled)
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

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(passes(&Status::unavailable("")));
        for status in [Status::out_of_range(""), Status::invalid_argument(""), Status::permission_denied("")] {
            assert!(!passes(&status));
        }
    }
}
