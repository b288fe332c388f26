//! A connection, with or without TLS, as one type.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

/// What bytes travel over.
#[derive(Debug)]
pub enum Socket<S = TcpStream> {
    /// In the clear.
    Plain(S),
    /// We were connected to.
    Server(Box<server::TlsStream<S>>),
    /// We connected.
    Client(Box<client::TlsStream<S>>),
}

/// Does the same with whichever it is.
macro_rules! either {
    ($socket:expr, $stream:ident => $do:expr) => {
        match $socket.get_mut() {
            Socket::Plain($stream) => $do,
            Socket::Server($stream) => $do,
            Socket::Client($stream) => $do,
        }
    };
}

impl<S> Socket<S> {
    /// The certificate that a caller showed; an authority of the listener's has vouched for it.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Server(stream) => stream.get_ref().1.peer_certificates().and_then(<[_]>::first),
            Self::Plain(_) | Self::Client(_) => None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Server(stream) => stream.is_write_vectored(),
            Self::Client(stream) => stream.is_write_vectored(),
        }
    }
}
