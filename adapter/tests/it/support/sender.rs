//! Senders: requests written byte by byte, answers read the same way.

use std::net::SocketAddr;

use calbridge_e2e::wait;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{SECRET, sign};

/// An answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The headers but `date`, which differs by itself.
    pub(crate) fn without_date(mut self) -> Self {
        self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
        self
    }
}

/// A connection that is not asked to be anything but a socket.
pub(crate) struct Socket(pub(crate) TcpStream);

impl Socket {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends what the peer will take; it may have closed already.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await;
    }

    /// The next answer on this connection.
    pub(crate) async fn answer(&mut self) -> Answer {
        wait::within("an answer", self.read_answer()).await.expect("the connection was closed without an answer")
    }

    /// Whatever still comes until the peer closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = wait::within("the connection is closed", self.0.read_to_end(&mut rest)).await;
        rest
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: Vec<(String, String)> =
            lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let mut answer = Answer { status, headers, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        answer.body = String::from_utf8(body).unwrap();
        Some(answer)
    }
}

/// A POST with these header lines and this body.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: hooks.example\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.extend([*name, ": ", *value, "\r\n"]);
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

/// A POST as Cal.com sends it, for the tenant `default`.
pub(crate) fn webhook(body: &[u8]) -> Vec<u8> {
    let signature = sign(SECRET, body);
    let headers = [
        ("Content-Type", "application/json"),
        ("X-Cal-Signature-256", signature.as_str()),
        ("X-Cal-Webhook-Version", "2021-10-20"),
        ("user-agent", "node"),
    ];
    post("/webhooks/calcom/default", &headers, body)
}

/// Sends one request on a connection of its own.
pub(crate) async fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut socket = Socket::open(address).await;
    socket.send(request).await;
    socket.answer().await
}
