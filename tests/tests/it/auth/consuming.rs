//! The methods of consumers, as the matrix asks for them.

use std::sync::atomic::{AtomicU64, Ordering};

use calbridge_e2e::v1::{
    ConsumeRequest, ConsumeResponse, Consumer, CreateConsumerRequest, DeleteConsumerRequest, DeleteDeadLettersRequest,
    GetConsumerRequest, ListConsumersRequest, ListDeadLettersRequest, NackAction, PauseConsumerRequest,
    ReplayDeadLettersRequest, ResumeConsumerRequest, SeekConsumerRequest, UpdateConsumerRequest,
    consume_request::{Nack, Open, Request},
    consume_response::Response,
    consumer_service_client::ConsumerServiceClient,
    seek_consumer_request::To,
};
use calbridge_e2e::wait;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::with;

/// The consumer of each tenant that has one.
const NAME: &str = "matrix";
/// The position of no dead letter.
const NONE: &str = "7fffffffffffffff";
/// What is created has a name of its own.
static MADE: AtomicU64 = AtomicU64::new(0);

fn consumer(tenant: &str, name: &str) -> Consumer {
    // Each client that goes leaves the only entry to the next one.
    let backoff = vec![prost_types::Duration { seconds: 0, nanos: 1_000_000 }];
    Consumer { tenant: tenant.to_owned(), name: name.to_owned(), max_deliveries: 1_000, backoff, ..Consumer::default() }
}

async fn create(channel: &Channel, token: Option<&str>, consumer: Consumer) -> Result<Vec<u8>, Status> {
    let request = CreateConsumerRequest { consumer: Some(consumer), ..CreateConsumerRequest::default() };
    let answer = ConsumerServiceClient::new(channel.clone()).create_consumer(with(token, request)).await?;
    Ok(answer.into_inner().encode_to_vec())
}

/// Makes a tenant's consumer, which has given up on the only entry there is.
pub(super) async fn prepare(channel: &Channel, token: &str, tenant: &str) {
    create(channel, Some(token), consumer(tenant, NAME)).await.unwrap();
    let (requests, mut responses) = open(channel, Some(token), tenant).await.unwrap();
    let Some(Response::Item(item)) = responses.message().await.unwrap().unwrap().response else {
        unreachable!("there is an entry");
    };
    let nack = Nack { id: item.id, action: NackAction::Park.into(), ..Nack::default() };
    requests.send(ConsumeRequest { request: Some(Request::Nack(nack)) }).await.unwrap();
    wait::until("it is a dead letter", async || {
        let request = GetConsumerRequest { tenant: tenant.to_owned(), name: NAME.to_owned() };
        let mut client = ConsumerServiceClient::new(channel.clone());
        let answer = client.get_consumer(with(Some(token), request)).await.unwrap().into_inner();
        (answer.consumer.unwrap().dead_letters == 1).then_some(())
    })
    .await;
}

async fn open(
    channel: &Channel,
    token: Option<&str>,
    tenant: &str,
) -> Result<(mpsc::Sender<ConsumeRequest>, Streaming<ConsumeResponse>), Status> {
    let (requests, sent) = mpsc::channel(4);
    let open = Open { tenant: tenant.to_owned(), consumer: NAME.to_owned(), max_in_flight: 0 };
    let _ = requests.send(ConsumeRequest { request: Some(Request::Open(open)) }).await;
    let mut client = ConsumerServiceClient::new(channel.clone());
    let responses = client.consume(with(token, ReceiverStream::new(sent))).await?.into_inner();
    Ok((requests, responses))
}

/// What was answered, encoded; where an answer has nothing to say, a word instead.
pub(super) async fn call(
    channel: &Channel,
    column: &str,
    token: Option<&str>,
    tenant: &str,
) -> Result<Vec<u8>, Status> {
    let mut client = ConsumerServiceClient::new(channel.clone());
    let (whose, name) = (tenant.to_owned(), NAME.to_owned());
    let done = b"done".to_vec();
    match column {
        "CreateConsumer" => {
            let name = format!("made-{}", MADE.fetch_add(1, Ordering::Relaxed));
            create(channel, token, consumer(tenant, &name)).await
        }
        "GetConsumer" => {
            let request = GetConsumerRequest { tenant: whose, name };
            Ok(client.get_consumer(with(token, request)).await?.into_inner().encode_to_vec())
        }
        "ListConsumers" => {
            let request = ListConsumersRequest { tenant: whose, ..ListConsumersRequest::default() };
            Ok(client.list_consumers(with(token, request)).await?.into_inner().encode_to_vec())
        }
        "UpdateConsumer" => {
            let request = UpdateConsumerRequest { consumer: Some(consumer(tenant, NAME)), update_mask: None };
            Ok(client.update_consumer(with(token, request)).await?.into_inner().encode_to_vec())
        }
        "DeleteConsumer" => {
            let name = "deleted".to_owned();
            if tenant == "acme" {
                // Where it may be deleted it may be made.
                let _ = create(channel, token, consumer(tenant, &name)).await;
            }
            let request = DeleteConsumerRequest { tenant: whose, name, etag: String::new() };
            client.delete_consumer(with(token, request)).await.map(|_| done)
        }
        "SeekConsumer" => {
            let request = SeekConsumerRequest { tenant: whose, name, to: Some(To::Beginning(true)) };
            Ok(client.seek_consumer(with(token, request)).await?.into_inner().encode_to_vec())
        }
        "PauseConsumer" => {
            let request = PauseConsumerRequest { tenant: whose, name };
            Ok(client.pause_consumer(with(token, request)).await?.into_inner().encode_to_vec())
        }
        "ResumeConsumer" => {
            let request = ResumeConsumerRequest { tenant: whose, name };
            Ok(client.resume_consumer(with(token, request)).await?.into_inner().encode_to_vec())
        }
        "Consume" => {
            let (requests, mut responses) = open(channel, token, tenant).await?;
            let first = responses.message().await?;
            drop(requests);
            Ok(first.map(|first| first.encode_to_vec()).unwrap_or_default())
        }
        "ListDeadLetters" => {
            let request = ListDeadLettersRequest { tenant: whose, consumer: name, ..Default::default() };
            Ok(client.list_dead_letters(with(token, request)).await?.into_inner().encode_to_vec())
        }
        "ReplayDeadLetters" => {
            let positions = vec![NONE.to_owned()];
            let request = ReplayDeadLettersRequest { tenant: whose, consumer: name, positions };
            client.replay_dead_letters(with(token, request)).await.map(|_| done)
        }
        "DeleteDeadLetters" => {
            let positions = vec![NONE.to_owned()];
            let request = DeleteDeadLettersRequest { tenant: whose, consumer: name, positions };
            client.delete_dead_letters(with(token, request)).await.map(|_| done)
        }
        other => panic!("nobody has written yet how {other} is called"),
    }
}
