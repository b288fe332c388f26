//! What is handed out where nobody hears of it.

use calbridge_e2e::wait;
use calbridge_proto::v1::Consumer;
use tonic::Code;

use super::{Worker, look, make, named, reason, uid};
use crate::{events::created, harness::Harness};

/// A service with one entry for a consumer, which nobody is told of though it is handed out.
async fn untold() -> Harness {
    let service = Harness::start().await;
    let ack_wait = Some(prost_types::Duration { seconds: 600, nanos: 0 });
    make(&service, Consumer { ack_wait, ..named("c") }).await.unwrap();
    service.submit(created("u1")).await.unwrap();
    service.control.telling.send_replace(false);
    service
}

async fn told_to_another(service: &Harness) {
    service.control.telling.send_replace(true);
    let mut other = Worker::open(service, "c", 1).await;
    let item = wait::within("the entry, before its lease has ended", other.item()).await;
    assert_eq!((uid(&item), item.delivery_count), ("u1", 2));
}

#[tokio::test]
async fn what_is_handed_to_a_client_that_has_gone_meanwhile_goes_to_others_at_once() {
    let service = untold().await;
    let gone = Worker::open(&service, "c", 1).await;
    wait::holds("it is out", async || look(&service, "c").await.in_flight == 1).await;
    drop(gone);
    // On the same connection: the service hears of the end first.
    for _ in 0..20 {
        look(&service, "c").await;
    }
    told_to_another(&service).await;
}

#[tokio::test]
async fn what_is_handed_out_after_the_time_of_a_read_goes_to_others_at_once() {
    let service = untold().await;
    let mut late = Worker::open(&service, "c", 1).await;
    let refused = late.next().await.unwrap_err();
    assert_eq!(reason(&refused), (Code::Unavailable, "STORE_UNAVAILABLE".to_owned()));
    told_to_another(&service).await;
}
