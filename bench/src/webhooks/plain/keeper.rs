//! The keeper: a round is what waits when the last one is committed.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, bail};
use calbridge_proto::v1::{
    SubmitEventRequest, SubmitEventResponse, SubmitEventsRequest, SubmitEventsResponse, SubmitOutcome,
    ingest_service_server::{IngestService, IngestServiceServer},
};
use redis::{IntoConnectionInfo, aio::MultiplexedConnection, io::tcp::TcpSettings};
use tokio::{net::TcpListener, select, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    transport::{Server, server::TcpIncoming},
};

use super::{postgres::Postgres, row::Row, sqlite::Sqlite};

/// Webhooks that may wait for a round, and answers for their stream.
const UNKEPT_MAX: usize = 1_024;
/// Webhooks of a round.
const ROUND_MAX: usize = 512;
/// How long Redis remembers, in seconds.
const REMEMBERED_S: u64 = 24 * 60 * 60;

/// Where a keeper keeps.
#[derive(Debug, Clone)]
pub enum Keeps {
    /// In this file, which is not there yet.
    Sqlite(PathBuf),
    /// In this database, which is empty.
    Postgres(String),
}

/// Where it keeps, opened.
enum Store {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// Serves on a port that it says on its first line, until it is killed. It ends with the first error.
///
/// # Errors
///
/// No port, no Redis, no store; or one of them failed.
pub async fn serve(keeps: Keeps, redis: String) -> anyhow::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.context("no port")?;
    println!("listening grpc={}", listener.local_addr()?);
    serve_on(listener, keeps, redis).await
}

pub(super) async fn serve_on(listener: TcpListener, keeps: Keeps, redis: String) -> anyhow::Result<()> {
    let redis = redis.into_connection_info()?.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let redis = redis::Client::open(redis)?.get_multiplexed_async_connection().await.context("no Redis")?;
    let store = match keeps {
        Keeps::Sqlite(path) => Store::Sqlite(Sqlite::begin(&path)?),
        Keeps::Postgres(url) => Store::Postgres(Box::new(Postgres::begin(&url).await?)),
    };
    let (queue, waiting) = mpsc::channel(UNKEPT_MAX);
    let service = IngestServiceServer::new(Keeper { queue });
    let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
    select! {
        ended = Server::builder().add_service(service).serve_with_incoming(connections) => {
            ended.context("the server ended")
        }
        ended = rounds(waiting, store, redis) => ended,
    }
}

/// A webhook, and who waits for its answer.
struct Waiting {
    row: Row,
    sequence: u64,
    answers: Answers,
}

type Answers = mpsc::Sender<Result<SubmitEventsResponse, Status>>;

struct Keeper {
    queue: mpsc::Sender<Waiting>,
}

#[async_trait]
impl IngestService for Keeper {
    type SubmitEventsStream = ReceiverStream<Result<SubmitEventsResponse, Status>>;

    async fn submit_event(&self, _: Request<SubmitEventRequest>) -> Result<Response<SubmitEventResponse>, Status> {
        Err(Status::unimplemented("SubmitEvents is what is compared"))
    }

    async fn submit_events(
        &self,
        request: Request<Streaming<SubmitEventsRequest>>,
    ) -> Result<Response<Self::SubmitEventsStream>, Status> {
        let (answers, answered) = mpsc::channel(UNKEPT_MAX);
        tokio::spawn(read(request.into_inner(), self.queue.clone(), answers));
        Ok(Response::new(ReceiverStream::new(answered)))
    }
}

/// Until the stream or the keeper ends.
async fn read(mut requests: Streaming<SubmitEventsRequest>, queue: mpsc::Sender<Waiting>, answers: Answers) {
    while let Ok(Some(SubmitEventsRequest { sequence, event })) = requests.message().await {
        let Some(row) = event.and_then(Row::of) else {
            let _ = answers.send(Err(Status::invalid_argument("no event of a booking"))).await;
            return;
        };
        if queue.send(Waiting { row, sequence, answers: answers.clone() }).await.is_err() {
            return;
        }
    }
}

async fn rounds(
    mut waiting: mpsc::Receiver<Waiting>,
    mut store: Store,
    mut redis: MultiplexedConnection,
) -> anyhow::Result<()> {
    let mut round = Vec::with_capacity(ROUND_MAX);
    while waiting.recv_many(&mut round, ROUND_MAX).await > 0 {
        let known = ask(&mut redis, &round).await?;
        let (mut rows, mut heard) = (Vec::new(), Vec::new());
        for (Waiting { row, sequence, answers }, known) in round.drain(..).zip(known) {
            if known {
                answer(&answers, sequence, None).await;
            } else {
                heard.push((row.key, sequence, answers));
                rows.push(row);
            }
        }
        if rows.is_empty() {
            continue;
        }
        let positions = match &mut store {
            Store::Sqlite(store) => store.keep(rows).await?,
            Store::Postgres(store) => store.keep(rows).await?,
        };
        if positions.len() != heard.len() {
            bail!("{} rows were kept as {}", heard.len(), positions.len());
        }
        for ((_, sequence, answers), position) in heard.iter().zip(positions) {
            answer(answers, *sequence, position).await;
        }
        tell(&mut redis, heard.iter().map(|(key, ..)| key)).await?;
    }
    Ok(())
}

/// Without a position it was kept before.
async fn answer(answers: &Answers, sequence: u64, position: Option<i64>) {
    let outcome = if position.is_some() { SubmitOutcome::Applied } else { SubmitOutcome::Duplicate };
    let position = position.unwrap_or_default().to_string();
    let answer = SubmitEventsResponse { sequence, outcome: outcome.into(), position, ..Default::default() };
    // A client that has gone does not wait.
    let _ = answers.send(Ok(answer)).await;
}

async fn ask(redis: &mut MultiplexedConnection, round: &[Waiting]) -> anyhow::Result<Vec<bool>> {
    let mut asked = redis::cmd("MGET");
    for Waiting { row, .. } in round {
        asked.arg(&row.key);
    }
    let known: Vec<Option<Vec<u8>>> = asked.query_async(redis).await?;
    Ok(known.iter().map(Option::is_some).collect())
}

async fn tell(redis: &mut MultiplexedConnection, keys: impl Iterator<Item = &[u8; 32]>) -> anyhow::Result<()> {
    let mut told = redis::pipe();
    for key in keys {
        told.cmd("SET").arg(key).arg(1).arg("EX").arg(REMEMBERED_S).ignore();
    }
    Ok(told.query_async(redis).await?)
}
