//! Making and keeping durable consumers, and what they gave up on.

use std::{sync::Arc, time::Duration};

use calbridge_process::Scope;
use calbridge_proto::v1::{
    self, CreateConsumerRequest, CreateConsumerResponse, DeadLetterPolicy, DeleteConsumerRequest,
    DeleteConsumerResponse, DeleteDeadLettersRequest, DeleteDeadLettersResponse, GetConsumerRequest,
    GetConsumerResponse, ListConsumersRequest, ListConsumersResponse, ListDeadLettersRequest, ListDeadLettersResponse,
    PauseConsumerRequest, PauseConsumerResponse, ReplayDeadLettersRequest, ReplayDeadLettersResponse,
    ResumeConsumerRequest, ResumeConsumerResponse, SeekConsumerRequest, SeekConsumerResponse, UpdateConsumerRequest,
    UpdateConsumerResponse, consumer_service_server::ConsumerService, seek_consumer_request::To,
};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api,
    consume::Responses,
    errors::ApiError,
    filter, mask, open,
    page::{self, List},
    read, tenant,
    watch::{recorded, whole_log},
};
use crate::{
    auth::Caller,
    store::{
        Consumer, ConsumerChoices, ConsumerCommand, ConsumerKey, ConsumerOutcome, ConsumerStatus, DEAD_LETTERS_MAX,
        DeadLetter, LogEntry, Position, Store,
        time::{micros, timestamp},
    },
};

const NAME: &str = "must be 1 to 64 characters of a-z, 0-9, - and _";
const DAY: Duration = Duration::from_hours(24);
/// Where the caller names none.
const MAX_IN_FLIGHT: usize = 100;
const ACK_WAIT: Duration = Duration::from_secs(30);
const BACKOFF: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
];
const MAX_DELIVERIES: u32 = 10;
/// Pauses of a ladder, at the most.
const RUNGS: usize = 16;

impl<S: Store> Api<S> {
    /// Has a command carried out, and wakes whoever waits for its consumer.
    pub(super) async fn command(
        &self,
        key: ConsumerKey,
        command: ConsumerCommand,
    ) -> Result<ConsumerOutcome, ApiError> {
        let name = key.1.clone();
        let outcome = read(self.store.command_consumer(key.clone(), command)).await?;
        match outcome {
            ConsumerOutcome::Unknown => Err(ApiError::ConsumerNotFound { name }),
            ConsumerOutcome::Exists => Err(ApiError::ConsumerExists { name }),
            ConsumerOutcome::Full => Err(ApiError::ConsumersFull),
            ConsumerOutcome::OtherEtag => Err(ApiError::EtagMismatch),
            outcome => {
                self.bells.ring(&key);
                Ok(outcome)
            }
        }
    }

    /// Has a consumer changed, and shows it as it is then.
    async fn change(&self, key: ConsumerKey, command: ConsumerCommand) -> Result<Option<v1::Consumer>, ApiError> {
        self.command(key.clone(), command).await?;
        self.show(key).await.map(Some)
    }

    async fn show(&self, key: ConsumerKey) -> Result<v1::Consumer, ApiError> {
        self.status(key).await.map(shown)
    }

    async fn status(&self, key: ConsumerKey) -> Result<ConsumerStatus, ApiError> {
        let name = key.1.clone();
        read(self.store.consumer(key)).await?.ok_or(ApiError::ConsumerNotFound { name })
    }

    async fn count(&self, key: ConsumerKey, command: ConsumerCommand) -> Result<i32, ApiError> {
        match self.command(key, command).await? {
            ConsumerOutcome::Counted(count) => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
            _ => Ok(0),
        }
    }

