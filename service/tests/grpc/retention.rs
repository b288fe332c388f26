//! What a running service purges.

use std::{sync::Arc, time::Duration};

use calbridge_e2e::wait;
use calbridge_proto::v1::{self, SubmitOutcome, consumer_service_client::ConsumerServiceClient};
use calbridge_service::{
    Settings,
    store::{Retention, RetentionPolicies},
};

use crate::{
    events::created,
    harness::{Harness, settings},
};

/// One that reads deliveries as well.
fn reader() -> v1::CreateConsumerRequest {
    let (tenant, name) = ("acme".to_owned(), "reader".to_owned());
    let consumer = v1::Consumer { tenant, name, include_recorded: true, ..v1::Consumer::default() };
    v1::CreateConsumerRequest { consumer: Some(consumer), ..v1::CreateConsumerRequest::default() }
}

/// Starts again and keeps for so long.
async fn again(service: Harness, otherwise: Retention) -> Harness {
    let retention = Arc::new(RetentionPolicies { otherwise, ..RetentionPolicies::default() });
    Harness::over(service.leave().await, Settings { retention, ..settings() }).await
}

#[tokio::test]
async fn the_log_is_purged_and_then_the_deliveries() {
    let at_once = Some(Duration::ZERO);
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    let before = service.booking("u1").await;

    let service = again(service, Retention { transitions: at_once, ..Retention::default() }).await;
    wait::holds("its change is purged", async || service.timeline("u1").await[0].transition.is_none()).await;
    assert!(!service.timeline("u1").await[0].delivery_id.is_empty(), "its delivery is kept");

    let service = again(service, Retention { bodies: at_once, deliveries: at_once, transitions: None }).await;
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
    let mut consumers = ConsumerServiceClient::new(service.channel.clone());
    consumers.create_consumer(reader()).await.unwrap();
    // Bodies go before deliveries.
    let service = again(service, Retention { bodies: at_once, deliveries: at_once, transitions: None }).await;
    let id = service.timeline("u1").await[0].delivery_id.clone();
    let request = v1::GetDeliveryRequest { tenant: "acme".to_owned(), delivery_id: id, ..Default::default() };
    let kept = async || service.deliveries().get_delivery(request.clone()).await.unwrap().into_inner().delivery;
    wait::holds("its body is purged", async || kept().await.is_some_and(|kept| kept.raw_body_purged)).await;

    let mut consumers = ConsumerServiceClient::new(service.channel.clone());
    let (tenant, name) = ("acme".to_owned(), "reader".to_owned());
    let delete = v1::DeleteConsumerRequest { tenant, name, ..Default::default() };
    consumers.delete_consumer(delete).await.unwrap();
    let service = again(service, Retention { bodies: at_once, deliveries: at_once, transitions: None }).await;
    wait::holds("its delivery is purged", async || service.timeline("u1").await[0].delivery_id.is_empty()).await;
}
