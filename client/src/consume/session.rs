//! One connection to a consumer, from its opening to its end.

use std::{future::Future, pin::Pin, time::Duration};

use calbridge_proto::v1::{
    ConsumeRequest, ConsumeResponse, Consumer, CreateConsumerRequest, GetConsumerRequest,
    consume_request::{Open, Request},
    consume_response::{Item, Response},
    consumer_service_client::ConsumerServiceClient,
};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{Fuse, join},
    stream::{FuturesUnordered, unfold},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at},
};
use tonic::{Code, Status, Streaming};

use super::{Consume, Handler, Notice, outbox::Outbox};
use crate::{CALL_TIMEOUT, Connect, MAX_MESSAGE, SILENCE_MAX, Service};

/// Leases are extended when this part of their time is over: one extension may be lost, and the next still comes.
const EXTEND_PART: u32 = 3;
/// A lease's time where the service does not tell: its own default.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// For the service to hear the last words of a client that stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests on their way: what is behind it gathers, and is one request when its turn comes.
const REQUESTS: usize = 1;

pub(super) struct Session<'a, H> {
    handler: &'a H,
    outbox: Outbox,
    heard: bool,
    stopping: bool,
}

/// Both directions of a stream, and how long a lease lasts.
struct Opened {
    requests: mpsc::Sender<ConsumeRequest>,
    responses: Streaming<ConsumeResponse>,
    ack_wait: Duration,
}

impl<'a, H: Handler> Session<'a, H> {
    pub(super) fn new(handler: &'a H) -> Self {
        Self { handler, outbox: Outbox::default(), heard: false, stopping: false }
    }

    /// The service has said something.
    pub(super) fn heard(&self) -> bool {
        self.heard
    }

    /// It was told to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Ends well where it was told to stop, and otherwise by what broke.
    pub(super) async fn run<C: Connect, S: Future<Output = ()>>(
        &mut self,
        consume: &Consume<C>,
        mut stop: Pin<&mut Fuse<S>>,
    ) -> Result<(), Status> {
        let opening = timeout(CALL_TIMEOUT, open(consume, self.handler));
        let opened = tokio::select! {
            biased;
            () = stop.as_mut() => return Ok(()),
            opened = opening => opened.map_err(|_| Status::deadline_exceeded("the consumer does not open"))??,
        };
        self.handler.notice(Notice::Opened);
        self.work(opened, stop).await
    }

    async fn work<S: Future<Output = ()>>(
        &mut self,
        Opened { requests, mut responses, ack_wait }: Opened,
        mut stop: Pin<&mut Fuse<S>>,
    ) -> Result<(), Status> {
        let handler = self.handler;
        let handle = |item: Item| async move { (item.id.clone(), handler.handle(item).await) };
        let mut in_hand = FuturesUnordered::new();
        let mut silent_since = Instant::now();
        let part = ack_wait / EXTEND_PART;
        let mut extensions = interval_at(Instant::now() + part, part);
        extensions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let broken = loop {
            if self.stopping && in_hand.is_empty() {
                break None;
            }
            tokio::select! {
                () = stop.as_mut(), if !self.stopping => {
                    self.stopping = true;
                    self.outbox.hold(true);
                }
                Some((id, settled)) = in_hand.next() => {
                    self.outbox.settle(id, settled);
                    // Whoever else is ready shares its request.
                    while let Some(Some((id, settled))) = in_hand.next().now_or_never() {
                        self.outbox.settle(id, settled);
                    }
                }
                response = timeout_at(silent_since + SILENCE_MAX, responses.message()) => {
                    let response = response.unwrap_or_else(|_| Err(Status::unavailable("the service fell silent")));
                    silent_since = Instant::now();
                    match response {
                        Ok(Some(response)) => if let Some(item) = self.hear(response) {
                            in_hand.push(handle(item));
                        },
                        Ok(None) => break Some(Status::unavailable("the service ended the stream")),
                        Err(status) => break Some(status),
                    }
                }
                permit = requests.reserve(), if !self.outbox.is_empty() => {
                    // Where nobody takes requests any more the responses will say why.
                    if let (Ok(permit), Some(request)) = (permit, self.outbox.next()) {
                        permit.send(request);
                    }
                }
                _ = extensions.tick() => self.outbox.extend(),
            }
        };
        let Some(status) = broken else { return self.close(requests, responses).await };
        // Begun work is finished, or it would go on beside the same item's next delivery. Nobody hears how it went.
        while in_hand.next().await.is_some() {}
        Err(status)
    }

