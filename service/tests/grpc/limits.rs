//! What a connection can't do, and what reflection and health answer.

use std::time::Duration;

use calbridge_e2e::wait;
use calbridge_proto::v1::{self, SubmitEventRequest, SubmitEventsRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1 as reflection, v1alpha as reflection_alpha};

use crate::{
    events::created,
    harness::{Failure, Harness, refusal, settings},
};

#[tokio::test]
async fn a_message_beyond_the_bound_is_refused_and_the_service_goes_on() {
    let service = Harness::start().await;
    let huge = v1::BookingEvent { raw_body: vec![b'x'; 33 * 1024 * 1024].into(), ..created("u1") };
    let status = service.submit(huge).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "REQUEST_TOO_LARGE".to_owned(), None));
    let large = v1::BookingEvent { raw_body: vec![b'x'; 5 * 1024 * 1024].into(), ..created("u1") };
    let status = service.ingest().submit_event(SubmitEventRequest { event: Some(large) }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    service.submit(created("u1")).await.unwrap();
}

#[tokio::test]
async fn a_message_beyond_the_bound_ends_its_stream_with_a_reason_behind_the_answers() {
    let service = Harness::start().await;
    let (requests, mut answers) = service.stream().await;
    let huge = v1::BookingEvent { raw_body: vec![b'x'; 33 * 1024 * 1024].into(), ..created("u2") };
    for (sequence, event) in [(1, created("u1")), (2, huge)] {
        requests.send(SubmitEventsRequest { sequence, event: Some(event) }).await.unwrap();
    }
    let first = wait::within("the first answer", answers.message()).await.unwrap().unwrap();
    assert_eq!(first.sequence, 1);
    let status = wait::within("the end", answers.message()).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "REQUEST_TOO_LARGE".to_owned(), None));
    service.submit(created("u2")).await.unwrap();
}

#[tokio::test]
async fn any_number_of_connections_may_be_allowed() {
    let service = Harness::with(calbridge_service::Settings { connections: usize::MAX, ..settings() }).await;
    service.submit(created("u1")).await.unwrap();
    service.stop().await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let service = Harness::with(calbridge_service::Settings { connections: 2, ..settings() }).await;
    service.submit(created("u1")).await.unwrap();
    // HTTP/2 begins with the client's preface; a server that has accepted answers it with its settings.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let mut second = TcpStream::connect(service.address).await.unwrap();
    second.write_all(hello).await.unwrap();
    second.read_u8().await.unwrap();
    let mut third = TcpStream::connect(service.address).await.unwrap();
    third.write_all(hello).await.unwrap();
    assert!(timeout(Duration::from_millis(300), third.read_u8()).await.is_err(), "no place is free");
    drop(second);
    timeout(Duration::from_secs(10), third.read_u8()).await.expect("a place is free").unwrap();
}

#[tokio::test]
async fn health_follows_the_store() {
    let service = Harness::start().await;
    wait::holds("it is ready", async || service.readiness.is_ready()).await;
    let mut health = HealthClient::new(service.channel.clone());
    let names = ["", "calbridge.v1.IngestService", "calbridge.v1.BookingService", "calbridge.v1.DeliveryService"];
    for name in names {
        let answer = health.check(HealthCheckRequest { service: name.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{name:?}");
    }
    let unknown = health.check(HealthCheckRequest { service: "nobody".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    service.control.fail(Some(Failure::Unavailable));
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(service.readiness.waiting_for(), ["store"]);
    service.control.fail(None);
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert!(service.readiness.is_ready());
}

#[tokio::test]
async fn reflection_shows_the_schema_in_both_versions() {
    use reflection::server_reflection_request::MessageRequest::ListServices;
    use reflection::server_reflection_response::MessageResponse;
    use reflection_alpha::server_reflection_request::MessageRequest::FileContainingSymbol;
    use reflection_alpha::server_reflection_response::MessageResponse as AlphaResponse;

    let service = Harness::start().await;
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(service.channel.clone());
    let ask = reflection::ServerReflectionRequest {
        message_request: Some(ListServices(String::new())),
        ..Default::default()
    };
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in [
        "calbridge.v1.IngestService",
        "calbridge.v1.BookingService",
        "calbridge.v1.DeliveryService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} is not in {names:?}");
    }

    let mut client = reflection_alpha::server_reflection_client::ServerReflectionClient::new(service.channel.clone());
    let symbol = "calbridge.v1.BookingService".to_owned();
    let ask = reflection_alpha::ServerReflectionRequest {
        message_request: Some(FileContainingSymbol(symbol)),
        ..Default::default()
    };
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response;
    assert!(matches!(answer, Some(AlphaResponse::FileDescriptorResponse(_))), "{answer:?}");
}
