//! Watching: from what the notebook says was seen last, for as long as the service and chance allow.

use calbridge_e2e::{
    chance::Chance,
    v1::{
        RecordedDelivery, Transition, WatchTransitionsRequest, WatchTransitionsResponse,
        booking_service_client::BookingServiceClient, watch_transitions_response::Entry,
    },
};
use serde_json::{Value, json};
use tonic::{Status, Streaming, transport::Channel};

use crate::{After, end, notebook::Notebook};

/// After about so many entries it goes away without a word.
const PATIENCE: usize = 150;

pub(crate) async fn one(
    channel: Channel,
    (tenant, filter, recorded): (&str, &str, bool),
    notebook: &mut Notebook,
    chance: &mut Chance,
) -> After {
    let request = WatchTransitionsRequest {
        tenant: tenant.to_owned(),
        after_position: notebook.cursor().to_owned(),
        filter: filter.to_owned(),
        include_recorded: recorded,
        ..WatchTransitionsRequest::default()
    };
    notebook.write("open", 0.into());
    let why = match BookingServiceClient::new(channel).watch_transitions(request).await {
        Ok(entries) => follow(entries.into_inner(), notebook, chance).await,
        Err(status) => Err(status),
    };
    match why {
        Ok(()) => notebook.write("hangs_up", Value::Null),
        Err(status) => notebook.write("ended", end(&status).into()),
    }
    After::Again
}

/// Until it fails, or chance has it end.
async fn follow(
    mut entries: Streaming<WatchTransitionsResponse>,
    notebook: &mut Notebook,
    chance: &mut Chance,
) -> Result<(), Status> {
    loop {
        let message = entries.message().await?.and_then(|message| message.entry);
        match message.ok_or_else(|| Status::unavailable("the watch has ended, and nobody asked it to"))? {
            Entry::Transition(made) => notebook.move_to(made.position.clone(), "saw", transition(&made)),
            Entry::Recorded(kept) => notebook.move_to(kept.position.clone(), "saw", delivery(&kept)),
            Entry::Heartbeat(beat) => notebook.move_to(beat.position.clone(), "heartbeat", beat.position.into()),
        }
        if chance.once_in(PATIENCE) {
            return Ok(());
        }
    }
}

/// As a notebook tells it.
pub(crate) fn transition(made: &Transition) -> Value {
    json!({
        "position": made.position,
        "tenant": made.tenant,
        "uid": made.uid,
        "kind": made.kind,
        "from": made.from_status,
        "to": made.to_status,
    })
}

/// The same of a delivery that changes no booking.
pub(crate) fn delivery(kept: &RecordedDelivery) -> Value {
    let delivery = kept.delivery.as_ref().unwrap();
    json!({
        "position": kept.position,
        "tenant": delivery.tenant,
        "uid": delivery.booking_uid,
        "kind": 0,
        "from": 0,
        "to": 0,
    })
}