    /// An item to be dealt with, where it is one.
    fn hear(&mut self, response: ConsumeResponse) -> Option<Item> {
        self.heard = true;
        match response.response? {
            // Left out with the service, which gives it to others when the stream ends.
            Response::Item(_) if self.stopping => None,
            Response::Item(item) => {
                self.outbox.take(&item.id);
                Some(item)
            }
            Response::LeasesLost(lost) => {
                self.outbox.lose(&lost.ids);
                self.handler.notice(Notice::LeasesLost { ids: lost.ids });
                None
            }
            Response::Heartbeat(_) => None,
        }
    }

    /// Says how the last went, and waits until that is heard: the service ends the stream when it has dealt with all.
    async fn close(
        &mut self,
        requests: mpsc::Sender<ConsumeRequest>,
        mut responses: Streaming<ConsumeResponse>,
    ) -> Result<(), Status> {
        self.outbox.hold(false);
        let mut last = Vec::new();
        while let Some(request) = self.outbox.next() {
            last.push(request);
        }
        let saying = async move {
            for request in last {
                if requests.send(request).await.is_err() {
                    break;
                }
            }
        };
        let hearing = async {
            loop {
                match responses.message().await {
                    Ok(Some(response)) => drop(self.hear(response)),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            }
        };
        if !timeout(CLOSE_TIMEOUT, join(saying, hearing)).await.is_ok_and(|((), heard)| heard) {
            self.handler.notice(Notice::Unheard);
        }
        Ok(())
    }
}

async fn open<C: Connect>(consume: &Consume<C>, handler: &impl Handler) -> Result<Opened, Status> {
    let service = consume.connect.connect().await?;
    let mut client = ConsumerServiceClient::new(service).max_decoding_message_size(MAX_MESSAGE);
    let consumer = find_or_make(&mut client, consume).await?;
    handler.accept(&consumer)?;
    let ack_wait = consumer.ack_wait.and_then(|wait| Duration::try_from(wait).ok());
    let (requests, sent) = mpsc::channel(REQUESTS);
    let open = Open {
        tenant: consume.tenant.clone(),
        consumer: consume.consumer.clone(),
        max_in_flight: consume.max_in_flight,
    };
    let first = requests.send(ConsumeRequest { request: Some(Request::Open(open)) });
    first.await.map_err(|_| Status::unavailable("the consumer does not open"))?;
    let sent = unfold(sent, |mut sent| async move { sent.recv().await.map(|request| (request, sent)) });
    let responses = client.consume(sent).await?.into_inner();
    Ok(Opened { requests, responses, ack_wait: ack_wait.filter(|wait| !wait.is_zero()).unwrap_or(ACK_WAIT) })
}

/// The consumer, and with it how long its leases last.
async fn find_or_make<C: Connect, T: Service>(
    client: &mut ConsumerServiceClient<T>,
    consume: &Consume<C>,
) -> Result<Consumer, Status> {
    let wanted = || GetConsumerRequest { tenant: consume.tenant.clone(), name: consume.consumer.clone() };
    let found = client.get_consumer(wanted()).await.map(|found| found.into_inner().consumer.unwrap_or_default());
    let is_absent = found.as_ref().is_err_and(|status| status.code() == Code::NotFound);
    let (true, Some(choices)) = (is_absent, consume.make.clone()) else { return found };
    let request = CreateConsumerRequest { consumer: Some(choices), ..CreateConsumerRequest::default() };
    match client.create_consumer(request).await {
        Ok(made) => Ok(made.into_inner().consumer.unwrap_or_default()),
        // Somebody was quicker.
        Err(status) if status.code() == Code::AlreadyExists => {
            Ok(client.get_consumer(wanted()).await?.into_inner().consumer.unwrap_or_default())
        }
        Err(status) => Err(status),
    }
}