    /// Behind which position a consumer is to go on.
    async fn place(&self, whose: &str, choices: &ConsumerChoices, to: Option<To>) -> Result<Position, ApiError> {
        match to {
            Some(To::AfterPosition(position)) => {
                whole_log(&*self.store, whose, (&position, choices.means_recorded())).await
            }
            Some(To::Time(time)) => read(self.store.position_before(micros(&time))).await,
            Some(To::Head(true)) => read(self.store.head()).await,
            Some(To::Beginning(true)) => Ok(Position(0)),
            _ => Err(ApiError::InvalidField { field: "to", why: "must be a position, a time, head or beginning" }),
        }
    }
}

#[async_trait]
impl<S: Store> ConsumerService for Api<S> {
    async fn create_consumer(
        &self,
        request: Request<CreateConsumerRequest>,
    ) -> Result<Response<CreateConsumerResponse>, Status> {
        let (caller, CreateConsumerRequest { consumer, after_position, from_head }) = open(request);
        let asked = consumer.ok_or(ApiError::InvalidField { field: "consumer", why: "must be set" })?;
        let key = key(&caller, &asked.tenant, &asked.name)?;
        if !caller.knows(&asked.tenant) {
            // There is none that it could be made for.
            return Err(ApiError::ScopeMissing { scopes: &[Scope::Consume], what: "this tenant" }.into());
        }
        let choices = choices(&asked)?;
        let to = match (after_position.is_empty(), from_head) {
            (true, true) => To::Head(true),
            (true, false) => To::Beginning(true),
            (false, false) => To::AfterPosition(after_position),
            (false, true) => {
                let why = "must be empty where from_head is set";
                return Err(ApiError::InvalidField { field: "after_position", why }.into());
            }
        };
        let cursor = self.place(&asked.tenant, &choices, Some(to)).await?;
        let now = (self.replays.clock)();
        let consumer = Consumer {
            key: key.clone(),
            choices,
            paused: asked.paused,
            cursor,
            scanned: cursor,
            lease: 0,
            etag: 1,
            create_time: now,
            update_time: now,
        };
        let consumer = self.change(key, ConsumerCommand::Create(Box::new(consumer))).await?;
        Ok(Response::new(CreateConsumerResponse { consumer }))
    }

    async fn get_consumer(
        &self,
        request: Request<GetConsumerRequest>,
    ) -> Result<Response<GetConsumerResponse>, Status> {
        let (caller, GetConsumerRequest { tenant, name }) = open(request);
        let consumer = Some(self.show(key(&caller, &tenant, &name)?).await?);
        Ok(Response::new(GetConsumerResponse { consumer }))
    }

    async fn list_consumers(
        &self,
        request: Request<ListConsumersRequest>,
    ) -> Result<Response<ListConsumersResponse>, Status> {
        let (caller, request) = open(request);
        let whose = tenant(&caller, &request.tenant)?;
        let size = page::size(request.page_size)?;
        let pages = List { method: "ListConsumers", tenant: &request.tenant, choices: &[] };
        let after = pages.name(&request.page_token)?.map(|name| (Arc::from(whose), name));
        let found = read(self.store.consumers(Some(whose.to_owned()), after, size + 1)).await?;
        let mut consumers: Vec<v1::Consumer> = found.into_iter().map(shown).collect();
        let more = page::cut(&mut consumers, size, page::encoded);
        let next_page_token = match consumers.last() {
            Some(last) if more => pages.token_behind_name(&last.name),
            _ => String::new(),
        };
        Ok(Response::new(ListConsumersResponse { consumers, next_page_token }))
    }

    async fn update_consumer(
        &self,
        request: Request<UpdateConsumerRequest>,
    ) -> Result<Response<UpdateConsumerResponse>, Status> {
        let (caller, UpdateConsumerRequest { consumer, update_mask }) = open(request);
        let asked = consumer.ok_or(ApiError::InvalidField { field: "consumer", why: "must be set" })?;
        let key = key(&caller, &asked.tenant, &asked.name)?;
        let before = self.show(key.clone()).await?;
        let etag = if asked.etag.is_empty() { etag(&before.etag)? } else { etag(&asked.etag)? };
        let choices = choices(&masked(before, asked, update_mask.map(|mask| mask.paths))?)?;
        let now = (self.replays.clock)();
        let consumer = self.change(key, ConsumerCommand::Update(Box::new(choices), Some(etag), now)).await?;
        Ok(Response::new(UpdateConsumerResponse { consumer }))
    }

