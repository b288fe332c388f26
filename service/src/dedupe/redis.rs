//! Redis as the hint: asked in one pipeline a round, told in one pipeline after the commit.
//!
//! No event ever waits for a connection: a keeper task makes it, tries it, and makes a new one after a failure. A Redis
//! that is dead or frozen costs one timeout, then nothing until the keeper has it back; one that passes its trial and
//! fails again is left aside for longer each time. URLs may hold a password: they appear in no error, log, span or
//! metric.

mod keeper;
mod link;

use std::{future::Future, sync::Arc, time::Duration};

use calbridge_process::RedisSettings;
use calbridge_telemetry::semconv::{self, otel};
use secrecy::ExposeSecret;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, field::Empty, info_span, warn};

use self::{
    keeper::Voice,
    link::{Client, Failure, Link, Place},
};
use super::breaker::Breaker;
use crate::{
    metrics::Metrics,
    settings::{REDIS_TIMEOUT, REDIS_UNTOLD_ROUNDS},
    store::{DeliveryKey, Identity},
};

/// A Redis that can't even be tried.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// One of the configured addresses is none.
    #[error("--redis-url: address {0} is not of the form redis://HOST:PORT or rediss://HOST:PORT")]
    Url(usize),
}

/// A handle on Redis. Its two tasks end with it.
#[derive(Debug)]
pub(crate) struct Redis {
    shared: Arc<Shared>,
    untold: mpsc::Sender<Told>,
    _keeper: AbortOnDropHandle<()>,
    _teller: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    breaker: Breaker<Link>,
    voice: Voice,
    place: Place,
    metrics: Arc<Metrics>,
}

/// Keys that were committed, and the round that did it.
#[derive(Debug)]
struct Told {
    keys: Vec<String>,
    round: Span,
}

/// Whether Redis could be tried at all.
///
/// # Errors
///
/// The first address that is none.
pub(crate) fn check(settings: &RedisSettings) -> Result<(), RedisError> {
    client(settings).map(drop)
}

fn client(settings: &RedisSettings) -> Result<Client, RedisError> {
    let urls: Vec<&str> = settings.urls.iter().map(ExposeSecret::expose_secret).collect();
    Client::open(&urls)
}

impl Redis {
    /// Begins to connect; inside a runtime.
    pub(crate) fn open(settings: &RedisSettings, metrics: Arc<Metrics>) -> Result<Self, RedisError> {
        let client = client(settings)?;
        let shared =
            Arc::new(Shared { breaker: Breaker::new(), voice: Voice::default(), place: client.place(), metrics });
        let (untold, told) = mpsc::channel(REDIS_UNTOLD_ROUNDS);
        Ok(Self {
            _keeper: AbortOnDropHandle::new(tokio::spawn(keeper::run(Arc::clone(&shared), client))),
            _teller: AbortOnDropHandle::new(tokio::spawn(pass_on(Arc::clone(&shared), told, settings.ttl))),
            shared,
            untold,
        })
    }

    pub(super) async fn ask(&self, keys: &[DeliveryKey]) -> Vec<bool> {
        let names = keys.iter().map(name).collect();
        let answer = self
            .shared
            .operate(semconv::span::REDIS_PIPELINE_EXISTS, keys.len(), &Span::current(), |mut link| async move {
                link.exist(names).await
            })
            .await;
        answer.unwrap_or_else(|| vec![false; keys.len()])
    }

    pub(super) fn tell(&self, keys: &[DeliveryKey], round: &Span) {
        // Full or closed: Redis stays ignorant of this round, and the store answers for it.
        let _ = self.untold.try_send(Told { keys: keys.iter().map(name).collect(), round: round.clone() });
    }
}

impl Shared {
    /// Lends the link to one operation under its time limit; none where there is no link or the operation failed.
    async fn operate<T, F>(
        &self,
        operation: &'static str,
        commands: usize,
        parent: &Span,
        work: impl FnOnce(Link) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let loan = self.breaker.lend()?;
        let span = self.span(operation, commands, parent);
        let begun = Instant::now();
        let result = timeout(REDIS_TIMEOUT, work(loan.link.clone()).instrument(span.clone())).await;
        let result = result.unwrap_or(Err(Failure::Timeout));
        let error = result.as_ref().err().map(Failure::name);
        self.metrics.redis(operation, begun.elapsed(), error);
        match result {
            Ok(value) => Some(value),
            Err(failure) => {
                failure.record(&span);
                if self.breaker.open(&loan) && self.voice.is_loud() {
                    warn!(
                        { semconv::ERROR_TYPE } = failure.name(),
                        "Redis failed; it is left aside until it answers again"
                    );
                }
                None
            }
        }
    }

    fn span(&self, operation: &'static str, commands: usize, parent: &Span) -> Span {
        info_span!(
            parent: parent,
            "redis",
            { otel::NAME } = operation,
            { otel::KIND } = "client",
            { otel::STATUS_CODE } = Empty,
            { semconv::DB_SYSTEM_NAME } = "redis",
            { semconv::DB_NAMESPACE } = self.place.database,
            { semconv::DB_OPERATION_NAME } = operation,
            { semconv::DB_OPERATION_BATCH_SIZE } = (commands > 1).then(|| i64::try_from(commands).unwrap_or(i64::MAX)),
            { semconv::SERVER_ADDRESS } = self.place.host,
            { semconv::SERVER_PORT } = i64::from(self.place.port),
            { semconv::DB_RESPONSE_STATUS_CODE } = Empty,
            { semconv::ERROR_TYPE } = Empty,
        )
    }
}

/// Tells Redis round by round what was committed.
async fn pass_on(shared: Arc<Shared>, mut told: mpsc::Receiver<Told>, ttl: Duration) {
    while let Some(Told { keys, round }) = told.recv().await {
        let commands = keys.len();
        shared
            .operate(semconv::span::REDIS_PIPELINE_SET, commands, &round, |mut link| async move {
                link.set(keys, ttl).await
            })
            .await;
    }
}

/// The key of a delivery in Redis: bounded, without personal data, and without braces, which a cluster would read as a
/// hash tag.
fn name(key: &DeliveryKey) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let tenant = &key.tenant;
    match key.identity {
        Identity::Body(hash) => format!("calbridge:{tenant}:b:{}", URL_SAFE_NO_PAD.encode(hash)),
        Identity::Request(id) => format!("calbridge:{tenant}:r:{}", id.simple()),
    }
}

#[cfg(test)]
mod tests;
