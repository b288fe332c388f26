//! Every reason for which a call is refused, over the wire: its code, the one `ErrorInfo` that names it, and what the
//! caller is told besides.

use std::{collections::BTreeSet, pin::Pin, time::Duration};

use calbridge_e2e::wait;
use calbridge_process::Scope;
use calbridge_proto::v1::{
    Consumer, CreateConsumerRequest, GetBookingRequest, GetConsumerRequest, GetDeliveryRequest, ListBookingsRequest,
    PauseConsumerRequest, RefoldDeliveriesRequest, ReplayDeliveryRequest, UpdateConsumerRequest,
    WatchTransitionsRequest, consume_request, consumer_service_client::ConsumerServiceClient,
};
use calbridge_service::{Settings, store::Retention};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    events::created,
    harness::{Failure, Harness, allowed, bearing, settings},
};

const TENANT: &str = "acme";
/// Nobody's.
const NO_DELIVERY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// What a refusal says besides its reason.
#[derive(Debug, PartialEq)]
enum Besides {
    Nothing,
    /// Which field is wrong.
    Field(&'static str),
    /// When to try again.
    Retry,
    /// What it speaks of.
    Resource(&'static str, String),
    /// A detail of the reason itself.
    Metadata(&'static str, String),
}

type Refused<'a> = Pin<Box<dyn Future<Output = Status> + 'a>>;
type Row<'a> = (&'static str, Code, Besides, Refused<'a>);

/// What a call is refused with.
async fn refused<T>(call: impl Future<Output = Result<T, Status>>) -> Status {
    call.await.err().unwrap()
}

fn row<'a, T: 'a>(
    reason: &'static str,
    code: Code,
    besides: Besides,
    call: impl Future<Output = Result<T, Status>> + 'a,
) -> Row<'a> {
    (reason, code, besides, Box::pin(refused(call)))
}

fn booking(uid: &str) -> GetBookingRequest {
    GetBookingRequest { tenant: TENANT.to_owned(), uid: uid.to_owned(), ..GetBookingRequest::default() }
}

fn list(filter: &str, page_token: &str) -> ListBookingsRequest {
    let (filter, page_token) = (filter.to_owned(), page_token.to_owned());
    ListBookingsRequest { tenant: TENANT.to_owned(), filter, page_token, ..ListBookingsRequest::default() }
}

fn named(name: &str) -> Consumer {
    Consumer { tenant: TENANT.to_owned(), name: name.to_owned(), ..Consumer::default() }
}

fn create(name: &str) -> CreateConsumerRequest {
    CreateConsumerRequest { consumer: Some(named(name)), ..CreateConsumerRequest::default() }
}

/// Checks each row, one after the other.
async fn check(rows: Vec<Row<'_>>) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for (reason, code, besides, call) in rows {
        let status = wait::within(reason, call).await;
        let details = status.check_error_details().unwrap();
        let info = details.error_info().unwrap_or_else(|| panic!("{reason}: {status:?}"));
        assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "calbridge"));
        let told = match &besides {
            Besides::Nothing | Besides::Metadata(..) => 1,
            Besides::Field(_) | Besides::Retry | Besides::Resource(..) => 2,
        };
        assert_eq!(status.check_error_details_vec().unwrap().len(), told, "{reason}: {details:?}");
        match besides {
            Besides::Nothing => assert!(info.metadata.is_empty(), "{reason}"),
            Besides::Field(field) => assert_eq!(details.bad_request().unwrap().field_violations[0].field, field),
            Besides::Retry => assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO, "{reason}"),
            Besides::Resource(kind, name) => {
                let resource = details.resource_info().unwrap();
                assert_eq!((resource.resource_type.as_str(), &resource.resource_name), (kind, &name));
            }
            Besides::Metadata(key, value) => assert_eq!(info.metadata[key], value, "{reason}"),
        }
        assert!(!status.message().is_empty(), "{reason}");
        seen.insert(reason);
    }
    seen
}

