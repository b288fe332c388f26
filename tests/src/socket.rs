//! Bytes as no client library would send them.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::wait;

/// What is read of one answer at the most.
const MAX_ANSWER: usize = 64 * 1024;

/// A bare connection.
#[derive(Debug)]
pub struct Socket(TcpStream);

/// What came back over a bare connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// Of the status line; 0 where the connection was closed without an answer.
    pub status: u16,
    /// Header lines, as sent.
    pub head: String,
    /// What followed the headers.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// One header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Socket {
    /// Connects.
    pub async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Writes what the other side still takes; it may have answered and closed before the end.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Says that nothing more comes.
    pub async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// Writes one byte at a time, `pause` between two, until all is written or the other side has had enough.
    pub async fn trickle(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes {
            if self.0.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads one answer: its head, and as much body as its `content-length` says.
    pub async fn answer(&mut self) -> RawAnswer {
        wait::within("an answer, or the end of the connection", read_answer(&mut self.0)).await
    }

    /// Waits until the other side closes, and says how many bytes it sent before.
    pub async fn closed(&mut self) -> usize {
        self.rest().await.len()
    }

    /// Waits until the other side closes, and says what it sent before.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // What came before a reset counts.
        let _ = wait::within("the connection is closed", self.0.read_to_end(&mut bytes)).await;
        bytes
    }
}

async fn read_answer(stream: &mut TcpStream) -> RawAnswer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(answer) = parse(&bytes) {
            return answer;
        }
        match stream.read(&mut buffer).await {
            // A reset after the answer has the same meaning as an end.
            Ok(0) | Err(_) => return RawAnswer { status: 0, head: String::new(), body: bytes },
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
        assert!(bytes.len() <= MAX_ANSWER, "an answer of more than {MAX_ANSWER} bytes");
    }
}

/// Nothing while the answer is not whole.
fn parse(bytes: &[u8]) -> Option<RawAnswer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let answer = RawAnswer { status, head, body: bytes[end + 4..].to_vec() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    (answer.body.len() >= length).then_some(answer)
}
