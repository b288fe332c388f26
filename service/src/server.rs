//! The tonic server: limits, health, reflection, the four services, and an end within a bounded time.
//!
//! The order of the end: health says `NOT_SERVING`, nothing more is taken in, what was taken is committed and answered,
//! connections close, the store closes.

mod answers;
mod deadline;
mod health;
mod incoming;

use std::{pin::pin, sync::Arc};

use calbridge_process::{Listener, tls::ServerTls};
use calbridge_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        booking_service_server::BookingServiceServer, consumer_service_server::ConsumerServiceServer,
        delivery_service_server::DeliveryServiceServer, ingest_service_server::IngestServiceServer,
    },
};
use calbridge_telemetry::{Readiness, rpc::rpc_layer};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, service::Routes, transport::Server};
use tonic_reflection::server::Builder as Reflection;
use tower::util::{MapRequestLayer, MapResponseLayer};
use tracing::{info, warn};

use self::{answers::Answers, deadline::Deadline, health::Health, incoming::incoming};
use crate::{
    Error, Settings,
    api::{Api, METHODS, Replays, unread},
    auth::{Door, Guard},
    clock::Clock,
    completion::Completion,
    dedupe::Hint,
    ingest::Ingest,
    lag::Lag,
    metrics::Metrics,
    retention::Purging,
    settings::{
        CONNECTION_CALLS, CONNECTION_WINDOW, HEADER_LIST_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_BYTES,
        STREAM_WINDOW,
    },
    store::Store,
};

/// Serves until `shutdown` fires and everything that was taken in is answered, or the grace is over.
pub(crate) async fn serve<S: Store, L: Listener>(
    store: S,
    clock: Clock,
    settings: &Settings,
    listener: L,
    readiness: &Readiness,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let tls = settings.tls.as_ref().map(ServerTls::open).transpose()?;
    let guard = Guard::new(&settings.principals);
    let store = Arc::new(store);
    let metrics = Arc::new(Metrics::new());
    let hint = Hint::open(settings.redis.as_ref(), settings.dedupe_keys, Arc::clone(&metrics))?;
    let stopping = CancellationToken::new();
    let policies = Arc::clone(&settings.clock);
    let completion = Completion {
        store: Arc::clone(&store),
        clock,
        policies: Arc::clone(&policies),
        metrics: Arc::clone(&metrics),
        aside: Arc::default(),
    };
    let purging = Purging {
        store: Arc::clone(&store),
        clock,
        policies: Arc::clone(&settings.retention),
        metrics: Arc::clone(&metrics),
    };
    let (ingest, mut rounds) =
        Ingest::start(Arc::clone(&store), hint, Arc::clone(&metrics), clock, Arc::clone(&policies), stopping.clone());
    let mut completing = tokio::spawn(completion.run(stopping.clone()));
    let mut purging = tokio::spawn(purging.run(stopping.clone()));
    let mut lag = tokio::spawn(Lag { store: Arc::clone(&store), clock }.run(stopping.clone()));
    let mut health = Health::new(readiness).await;
    let refolding = Arc::new(Semaphore::new(1));
    let replays = Replays { clock, policies, scratch: settings.scratch.clone(), refolding };
    let routes = routes(Api::new(Arc::clone(&store), ingest, replays, metrics, stopping.clone()), &health)?;
    let porter = guard.clone();
    let connections = incoming(listener, settings.connections, tls, guard);
    let mut server = pin!(
        limits(Server::builder())
            .layer(MapRequestLayer::new(move |request| porter.meet(request)))
            .layer(rpc_layer(METHODS))
            .layer(Door)
            .layer(Answers::new())
            .layer(Deadline)
            .layer(MapResponseLayer::new(with_reason))
            .add_routes(routes)
            .serve_with_incoming_shutdown(connections, stopping.clone().cancelled_owned())
    );

    tokio::select! {
        ended = &mut server => return ended.map_err(Error::Serve),
        () = rounds.ended() => return Err(Error::Stopped),
        _ = &mut completing => return Err(Error::Stopped),
        _ = &mut purging => return Err(Error::Stopped),
        _ = &mut lag => return Err(Error::Stopped),
        () = health.watch(&*store) => {}
        () = shutdown.cancelled() => {}
    }

    info!("the service finishes what it has taken in");
    health.stop().await;
    stopping.cancel();
    let end = async {
        let (closed, ()) = tokio::join!(server, async {
            rounds.ended().await;
            // A panic of any was said where it happened.
            let _ = tokio::join!(completing, purging, lag);
            health.release_watchers().await;
        });
        store.close().await;
        closed
    };
    let Ok(closed) = timeout(settings.shutdown_grace, end).await else {
        // Everything that was answered is on stable storage; the rest was never promised.
        warn!("the grace is over and some callers are still there: leaving them");
        return Ok(());
    };
    closed.map_err(Error::Serve)
}

/// tonic has no limits of its own.
fn limits(server: Server) -> Server {
    server
        .max_concurrent_streams(CONNECTION_CALLS)
        .max_frame_size(Some(calbridge_proto::FRAME_BYTES))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

/// The answer, with a reason where tonic refused by itself what it could not read.
fn with_reason(response: http::Response<Body>) -> http::Response<Body> {
    let refusal = Status::from_header_map(response.headers());
    refusal.and_then(|refusal| unread(&refusal)).map_or(response, Status::into_http)
}

/// Everything that can be called.
fn routes<S: Store>(api: Api<S>, health: &Health) -> Result<Routes, Error> {
    let reflection = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Routes::new(IngestServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES))
        .add_service(BookingServiceServer::new(api.clone()))
        .add_service(ConsumerServiceServer::new(api.clone()))
        .add_service(DeliveryServiceServer::new(api))
        .add_service(health.service())
        .add_service(reflection().build_v1().map_err(Error::Reflection)?)
        .add_service(reflection().build_v1alpha().map_err(Error::Reflection)?))
}