/// A service whose log and bodies are purged up to now, with what it had: a delivery, the first position, the last.
async fn purged() -> (Harness, String, [String; 2]) {
    let service = Harness::start().await;
    let mut kept = Vec::new();
    for uid in ["u1", "u2"] {
        kept.push(service.submit(created(uid)).await.unwrap());
    }
    let delivery_id = kept[0].delivery_id.clone();
    let positions = [0, 1].map(|at: usize| kept[at].booking.as_ref().unwrap().position.clone());
    let at_once = Some(Duration::ZERO);
    let service = service.keeping(Retention { bodies: at_once, transitions: at_once, ..Retention::default() }).await;
    wait::holds("the log is purged", async || service.timeline("u2").await[0].transition.is_none()).await;
    (service, delivery_id, positions)
}

/// The first of as many consumers as a tenant may have; another one is "paused".
async fn fill(service: &Harness) -> Consumer {
    let mut consumers = ConsumerServiceClient::new(service.channel.clone());
    let first = consumers.create_consumer(create("c")).await.unwrap().into_inner().consumer.unwrap();
    let others = (2..256).map(|place| format!("c{place}"));
    for name in others.chain(["paused".to_owned()]) {
        consumers.create_consumer(create(&name)).await.unwrap();
    }
    first
}

#[tokio::test]
async fn every_reason_is_told_in_one_way() {
    let (service, delivery_id, [first, last]) = purged().await;
    let mut consumers = ConsumerServiceClient::new(service.channel.clone());
    let (made, tenant, name) = (fill(&service).await, TENANT.to_owned(), "paused".to_owned());
    consumers.pause_consumer(PauseConsumerRequest { tenant: tenant.clone(), name: name.clone() }).await.unwrap();
    let open = consume_request::Open { tenant: tenant.clone(), consumer: name, max_in_flight: 1 };
    let open = calbridge_proto::v1::ConsumeRequest { request: Some(consume_request::Request::Open(open)) };

    let (mut bookings, mut listed, mut mismatched) = (service.bookings(), service.bookings(), service.bookings());
    let (mut unknown, mut expired, mut large) = (service.bookings(), service.bookings(), service.bookings());
    let beyond = "u".repeat(5 * 1024 * 1024);
    let (mut deliveries, mut replayed) = (service.deliveries(), service.deliveries());
    let (mut exists, mut gone, mut late, mut paused, mut full) =
        (consumers.clone(), consumers.clone(), consumers.clone(), consumers.clone(), consumers.clone());
    let delivery =
        GetDeliveryRequest { tenant: tenant.clone(), delivery_id: NO_DELIVERY.to_owned(), ..Default::default() };
    let replay = ReplayDeliveryRequest { tenant: tenant.clone(), delivery_id: delivery_id.clone(), dry_run: false };
    let unknown_consumer = GetConsumerRequest { tenant: tenant.clone(), name: "nobody".to_owned() };
    let update = UpdateConsumerRequest { consumer: Some(Consumer { etag: "0".to_owned(), ..made }), update_mask: None };
    let watch = WatchTransitionsRequest { tenant, after_position: first, ..WatchTransitionsRequest::default() };
    let mut seen = check(vec![
        row("INVALID_FIELD", Code::InvalidArgument, Besides::Field("uid"), bookings.get_booking(booking(""))),
        row(
            "FILTER_SYNTAX",
            Code::InvalidArgument,
            Besides::Field("filter"),
            listed.list_bookings(list("status =", "")),
        ),
        row(
            "PAGE_TOKEN_MISMATCH",
            Code::InvalidArgument,
            Besides::Field("page_token"),
            mismatched.list_bookings(list("", "made up")),
        ),
        row(
            "BOOKING_NOT_FOUND",
            Code::NotFound,
            Besides::Resource("calbridge.v1.Booking", "nobody".to_owned()),
            unknown.get_booking(booking("nobody")),
        ),
        row(
            "DELIVERY_NOT_FOUND",
            Code::NotFound,
            Besides::Resource("calbridge.v1.Delivery", delivery.delivery_id.clone()),
            deliveries.get_delivery(delivery),
        ),
        row(
            "BODY_PURGED",
            Code::FailedPrecondition,
            Besides::Resource("calbridge.v1.Delivery", delivery_id),
            replayed.replay_delivery(replay),
        ),
        row(
            "CONSUMER_NOT_FOUND",
            Code::NotFound,
            Besides::Resource("calbridge.v1.Consumer", "nobody".to_owned()),
            gone.get_consumer(unknown_consumer),
        ),
        row(
            "CONSUMER_EXISTS",
            Code::AlreadyExists,
            Besides::Resource("calbridge.v1.Consumer", "c".to_owned()),
            exists.create_consumer(create("c")),
        ),
        row("REQUEST_TOO_LARGE", Code::InvalidArgument, Besides::Nothing, large.get_booking(booking(&beyond))),
        row("CONSUMERS_FULL", Code::ResourceExhausted, Besides::Nothing, full.create_consumer(create("one-more"))),
        row("ETAG_MISMATCH", Code::Aborted, Besides::Nothing, late.update_consumer(update)),
        row("CONSUMER_PAUSED", Code::FailedPrecondition, Besides::Nothing, paused.consume(tokio_stream::once(open))),
        row(
            "CURSOR_EXPIRED",
            Code::OutOfRange,
            Besides::Metadata("earliest_position", last),
            expired.watch_transitions(watch),
        ),
    ])
    .await;
    seen.extend(check_what_passes(service).await);
    seen.extend(check_who_calls().await);
    let all = [
        "BODY_PURGED",
        "BOOKING_NOT_FOUND",
        "CONSUMERS_FULL",
        "CONSUMER_EXISTS",
        "CONSUMER_NOT_FOUND",
        "CONSUMER_PAUSED",
        "CURSOR_EXPIRED",
        "DELIVERY_NOT_FOUND",
        "ETAG_MISMATCH",
        "FILTER_SYNTAX",
        "INVALID_FIELD",
        "OVERLOADED",
        "PAGE_TOKEN_MISMATCH",
        "REQUEST_TOO_LARGE",
        "SCOPE_MISSING",
        "SHUTTING_DOWN",
        "STORE_UNAVAILABLE",
        "TOKEN_INVALID",
        "TOKEN_MISSING",
    ];
    assert_eq!(Vec::from_iter(seen), all);
}

