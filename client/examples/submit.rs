//! Tells calbridge of a booking that was made elsewhere, as an import would: typed, with the body that says it.
//!
//!     cargo run --example submit -- http://127.0.0.1:50051 imported-1 2026-09-01T08:00:00Z 2026-10-01T14:00:00Z

use anyhow::Context as _;
use calbridge_client::{
    Access,
    v1::{
        BookingEvent, BookingPayload, SubmitEventRequest, Trigger, booking_event::Payload,
        ingest_service_client::IngestServiceClient,
    },
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| arguments.next().context(what);
    let (service, uid) = (next("which service?")?, next("which uid?")?);
    let (made, start) = (next("made when?")?, next("which start?")?);
    // The same bytes are the same delivery, however often they are submitted.
    let body = format!(
        r#"{{"triggerEvent":"BOOKING_CREATED","createdAt":"{made}","payload":{{"uid":"{uid}","startTime":"{start}"}}}}"#
    );
    let start: prost_types::Timestamp = start.parse()?;
    let booking = BookingPayload { uid, start_time: Some(start), title: "Imported".to_owned(), ..Default::default() };
    let event = BookingEvent {
        tenant: "default".to_owned(),
        trigger: Trigger::BookingCreated.into(),
        trigger_name: "BOOKING_CREATED".to_owned(),
        event_time: Some(made.parse()?),
        raw_body: body.into(),
        payload: Some(Payload::Booking(booking)),
        ..BookingEvent::default()
    };
    let connection = Access { service, ..Access::default() }.connection()?;
    let request = SubmitEventRequest { event: Some(event) };
    let answer = IngestServiceClient::new(connection).submit_event(request).await?.into_inner();
    println!("{}: {}", answer.outcome().as_str_name(), answer.booking.unwrap_or_default().uid);
    Ok(())
}
