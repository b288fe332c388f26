//! A connection of hyper's client: what a generator commonly sends with.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use calbridge_e2e::{system::TENANT, webhook::SIGNATURE};
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Failure, Outcome, outcome};
use crate::webhooks::target::{PATH, Sender};

/// One connection; a task of its own drives it.
#[derive(Debug)]
pub struct Common {
    sending: http1::SendRequest<Full<Bytes>>,
    address: SocketAddr,
    next: Option<Request<Full<Bytes>>>,
}

impl Common {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sending, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // How it ends the next request is told.
        tokio::spawn(connection);
        Ok(Self { sending, address, next: None })
    }

    pub(super) fn prepare(&mut self, sender: &Sender, number: u64) {
        let mut body = Vec::new();
        let signature = sender.sign(number, &mut body);
        let request = Request::post(format!("{PATH}{TENANT}"))
            .header("Host", self.address.to_string())
            .header("Accept", "*/*")
            .header("User-Agent", "node")
            .header("Content-Type", "application/json")
            .header("X-Cal-Webhook-Version", "2021-10-20")
            .header(SIGNATURE, &signature[..]);
        // Every part of it is plain ASCII, so there is one.
        self.next = request.body(Full::new(body.into())).ok();
    }

    pub(super) async fn exchange(&mut self) -> Result<Outcome, Failure> {
        let Some(request) = self.next.take() else { return Err(io::Error::other("nothing was prepared").into()) };
        self.sending.ready().await.map_err(io::Error::other)?;
        let (head, body) = self.sending.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if matches!(head.status, StatusCode::OK | StatusCode::ACCEPTED) {
            return Ok(outcome(&body));
        }
        Err(Failure::Answer(format!("{} {}", head.status, String::from_utf8_lossy(&body))))
    }
}
