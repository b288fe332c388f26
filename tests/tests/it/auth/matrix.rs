//! Every set of scopes × every method × tenants that are one's own, another's and nobody's: only the allowed cells
//! pass.
//!
//! What is allowed is written here again, from the documents; the methods are those of the schema, so that one which is
//! new has no cell until somebody decides about it.

use std::collections::BTreeSet;

use calbridge_e2e::v1::{
    GetBookingRequest, GetDeliveryRequest, GetLineageRequest, GetTimelineRequest, ListBookingsRequest,
    ListDeliveriesRequest, RefoldDeliveriesRequest, RefoldSummary, ReplayDeliveryRequest, SubmitEventRequest,
    SubmitEventsRequest, WatchTransitionsRequest, WatchTransitionsResponse,
    booking_service_client::BookingServiceClient, delivery_service_client::DeliveryServiceClient,
    ingest_service_client::IngestServiceClient, refold_deliveries_response::Step, watch_transitions_response::Entry,
};
use prost::Message;
use tonic::{Code, Response, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use super::{House, PRIVATE, Who, consuming, event, plain, principals, reason, token_of, with};

const SCOPES: [&str; 5] = ["ingest", "read", "read.pii", "consume", "admin"];
/// One's own, another's, and one that nobody ever heard of.
const TENANTS: [&str; 3] = ["acme", "beta", "void"];
const UID: &str = "matrixUid";

/// What is asked for beside the methods as they are.
const RAW_BODY: &str = "calbridge.v1.DeliveryService/GetDelivery with its raw body";
const BY_ADDRESS: &str = "calbridge.v1.BookingService/ListBookings by an address";

/// Its methods are called elsewhere.
const CONSUMERS: &str = "calbridge.v1.ConsumerService/";

/// What a method says of a tenant that is not one's own.
#[derive(Debug, PartialEq, Eq)]
enum Foreign {
    Refused,
    NotFound,
    Empty,
}

/// What the caller must have, all of it, and what it hears of others.
///
/// Of what is needed, each must be had; of several words in one, any.
fn rule(column: &str) -> (&'static [&'static str], Foreign) {
    match column {
        "calbridge.v1.BookingService/WatchTransitions" => (&["read or consume"], Foreign::Empty),
        "calbridge.v1.IngestService/SubmitEvent" | "calbridge.v1.IngestService/SubmitEvents" => {
            (&["ingest"], Foreign::Refused)
        }
        "calbridge.v1.BookingService/GetBooking"
        | "calbridge.v1.BookingService/GetLineage"
        | "calbridge.v1.DeliveryService/GetDelivery" => (&["read"], Foreign::NotFound),
        "calbridge.v1.BookingService/ListBookings"
        | "calbridge.v1.BookingService/GetTimeline"
        | "calbridge.v1.DeliveryService/ListDeliveries" => (&["read"], Foreign::Empty),
        "calbridge.v1.DeliveryService/ReplayDelivery" => (&["admin"], Foreign::NotFound),
        "calbridge.v1.DeliveryService/RefoldDeliveries" => (&["admin"], Foreign::Empty),
        "calbridge.v1.ConsumerService/CreateConsumer" => (&["consume"], Foreign::Refused),
        "calbridge.v1.ConsumerService/ListConsumers" => (&["consume"], Foreign::Empty),
        column if column.starts_with(CONSUMERS) => (&["consume"], Foreign::NotFound),
        RAW_BODY => (&["read", "admin"], Foreign::NotFound),
        BY_ADDRESS => (&["read", "read.pii"], Foreign::Empty),
        other => panic!("nobody has decided yet who may call {other}"),
    }
}

/// Which answers hold a booking.
fn shows_a_booking(column: &str, scopes: &BTreeSet<&str>) -> bool {
    match column {
        "calbridge.v1.IngestService/SubmitEvent" => scopes.contains("read"),
        column => {
            let of_consumers = ["ConsumerService/Consume", "ConsumerService/ListDeadLetters"];
            column.contains("BookingService") || of_consumers.iter().any(|method| column.ends_with(method))
        }
    }
}

fn columns() -> Vec<String> {
    let files = prost_types::FileDescriptorSet::decode(calbridge_proto::FILE_DESCRIPTOR_SET).unwrap();
    let methods = files.file.iter().flat_map(|file| {
        file.service.iter().flat_map(move |service| {
            let name = move |method: &str| format!("{}.{}/{method}", file.package(), service.name());
            service.method.iter().map(move |method| name(method.name()))
        })
    });
    methods.chain([RAW_BODY.to_owned(), BY_ADDRESS.to_owned()]).collect()
}

fn subset(bits: usize) -> BTreeSet<&'static str> {
    SCOPES.iter().enumerate().filter(|(place, _)| bits & 1 << place != 0).map(|(_, scope)| *scope).collect()
}