/// What another try may get past: too much at once, a store that is away, the end.
async fn check_what_passes(service: Harness) -> BTreeSet<&'static str> {
    let refold = || RefoldDeliveriesRequest { tenant: String::new() };
    let running = service.deliveries().refold_deliveries(refold()).await.unwrap();
    let mut second = service.deliveries();
    let busy =
        check(vec![row("OVERLOADED", Code::ResourceExhausted, Besides::Retry, second.refold_deliveries(refold()))]);
    let mut seen = busy.await;
    drop(running);

    service.control.fail(Some(Failure::Unavailable));
    let away = service.submit(created("u3"));
    seen.extend(check(vec![row("STORE_UNAVAILABLE", Code::Unavailable, Besides::Retry, away)]).await);
    service.control.fail(None);

    let request = WatchTransitionsRequest { tenant: TENANT.to_owned(), from_head: true, ..Default::default() };
    let mut watch = service.bookings().watch_transitions(request).await.unwrap().into_inner();
    let ended = tokio::spawn(service.stop());
    let heard = async {
        loop {
            watch.message().await?;
        }
    };
    let rows: Vec<Row<'_>> = vec![row::<()>("SHUTTING_DOWN", Code::Unavailable, Besides::Retry, heard)];
    seen.extend(check(rows).await);
    wait::within("the end", ended).await.unwrap().unwrap();
    seen
}

/// What depends on who calls.
async fn check_who_calls() -> BTreeSet<&'static str> {
    let guarded = Harness::with(Settings { principals: vec![allowed(Scope::Read)], ..settings() }).await;
    let (mut nobody, mut stranger) = (guarded.bookings(), guarded.bookings());
    let mut consumers = ConsumerServiceClient::new(guarded.channel.clone());
    let (unknown, beyond) = (bearing("guessed", booking("u1")), bearing("known", create("c")));
    let scope = Besides::Metadata("scope", "consume".to_owned());
    let seen = check(vec![
        row("TOKEN_MISSING", Code::Unauthenticated, Besides::Nothing, nobody.get_booking(booking("u1"))),
        row("TOKEN_INVALID", Code::Unauthenticated, Besides::Nothing, stranger.get_booking(unknown)),
        row("SCOPE_MISSING", Code::PermissionDenied, scope, consumers.create_consumer(beyond)),
    ])
    .await;
    guarded.stop().await.unwrap();
    seen
}
