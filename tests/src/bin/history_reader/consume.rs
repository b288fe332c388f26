//! Consuming: a stream of a durable consumer whose client acks, gives back, parks, skips, asks for more time, answers
//! too late or never, hangs up, takes its leave or dies, as chance has it.

use std::{collections::HashSet, time::Duration};

use calbridge_e2e::{
    chance::Chance,
    v1::{
        ConsumeRequest, ConsumeResponse, NackAction,
        consume_request::{Ack, Extend, Nack, Open, Request},
        consume_response::{Item, Response},
        consumer_service_client::ConsumerServiceClient,
    },
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    After, end,
    notebook::Notebook,
    watch::{delivery, transition},
};

/// Requests on their way: more than entries may be out.
const REQUESTS: usize = 256;
/// What is given back is to come again after so long, at the most.
const DELAY_MS: usize = 80;
/// How long a client works on an entry, in milliseconds.
const WORK_MS: [usize; 2] = [2, 200];
/// How long it works where it asks for more time: about as long as the shortest lease that a consumer may have.
const LONG_WORK_MS: [usize; 2] = [600, 1_200];
/// And where it forgets its lease.
const LAPSE_MS: [usize; 2] = [1_050, 2_000];
/// Nothing is due: far behind the end of any test.
const IDLE: Duration = Duration::from_hours(1);

/// What is asked for.
pub(crate) struct Stream<'o> {
    pub(crate) tenant: &'o str,
    pub(crate) consumer: &'o str,
    pub(crate) most: usize,
    pub(crate) orderly: bool,
}

impl Stream<'_> {
    /// Consumes until it fails, or chance has it end.
    pub(crate) async fn run(&self, channel: Channel, notebook: &mut Notebook, chance: &mut Chance) -> After {
        let most = if self.orderly { self.most } else { 1 + chance.below(self.most) };
        let (requests, sent) = mpsc::channel(REQUESTS);
        let open = Open {
            tenant: self.tenant.to_owned(),
            consumer: self.consumer.to_owned(),
            max_in_flight: i32::try_from(most).unwrap(),
        };
        requests.send(ConsumeRequest { request: Some(Request::Open(open)) }).await.unwrap();
        notebook.write("open", most.into());
        let responses = match ConsumerServiceClient::new(channel).consume(ReceiverStream::new(sent)).await {
            Ok(responses) => responses.into_inner(),
            Err(status) => {
                notebook.write("ended", end(&status).into());
                return After::Again;
            }
        };
        let client =
            Client { requests: Some(requests), responses, notebook, chance, work: Vec::new(), lost: HashSet::new() };
        client.run(self.orderly).await
    }
}

/// What a client does with an entry.
enum Answer {
    Ack,
    /// Later, after the work.
    Work([usize; 2]),
    /// The same, and it says so.
    LongWork,
    Retry,
    RetryAtOnce,
    Park,
    Skip,
    Forget,
    HangUp,
    Leave,
    Exit,
}

/// How chance answers, in parts of a thousand.
const ANSWERS: &[(usize, Answer)] = &[
    (478, Answer::Ack),
    (240, Answer::Work(WORK_MS)),
    (40, Answer::LongWork),
    (40, Answer::Work(LAPSE_MS)),
    (70, Answer::Retry),
    (40, Answer::RetryAtOnce),
    (20, Answer::Park),
    (40, Answer::Skip),
    (10, Answer::Forget),
    (8, Answer::HangUp),
    (10, Answer::Leave),
    (4, Answer::Exit),
];

fn drawn(chance: &mut Chance) -> &'static Answer {
    let all: usize = ANSWERS.iter().map(|(parts, _)| parts).sum();
    let mut left = chance.below(all);
    for (parts, answer) in ANSWERS {
        match left.checked_sub(*parts) {
            Some(rest) => left = rest,
            None => return answer,
        }
    }
    &Answer::Ack
}

struct Client<'n> {
    /// None: it has said its last.
    requests: Option<mpsc::Sender<ConsumeRequest>>,
    responses: Streaming<ConsumeResponse>,
    notebook: &'n mut Notebook,
    chance: &'n mut Chance,
    /// What it works on, and when that is done.
    work: Vec<(Instant, String)>,
    /// What it need not speak of any more.
    lost: HashSet<String>,
}

