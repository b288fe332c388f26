//! The table of HTTP answers, row by row, over both protocols.

use bytes::Bytes;
use calbridge_proto::v1::{SubmitOutcome, Trigger, booking_event::Payload};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{
    ACME, Adapter, SECRET, created, limits,
    sender::{Socket, exchange, post, webhook},
    service::{Act, Service},
    sign, soon, tenants,
};

#[tokio::test]
async fn a_committed_webhook_is_answered_with_its_delivery() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let body = created("uid-1");
    let answer = exchange(adapter.address, webhook(&body)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let expected = serde_json::json!({
        "status": "processed", "event": "BOOKING_CREATED", "outcome": "applied", "delivery_id": "delivery-1",
    });
    assert_eq!(said, expected);

    let [event] = service.events().try_into().unwrap();
    assert_eq!(event.tenant, "default");
    assert_eq!(event.trigger(), Trigger::BookingCreated);
    assert_eq!(event.raw_body, body);
    assert_eq!(event.secret_id, "env:CALCOM_WEBHOOK_SECRET");
    assert_eq!((event.content_type.as_str(), event.webhook_version.as_str()), ("application/json", "2021-10-20"));
    assert_eq!(event.request_id.len(), 36);
    assert!(event.receive_time.is_some());
    let Some(Payload::Booking(booking)) = event.payload else { panic!("{:?}", event.payload) };
    assert_eq!(booking.uid, "uid-1");
}
