//! Redis as the hint: asked once a round, told in one pipeline after the commit. A cluster is so node by node.
//!
//! No event ever waits for a connection: a keeper task makes it, tries it, and makes a new one after a failure. A Redis
//! that is dead or frozen costs one timeout, then nothing until the keeper has it back; one that passes its trial and
//! fails again is left aside for longer each time. URLs may hold a password: they appear in no error, log, span or
//! metric.

mod failure;
mod keeper;
mod link;
mod name;
mod room;
mod shards;
mod tls;

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use calbridge_process::{
    RedisSettings,
    crash::{self, Point},
};
use calbridge_telemetry::{
    meter,
    semconv::{self, metric, otel},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, field::Empty, info_span, warn};

use self::{
    failure::Failure,
    keeper::Voice,
    link::{Client, Link, Place},
    room::Room,
};
use super::breaker::Breaker;
use crate::{
    metrics::Metrics,
    settings::{REDIS_TIMEOUT, REDIS_UNTOLD_ROUNDS},
    store::DeliveryKey,
};

/// A Redis that can't even be tried.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", self.option(), self.mend())]
pub enum RedisError {
    /// One of the configured addresses is none; counted from one.
    Url(usize),
    /// The addresses are not those of one cluster.
    Unlike,
    /// The file of this option does not hold what it should.
    Pem(&'static str, &'static str),
}

impl RedisError {
    /// The option that can't be used.
    pub(crate) fn option(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::Unlike => "--redis-url",
            Self::Pem(option, _) => option,
        }
    }

    /// What is wrong with it, and what to say instead.
    pub(crate) fn mend(&self) -> String {
        match self {
            Self::Url(place) => format!("address {place} is not of the form redis://HOST:PORT or rediss://HOST:PORT"),
            Self::Unlike => "the nodes of a cluster share one scheme, user, password and database; write the \
                             addresses alike"
                .to_owned(),
            Self::Pem(_, what) => {
                format!("no {what} can be read from the file; name one in PEM form, which begins with -----BEGIN")
            }
        }
    }
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
    /// The name of the operation that asks.
    asking: &'static str,
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
/// The first address that is none, addresses that do not fit together, a file that holds no certificate or key.
pub(crate) fn check(settings: &RedisSettings) -> Result<(), RedisError> {
    Client::open(settings).map(drop)
}

impl Redis {
    /// Begins to connect; inside a runtime.
    pub(crate) fn open(settings: &RedisSettings, metrics: Arc<Metrics>) -> Result<Self, RedisError> {
        let client = Client::open(settings)?;
        let shared = Arc::new(Shared {
            breaker: Breaker::new(),
            voice: Voice::default(),
            place: client.place(),
            asking: client.asking(),
            metrics,
        });
        show_away(Arc::downgrade(&shared));
        let (untold, told) = mpsc::channel(REDIS_UNTOLD_ROUNDS);
        Ok(Self {
            _keeper: AbortOnDropHandle::new(tokio::spawn(keeper::run(Arc::clone(&shared), client))),
            _teller: AbortOnDropHandle::new(tokio::spawn(pass_on(Arc::clone(&shared), told, settings.ttl))),
            shared,
            untold,
        })
    }

    pub(super) async fn ask(&self, keys: &[DeliveryKey]) -> Vec<bool> {
        let names: Vec<String> = keys.iter().map(name::of).collect();
        let shared = &self.shared;
        // However many keys it names, MGET is one command.
        let commands = if shared.asking == semconv::span::REDIS_MGET { 1 } else { keys.len() };
        let answer = shared
            .operate(shared.asking, commands, &Span::current(), |mut link| async move { link.exist(&names).await })
            .await;
        answer.and_then(Result::ok).unwrap_or_else(|| vec![false; keys.len()])
    }

    pub(super) fn tell(&self, keys: &[DeliveryKey], round: &Span) {
        // Full or closed: Redis stays ignorant of this round, and the store answers for it.
        let _ = self.untold.try_send(Told { keys: keys.iter().map(name::of).collect(), round: round.clone() });
    }
}

impl Shared {
    /// Lends the link to one operation under its time limit; none where there is no link. A failure takes the link
    /// away, but for one of room: such a Redis can be asked.
    async fn operate<T, F>(
        &self,
        operation: &'static str,
        commands: usize,
        parent: &Span,
        work: impl FnOnce(Link) -> F,
    ) -> Option<Result<T, Failure>>
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
        if let Err(failure) = &result {
            failure.record(&span);
            let lost = !matches!(failure, Failure::Full(_)) && self.breaker.open(&loan);
            if lost && self.voice.is_loud() {
                warn!({ semconv::ERROR_TYPE } = failure.name(), "Redis failed ({failure}); it is left aside for now");
            }
        }
        Some(result)
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

/// Has the gauge read whether Redis is left aside, also where it has never answered.
fn show_away(shared: Weak<Shared>) {
    // The instrument lives in the meter provider, which keeps the callback.
    let _ = meter()
        .u64_observable_gauge(metric::DEDUPE_REDIS_AWAY)
        .with_description("Whether Redis is left aside because it does not answer.")
        .with_callback(move |gauge| {
            if let Some(shared) = shared.upgrade() {
                gauge.observe(u64::from(shared.breaker.is_open()), &[]);
            }
        })
        .build();
}

/// Tells Redis round by round what was committed.
async fn pass_on(shared: Arc<Shared>, mut told: mpsc::Receiver<Told>, ttl: Duration) {
    let mut room = Room::default();
    while let Some(Told { keys, round }) = told.recv().await {
        let commands = keys.len();
        let outcome = shared
            .operate(semconv::span::REDIS_PIPELINE_SET, commands, &round, |mut link| async move {
                crash::at(Point::RedisMark);
                let done = link.set(&keys, ttl).await;
                crash::at(Point::RedisMarked);
                done
            })
            .await;
        if let Some(outcome) = outcome {
            room.note(outcome.as_ref());
        }
    }
}

#[cfg(test)]
mod tests;
