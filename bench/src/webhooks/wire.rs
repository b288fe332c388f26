//! One keep-alive connection of HTTP/1.1: as lean as can be, for the generator shares its cores with what it measures;
//! or a hyper client's, which costs the generator what it costs most senders.

mod common;

use std::{fmt, io, net::SocketAddr, str};

use clap::ValueEnum;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub use self::common::Common;
use super::target::Sender;

/// An answer of calbridge is a few hundred bytes; more than this is none.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// What a webhook became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changed a booking.
    Applied,
    /// It was there already.
    Duplicate,
    /// Kept without a change.
    Other,
}

/// Why a webhook counts as failed.
#[derive(Debug)]
pub enum Failure {
    /// The connection did not hold.
    Connection(io::Error),
    /// Another answer than 200 or 202.
    Answer(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(why) => write!(to, "the connection broke: {why}"),
            Self::Answer(answer) => write!(to, "not answered with 200 or 202 but with: {answer}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Self::Connection(why)
    }
}

/// What the generator sends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Bare sockets on a thread for each core.
    Lean,
    /// hyper's client on a runtime of many threads.
    Hyper,
}

/// A connection of either kind.
#[derive(Debug)]
pub enum Wire {
    /// See [`Client::Lean`].
    Lean(Connection),
    /// See [`Client::Hyper`].
    Hyper(Common),
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub async fn open(client: Client, address: SocketAddr) -> io::Result<Self> {
        Ok(match client {
            Client::Lean => Self::Lean(Connection::open(address).await?),
            Client::Hyper => Self::Hyper(Common::open(address).await?),
        })
    }

    /// Makes and signs the webhook that is sent next.
    pub fn prepare(&mut self, sender: &Sender, number: u64) {
        match self {
            Self::Lean(connection) => connection.prepare(sender, number),
            Self::Hyper(connection) => connection.prepare(sender, number),
        }
    }

    /// Sends what was prepared and reads the answer.
    ///
    /// # Errors
    ///
    /// The connection broke, or the answer was neither 200 nor 202.
    pub async fn exchange(&mut self) -> Result<Outcome, Failure> {
        match self {
            Self::Lean(connection) => connection.exchange().await,
            Self::Hyper(connection) => connection.exchange().await,
        }
    }
}

/// One connection and its buffers.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    body: Vec<u8>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, body: Vec::new(), request: Vec::new(), answer: Vec::new() })
    }

    /// Makes and signs the webhook that is sent next.
    pub fn prepare(&mut self, sender: &Sender, number: u64) {
        self.request.clear();
        sender.write(number, &mut self.body, &mut self.request);
    }

    /// Sends what was prepared and reads the answer.
    ///
    /// # Errors
    ///
    /// The connection broke, or the answer was neither 200 nor 202.
    pub async fn exchange(&mut self) -> Result<Outcome, Failure> {
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if let Some((status, body)) = whole(&self.answer)? {
                return if is_kept(status) { Ok(outcome(body)) } else { Err(shown(&self.answer)) };
            }
            if self.answer.len() > MAX_ANSWER_BYTES {
                return Err(shown(&self.answer[..1_024]));
            }
        }
    }
}

type Parts<'a> = (&'a [u8], &'a [u8]);

/// Status and body of an answer, once all of it is there.
fn whole(answer: &[u8]) -> Result<Option<Parts<'_>>, Failure> {
    let Some(head) = answer.windows(HEAD_END.len()).position(|window| window == HEAD_END) else { return Ok(None) };
    let body = &answer[head + HEAD_END.len()..];
    let mut lines = answer[..head].split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| line.strip_prefix(b"HTTP/1.1 ")).and_then(|line| line.get(..3));
    let length = lines.find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        name.eq_ignore_ascii_case(b"content-length").then(|| str::from_utf8(&value[1..]).ok()?.trim().parse().ok())?
    });
    match (status, length) {
        (Some(status), Some(length)) => Ok((body.len() >= length).then_some((status, body))),
        _ => Err(shown(answer)),
    }
}

/// By the store, or by the edge's own disk.
fn is_kept(status: &[u8]) -> bool {
    matches!(status, b"200" | b"202")
}

fn shown(answer: &[u8]) -> Failure {
    Failure::Answer(String::from_utf8_lossy(answer).trim().to_owned())
}

fn outcome(body: &[u8]) -> Outcome {
    let says = |word: &[u8]| body.windows(word.len()).any(|window| window == word);
    if says(br#""outcome":"applied""#) {
        Outcome::Applied
    } else if says(br#""outcome":"duplicate""#) {
        Outcome::Duplicate
    } else {
        Outcome::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\ndate: x\r\n\r\n{\"outcome\":\"applied\"}";

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        for length in 0..OK.len() {
            assert!(whole(&OK.as_bytes()[..length]).unwrap().is_none(), "{length}");
        }
        let (status, body) = whole(OK.as_bytes()).unwrap().unwrap();
        assert_eq!((status, outcome(body)), (&b"200"[..], Outcome::Applied));
    }

    #[test]
    fn an_answer_without_a_length_is_none() {
        assert!(whole(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").is_err());
        assert!(whole(b"SSH-2.0\r\ncontent-length: 0\r\n\r\n").is_err());
    }

    #[test]
    fn outcomes_are_read_off_the_answer() {
        assert_eq!(outcome(br#"{"outcome":"duplicate"}"#), Outcome::Duplicate);
        assert_eq!(outcome(br#"{"outcome":"no_change"}"#), Outcome::Other);
    }
}