/// A service, what it knows of two tenants, and a way to ask for anything.
struct Asking {
    channel: Channel,
    delivery_id: String,
}

impl Asking {
    /// What was answered, encoded; several messages one behind the other.
    async fn call(&self, column: &str, token: Option<&str>, tenant: &str) -> Result<Vec<u8>, Status> {
        let mut ingest = IngestServiceClient::new(self.channel.clone());
        let mut bookings = BookingServiceClient::new(self.channel.clone());
        let mut deliveries = DeliveryServiceClient::new(self.channel.clone());
        let (whose, uid, delivery_id) = (tenant.to_owned(), UID.to_owned(), self.delivery_id.clone());
        match column {
            "calbridge.v1.IngestService/SubmitEvent" => {
                let request = SubmitEventRequest { event: Some(event(tenant, UID)) };
                one(ingest.submit_event(with(token, request)).await)
            }
            "calbridge.v1.IngestService/SubmitEvents" => {
                let request = SubmitEventsRequest { sequence: 1, event: Some(event(tenant, UID)) };
                let answers = ingest.submit_events(with(token, tokio_stream::once(request))).await?.into_inner();
                submitted(answers).await
            }
            "calbridge.v1.BookingService/GetBooking" => {
                let request = GetBookingRequest { tenant: whose, uid, ..Default::default() };
                one(bookings.get_booking(with(token, request)).await)
            }
            "calbridge.v1.BookingService/ListBookings" => {
                let request = ListBookingsRequest { tenant: whose, ..Default::default() };
                one(bookings.list_bookings(with(token, request)).await)
            }
            BY_ADDRESS => {
                let filter = "attendee_email = tomas@lighthouse.example".to_owned();
                let request = ListBookingsRequest { tenant: whose, filter, ..Default::default() };
                one(bookings.list_bookings(with(token, request)).await)
            }
            "calbridge.v1.BookingService/GetLineage" => {
                let request = GetLineageRequest { tenant: whose, uid, ..Default::default() };
                one(bookings.get_lineage(with(token, request)).await)
            }
            "calbridge.v1.BookingService/GetTimeline" => {
                let request = GetTimelineRequest { tenant: whose, uid, ..Default::default() };
                one(bookings.get_timeline(with(token, request)).await)
            }
            "calbridge.v1.BookingService/WatchTransitions" => {
                let request = WatchTransitionsRequest { tenant: whose, stop_at_head: true, ..Default::default() };
                watched(bookings.watch_transitions(with(token, request)).await?.into_inner()).await
            }
            "calbridge.v1.DeliveryService/ListDeliveries" => {
                let request = ListDeliveriesRequest { tenant: whose, ..Default::default() };
                one(deliveries.list_deliveries(with(token, request)).await)
            }
            "calbridge.v1.DeliveryService/GetDelivery" | RAW_BODY => {
                let request = GetDeliveryRequest { tenant: whose, delivery_id, include_raw_body: column == RAW_BODY };
                one(deliveries.get_delivery(with(token, request)).await)
            }
            "calbridge.v1.DeliveryService/ReplayDelivery" => {
                let request = ReplayDeliveryRequest { tenant: whose, delivery_id, dry_run: true };
                one(deliveries.replay_delivery(with(token, request)).await)
            }
            "calbridge.v1.DeliveryService/RefoldDeliveries" => {
                let request = RefoldDeliveriesRequest { tenant: whose };
                folded(deliveries.refold_deliveries(with(token, request)).await?.into_inner()).await
            }
            other => match other.strip_prefix(CONSUMERS) {
                Some(method) => consuming::call(&self.channel, method, token, tenant).await,
                None => panic!("nobody has written yet how {other} is called"),
            },
        }
    }
}

fn one<M: Message>(answer: Result<Response<M>, Status>) -> Result<Vec<u8>, Status> {
    answer.map(|answer| answer.into_inner().encode_to_vec())
}

/// A refusal within a stream is told as one of the call.
async fn submitted(mut answers: Streaming<calbridge_e2e::v1::SubmitEventsResponse>) -> Result<Vec<u8>, Status> {
    let answer = answers.message().await?.unwrap();
    let Some(error) = &answer.error else { return Ok(answer.encode_to_vec()) };
    let details = tonic_types::ErrorDetails::with_error_info(&error.reason, "calbridge", []);
    Err(Status::with_error_details(Code::from_i32(error.code), error.message.clone(), details))
}

/// Where the log stands is nobody's secret.
async fn watched(mut entries: Streaming<WatchTransitionsResponse>) -> Result<Vec<u8>, Status> {
    let mut told = Vec::new();
    while let Some(message) = entries.message().await? {
        if !matches!(message.entry, Some(Entry::Heartbeat(_))) {
            told.extend(message.encode_to_vec());
        }
    }
    Ok(told)
}

