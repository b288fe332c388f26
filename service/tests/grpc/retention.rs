//! What a running service purges.

use std::time::Duration;

use calbridge_e2e::wait;
use calbridge_proto::v1::{self, SubmitOutcome, consumer_service_client::ConsumerServiceClient};
use calbridge_service::store::Retention;

use crate::{events::created, harness::Harness};

/// One that reads deliveries as well.
fn reader() -> v1::CreateConsumerRequest {
    let (tenant, name) = ("acme".to_owned(), "reader".to_owned());
    let consumer = v1::Consumer { tenant, name, include_recorded: true, ..v1::Consumer::default() };
    v1::CreateConsumerRequest { consumer: Some(consumer), ..v1::CreateConsumerRequest::default() }
}

#[tokio::test]
async fn the_log_is_purged_and_then_the_deliveries() {
    let at_once = Some(Duration::ZERO);
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    let before = service.booking("u1").await;

    let service = service.keeping(Retention { transitions: at_once, ..Retention::default() }).await;
    wait::holds("its change is purged", async || service.timeline("u1").await[0].transition.is_none()).await;
    assert!(!service.timeline("u1").await[0].delivery_id.is_empty(), "its delivery is kept");

    let service = service.keeping(Retention { bodies: at_once, deliveries: at_once, transitions: None }).await;
    wait::holds("its delivery is purged", async || service.timeline("u1").await.is_empty()).await;
    let request = v1::ListDeliveriesRequest { tenant: "acme".to_owned(), ..Default::default() };
    assert_eq!(service.deliveries().list_deliveries(request).await.unwrap().into_inner().deliveries, []);
    assert_eq!(service.booking("u1").await, before);
    assert_eq!(service.submit(created("u1")).await.unwrap().outcome(), SubmitOutcome::NoChange, "a late copy");
}

#[tokio::test]
async fn deliveries_wait_for_the_consumers_that_read_them() {
    let at_once = Some(Duration::ZERO);
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    // Of a tenant that a run comes to last, and whom nobody reads.
    service.submit(v1::BookingEvent { tenant: "last".to_owned(), ..created("u1") }).await.unwrap();
    let mut consumers = ConsumerServiceClient::new(service.channel.clone());
    consumers.create_consumer(reader()).await.unwrap();
    let service = service.keeping(Retention { bodies: at_once, deliveries: at_once, transitions: None }).await;
    let last = v1::ListDeliveriesRequest { tenant: "last".to_owned(), ..Default::default() };
    let of_last = async || service.deliveries().list_deliveries(last.clone()).await.unwrap().into_inner().deliveries;
    wait::holds("a run has come to its end", async || of_last().await.is_empty()).await;
    let id = service.timeline("u1").await[0].delivery_id.clone();
    let request = v1::GetDeliveryRequest { tenant: "acme".to_owned(), delivery_id: id, ..Default::default() };
    let kept = service.deliveries().get_delivery(request).await.unwrap().into_inner().delivery;
    assert!(kept.is_some_and(|kept| kept.raw_body_purged), "bodies do not wait");

    let mut consumers = ConsumerServiceClient::new(service.channel.clone());
    let (tenant, name) = ("acme".to_owned(), "reader".to_owned());
    let delete = v1::DeleteConsumerRequest { tenant, name, ..Default::default() };
    consumers.delete_consumer(delete).await.unwrap();
    let service = service.keeping(Retention { bodies: at_once, deliveries: at_once, transitions: None }).await;
    wait::holds("its delivery is purged", async || service.timeline("u1").await[0].delivery_id.is_empty()).await;
}