    async fn delete_consumer(
        &self,
        request: Request<DeleteConsumerRequest>,
    ) -> Result<Response<DeleteConsumerResponse>, Status> {
        let (caller, DeleteConsumerRequest { tenant, name, etag: said }) = open(request);
        let etag = if said.is_empty() { None } else { Some(etag(&said)?) };
        self.command(key(&caller, &tenant, &name)?, ConsumerCommand::Delete(etag)).await?;
        Ok(Response::new(DeleteConsumerResponse {}))
    }

    async fn seek_consumer(
        &self,
        request: Request<SeekConsumerRequest>,
    ) -> Result<Response<SeekConsumerResponse>, Status> {
        let (caller, SeekConsumerRequest { tenant, name, to }) = open(request);
        let key = key(&caller, &tenant, &name)?;
        let choices = self.status(key.clone()).await?.consumer.choices;
        let to = self.place(&key.0, &choices, to).await?;
        let consumer = self.change(key, ConsumerCommand::Seek(to, (self.replays.clock)())).await?;
        Ok(Response::new(SeekConsumerResponse { consumer }))
    }

    async fn pause_consumer(
        &self,
        request: Request<PauseConsumerRequest>,
    ) -> Result<Response<PauseConsumerResponse>, Status> {
        let (caller, PauseConsumerRequest { tenant, name }) = open(request);
        let command = ConsumerCommand::Pause(true, (self.replays.clock)());
        let consumer = self.change(key(&caller, &tenant, &name)?, command).await?;
        Ok(Response::new(PauseConsumerResponse { consumer }))
    }

    async fn resume_consumer(
        &self,
        request: Request<ResumeConsumerRequest>,
    ) -> Result<Response<ResumeConsumerResponse>, Status> {
        let (caller, ResumeConsumerRequest { tenant, name }) = open(request);
        let command = ConsumerCommand::Pause(false, (self.replays.clock)());
        let consumer = self.change(key(&caller, &tenant, &name)?, command).await?;
        Ok(Response::new(ResumeConsumerResponse { consumer }))
    }

    type ConsumeStream = Responses;