/// Nothing where nothing was folded: how far it had come is of no account.
async fn folded(mut steps: Streaming<calbridge_e2e::v1::RefoldDeliveriesResponse>) -> Result<Vec<u8>, Status> {
    let mut told = Vec::new();
    while let Some(step) = steps.message().await? {
        match step.step {
            Some(Step::Summary(summary)) if summary == RefoldSummary::default() => {}
            Some(Step::Progress(_)) => {}
            _ => told.extend(step.encode_to_vec()),
        }
    }
    Ok(told)
}

/// Two refusals, byte by byte.
fn same(one: &Result<Vec<u8>, Status>, other: &Result<Vec<u8>, Status>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(one), Err(other)) => {
            (one.code(), one.message(), one.details()) == (other.code(), other.message(), other.details())
        }
        _ => false,
    }
}

fn holds_private(bytes: &[u8]) -> bool {
    PRIVATE.iter().any(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test]
async fn only_the_allowed_cells_pass() {
    let mut everybody = vec![Who::new("feeder", &["ingest", "read", "consume"], &["*"])];
    for bits in 1..1 << SCOPES.len() {
        let scopes: Vec<_> = subset(bits).into_iter().collect();
        everybody.push(Who::new(format!("some-{bits}"), &scopes, &["acme"]));
        everybody.push(Who::new(format!("all-{bits}"), &scopes, &["*"]));
    }
    let house = House::new(&principals(&everybody));
    let mut service = house.service().serve();
    let channel = plain(service.listening().grpc());
    let mut asking = Asking { channel, delivery_id: String::new() };
    let feeder = token_of("feeder");
    for tenant in ["acme", "beta"] {
        let request = SubmitEventRequest { event: Some(event(tenant, UID)) };
        let mut ingest = IngestServiceClient::new(asking.channel.clone());
        let answer = ingest.submit_event(with(Some(&feeder), request)).await.unwrap().into_inner();
        assert!(answer.booking.is_some());
        if tenant == "acme" {
            asking.delivery_id = answer.delivery_id;
        }
        consuming::prepare(&asking.channel, &feeder, tenant).await;
    }
    for column in columns() {
        for tenant in TENANTS {
            let nobody = asking.call(&column, None, tenant).await.unwrap_err();
            assert_eq!(reason(&nobody), "Unauthenticated/TOKEN_MISSING", "{column}");
            let wrong = asking.call(&column, Some("cbt_of_nobody"), tenant).await.unwrap_err();
            assert_eq!(reason(&wrong), "Unauthenticated/TOKEN_INVALID", "{column}");
        }
        for bits in 1..1 << SCOPES.len() {
            row(&asking, &column, bits).await;
        }
    }
    service.stop().await;
}

/// One method, one set of scopes.
async fn row(asking: &Asking, column: &str, bits: usize) {
    let scopes = subset(bits);
    let (needed, foreign) = rule(column);
    let cell = format!("{column} with {scopes:?}");
    let [some, all] = ["some", "all"].map(|kind| token_of(&format!("{kind}-{bits}")));
    let lacks = async |token: &str, tenant: &str| {
        let refused = asking.call(column, Some(token), tenant).await.expect_err(&cell);
        assert_eq!(reason(&refused), "PermissionDenied/SCOPE_MISSING", "{cell}");
    };
    if !needed.iter().all(|any| any.split(" or ").any(|scope| scopes.contains(scope))) {
        for tenant in TENANTS {
            lacks(&some, tenant).await;
            lacks(&all, tenant).await;
        }
        return;
    }
    let own = asking.call(column, Some(&some), "acme").await.expect(&cell);
    assert!(!own.is_empty() || column.contains("Refold"), "{cell}");
    if column != RAW_BODY {
        let shown = scopes.contains("read.pii") && shows_a_booking(column, &scopes);
        assert_eq!(holds_private(&own), shown, "{cell}");
    }
    if foreign == Foreign::Refused {
        lacks(&some, "beta").await;
        lacks(&some, "void").await;
        asking.call(column, Some(&all), "beta").await.expect(&cell);
        return;
    }
    let others = asking.call(column, Some(&some), "beta").await;
    let nobodys = asking.call(column, Some(&some), "void").await;
    let unknown = asking.call(column, Some(&all), "void").await;
    assert!(same(&others, &nobodys) && same(&others, &unknown), "{cell}: {others:?}, {nobodys:?}, {unknown:?}");
    match (foreign, others) {
        (Foreign::Empty, Ok(nothing)) => assert!(nothing.is_empty(), "{cell}"),
        (Foreign::NotFound, Err(refused)) => assert_eq!(refused.code(), Code::NotFound, "{cell}"),
        (foreign, others) => panic!("{cell}: {foreign:?} was expected, and it was {others:?}"),
    }
}
