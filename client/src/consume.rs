//! Working off a durable consumer: each item goes to a handler, several at once, and what the handler answers becomes
//! an ack or a nack.
//!
//! At least once, and of one booking one at a time. Where a connection breaks, what is in hand is finished before
//! another is opened, and its answers are dropped: the service hands those items out again, so a handler that does its
//! work in a transaction of its own must see there that it has done it.

mod outbox;
mod session;

use std::{future::Future, pin::pin, time::Duration};

use calbridge_proto::v1::{Consumer, consume_response::Item};
use futures_util::FutureExt as _;
use tokio::time::sleep;
use tonic::Status;

use self::session::Session;
use crate::{Connect, passes, pauses::Pauses, reason};

/// Before a paused consumer is tried again: it is an operator who resumes it.
const PAUSED_PAUSE: Duration = Duration::from_secs(5);

/// A client of a durable consumer.
#[derive(Debug, Clone)]
pub struct Consume<C> {
    connect: C,
    tenant: String,
    consumer: String,
    max_in_flight: i32,
    make: Option<Consumer>,
}

/// What became of an item. No reason may carry personal data: it is shown to operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is dealt with.
    Ack,
    /// Deliver it again later; after the consumer's `max_deliveries` it is a dead letter.
    Retry {
        /// After this, a day at the most; unset: the consumer's own pauses.
        delay: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// Make it a dead letter now: another try would fail alike.
    Park {
        /// Why.
        reason: String,
    },
    /// Let it go: it means nothing here.
    Skip,
}

/// What is worth a line in a log, and needs nothing done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Notice {
    /// Items come from now on.
    Opened,
    /// The service went away. What was in hand comes again.
    Interrupted {
        /// Why.
        status: Status,
        /// It is tried again after this.
        pause: Duration,
    },
    /// The consumer is paused.
    Paused {
        /// It is tried again after this.
        pause: Duration,
    },
    /// The service had given these to others before it heard what became of them here: they were, or will be, handled
    /// once more.
    LeasesLost {
        /// The items' ids.
        ids: Vec<String>,
    },
    /// It was to stop, and the service did not confirm that it heard what became of the last items: they may come
    /// again.
    Unheard,
}

/// Who deals with items. Any `Fn(Item) -> Future<Output = Settled>` does; a type of its own may hear notices as well.
pub trait Handler: Sync {
    /// Deals with one. Its lease is extended for as long as this takes, so whatever blocks belongs in
    /// `tokio::task::spawn_blocking`: all of a client's handlers share one task.
    fn handle(&self, item: Item) -> impl Future<Output = Settled> + Send;

    /// The consumer whose items are about to come.
    ///
    /// # Errors
    ///
    /// An error ends the run: the handler can't work off a consumer with these choices.
    fn accept(&self, consumer: &Consumer) -> Result<(), Status> {
        let _ = consumer;
        Ok(())
    }

    /// Hears what goes on beside the items.
    fn notice(&self, notice: Notice) {
        let _ = notice;
    }
}

impl<F, Answer> Handler for F
where
    F: Fn(Item) -> Answer + Sync,
    Answer: Future<Output = Settled> + Send,
{
    fn handle(&self, item: Item) -> impl Future<Output = Settled> + Send {
        self(item)
    }
}

impl<C: Connect> Consume<C> {
    /// A client of this tenant's consumer of this name.
    pub fn new(connect: C, tenant: impl Into<String>, consumer: impl Into<String>) -> Self {
        Self { connect, tenant: tenant.into(), consumer: consumer.into(), max_in_flight: 0, make: None }
    }

    /// In hand at a time; as many as the consumer allows where it is not said.
    #[must_use]
    pub fn max_in_flight(self, max_in_flight: i32) -> Self {
        Self { max_in_flight, ..self }
    }

    /// Makes the consumer where it is not there, with these choices, from the oldest entry that is kept.
    #[must_use]
    pub fn made_with(self, choices: Consumer) -> Self {
        let named = Consumer { tenant: self.tenant.clone(), name: self.consumer.clone(), ..choices };
        Self { make: Some(named), ..self }
    }

    /// Hands items to the handler until `stop` resolves; then finishes what is in hand, settles it, and ends.
    ///
    /// # Errors
    ///
    /// What no waiting mends: a consumer that is not there, a scope that the caller does not have, choices that the
    /// handler does not accept.
    pub async fn run(&self, handler: &impl Handler, stop: impl Future<Output = ()>) -> Result<(), Status> {
        let mut stop = pin!(stop.fuse());
        let mut pauses = Pauses::new();
        loop {
            let mut session = Session::new(handler);
            let Err(status) = session.run(self, stop.as_mut()).await else { return Ok(()) };
            if session.heard() {
                pauses.reset();
            }
            let pause = if is_paused(&status) {
                handler.notice(Notice::Paused { pause: PAUSED_PAUSE });
                PAUSED_PAUSE
            } else if passes(&status) {
                let pause = pauses.next();
                handler.notice(Notice::Interrupted { status, pause });
                pause
            } else {
                return Err(status);
            };
            if session.is_stopping() {
                return Ok(());
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.as_mut() => return Ok(()),
            }
        }
    }
}

impl Settled {
    /// Deliver it again, after the consumer's own pauses.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { delay: None, reason: reason.into() }
    }

    /// Make it a dead letter now.
    pub fn park(reason: impl Into<String>) -> Self {
        Self::Park { reason: reason.into() }
    }
}

fn is_paused(status: &Status) -> bool {
    reason(status).as_deref() == Some("CONSUMER_PAUSED")
}
