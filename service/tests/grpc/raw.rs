//! Callers that no library of gRPC makes: one that waits longer than it says, one that does not read, one that speaks
//! of something else, and one that looks at what it is told first.

use std::net::SocketAddr;

use bytes::Bytes;
use calbridge_e2e::wait;
use calbridge_process::{Principal, Scope};
use calbridge_proto::v1::{GetBookingRequest, ListBookingsRequest, SubmitEventRequest, SubmitEventsRequest, Trigger};
use calbridge_service::Settings;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    events::{created, event, golden},
    harness::{Harness, allowed, settings},
};

/// A connection of ours.
struct Raw {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
    address: SocketAddr,
}

impl Raw {
    /// With room for so many bytes of each answer, until they are read.
    async fn connect(service: &Harness, window: u32) -> Self {
        let stream = TcpStream::connect(service.address).await.unwrap();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection), address: service.address }
    }

    /// The answer as far as it comes by itself: its headers.
    async fn call(&mut self, method: &str, header: (&str, &str), message: &impl Message) -> Response<Incoming> {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let framed = [&[0][..], &length, &message].concat();
        let request = Request::post(format!("http://{}/calbridge.v1.{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header(header.0, header.1)
            .body(Full::from(framed))
            .unwrap();
        wait::within(method, self.sender.send_request(request)).await.unwrap()
    }

    /// All that was not read is given up.
    async fn end(self) {
        drop(self.sender);
        let _ = self.connection.await.unwrap();
    }
}

/// Code and reason, where the headers hold a refusal.
fn refusal(answer: &Response<Incoming>) -> Option<(Code, String)> {
    let status = Status::from_header_map(answer.headers())?;
    let reason = status.get_details_error_info().map(|info| info.reason);
    Some((status.code(), reason.unwrap_or_default()))
}

#[tokio::test]
async fn a_call_that_takes_longer_than_its_caller_waits_is_told_why() {
    let service = Harness::start().await;
    service.control.open.send_replace(false);
    let mut caller = Raw::connect(&service, 65_535).await;
    let submit = SubmitEventRequest { event: Some(created("u1")) };
    let answer = caller.call("IngestService/SubmitEvent", ("grpc-timeout", "50m"), &submit).await;
    assert_eq!(refusal(&answer), Some((Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned())));
    service.control.open.send_replace(true);
    caller.end().await;
    service.stop().await.unwrap();
}

/// Half of the 256 MiB are one principal's, a page is 3 MiB, and its last entry may lie beyond.
#[tokio::test]
async fn who_does_not_read_is_not_answered_without_end() {
    const CALLS: usize = 80;
    let scopes = [Scope::Ingest, Scope::Read, Scope::ReadPii].into_iter().collect();
    let reader = Principal { scopes, ..allowed(Scope::Read) };
    let service = Harness::with(Settings { principals: vec![reader], ..settings() }).await;
    let bearer = ("authorization", "Bearer known");
    let mut caller = Raw::connect(&service, 0).await;
    for number in 0..6 {
        let mut long = golden(&format!("u{number}"), 0);
        long.notes = "n".repeat(240_000);
        let submit = SubmitEventRequest { event: Some(event(Trigger::BookingCreated, &long)) };
        assert_eq!(refusal(&caller.call("IngestService/SubmitEvent", bearer, &submit).await), None);
    }

    let list = ListBookingsRequest { tenant: "acme".to_owned(), ..ListBookingsRequest::default() };
    let mut unread = Vec::new();
    for _ in 0..CALLS {
        unread.push(caller.call("BookingService/ListBookings", bearer, &list).await);
    }
    let refused: Vec<_> = unread.iter().filter_map(refusal).collect();
    assert!(refused.iter().all(|refused| *refused == (Code::ResourceExhausted, "OVERLOADED".to_owned())));
    let given = CALLS - refused.len();
    println!("{given} answers of {CALLS} wait for their reader");
    assert!((128 / 4..CALLS).contains(&given), "{given}");

    let submit = SubmitEventRequest { event: Some(created("more")) };
    let told = caller.call("IngestService/SubmitEvent", bearer, &submit).await;
    assert_eq!(refusal(&told), None, "what was changed is told all the same");

    drop(unread);
    caller.end().await;
    let mut caller = Raw::connect(&service, 65_535).await;
    let get = GetBookingRequest { tenant: "acme".to_owned(), uid: "u1".to_owned(), ..GetBookingRequest::default() };
    wait::holds("what it did not read is let go of", async || {
        refusal(&caller.call("BookingService/ListBookings", bearer, &list).await).is_none()
    })
    .await;
    assert_eq!(refusal(&caller.call("BookingService/GetBooking", bearer, &get).await), None);
    caller.end().await;
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_message_of_another_method_is_refused_with_a_reason() {
    let service = Harness::start().await;
    let mut caller = Raw::connect(&service, 65_535).await;
    // Its first field is a number where a text is asked for.
    let other = SubmitEventsRequest { sequence: 7, event: None };
    let answer = caller.call("BookingService/GetBooking", ("x-none", ""), &other).await;
    assert_eq!(refusal(&answer), Some((Code::InvalidArgument, "REQUEST_MALFORMED".to_owned())));
    caller.end().await;
    service.stop().await.unwrap();
}

/// What the adapter writes in one piece is one frame: <https://www.rfc-editor.org/rfc/rfc9113#section-6.5>.
#[tokio::test]
async fn a_frame_may_be_as_large_as_what_the_adapter_writes() {
    const MAX_FRAME_SIZE: [u8; 2] = 5_u16.to_be_bytes();
    let service = Harness::start().await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    wait::within("the first frame", stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[3], 4, "it says the settings");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    wait::within("the settings", stream.read_exact(&mut settings)).await.unwrap();
    let of_frames = settings.chunks(6).find_map(|setting| setting.strip_prefix(&MAX_FRAME_SIZE));
    assert_eq!(of_frames, Some(&32_768_u32.to_be_bytes()[..]), "{settings:?}");
    drop(stream);
    service.stop().await.unwrap();
}
