//! Whether one replica could make a webhook durable now: its stream is open, and it says that it serves.

use std::{sync::Arc, time::Duration};

use tokio::{select, sync::watch, time};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    INGEST_SERVICE,
    outbox::{Outbox, StreamId},
};

/// Between two questions while all is well: so old may a `ready` be.
const PAUSE_READY: Duration = Duration::from_secs(1);

/// Between two questions while the service does not serve: a start should not be slower than it is.
const PAUSE_WAITING: Duration = Duration::from_millis(100);

/// For one answer; a service that takes longer takes no webhooks in either.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Tells the outbox what the replica says, for as long as there is a link to it.
pub(crate) async fn watch(channel: Channel, mut open: watch::Receiver<Option<StreamId>>, outbox: Arc<Outbox>) {
    let mut client = HealthClient::new(channel);
    loop {
        let stream = *open.borrow_and_update();
        let mut serves = false;
        if let Some(stream) = stream {
            serves = probe(&mut client).await;
            outbox.report(stream, serves);
        }
        let pause = async {
            match stream {
                Some(_) => time::sleep(if serves { PAUSE_READY } else { PAUSE_WAITING }).await,
                None => std::future::pending().await,
            }
        };
        select! {
            changed = open.changed() => if changed.is_err() { break },
            () = pause => {}
        }
    }
}

async fn probe(client: &mut HealthClient<Channel>) -> bool {
    let question = HealthCheckRequest { service: INGEST_SERVICE.to_owned() };
    match time::timeout(PROBE_TIMEOUT, client.check(question)).await {
        Ok(Ok(answer)) => answer.get_ref().status() == ServingStatus::Serving,
        Ok(Err(_)) | Err(_) => false,
    }
}
