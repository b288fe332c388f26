//! The limits to compare with, each a process of its own: what hyper alone can do on this machine, then with the
//! signature verified, then with the body typed as well. Nothing is kept.

use std::{convert::Infallible, hint::black_box, net::SocketAddr, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use calbridge_calcom::type_body;
use calbridge_e2e::webhook::SIGNATURE;
use calbridge_proto::v1::BookingEvent;
use clap::ValueEnum;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};

use super::target;

/// What such a server answers: as long as calbridge's own answer.
const ANSWER: &str = concat!(
    r#"{"status":"processed","event":"BOOKING_CREATED","outcome":"applied","#,
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
}

impl Limit {
    /// As the report names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper",
            Self::Hmac => "hyper + HMAC",
            Self::Json => "hyper + HMAC + JSON",
        }
    }

    /// As the command line names it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Hmac => "hmac",
            Self::Json => "json",
        }
    }
}

/// Serves on a port that it says on its first line, as calbridge's programs do, until it is killed.
///
/// # Errors
///
/// The system gives no port.
pub async fn serve(limit: Limit) -> anyhow::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.context("no port")?;
    println!("listening http={}", listener.local_addr()?);
    let key = Arc::new(target::key());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, limit, Arc::clone(&key)));
    }
}

async fn connection(stream: TcpStream, limit: Limit, key: Arc<Hmac<Sha256>>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request| {
        let key = Arc::clone(&key);
        async move { Ok::<_, Infallible>(answer(limit, &key, request).await) }
    });
    // A client that goes away is no matter of ours.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(limit: Limit, key: &Hmac<Sha256>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return plain(StatusCode::BAD_REQUEST, "") };
    let body = body.to_bytes();
    if limit != Limit::Bare {
        let mut claimed = [0; 32];
        let signature = head.headers.get(SIGNATURE);
        let decoded = signature.map(|signature| hex::decode_to_slice(signature.as_bytes(), &mut claimed));
        let mut mac = key.clone();
        mac.update(&body);
        if !matches!(decoded, Some(Ok(()))) || mac.verify_slice(&claimed).is_err() {
            return plain(StatusCode::UNAUTHORIZED, r#"{"error":"Invalid webhook signature"}"#);
        }
    }
    if limit == Limit::Json {
        let mut event = BookingEvent::default();
        type_body(&body).into_event(&mut event);
        black_box(&event);
    }
    plain(StatusCode::OK, ANSWER)
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
        let key = Arc::new(target::key());
        for limit in [Limit::Bare, Limit::Hmac, Limit::Json] {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = listener.local_addr().unwrap();
            let key = Arc::clone(&key);
            runtime.spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(connection(stream, limit, Arc::clone(&key)));
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
    }
}
