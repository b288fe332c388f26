//! Connections: accepting them, bounding what each may cost, and ending them without losing an accepted request.
//!
//! HTTP/1.1 and HTTP/2 share the port, with TLS where there is a certificate, else without. A connection that says
//! nothing, stops half-way, idles or does not read its answers is closed, each after its own bound; where all places
//! are taken, it is closed for the next who comes.

mod activity;
mod control;
mod places;
mod wire;

use std::{io, pin::pin, sync::Arc, time::Duration};

use calbridge_process::{
    Limits, Listener,
    tls::{ServerTls, Socket},
};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{edge::Edge, observe::Ends};

use self::{
    activity::Activity,
    places::{Place, Places},
    wire::Wire,
};

/// After an error of `accept`, which mostly is a shortage of file descriptors: spinning on it would only make it worse.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// hyper's read buffer of one HTTP/1 connection: what a connection may hold beside the budget for bodies. Larger than
/// any head we take, and than any target that hyper itself takes, so that a target that is too long (414) is told from
/// headers that are too large (431).
const READ_BUFFER_BYTES: usize = 128 * 1024;

/// Requests at once on one HTTP/2 connection. Cal.com sends one at a time over HTTP/1.1; a proxy that has more waits,
/// or opens another connection. The more there are, the more heads a stranger can make us hold while their bodies do
/// not come.
const H2_STREAMS: u32 = 64;

/// Bytes in flight of one HTTP/2 request: a common webhook arrives without waiting for a window.
const H2_STREAM_WINDOW: u32 = 64 * 1024;

/// Bytes in flight of one HTTP/2 connection.
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Largest HTTP/2 frame: the protocol's own default.
const H2_FRAME_BYTES: u32 = 16 * 1024;

/// Answers that one HTTP/2 connection may leave unread; they are a few hundred bytes each.
const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Streams that a peer opened and reset before we saw them ("rapid reset"): more end the connection.
const H2_PENDING_RESETS: usize = 20;

/// Streams that we reset because the peer broke a rule: more end the connection.
const H2_LOCAL_RESETS: usize = 64;

/// Between two pings of an HTTP/2 connection.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// For the answer to a ping.
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection without a request is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Then it is asked to end. HTTP/1 has the time for headers as its bound as well.
    pub(crate) idle: Duration,
    /// Then it is cut: an HTTP/2 peer that opens no window for its answers would otherwise never end.
    pub(crate) ending: Duration,
}

impl Patience {
    /// A proxy sends its next request within the one, and reads an answer of a few hundred bytes within the other.
    pub(crate) const DEFAULT: Self = Self { idle: Duration::from_mins(1), ending: Duration::from_secs(10) };
}

/// Accepts and serves until `shutdown`, then waits for the requests that were accepted.
pub(crate) async fn serve<L: Listener>(
    listener: L,
    tls: Option<ServerTls>,
    edge: Arc<Edge>,
    limits: Limits,
    patience: Patience,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let local = listener.local_addr()?;
    let places = Places::new(limits.connections, shutdown.clone());
    let builder = builder(&limits);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut tasks = JoinSet::new();
    loop {
        let accepted = select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        // Those that have ended. A panic in one of them was said where it happened.
        while tasks.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(why) => {
                warn!(%why, "a connection could not be accepted");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = select! {
            place = places.take(peer.ip(), || edge.crowded()) => place,
            () = shutdown.cancelled() => break,
        };
        let connection = Connection {
            builder: builder.clone(),
            edge: Arc::clone(&edge),
            ends: Ends { local, peer, scheme },
            header_timeout: limits.header_timeout,
            patience,
            drain: shutdown.clone(),
            place,
        };
        tasks.spawn(connection.begin(stream, tls.clone()));
    }
    drop(listener);
    while tasks.try_join_next().is_some() {}
    info!(connections = tasks.len(), "no further connections; finishing what was accepted");
    let ended = async { while tasks.join_next().await.is_some() {} };
    if time::timeout(limits.shutdown_grace, ended).await.is_err() {
        warn!(connections = tasks.len(), "the grace is over; these connections are cut");
        tasks.shutdown().await;
    }
    Ok(())
}

/// One accepted connection.
struct Connection {
    builder: auto::Builder<TokioExecutor>,
    edge: Arc<Edge>,
    ends: Ends,
    header_timeout: Duration,
    patience: Patience,
    /// When it is time to end after the requests that are being served.
    drain: CancellationToken,
    place: Place,
}

impl Connection {
    /// Agrees on TLS where there is a certificate. Whoever has not when it is time to end has sent no request.
    async fn begin<S>(self, stream: S, tls: Option<ServerTls>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(tls) = tls else { return self.serve(Socket::Plain(stream)).await };
        select! {
            agreed = tls.accept(stream) => match agreed {
                Ok(socket) => self.serve(socket).await,
                Err(why) => debug!(%why, "no TLS with a sender"),
            },
            () = self.place.leave.cancelled() => debug!("a connection without TLS yet left"),
        }
    }

    async fn serve<S>(self, stream: Socket<S>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { builder, edge, ends, header_timeout, patience, drain, place } = self;
        let activity = &place.activity;
        let service = service_fn(|request: Request<Incoming>| {
            let (edge, busy) = (Arc::clone(&edge), Activity::busy(activity));
            let request = request.map(|body| Activity::coming(activity, body));
            async move {
                let response = edge.handle(request, ends).await;
                drop(busy);
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let io = TokioIo::new(Wire::new(stream, header_timeout));
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut ending = false;
        loop {
            select! {
                ended = connection.as_mut() => {
                    if let Err(why) = ended {
                        debug!(why, "a connection ended early");
                    }
                    return;
                }
                () = place.leave.cancelled(), if !ending => {
                    // Where it is to make room and does not, its request has come meanwhile, and is answered first.
                    if !drain.is_cancelled() && activity.waits_since().is_some() {
                        debug!("a connection whose peer was waited for made room for another");
                        return;
                    }
                }
                () = activity.idle_for(patience.idle), if !ending => {}
                () = activity.idle_for(patience.ending), if ending => {
                    debug!("a connection that was asked to end did not, and was cut");
                    return;
                }
            }
            ending = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// How every connection is served. Nothing is left to a default that could change under us.
fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let head_bytes = limits.header_bytes.min(Limits::HEADER_BYTES_MOST);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.header_count.min(Limits::HEADER_COUNT_MOST))
        .max_buf_size(READ_BUFFER_BYTES.max(head_bytes))
        .keep_alive(true)
        // An answer is some hundred bytes: to copy it behind its head costs less than to write from two places.
        .writev(false)
        // A sender may end its side once its request is out; it still gets its answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_frame_size(H2_FRAME_BYTES)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(H2_PENDING_RESETS)
        .max_local_error_reset_streams(H2_LOCAL_RESETS)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

#[cfg(test)]
mod tests;
