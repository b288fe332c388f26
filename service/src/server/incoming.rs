//! Connections as they come in: at most so many at once, each without Nagle's delay, agreed on TLS where there is a
//! certificate, and none that stays without saying what HTTP/2 begins with.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use calbridge_process::{
    Listener,
    tls::{ServerTls, Socket},
};
use futures_util::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::{
    auth::{Guard, Shown},
    settings::{ACCEPT_PAUSE, PREFACE_TIMEOUT},
};

/// `PRI * HTTP/2.0` and what belongs to it.
const PREFACE_BYTES: usize = 24;

/// A connection with its place among the others.
#[derive(Debug)]
pub(super) struct Connection<S> {
    socket: Socket<S>,
    /// Whom its certificate names.
    shown: Shown,
    /// What is left of the preface, and until when; none once it is there.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    _place: OwnedSemaphorePermit,
}

/// What accepting needs.
struct Entrance<L: Listener> {
    listener: L,
    places: Arc<Semaphore>,
    tls: Option<ServerTls>,
    guard: Guard,
    /// Those that are still agreeing on TLS, each with its place: as many as there are places at the most.
    agreeing: JoinSet<Option<Connection<L::Stream>>>,
}

/// Accepts for ever: while all places are taken further connections wait in the kernel's queue. A bound beyond what a
/// semaphore can count is none. Nobody waits for another's handshake.
pub(super) fn incoming<L: Listener>(
    listener: L,
    connections: usize,
    tls: Option<ServerTls>,
    guard: Guard,
) -> impl Stream<Item = io::Result<Connection<L::Stream>>> {
    let places = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
    let entrance = Entrance { listener, places, tls, guard, agreeing: JoinSet::new() };
    stream::unfold(entrance, |mut entrance| async move {
        let connection = entrance.next().await?;
        Some((Ok(connection), entrance))
    })
}

impl<L: Listener> Entrance<L> {
    /// The next connection that may begin.
    async fn next(&mut self) -> Option<Connection<L::Stream>> {
        loop {
            tokio::select! {
                Some(agreed) = self.agreeing.join_next() => {
                    // A panic of one of them is its own end.
                    if let Ok(Some(connection)) = agreed {
                        return Some(connection);
                    }
                }
                accepted = arrival(&self.places, &self.listener) => {
                    let (place, stream) = accepted?;
                    let Some(tls) = &self.tls else {
                        return Some(Connection::new(Socket::Plain(stream), Shown::default(), place));
                    };
                    self.agreeing.spawn(agree(tls.clone(), stream, self.guard.clone(), place));
                }
            }
        }
    }
}

/// A place first, then who takes it. Nothing is lost where this is given up in between.
async fn arrival<L: Listener>(places: &Arc<Semaphore>, listener: &L) -> Option<(OwnedSemaphorePermit, L::Stream)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    Some((place, accept(listener).await))
}

/// Nothing where they could not agree: strangers try, and it is nobody's error.
async fn agree<S: AsyncRead + AsyncWrite + Unpin>(
    tls: ServerTls,
    stream: S,
    guard: Guard,
    place: OwnedSemaphorePermit,
) -> Option<Connection<S>> {
    match tls.accept(stream).await {
        Ok(socket) => {
            let shown = socket.peer_certificate().map(|certificate| guard.by_certificate(certificate));
            Some(Connection::new(socket, shown.unwrap_or_default(), place))
        }
        Err(why) => {
            debug!(%why, "no TLS with a caller");
            None
        }
    }
}

impl<S> Connection<S> {
    fn new(socket: Socket<S>, shown: Shown, place: OwnedSemaphorePermit) -> Self {
        let preface = Some((PREFACE_BYTES, Box::pin(sleep(PREFACE_TIMEOUT))));
        Self { socket, shown, preface, _place: place }
    }
}

async fn accept<L: Listener>(listener: &L) -> L::Stream {
    loop {
        match listener.accept().await {
            // Answers are small and awaited.
            Ok((stream, _)) => return stream,
            // Out of file descriptors, mostly: that passes, and to end the service would not help.
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl<S> Connected for Connection<S> {
    type ConnectInfo = Shown;

    fn connect_info(&self) -> Shown {
        self.shown.clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let Some((left, deadline)) = &mut this.preface else {
            return Pin::new(&mut this.socket).poll_read(context, buffer);
        };
        if let Poll::Ready(result) = Pin::new(&mut this.socket).poll_read(context, buffer) {
            *left = left.saturating_sub(buffer.filled().len() - before);
            if *left == 0 {
                this.preface = None;
            }
            return Poll::Ready(result);
        }
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
