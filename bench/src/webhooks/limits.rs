//! The limits to compare with, each a process of its own: what hyper alone can do on this machine, then with the
//! signature verified, then with the body typed as well, of which nothing is kept; or with it in a log, or with a plain
//! handler's keeper.

use std::{convert::Infallible, hint::black_box, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use calbridge_calcom::type_body;
use calbridge_e2e::{system::TENANT, webhook::SIGNATURE};
use calbridge_proto::v1::{BookingEvent, SubmitOutcome};
use clap::ValueEnum;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use prost_types::Timestamp;
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};
use uuid::{NoContext, Timestamp as UuidTime, Uuid};

use super::{log::Log, plain::Link, target};

/// What such a server answers: as long as calbridge's own answer.
const ANSWER: &str = concat!(
    r#"{"status":"processed","event":"BOOKING_CREATED","outcome":"applied","#,
    r#""delivery_id":"01998a3c-0000-7000-8000-000000000000"}"#
);

/// The same for what was kept before.
const DUPLICATE: &str = concat!(
    r#"{"status":"processed","event":"BOOKING_CREATED","outcome":"duplicate","#,
    r#""delivery_id":"01998a3c-0000-7000-8000-000000000000"}"#
);

/// How much it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Limit {
    /// Reads the body whole.
    Bare,
    /// And verifies its signature.
    Hmac,
    /// And types it.
    Json,
    /// Verifies its signature, and has it on the disk.
    Log,
    /// Verifies and types it, and has a keeper keep it.
    Plain,
}

/// What a server of a limit has.
struct Server {
    limit: Limit,
    key: Hmac<Sha256>,
    storage: Storage,
}

/// Where a server of a limit keeps what it takes.
enum Storage {
    Nowhere,
    Log(Log),
    Keeper(Link),
}

/// What it takes to keep.
#[derive(Debug, Clone, clap::Args)]
pub struct Means {
    /// Where a log is kept.
    #[arg(long, value_name = "FILE", required_if_eq("limit", "log"))]
    file: Option<PathBuf>,
    /// Where the keeper is.
    #[arg(long, value_name = "URL", required_if_eq("limit", "plain"))]
    keeper: Option<String>,
}

impl Limit {
    /// As the report names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper",
            Self::Hmac => "hyper + HMAC",
            Self::Json => "hyper + HMAC + JSON",
            Self::Log => "hyper + HMAC + a log",
            Self::Plain => "a plain handler",
        }
    }

    /// As the command line names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Hmac => "hmac",
            Self::Json => "json",
            Self::Log => "log",
            Self::Plain => "plain",
        }
    }
}

/// Serves on a port that it says on its first line, as calbridge's programs do, until it is killed.
///
/// # Errors
///
/// The system gives no port, no file, or no keeper.
pub async fn serve(limit: Limit, means: Means) -> anyhow::Result<()> {
    let storage = match (limit, means.file, means.keeper) {
        (Limit::Log, Some(file), _) => Storage::Log(Log::begin(&file).context("no file for the log")?),
        (Limit::Plain, _, Some(keeper)) => Storage::Keeper(Link::open(keeper).await?),
        _ => Storage::Nowhere,
    };
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.context("no port")?;
    println!("listening http={}", listener.local_addr()?);
    let server = Arc::new(Server { limit, key: target::key(), storage });
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, Arc::clone(&server)));
    }
}

async fn connection(stream: TcpStream, server: Arc<Server>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(answer(&server, request).await) }
    });
    // A client that goes away is no matter of ours.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(server: &Server, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Server { limit, key, storage } = server;
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return plain(StatusCode::BAD_REQUEST, "") };
    let body = body.to_bytes();
    if *limit != Limit::Bare {
        let mut claimed = [0; 32];
        let signature = head.headers.get(SIGNATURE);
        let decoded = signature.map(|signature| hex::decode_to_slice(signature.as_bytes(), &mut claimed));
        let mut mac = key.clone();
        mac.update(&body);
        if !matches!(decoded, Some(Ok(()))) || mac.verify_slice(&claimed).is_err() {
            return plain(StatusCode::UNAUTHORIZED, r#"{"error":"Invalid webhook signature"}"#);
        }
    }
    let kept = match storage {
        Storage::Log(log) => log.keep(body).await,
        Storage::Keeper(link) => match link.keep(event(body)).await {
            Some(SubmitOutcome::Duplicate) => return plain(StatusCode::OK, DUPLICATE),
            kept => kept.is_some(),
        },
        Storage::Nowhere if *limit == Limit::Json => {
            let mut event = BookingEvent::default();
            type_body(&body).into_event(&mut event);
            black_box(&event);
            true
        }
        Storage::Nowhere => true,
    };
    if kept { plain(StatusCode::OK, ANSWER) } else { plain(StatusCode::SERVICE_UNAVAILABLE, "") }
}

/// A body, typed, and what the keeper has to know beside it.
pub(super) fn event(body: Bytes) -> BookingEvent {
    let now = now();
    let receive_time = Timestamp { seconds: now.as_second(), nanos: now.subsec_nanosecond() };
    let seconds = receive_time.seconds.unsigned_abs();
    let mut event = BookingEvent {
        tenant: TENANT.to_owned(),
        receive_time: Some(receive_time),
        webhook_version: "2021-10-20".to_owned(),
        content_type: "application/json".to_owned(),
        secret_id: "main".to_owned(),
        request_id: Uuid::new_v7(UuidTime::from_unix(NoContext, seconds, receive_time.nanos.unsigned_abs()))
            .to_string(),
        ..BookingEvent::default()
    };
    type_body(&body).into_event(&mut event);
    event.raw_body = body;
    event
}

#[expect(clippy::disallowed_methods, reason = "where this server meets the world: its webhooks come now")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::webhooks::{
        body::{Bodies, Mix, Traffic},
        closed::{self, Load, Until, Window},
        target::{Next, Target},
        wire::Client,
    };

    #[test]
    fn each_limit_takes_what_the_generator_sends() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("log");
        for limit in [Limit::Bare, Limit::Hmac, Limit::Json, Limit::Log] {
            let log = limit == Limit::Log;
            let storage = if log { Storage::Log(Log::begin(&file).unwrap()) } else { Storage::Nowhere };
            let server = Arc::new(Server { limit, key: target::key(), storage });
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = listener.local_addr().unwrap();
            runtime.spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(connection(stream, Arc::clone(&server)));
                }
            });
            let bodies = Bodies::new(Timestamp::UNIX_EPOCH, Traffic { mix: Mix::Life, copies_per_thousand: 0 });
            let target = Arc::new(Target::new(address, bodies, Vec::new()));
            for (client, until) in [(Client::Lean, 300), (Client::Hyper, 600)] {
                let load = Load { client, connections: 4, next: Next::New };
                let window = Window { warm_up: Duration::ZERO, until: Until::Sent(until) };
                let sample = closed::run(&target, load, window).unwrap();
                assert!(sample.answers <= 300 && target.sent() >= until);
            }
        }
        assert!(std::fs::metadata(file).unwrap().len() > 600 * 1024, "600 webhooks of more than a kilobyte");
    }
}
