//! Durable consumers over gRPC.

mod untold;

use std::time::Duration;

use calbridge_e2e::wait;
use calbridge_process::Scope;
use calbridge_proto::v1::{
    ConsumeRequest, ConsumeResponse, Consumer, CreateConsumerRequest, DeadLetterPolicy, DeleteConsumerRequest,
    DeleteDeadLettersRequest, GetConsumerRequest, ListConsumersRequest, ListDeadLettersRequest, NackAction,
    PauseConsumerRequest, ReplayDeadLettersRequest, ResumeConsumerRequest, SeekConsumerRequest, Trigger,
    UpdateConsumerRequest,
    booking_event::Payload,
    consume_request::{Ack, Extend, Nack, Open, Request},
    consume_response::{Item, Response},
    consumer_service_client::ConsumerServiceClient,
    seek_consumer_request::To,
};
use calbridge_service::Settings;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    events::{created, event, golden},
    harness::{Failure, Harness, allowed, bearing, settings},
};

const TENANT: &str = "acme";

fn client(service: &Harness) -> ConsumerServiceClient<Channel> {
    ConsumerServiceClient::new(service.channel.clone())
}

fn named(name: &str) -> Consumer {
    let second = prost_types::Duration { seconds: 0, nanos: 1_000_000 };
    Consumer {
        tenant: TENANT.to_owned(),
        name: name.to_owned(),
        backoff: vec![second],
        max_deliveries: 2,
        ..Consumer::default()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields of a consumer have it")]
fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn make(service: &Harness, consumer: Consumer) -> Result<Consumer, Status> {
    let request = CreateConsumerRequest { consumer: Some(consumer), ..CreateConsumerRequest::default() };
    Ok(client(service).create_consumer(request).await?.into_inner().consumer.unwrap())
}

/// A service with these bookings, and a consumer that has seen none of them.
async fn booked(uids: &[&str]) -> Harness {
    let service = Harness::start().await;
    make(&service, named("c")).await.unwrap();
    for uid in uids {
        service.submit(created(uid)).await.unwrap();
    }
    service
}

async fn look(service: &Harness, name: &str) -> Consumer {
    let request = GetConsumerRequest { tenant: TENANT.to_owned(), name: name.to_owned() };
    client(service).get_consumer(request).await.unwrap().into_inner().consumer.unwrap()
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_error_details().error_info().unwrap().reason.clone())
}

/// A client at work.
struct Worker {
    requests: mpsc::Sender<ConsumeRequest>,
    responses: Streaming<ConsumeResponse>,
}

impl Worker {
    async fn try_open(service: &Harness, name: &str, most: i32) -> Result<Self, Status> {
        let (requests, sent) = mpsc::channel(64);
        let open = Open { tenant: TENANT.to_owned(), consumer: name.to_owned(), max_in_flight: most };
        requests.send(ConsumeRequest { request: Some(Request::Open(open)) }).await.unwrap();
        let responses = client(service).consume(ReceiverStream::new(sent)).await?.into_inner();
        Ok(Self { requests, responses })
    }

    async fn open(service: &Harness, name: &str, most: i32) -> Self {
        Self::try_open(service, name, most).await.unwrap()
    }

    async fn say(&self, request: Request) {
        self.requests.send(ConsumeRequest { request: Some(request) }).await.unwrap();
    }

    async fn ack(&self, item: &Item) {
        self.say(Request::Ack(Ack { ids: vec![item.id.clone()] })).await;
    }

    async fn nack(&self, item: &Item, action: NackAction) {
        let (id, reason) = (item.id.clone(), "told so by the test".to_owned());
        self.say(Request::Nack(Nack { id, action: action.into(), delay: None, reason })).await;
    }

    /// The next that is no heartbeat.
    async fn next(&mut self) -> Result<Option<Response>, Status> {
        loop {
            match wait::within("a response", self.responses.message()).await?.map(|message| message.response.unwrap()) {
                Some(Response::Heartbeat(_)) => {}
                other => return Ok(other),
            }
        }
    }

    async fn item(&mut self) -> Item {
        match self.next().await.unwrap() {
            Some(Response::Item(item)) => item,
            other => unreachable!("an item was awaited: {other:?}"),
        }
    }
}

fn uid(item: &Item) -> &str {
    &item.transition.as_ref().unwrap().uid
}

#[tokio::test]
async fn each_transition_is_delivered_until_it_is_acked() {
    let service = booked(&["u1", "u2", "u3"]).await;
    let mut worker = Worker::open(&service, "c", 0).await;
    let items = [worker.item().await, worker.item().await, worker.item().await];
    assert_eq!(items.each_ref().map(uid), ["u1", "u2", "u3"]);
    assert!(items.iter().all(|item| item.delivery_count == 1));
    worker.ack(&items[1]).await;
    wait::holds("one is settled", async || look(&service, "c").await.in_flight == 2).await;
    drop(worker);

    let mut worker = Worker::open(&service, "c", 0).await;
    let again = [worker.item().await, worker.item().await];
    assert_eq!(again.each_ref().map(uid), ["u1", "u3"], "what was acked does not come again");
    assert!(again.iter().all(|item| item.delivery_count == 2));
    for item in &again {
        worker.ack(item).await;
    }
    service.submit(created("u4")).await.unwrap();
    let last = worker.item().await;
    assert_eq!(uid(&last), "u4", "what is committed later comes by itself");
    worker.ack(&last).await;
    let head = last.transition.unwrap().position;
    wait::holds("all is settled", async || look(&service, "c").await.cursor >= head).await;
}

#[tokio::test]
async fn what_is_out_outlives_the_service() {
    let service = booked(&["u1", "u2"]).await;
    let mut worker = Worker::open(&service, "c", 0).await;
    let first = worker.item().await;
    worker.ack(&first).await;
    wait::holds("it is settled", async || look(&service, "c").await.in_flight == 1).await;
    let service = Harness::over(service.leave().await, settings()).await;
    let mut worker = Worker::open(&service, "c", 0).await;
    assert_eq!(uid(&worker.item().await), "u2");
}

#[tokio::test]
async fn the_next_of_a_booking_waits_for_the_one_before_also_across_clients() {
    let service = Harness::start().await;
    make(&service, named("c")).await.unwrap();
    service.submit(created("u1")).await.unwrap();
    service.submit(event(Trigger::BookingCancelled, &golden("u1", 9))).await.unwrap();
    service.submit(created("u2")).await.unwrap();
    let (mut one, mut two) = (Worker::open(&service, "c", 1).await, Worker::open(&service, "c", 1).await);
    let (first, other) = (one.item().await, two.item().await);
    let mut uids = [uid(&first), uid(&other)];
    uids.sort_unstable();
    assert_eq!(uids, ["u1", "u2"]);
    let (of_u1, of_u2) = if uid(&first) == "u1" { (&first, &other) } else { (&other, &first) };
    let (mut holder, mut waiter) = if uid(&first) == "u1" { (one, two) } else { (two, one) };
    waiter.ack(of_u2).await;
    wait::holds("it is settled", async || look(&service, "c").await.in_flight == 1).await;
    holder.nack(of_u1, NackAction::Retry).await;
    // Whoever gets it, it is the first again.
    let again = tokio::select! {
        item = waiter.item() => item,
        item = holder.item() => item,
    };
    assert_eq!((again.transition.as_ref().unwrap().kind, again.delivery_count), (1, 2));
}

#[tokio::test]
async fn what_fails_too_often_is_a_dead_letter_that_can_be_replayed_or_deleted() {
    let service = Harness::start().await;
    make(&service, named("c")).await.unwrap();
    service.submit(created("u1")).await.unwrap();
    service.submit(event(Trigger::BookingCancelled, &golden("u1", 9))).await.unwrap();
    let mut worker = Worker::open(&service, "c", 1).await;
    for _ in 0..2 {
        let item = worker.item().await;
        worker.nack(&item, NackAction::Retry).await;
    }
    let second = worker.item().await;
    assert_eq!(second.transition.as_ref().unwrap().kind, 2, "the booking goes on behind it");
    worker.nack(&second, NackAction::Park).await;
    wait::holds("both are dead letters", async || look(&service, "c").await.dead_letters == 2).await;

    let mut consumers = client(&service);
    let list = ListDeadLettersRequest { tenant: TENANT.to_owned(), consumer: "c".to_owned(), ..Default::default() };
    let letters = consumers.list_dead_letters(list.clone()).await.unwrap().into_inner().dead_letters;
    assert_eq!(letters.iter().map(|letter| letter.delivery_count).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(letters[0].reason, "told so by the test");
    assert_eq!(letters[0].transition.as_ref().unwrap().uid, "u1");
    let one = ListDeadLettersRequest { page_size: 1, ..list.clone() };
    let page = consumers.list_dead_letters(one.clone()).await.unwrap().into_inner();
    let next = ListDeadLettersRequest { page_token: page.next_page_token, ..one };
    assert_eq!(consumers.list_dead_letters(next).await.unwrap().into_inner().dead_letters, letters[1..]);

    let (tenant, consumer) = (TENANT.to_owned(), "c".to_owned());
    let positions = vec![letters[0].position.clone()];
    let replay = ReplayDeadLettersRequest { tenant: tenant.clone(), consumer: consumer.clone(), positions };
    assert_eq!(consumers.replay_dead_letters(replay).await.unwrap().into_inner().replayed, 1);
    let replayed = worker.item().await;
    assert_eq!((uid(&replayed), replayed.delivery_count), ("u1", 1), "as if for the first time");
    worker.ack(&replayed).await;
    let delete = DeleteDeadLettersRequest { tenant, consumer, positions: Vec::new() };
    assert_eq!(consumers.delete_dead_letters(delete).await.unwrap().into_inner().deleted, 1);
    wait::holds("none is left", async || {
        let now = look(&service, "c").await;
        now.dead_letters + now.in_flight + now.waiting == 0
    })
    .await;
}

#[tokio::test]
async fn a_page_of_dead_letters_counts_what_its_reader_is_not_shown() {
    const LETTERS: usize = 45;
    let service = Harness::start().await;
    make(&service, named("c")).await.unwrap();
    for n in 0..LETTERS {
        let mut event = created(&format!("u{n}"));
        let Some(Payload::Booking(payload)) = &mut event.payload else { unreachable!("a booking's") };
        payload.description = "d".repeat(250_000);
        service.submit(event).await.unwrap();
    }
    let mut worker = Worker::open(&service, "c", 0).await;
    for _ in 0..LETTERS {
        let item = worker.item().await;
        worker.nack(&item, NackAction::Park).await;
    }
    let are_dead = async || usize::try_from(look(&service, "c").await.dead_letters) == Ok(LETTERS);
    wait::holds("all are dead letters", are_dead).await;
    drop(worker);
    let principals = vec![allowed(Scope::Consume)];
    let service = Harness::over(service.leave().await, Settings { principals, ..settings() }).await;
    let (tenant, consumer) = (TENANT.to_owned(), "c".to_owned());
    let mut request = ListDeadLettersRequest { tenant, consumer, page_size: 100, ..Default::default() };
    let mut seen = 0;
    loop {
        let asked = bearing("known", request.clone());
        let page = client(&service).list_dead_letters(asked).await.unwrap().into_inner();
        let shown = page.dead_letters.iter().filter_map(|letter| letter.transition.as_ref()?.booking.as_ref());
        assert!(shown.into_iter().all(|booking| booking.description == "[masked]"));
        seen += page.dead_letters.len();
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, LETTERS);
}

#[tokio::test]
async fn a_dead_letter_blocks_its_booking_where_that_was_chosen() {
    let service = Harness::start().await;
    let policy = DeadLetterPolicy::Block.into();
    make(&service, Consumer { dead_letter_policy: policy, ..named("c") }).await.unwrap();
    service.submit(created("u1")).await.unwrap();
    service.submit(event(Trigger::BookingCancelled, &golden("u1", 9))).await.unwrap();
    service.submit(created("u2")).await.unwrap();
    let mut worker = Worker::open(&service, "c", 1).await;
    let first = worker.item().await;
    worker.nack(&first, NackAction::Park).await;
    let other = worker.item().await;
    assert_eq!(uid(&other), "u2");
    worker.nack(&other, NackAction::Skip).await;
    wait::holds("the other is settled", async || look(&service, "c").await.in_flight == 0).await;
    let (tenant, consumer) = (TENANT.to_owned(), "c".to_owned());
    let delete = DeleteDeadLettersRequest { tenant, consumer, positions: Vec::new() };
    client(&service).delete_dead_letters(delete).await.unwrap();
    let second = worker.item().await;
    assert_eq!((uid(&second), second.transition.as_ref().unwrap().kind), ("u1", 2));
}

#[tokio::test]
async fn a_lease_that_ends_gives_the_entry_to_others_and_what_comes_late_is_told() {
    let service = Harness::start().await;
    let ack_wait = seconds(1);
    make(&service, Consumer { ack_wait, ..named("c") }).await.unwrap();
    service.submit(created("u1")).await.unwrap();
    let mut slow = Worker::open(&service, "c", 1).await;
    let item = slow.item().await;
    slow.say(Request::Extend(Extend { ids: vec![item.id.clone()] })).await;
    let mut other = Worker::open(&service, "c", 1).await;
    let again = tokio::select! {
        item = slow.item() => item,
        item = other.item() => item,
    };
    assert_eq!((again.delivery_count, again.id == item.id), (2, false));
    slow.ack(&item).await;
    loop {
        if let Some(Response::LeasesLost(lost)) = slow.next().await.unwrap() {
            assert_eq!(lost.ids, [item.id]);
            break;
        }
    }
}

#[tokio::test]
async fn a_client_that_is_full_gets_again_what_it_let_lapse() {
    let service = Harness::start().await;
    let ack_wait = seconds(1);
    make(&service, Consumer { ack_wait, ..named("c") }).await.unwrap();
    service.submit(created("u1")).await.unwrap();
    let mut silent = Worker::open(&service, "c", 1).await;
    assert_eq!(silent.item().await.delivery_count, 1);
    assert_eq!(silent.item().await.delivery_count, 2, "though it said nothing, and had no room");
    wait::holds("it is given up on", async || look(&service, "c").await.dead_letters == 1).await;
}

#[tokio::test]
async fn who_has_heard_the_end_has_nothing_out() {
    let service = booked(&["u1", "u2", "u3"]).await;
    let mut worker = Worker::open(&service, "c", 2).await;
    let items = [worker.item().await, worker.item().await];
    worker.ack(&items[0]).await;
    let Worker { requests, mut responses } = worker;
    drop(requests);
    while wait::within("the end", responses.message()).await.unwrap().is_some() {}
    assert_eq!(look(&service, "c").await.in_flight, 0);

    let mut worker = Worker::open(&service, "c", 0).await;
    let again = [worker.item().await, worker.item().await];
    assert_eq!(again.each_ref().map(uid), ["u2", "u3"], "what was acked is done, and nothing else is");

    service.control.fail(Some(Failure::Unavailable));
    let Worker { requests, mut responses } = worker;
    drop(requests);
    let end = wait::within("the end", responses.message()).await;
    assert_eq!(end.unwrap_err().code(), Code::Unavailable, "the end is not well where something stays out");
}

#[tokio::test]
async fn a_consumer_is_kept_changed_moved_paused_and_deleted() {
    let service = Harness::start().await;
    service.submit(created("u1")).await.unwrap();
    let filter = "kind = APPEARED".to_owned();
    let kept = make(&service, Consumer { filter, ..named("c") }).await.unwrap();
    assert_eq!((kept.max_in_flight, kept.max_deliveries, kept.ack_wait.unwrap().seconds), (100, 2, 30));
    let exists = make(&service, named("c")).await.unwrap_err();
    assert_eq!(reason(&exists), (Code::AlreadyExists, "CONSUMER_EXISTS".to_owned()));

    let mut consumers = client(&service);
    let changed = Consumer { max_in_flight: 7, ..kept.clone() };
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    let update = UpdateConsumerRequest { consumer: Some(changed), update_mask: mask("max_in_flight") };
    let updated = consumers.update_consumer(update.clone()).await.unwrap().into_inner().consumer.unwrap();
    assert_eq!((updated.max_in_flight, &updated.filter), (7, &kept.filter));
    assert_ne!(updated.etag, kept.etag);
    let late = consumers.update_consumer(update).await.unwrap_err();
    assert_eq!(reason(&late), (Code::Aborted, "ETAG_MISMATCH".to_owned()));

    let (tenant, name) = (TENANT.to_owned(), "c".to_owned());
    let pause = PauseConsumerRequest { tenant: tenant.clone(), name: name.clone() };
    let mut worker = Worker::open(&service, "c", 0).await;
    let item = worker.item().await;
    worker.ack(&item).await;
    consumers.pause_consumer(pause).await.unwrap();
    let paused = Worker::try_open(&service, "c", 0).await.err().unwrap();
    assert_eq!(reason(&paused), (Code::FailedPrecondition, "CONSUMER_PAUSED".to_owned()));
    wait::holds("it is settled", async || look(&service, "c").await.in_flight == 0).await;
    let seek = SeekConsumerRequest { tenant: tenant.clone(), name: name.clone(), to: Some(To::Beginning(true)) };
    consumers.seek_consumer(seek).await.unwrap();
    consumers.resume_consumer(ResumeConsumerRequest { tenant: tenant.clone(), name: name.clone() }).await.unwrap();
    assert_eq!(uid(&worker.item().await), "u1", "from the beginning again");

    for to in [To::Head(true), To::Time(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 })] {
        let seek = SeekConsumerRequest { tenant: tenant.clone(), name: name.clone(), to: Some(to) };
        let moved = consumers.seek_consumer(seek).await.unwrap().into_inner().consumer.unwrap();
        assert_eq!(moved.cursor, item.transition.as_ref().unwrap().position);
    }
    make(&service, named("d")).await.unwrap();
    let list = ListConsumersRequest { tenant: tenant.clone(), page_size: 1, ..ListConsumersRequest::default() };
    let page = consumers.list_consumers(list.clone()).await.unwrap().into_inner();
    let next = ListConsumersRequest { page_token: page.next_page_token, ..list };
    let second = consumers.list_consumers(next).await.unwrap().into_inner();
    assert_eq!((page.consumers[0].name.as_str(), second.consumers[0].name.as_str()), ("c", "d"));
    assert_eq!(second.next_page_token, "");

    let delete = DeleteConsumerRequest { tenant: tenant.clone(), name: name.clone(), etag: String::new() };
    consumers.delete_consumer(delete).await.unwrap();
    let gone = loop {
        if let Err(status) = worker.next().await {
            break status;
        }
    };
    assert_eq!(reason(&gone), (Code::NotFound, "CONSUMER_NOT_FOUND".to_owned()));
    let unknown = consumers.get_consumer(GetConsumerRequest { tenant, name }).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "CONSUMER_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn what_can_not_be_is_refused() {
    let service = Harness::start().await;
    let invalid = (Code::InvalidArgument, "INVALID_FIELD".to_owned());
    for consumer in [
        named(""),
        named("No name"),
        Consumer { max_in_flight: 1_001, ..named("c") },
        Consumer { max_in_flight: -1, ..named("c") },
        Consumer { max_deliveries: 1_001, ..named("c") },
        Consumer { ack_wait: seconds(0), ..named("c") },
        Consumer { ack_wait: seconds(3_601), ..named("c") },
        Consumer { backoff: vec![seconds(1).unwrap(); 17], ..named("c") },
        Consumer { backoff: vec![seconds(86_401).unwrap()], ..named("c") },
        Consumer { dead_letter_policy: 9, ..named("c") },
    ] {
        assert_eq!(reason(&make(&service, consumer.clone()).await.unwrap_err()), invalid, "{consumer:?}");
    }
    let syntax = Consumer { filter: "title = x".to_owned(), ..named("c") };
    assert_eq!(reason(&make(&service, syntax).await.unwrap_err()).1, "FILTER_SYNTAX");
    let unknown = Worker::try_open(&service, "nobody", 0).await.err().unwrap();
    assert_eq!(reason(&unknown), (Code::NotFound, "CONSUMER_NOT_FOUND".to_owned()));
    make(&service, named("c")).await.unwrap();
    let mut worker = Worker::open(&service, "c", 0).await;
    worker.say(Request::Ack(Ack { ids: vec!["none of ours".to_owned()] })).await;
    assert_eq!(reason(&worker.next().await.unwrap_err()), invalid);
}

#[tokio::test]
async fn many_are_consumed_quickly_by_several_clients() {
    let service = Harness::start().await;
    make(&service, named("c")).await.unwrap();
    let many = 2_000;
    let (requests, mut answers) = service.stream().await;
    tokio::spawn(async move {
        for sequence in 0..many {
            let event = Some(created(&format!("u{sequence}")));
            requests.send(calbridge_proto::v1::SubmitEventsRequest { sequence, event }).await.unwrap();
        }
    });
    for _ in 0..many {
        wait::within("an answer", answers.message()).await.unwrap().unwrap();
    }
    let mut clients = tokio::task::JoinSet::new();
    let (seen, mut told) = mpsc::unbounded_channel();
    for _ in 0..3 {
        let mut worker = Worker::open(&service, "c", 50).await;
        let seen = seen.clone();
        clients.spawn(async move {
            while let Ok(Some(response)) = worker.next().await {
                if let Response::Item(item) = response {
                    worker.ack(&item).await;
                    let _ = seen.send(uid(&item).to_owned());
                }
            }
        });
    }
    let mut uids = std::collections::HashSet::new();
    while uids.len() < usize::try_from(many).unwrap() {
        assert!(uids.insert(wait::within("an item", told.recv()).await.unwrap()), "once, for nothing failed");
    }
    wait::holds("all is settled", async || look(&service, "c").await.in_flight == 0).await;
    tokio::time::timeout(Duration::from_secs(5), service.stop()).await.unwrap().unwrap();
}
