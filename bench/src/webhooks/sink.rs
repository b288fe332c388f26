//! A collector that throws everything away, as a process of its own: OTLP over gRPC, nothing decoded. In the field it
//! runs on another machine, so here it may cost next to nothing.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// A gRPC message of no bytes, uncompressed: every export's answer may be empty.
const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

/// Takes everything on a port that it says on its first line, until it is killed.
///
/// # Errors
///
/// The system gives no port.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.context("no port")?;
    println!("listening grpc={}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http2::Builder::new(TokioExecutor::new());
        // A program that ends is no matter of ours.
        tokio::spawn(connection.serve_connection(TokioIo::new(stream), service_fn(swallow)));
    }
}

async fn swallow(
    request: Request<Incoming>,
) -> Result<Response<impl BodyExt<Data = Bytes, Error = Infallible>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from_static(EMPTY_MESSAGE)).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}
