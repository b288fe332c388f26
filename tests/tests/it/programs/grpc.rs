//! What every gRPC service of ours answers beside its own calls: health by name, reflection in both versions, and
//! errors that a program can read.

use calbridge_e2e::{
    system::{Plan, System, TENANT},
    v1::{GetBookingRequest, GetDeliveryRequest, ListBookingsRequest, SubmitEventRequest},
};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt;

const SERVICES: [&str; 4] = [
    "calbridge.v1.BookingService",
    "calbridge.v1.ConsumerService",
    "calbridge.v1.DeliveryService",
    "calbridge.v1.IngestService",
];

#[tokio::test]
async fn health_is_told_by_the_name_of_the_service() {
    let mut system = Plan::new().start().await;
    let mut health = HealthClient::new(system.api().channel());
    for service in SERVICES.into_iter().chain([""]) {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(HealthCheckRequest { service: "calbridge.v1.Nothing".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    system.stop().await;
}

#[tokio::test]
async fn both_versions_of_reflection_list_every_service() {
    let mut system = Plan::new().start().await;
    for mut listed in [list_v1(&system).await, list_v1alpha(&system).await] {
        listed.retain(|service| service.starts_with("calbridge."));
        listed.sort();
        assert_eq!(listed, SERVICES);
    }
    system.stop().await;
}

async fn list_v1(system: &System) -> Vec<String> {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut client = ServerReflectionClient::new(system.api().channel());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    match answers.message().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn list_v1alpha(system: &System) -> Vec<String> {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut client = ServerReflectionClient::new(system.api().channel());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    match answers.message().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_error_has_one_reason_that_a_program_can_read() {
    let mut system = Plan::new().start().await;
    let api = system.api();
    let tenant = TENANT.to_owned();
    let booking = GetBookingRequest { tenant: tenant.clone(), uid: "nobody".to_owned(), ..Default::default() };
    has(&api.bookings().get_booking(booking).await.unwrap_err(), Code::NotFound, "BOOKING_NOT_FOUND");
    let foreign = GetBookingRequest { tenant: "another".to_owned(), uid: "nobody".to_owned(), ..Default::default() };
    has(&api.bookings().get_booking(foreign).await.unwrap_err(), Code::NotFound, "BOOKING_NOT_FOUND");
    let delivery = GetDeliveryRequest {
        tenant: tenant.clone(),
        delivery_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        include_raw_body: false,
    };
    has(&api.deliveries().get_delivery(delivery).await.unwrap_err(), Code::NotFound, "DELIVERY_NOT_FOUND");
    let list = ListBookingsRequest { tenant, ..ListBookingsRequest::default() };
    for (request, reason) in [
        (ListBookingsRequest { tenant: "Not A Tenant".to_owned(), ..list.clone() }, "INVALID_FIELD"),
        (ListBookingsRequest { page_size: -1, ..list.clone() }, "INVALID_FIELD"),
        (ListBookingsRequest { order_by: "colour".to_owned(), ..list.clone() }, "INVALID_FIELD"),
        (ListBookingsRequest { filter: "colour = blue".to_owned(), ..list.clone() }, "FILTER_SYNTAX"),
        (ListBookingsRequest { page_token: "made up".to_owned(), ..list }, "PAGE_TOKEN_MISMATCH"),
    ] {
        has(&api.bookings().list_bookings(request).await.unwrap_err(), Code::InvalidArgument, reason);
    }
    let nothing = api.ingest().submit_event(SubmitEventRequest { event: None }).await.unwrap_err();
    has(&nothing, Code::InvalidArgument, "INVALID_FIELD");
    system.stop().await;
}

fn has(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("{status:?} has no ErrorInfo"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "calbridge"), "{status:?}");
    if code == Code::InvalidArgument && reason == "INVALID_FIELD" {
        assert!(details.bad_request().is_some_and(|bad| bad.field_violations.len() == 1), "{status:?}");
    }
}
