//! Stopping: what was accepted is finished, nothing else is begun, and it ends in bounded time.

use std::time::Duration;

use calbridge_e2e::wait;
use calbridge_process::Limits;
use tokio::net::TcpStream;

use crate::support::{
    Adapter, created, limits,
    sender::{Socket, webhook},
    service::{Act, Service},
};

#[tokio::test]
async fn an_accepted_webhook_is_finished() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    service.script([Act::Late(Duration::from_millis(300))]);
    let (mut busy, mut idle) = (Socket::open(adapter.address).await, Socket::open(adapter.address).await);
    busy.send(webhook(&created("uid"))).await;
    wait::holds("it is in flight", async || service.arrivals().len() == 1).await;
    adapter.shutdown.cancel();
    wait::holds("readiness says so", async || !adapter.readiness.is_ready()).await;
    assert_eq!(idle.rest().await, b"", "an idle connection is closed");
    let refused = async { while TcpStream::connect(adapter.address).await.is_ok() {} };
    wait::within("nobody listens any more", refused).await;
    assert_eq!(busy.answer().await.status, 200);
    assert_eq!(busy.rest().await, b"");
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
    wait::holds("the service has seen the end of the stream", async || service.streams_ended() == 1).await;
}

#[tokio::test]
async fn a_request_that_is_half_here_is_finished_too() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    let request = webhook(&created("uid"));
    let mut socket = Socket::open(adapter.address).await;
    socket.send(&request[..request.len() - 10]).await;
    // Another connection's answer shows that the first one's head has been read.
    let mut other = Socket::open(adapter.address).await;
    other.send(webhook(&created("uid-2"))).await;
    assert_eq!(other.answer().await.status, 200);
    adapter.shutdown.cancel();
    assert_eq!(other.rest().await, b"");
    socket.send(&request[request.len() - 10..]).await;
    assert_eq!(socket.answer().await.status, 200);
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_grace_is_not_exceeded() {
    let service = Service::start().await;
    let grace = Duration::from_millis(300);
    let adapter = Adapter::ready(&service, Limits { shutdown_grace: grace, ..limits() }).await;
    let mut socket = Socket::open(adapter.address).await;
    socket.send("POST /webhooks/calcom HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf").await;
    let mut other = Socket::open(adapter.address).await;
    other.send(webhook(&created("uid"))).await;
    assert_eq!(other.answer().await.status, 200);
    adapter.shutdown.cancel();
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
    assert_eq!(socket.rest().await, b"");
}

#[tokio::test]
async fn it_ends_without_a_service_as_well() {
    let service = Service::start().await;
    let adapter = Adapter::ready(&service, limits()).await;
    drop(service);
    wait::holds("the adapter notices", async || !adapter.readiness.is_ready()).await;
    adapter.shutdown.cancel();
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
}