    async fn consume(
        &self,
        request: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let (caller, requests) = open(request);
        Ok(Response::new(self.begin_to_deliver(caller, requests).await?))
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let (caller, ListDeadLettersRequest { tenant, consumer, page_size, page_token }) = open(request);
        let key = key(&caller, &tenant, &consumer)?;
        let size = page::size(page_size)?;
        let pages = List { method: "ListDeadLetters", tenant: &tenant, choices: &[&consumer] };
        let after = pages.position(&page_token)?.unwrap_or(Position(0));
        self.show(key.clone()).await?;
        let mut found = read(self.store.dead_letters(key.clone(), after, size + 1)).await?;
        // As large as they are kept: what the caller is not shown counts where the store ends a page.
        let is_cut = page::cut(&mut found, size, |letter| letter.entry.bytes());
        let mut dead_letters = Vec::with_capacity(found.len());
        for letter in found {
            dead_letters.push((letter.position, mask::shown(&caller, shown_letter(&key, letter).await?)));
        }
        let more = page::cut(&mut dead_letters, size, |(_, letter)| page::encoded(letter)) || is_cut;
        let next_page_token = match dead_letters.last() {
            Some((last, _)) if more => pages.token_at(*last),
            _ => String::new(),
        };
        let dead_letters = dead_letters.into_iter().map(|(_, letter)| letter).collect();
        Ok(Response::new(ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<ReplayDeadLettersRequest>,
    ) -> Result<Response<ReplayDeadLettersResponse>, Status> {
        let (caller, ReplayDeadLettersRequest { tenant, consumer, positions: asked }) = open(request);
        let command = ConsumerCommand::ReplayDeadLetters(positions(&asked)?, (self.replays.clock)());
        let replayed = self.count(key(&caller, &tenant, &consumer)?, command).await?;
        Ok(Response::new(ReplayDeadLettersResponse { replayed }))
    }

    async fn delete_dead_letters(
        &self,
        request: Request<DeleteDeadLettersRequest>,
    ) -> Result<Response<DeleteDeadLettersResponse>, Status> {
        let (caller, DeleteDeadLettersRequest { tenant, consumer, positions: asked }) = open(request);
        let command = ConsumerCommand::DeleteDeadLetters(positions(&asked)?);
        let deleted = self.count(key(&caller, &tenant, &consumer)?, command).await?;
        Ok(Response::new(DeleteDeadLettersResponse { deleted }))
    }
}

/// Which consumer; one that nobody ever heard of where the caller knows nothing of the tenant.
pub(super) fn key(caller: &Caller, whose: &str, name: &str) -> Result<ConsumerKey, ApiError> {
    let whose = tenant(caller, whose)?;
    let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if !(1..=64).contains(&name.len()) || !name.bytes().all(known) {
        return Err(ApiError::InvalidField { field: "consumer.name", why: NAME });
    }
    Ok((Arc::from(whose), name.to_owned()))
}

fn etag(said: &str) -> Result<i64, ApiError> {
    // One that is none of ours can't be the consumer's.
    i64::from_str_radix(said, 16).map_err(|_| ApiError::EtagMismatch)
}

fn positions(asked: &[String]) -> Result<Vec<Position>, ApiError> {
    let invalid = |why| ApiError::InvalidField { field: "positions", why };
    if asked.len() > DEAD_LETTERS_MAX {
        return Err(invalid("are more than 1000"));
    }
    let read = |position: &String| Position::from_token(position);
    let read: Option<Vec<Position>> = asked.iter().map(read).collect();
    read.ok_or_else(|| invalid("must be positions of dead letters"))
}

/// What an update leaves as it was.
fn masked(before: v1::Consumer, asked: v1::Consumer, paths: Option<Vec<String>>) -> Result<v1::Consumer, ApiError> {
    let Some(paths) = paths else { return Ok(asked) };
    let mut after = before;
    for path in paths {
        match path.as_str() {
            "filter" => after.filter.clone_from(&asked.filter),
            "include_recorded" => after.include_recorded = asked.include_recorded,
            "max_in_flight" => after.max_in_flight = asked.max_in_flight,
            "ack_wait" => after.ack_wait = asked.ack_wait,
            "backoff" => after.backoff.clone_from(&asked.backoff),
            "max_deliveries" => after.max_deliveries = asked.max_deliveries,
            "dead_letter_policy" => after.dead_letter_policy = asked.dead_letter_policy,
            _ => {
                let why = "may name filter, include_recorded, max_in_flight, ack_wait, backoff, max_deliveries and \
                           dead_letter_policy";
                return Err(ApiError::InvalidField { field: "update_mask", why });
            }
        }
    }
    Ok(after)
}

fn choices(asked: &v1::Consumer) -> Result<ConsumerChoices, ApiError> {
    let invalid = |field, why| ApiError::InvalidField { field, why };
    let bounded = |number: i32, otherwise: usize| match usize::try_from(number) {
        Ok(0) => Some(otherwise),
        Ok(number @ 1..=1_000) => Some(number),
        _ => None,
    };
    let max_in_flight = bounded(asked.max_in_flight, MAX_IN_FLIGHT)
        .ok_or(invalid("consumer.max_in_flight", "must be 1 to 1000, or 0 for 100"))?;
    let max_deliveries = bounded(asked.max_deliveries, usize::try_from(MAX_DELIVERIES).unwrap_or(1))
        .ok_or(invalid("consumer.max_deliveries", "must be 1 to 1000, or 0 for 10"))?;
    let ack_wait = asked.ack_wait.map_or(Some(ACK_WAIT), |wait| duration(wait, Duration::from_hours(1)));
    let ack_wait = ack_wait.filter(|wait| *wait >= Duration::from_secs(1));
    let rungs: Option<Vec<Duration>> = asked.backoff.iter().map(|pause| duration(*pause, DAY)).collect();
    let rungs = rungs.filter(|rungs| rungs.len() <= RUNGS);
    let rungs = rungs.ok_or(invalid("consumer.backoff", "must be at most 16 pauses, none longer than a day"))?;
    let policy = DeadLetterPolicy::try_from(asked.dead_letter_policy);
    let policy = policy.map_err(|_| invalid("consumer.dead_letter_policy", "is not a policy of this schema"))?;
    Ok(ConsumerChoices {
        filter_text: asked.filter.clone(),
        filter: Arc::new(filter::parse_log(&asked.filter)?),
        recorded: asked.include_recorded,
        max_in_flight,
        ack_wait: ack_wait.ok_or(invalid("consumer.ack_wait", "must be 1 second to 1 hour"))?,
        backoff: if rungs.is_empty() { BACKOFF.to_vec() } else { rungs },
        max_deliveries: u32::try_from(max_deliveries).unwrap_or(MAX_DELIVERIES),
        blocks: policy == DeadLetterPolicy::Block,
    })
}

/// A pause that is not longer than this.
pub(super) fn duration(said: prost_types::Duration, most: Duration) -> Option<Duration> {
    Duration::try_from(said).ok().filter(|said| *said <= most)
}

/// A pause as it is shown; ours are in range.
fn shown_pause(pause: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(pause).unwrap_or_default()
}

fn shown(status: ConsumerStatus) -> v1::Consumer {
    let ConsumerStatus { consumer, out, waiting, dead_letters, behind_since } = status;
    let Consumer { key: (tenant, name), choices, paused, cursor, etag, create_time, update_time, .. } = consumer;
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let policy = if choices.blocks { DeadLetterPolicy::Block } else { DeadLetterPolicy::Continue };
    v1::Consumer {
        tenant: tenant.to_string(),
        name,
        filter: choices.filter_text,
        include_recorded: choices.recorded,
        max_in_flight: number(choices.max_in_flight),
        ack_wait: Some(shown_pause(choices.ack_wait)),
        backoff: choices.backoff.into_iter().map(shown_pause).collect(),
        max_deliveries: i32::try_from(choices.max_deliveries).unwrap_or(i32::MAX),
        dead_letter_policy: policy.into(),
        paused,
        cursor: cursor.to_token(),
        etag: format!("{etag:x}"),
        create_time: Some(timestamp(create_time)),
        update_time: Some(timestamp(update_time)),
        in_flight: number(out),
        waiting: number(waiting),
        dead_letters: number(dead_letters),
        behind_since_time: behind_since.map(timestamp),
    }
}

async fn shown_letter((tenant, consumer): &ConsumerKey, letter: DeadLetter) -> Result<v1::DeadLetter, ApiError> {
    let DeadLetter { position, deliveries, reason, create_time, entry } = letter;
    let (transition, recorded) = match entry {
        LogEntry::Transition(made) => (Some(*made), None),
        LogEntry::Recorded(delivery) => (None, Some(recorded(position, *delivery).await?)),
    };
    Ok(v1::DeadLetter {
        tenant: tenant.to_string(),
        consumer: consumer.clone(),
        transition,
        delivery_count: i32::try_from(deliveries).unwrap_or(i32::MAX),
        reason,
        create_time: Some(timestamp(create_time)),
        recorded,
        position: position.to_token(),
    })
}
