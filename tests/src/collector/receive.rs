//! The two ways in.

use std::{convert::Infallible, net::TcpListener, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::{
    logs::v1::{
        ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use prost::Message;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::Shared;

/// Serves both until the test lets go of the collector.
pub(super) async fn serve(
    grpc: TcpListener,
    http: TcpListener,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let grpc = TcpListenerStream::new(tokio::net::TcpListener::from_std(grpc).unwrap());
    let http = tokio::net::TcpListener::from_std(http).unwrap();
    let receiver = Receiver(shared);
    let serve_grpc = Server::builder()
        .add_service(TraceServiceServer::new(receiver.clone()))
        .add_service(MetricsServiceServer::new(receiver.clone()))
        .add_service(LogsServiceServer::new(receiver.clone()))
        .serve_with_incoming(grpc);
    tokio::select! {
        ended = serve_grpc => panic!("the collector's gRPC side ended: {ended:?}"),
        () = serve_http(http, receiver) => {}
        // The other side is dropped with the collector.
        _ = stopped.changed() => {}
    }
}

async fn serve_http(listener: tokio::net::TcpListener, receiver: Receiver) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let receiver = receiver.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| receiver.clone().post(request));
            // A client that goes away is no matter of ours.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[derive(Clone)]
struct Receiver(Arc<Shared>);

impl Receiver {
    fn traces(&self, request: ExportTraceServiceRequest) {
        self.0.add(|seen| seen.add_traces(request));
    }

    fn metrics(&self, request: ExportMetricsServiceRequest) {
        self.0.add(|seen| seen.add_metrics(request));
    }

    fn logs(&self, request: ExportLogsServiceRequest) {
        self.0.add(|seen| seen.add_logs(request));
    }

    async fn post(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let kind = request.headers().get("content-type").is_some_and(|kind| kind == "application/x-protobuf");
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        let taken = match body {
            Ok(body) if kind => self.take(&path, &body),
            _ => None,
        };
        let mut response = Response::new(Full::new(Bytes::from(taken.clone().unwrap_or_default())));
        if taken.is_none() {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        Ok(response)
    }

    fn take(&self, path: &str, body: &[u8]) -> Option<Vec<u8>> {
        match path {
            "/v1/traces" => {
                self.traces(ExportTraceServiceRequest::decode(body).ok()?);
                Some(ExportTraceServiceResponse::default().encode_to_vec())
            }
            "/v1/metrics" => {
                self.metrics(ExportMetricsServiceRequest::decode(body).ok()?);
                Some(ExportMetricsServiceResponse::default().encode_to_vec())
            }
            "/v1/logs" => {
                self.logs(ExportLogsServiceRequest::decode(body).ok()?);
                Some(ExportLogsServiceResponse::default().encode_to_vec())
            }
            _ => None,
        }
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.traces(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.metrics(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        self.logs(request.into_inner());
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}
