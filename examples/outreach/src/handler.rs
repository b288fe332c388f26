//! From an item of the consumer to the pipeline, and back to what the service is told.

use std::{
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use calbridge_client::{
    Handler, Notice, Settled,
    v1::{Consumer, DeadLetterPolicy, consume_response::Item},
};
use tonic::Status;

use crate::{
    pipeline::{Pipeline, PipelineError},
    snapshot::{self, Refusal},
};

/// Out to us at a time: they are written one by one, and this many wait nowhere long.
const MAX_IN_FLIGHT: i32 = 16;
/// Before an item is tried again that only another token makes readable.
const MASKED_PAUSE: Duration = Duration::from_mins(10);

/// Works off one tenant's consumer.
#[derive(Debug, Clone)]
pub struct Outreach {
    pipeline: Arc<Mutex<Pipeline>>,
}

impl Outreach {
    /// With this database.
    #[must_use]
    pub fn new(pipeline: Pipeline) -> Self {
        Self { pipeline: Arc::new(Mutex::new(pipeline)) }
    }
}

/// How the consumer is made. A booking's next transition must not pass one that was parked: replayed later, the older
/// one would overwrite what the newer had said.
#[must_use]
pub fn choices() -> Consumer {
    Consumer { max_in_flight: MAX_IN_FLIGHT, dead_letter_policy: DeadLetterPolicy::Block.into(), ..Consumer::default() }
}

impl Handler for Outreach {
    async fn handle(&self, item: Item) -> Settled {
        let Some(made) = item.transition else { return Settled::Skip };
        let told = match snapshot::read(&made) {
            Ok(told) => told,
            Err(refusal) => return refused(refusal),
        };
        let pipeline = Arc::clone(&self.pipeline);
        // A panic in there has rolled its transaction back.
        let apply = move || pipeline.lock().unwrap_or_else(PoisonError::into_inner).apply(&told);
        match tokio::task::spawn_blocking(apply).await {
            Ok(Ok(_)) => Settled::Ack,
            Ok(Err(PipelineError::Refused(refusal))) => refused(refusal),
            Ok(Err(why)) => Settled::retry(why.to_string()),
            Err(_) => Settled::retry("the pipeline broke off"),
        }
    }

    fn accept(&self, consumer: &Consumer) -> Result<(), Status> {
        let name = &consumer.name;
        if consumer.dead_letter_policy() != DeadLetterPolicy::Block {
            return Err(Status::failed_precondition(format!(
                "the consumer {name} lets a booking's later transitions pass a dead letter, and they would be \
                 overwritten by its replay: calbridge consumer update {name} --dead-letters block"
            )));
        }
        if !consumer.filter.is_empty() {
            return Err(Status::failed_precondition(format!(
                "the consumer {name} leaves out what its filter does not mean, cancellations perhaps: calbridge \
                 consumer update {name} --filter ''"
            )));
        }
        Ok(())
    }

    fn notice(&self, notice: Notice) {
        let line = match notice {
            Notice::Opened => "working off the consumer".to_owned(),
            Notice::Interrupted { status, pause } => format!("{}; going on in {pause:?}", status.message()),
            Notice::Paused { pause } => format!("the consumer is paused; asking again in {pause:?}"),
            Notice::LeasesLost { ids } => format!("{} items were given to others and come again", ids.len()),
            Notice::Unheard => "the service may not have heard of the last items; they come again".to_owned(),
            _ => return,
        };
        // Nobody may be there to read it.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

fn refused(refusal: Refusal) -> Settled {
    match refusal {
        Refusal::Poison(reason) => Settled::park(reason),
        Refusal::Masked => Settled::Retry { delay: Some(MASKED_PAUSE), reason: refusal.reason().to_owned() },
    }
}