impl Client<'_> {
    async fn run(mut self, orderly: bool) -> After {
        loop {
            let due = self.work.iter().map(|(due, _)| *due).min();
            let response = tokio::select! {
                response = self.responses.message() => response,
                () = sleep_until(due.unwrap_or_else(|| Instant::now() + IDLE)) => {
                    self.finish_work().await;
                    continue;
                }
            };
            match self.hear(response, orderly).await {
                Ok(None) => {}
                Ok(Some(after)) => return after,
                Err(why) => {
                    self.notebook.write("ended", why.into());
                    return After::Again;
                }
            }
        }
    }

    /// How it goes on, if it does not on this stream; the error is how the stream has ended.
    async fn hear(
        &mut self,
        response: Result<Option<ConsumeResponse>, Status>,
        orderly: bool,
    ) -> Result<Option<After>, String> {
        let response = response.map_err(|status| end(&status))?.ok_or("OK")?;
        match response.response.unwrap() {
            Response::Heartbeat(_) => {}
            Response::LeasesLost(lost) => {
                self.notebook.write("lost", lost.ids.clone().into());
                self.lost.extend(lost.ids);
            }
            Response::Item(item) => {
                self.notebook.write("item", as_told(&item));
                let answer = if orderly { &Answer::Ack } else { drawn(self.chance) };
                if self.requests.is_some() {
                    return Ok(self.answer(item.id, answer).await);
                }
            }
        }
        Ok(None)
    }

    async fn answer(&mut self, id: String, answer: &Answer) -> Option<After> {
        match answer {
            Answer::Ack => self.ack(vec![id]).await,
            Answer::Work(span) => self.work_on(id, *span),
            Answer::LongWork => {
                self.notebook.write("extend", json!([id]));
                self.say(Request::Extend(Extend { ids: vec![id.clone()] })).await;
                self.work_on(id, LONG_WORK_MS);
            }
            Answer::Retry => self.nack(id, NackAction::Retry, true).await,
            Answer::RetryAtOnce => self.nack(id, NackAction::Retry, false).await,
            Answer::Park => self.nack(id, NackAction::Park, false).await,
            Answer::Skip => self.nack(id, NackAction::Skip, false).await,
            Answer::Forget => {}
            Answer::HangUp => {
                self.notebook.write("hangs_up", Value::Null);
                return Some(After::Again);
            }
            Answer::Leave => {
                self.notebook.write("half_closes", Value::Null);
                self.requests = None;
                self.work.clear();
            }
            Answer::Exit => {
                self.notebook.write("hangs_up", Value::Null);
                return Some(After::Exit);
            }
        }
        None
    }

    fn work_on(&mut self, id: String, [least, most]: [usize; 2]) {
        let span = u64::try_from(least + self.chance.below(most - least)).unwrap();
        self.work.push((Instant::now() + Duration::from_millis(span), id));
    }

    async fn finish_work(&mut self) {
        let now = Instant::now();
        let done = self.work.extract_if(.., |(due, _)| *due <= now).map(|(_, id)| id);
        let done: Vec<String> = done.filter(|id| !self.lost.contains(id)).collect();
        if !done.is_empty() {
            self.ack(done).await;
        }
    }

    async fn ack(&mut self, ids: Vec<String>) {
        self.notebook.write("ack", ids.clone().into());
        self.say(Request::Ack(Ack { ids })).await;
    }

    async fn nack(&mut self, id: String, action: NackAction, waits: bool) {
        let what = match action {
            NackAction::Park => "park",
            NackAction::Skip => "skip",
            NackAction::Retry | NackAction::Unspecified => "retry",
        };
        self.notebook.write(what, id.clone().into());
        let pause = Duration::from_millis(u64::try_from(self.chance.below(DELAY_MS)).unwrap());
        let delay = waits.then(|| prost_types::Duration::try_from(pause).unwrap());
        let reason = "chance has it so".to_owned();
        self.say(Request::Nack(Nack { id, action: action.into(), delay, reason })).await;
    }

    /// Where it can't be sent the stream has ended, and says so.
    async fn say(&mut self, request: Request) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(ConsumeRequest { request: Some(request) }).await;
        }
    }
}

fn as_told(item: &Item) -> Value {
    let entry = item.transition.as_ref().map(transition).or_else(|| item.recorded.as_ref().map(delivery)).unwrap();
    let expires = item.lease_expire_time.unwrap();
    json!({
        "id": item.id,
        "count": item.delivery_count,
        "expires": expires.seconds * 1_000_000 + i64::from(expires.nanos / 1_000),
        "entry": entry,
    })
}
