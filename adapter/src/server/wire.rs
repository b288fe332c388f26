//! The socket, with the five bounds that hyper does not have.
//!
//! The first bytes of a connection, by which HTTP/2 is told from HTTP/1, must come in time; a peer that does not read
//! its answers is given up; one that sends much takes turns with all others, and one that sends frames for their own
//! sake is no sender; and after our last byte what the peer still sends is read and thrown away for a moment, for
//! closing a socket with unread bytes makes TCP destroy the answer before the peer has seen it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{self, Instant, Sleep},
};

use super::control::Control;

/// What an HTTP/2 client begins with.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Read in one turn of a connection. HTTP/2 knows frames of nine bytes, of which nine hundred are in here: a peer that
/// has sent them by the ten thousand would otherwise keep a whole thread to itself until each is dealt with.
const TURN_BYTES: usize = 8 * 1024;

/// For a peer to take more of its answers; they are small, so only one that reads none gets here.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long what comes after our last byte is read and thrown away.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// How much of it.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Thrown away at once.
const LINGER_CHUNK: usize = 16 * 1024;

/// A socket under these bounds.
pub(crate) struct Wire<S> {
    socket: S,
    opening: Option<Opening>,
    /// Of HTTP/2.
    control: Option<Control>,
    /// Read in this turn.
    turn: usize,
    /// Runs while the peer takes nothing.
    writing: Option<Pin<Box<Sleep>>>,
    closing: Closing,
    ended_by_peer: bool,
}

/// The first bytes are not all here yet.
struct Opening {
    deadline: Pin<Box<Sleep>>,
    /// So many bytes of the HTTP/2 preface have come.
    matched: usize,
}

enum Closing {
    No,
    /// Our side is ended.
    Lingering {
        deadline: Pin<Box<Sleep>>,
        left: usize,
    },
    Done,
}

impl<S> Wire<S> {
    /// The socket just accepted; `first_bytes` bounds the wait for enough to tell the protocol.
    pub(crate) fn new(socket: S, first_bytes: Duration) -> Self {
        let opening = Opening { deadline: Box::pin(time::sleep(first_bytes)), matched: 0 };
        let (turn, closing) = (0, Closing::No);
        Self { socket, opening: Some(opening), control: None, turn, writing: None, closing, ended_by_peer: false }
    }

    /// What has come; false where it is too much of what brings nothing.
    fn saw(&mut self, bytes: &[u8]) -> bool {
        let behind = self.opened(bytes);
        self.control.as_mut().is_none_or(|control| control.allows(behind, Instant::now()))
    }

    /// Ends the opening as soon as hyper can tell the protocol from what has come: it has bounds of its own from there.
    /// What has come behind it.
    fn opened<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(opening) = &mut self.opening else { return bytes };
        let expected = &H2_PREFACE[opening.matched..];
        let compared = expected.len().min(bytes.len());
        opening.matched += compared;
        if bytes.is_empty() || expected[..compared] != bytes[..compared] {
            self.opening = None;
        } else if opening.matched == H2_PREFACE.len() {
            self.opening = None;
            self.control = Some(Control::new(Instant::now()));
        }
        &bytes[compared..]
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.turn >= TURN_BYTES {
            wire.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut wire.socket).poll_read(context, buffer) {
            Poll::Ready(result) => {
                let new = &buffer.filled()[before..];
                wire.turn += new.len();
                wire.ended_by_peer |= new.is_empty();
                if wire.saw(new) {
                    Poll::Ready(result)
                } else {
                    Poll::Ready(Err(io::Error::other("frames that bring nothing, too many of them")))
                }
            }
            Poll::Pending => {
                wire.turn = 0;
                if let Some(opening) = &mut wire.opening {
                    ready!(opening.deadline.as_mut().poll(context));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no first bytes in time")));
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.socket).poll_write(context, bytes);
        wire.bounded(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.socket).poll_write_vectored(context, slices);
        wire.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let flushed = Pin::new(&mut wire.socket).poll_flush(context);
        wire.bounded(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if matches!(wire.closing, Closing::No) {
            ready!(Pin::new(&mut wire.socket).poll_shutdown(context))?;
            wire.closing = if wire.ended_by_peer {
                Closing::Done
            } else {
                Closing::Lingering { deadline: Box::pin(time::sleep(LINGER_TIME)), left: LINGER_BYTES }
            };
        }
        wire.poll_linger(context).map(Ok)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Passes a result of writing on, and fails what has been waiting for too long.
    fn bounded<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.writing = None;
            return result;
        }
        let waiting = self.writing.get_or_insert_with(|| Box::pin(time::sleep(WRITE_TIMEOUT)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing")))
    }

    /// Reads until the peer ends its side, or enough is enough.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Closing::Lingering { deadline, left } = &mut self.closing {
            let mut scratch = [0; LINGER_CHUNK];
            let mut buffer = ReadBuf::new(&mut scratch);
            let over = deadline.as_mut().poll(context).is_ready()
                || match Pin::new(&mut self.socket).poll_read(context, &mut buffer) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {
                        *left = left.saturating_sub(buffer.filled().len());
                        buffer.filled().is_empty() || *left == 0
                    }
                    Poll::Ready(Err(_)) => true,
                };
            if over {
                self.closing = Closing::Done;
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests;
