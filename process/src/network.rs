//! Where connections come from: the one thing that our servers ask of a network. Theirs is the machine's own; the
//! simulation puts another in its place, and what is generic here costs nothing where it is not.

use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// Accepts connections.
pub trait Listener: Send + Sync + 'static {
    /// What bytes travel over.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection, without Nagle's delay, and who is at its other end. Nothing is lost where this is given up.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// It can't be told, so it is of no use.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Refused only where the connection is gone already, which its first read tells.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}
