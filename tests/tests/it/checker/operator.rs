//! The operator: makes the consumers, looks after their dead letters while everything crashes, and writes down what he
//! asked and was answered.

use std::{fs::File, io::Write, path::Path, time::Duration};

use calbridge_e2e::{
    api::Api,
    chance::Chance,
    v1::{
        self, CreateConsumerRequest, DeadLetter, DeadLetterPolicy, DeleteDeadLettersRequest, GetConsumerRequest,
        ListDeadLettersRequest, ReplayDeadLettersRequest, consumer_service_client::ConsumerServiceClient,
    },
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tonic::transport::Channel;

use super::readers::Consumer;

/// Before the next delivery of an entry that failed: short, so that thousands of them are no matter of minutes.
const BACKOFF: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(60)];
/// The most that a list of dead letters answers.
const PAGE: i32 = 1_000;

/// What is done with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Some are replayed, some deleted, some left alone.
    ByChance,
    ReplayAll,
}

pub(super) struct Operator {
    file: File,
}

impl Operator {
    pub(super) fn new(folder: &Path) -> Self {
        Self { file: File::create(folder.join("operator.jsonl")).unwrap() }
    }

    pub(super) async fn make(&self, api: &Api, consumer: &Consumer) {
        let policy = if consumer.blocks { DeadLetterPolicy::Block } else { DeadLetterPolicy::Continue };
        let asked = v1::Consumer {
            tenant: consumer.scope.tenant.to_owned(),
            name: consumer.name.to_owned(),
            filter: consumer.scope.filter.clone(),
            include_recorded: consumer.scope.recorded,
            max_in_flight: i32::try_from(consumer.max_in_flight).unwrap(),
            ack_wait: Some(consumer.ack_wait.try_into().unwrap()),
            backoff: BACKOFF.map(|pause| pause.try_into().unwrap()).to_vec(),
            max_deliveries: consumer.max_deliveries,
            dead_letter_policy: policy.into(),
            ..v1::Consumer::default()
        };
        let request = CreateConsumerRequest { consumer: Some(asked), ..CreateConsumerRequest::default() };
        client(api).create_consumer(request).await.unwrap();
    }

    /// Looks at a consumer's dead letters and does something about them; how many there were.
    pub(super) async fn care(&mut self, api: &Api, consumer: &Consumer, care: Care, chance: &mut Chance) -> usize {
        let letters = self.list(api, consumer).await;
        let (mut replayed, mut deleted) = (Vec::new(), Vec::new());
        for letter in &letters {
            match (care, chance.below(4)) {
                (Care::ReplayAll, _) | (Care::ByChance, 0 | 1) => replayed.push(letter.position.clone()),
                (Care::ByChance, 2) => deleted.push(letter.position.clone()),
                (Care::ByChance, _) => {}
            }
        }
        if !replayed.is_empty() {
            self.replay(api, consumer, replayed).await;
        }
        if !deleted.is_empty() {
            self.delete(api, consumer, deleted).await;
        }
        letters.len()
    }

    /// All of them, written down.
    async fn list(&mut self, api: &Api, consumer: &Consumer) -> Vec<DeadLetter> {
        let (tenant, name) = (consumer.scope.tenant.to_owned(), consumer.name.to_owned());
        let request = ListDeadLettersRequest { tenant, consumer: name, page_size: PAGE, page_token: String::new() };
        let page = client(api).list_dead_letters(request).await.unwrap().into_inner();
        assert_eq!(page.next_page_token, "", "more dead letters than a test should have");
        let as_told = |letter: &DeadLetter| {
            let created = letter.create_time.unwrap();
            let created = created.seconds * 1_000_000 + i64::from(created.nanos / 1_000);
            json!({"position": letter.position, "count": letter.delivery_count, "created": created})
        };
        self.write(consumer, "letters", page.dead_letters.iter().map(as_told).collect());
        page.dead_letters
    }

    async fn replay(&mut self, api: &Api, consumer: &Consumer, positions: Vec<String>) {
        let (tenant, name) = (consumer.scope.tenant.to_owned(), consumer.name.to_owned());
        self.write(consumer, "replay", positions.clone().into());
        let request = ReplayDeadLettersRequest { tenant, consumer: name, positions };
        let replayed = client(api).replay_dead_letters(request).await.unwrap().into_inner().replayed;
        self.write(consumer, "replayed", replayed.into());
    }

    async fn delete(&mut self, api: &Api, consumer: &Consumer, positions: Vec<String>) {
        let (tenant, name) = (consumer.scope.tenant.to_owned(), consumer.name.to_owned());
        self.write(consumer, "delete", positions.clone().into());
        let request = DeleteDeadLettersRequest { tenant, consumer: name, positions };
        let deleted = client(api).delete_dead_letters(request).await.unwrap().into_inner().deleted;
        self.write(consumer, "deleted", deleted.into());
    }

    /// What a consumer says of itself.
    pub(super) async fn look(&self, api: &Api, consumer: &Consumer) -> v1::Consumer {
        let (tenant, name) = (consumer.scope.tenant.to_owned(), consumer.name.to_owned());
        let request = GetConsumerRequest { tenant, name };
        client(api).get_consumer(request).await.unwrap().into_inner().consumer.unwrap()
    }

    /// The last look at it, and at its dead letters, written down.
    pub(super) async fn last_look(&mut self, api: &Api, consumer: &Consumer) {
        self.list(api, consumer).await;
        let view = self.look(api, consumer).await;
        let told = json!({
            "cursor": view.cursor,
            "in_flight": view.in_flight,
            "waiting": view.waiting,
            "dead_letters": view.dead_letters,
        });
        self.write(consumer, "view", told);
    }

    fn write(&mut self, consumer: &Consumer, what: &str, value: Value) {
        let line = Map::from_iter([
            ("at".to_owned(), now().into()),
            ("tenant".to_owned(), consumer.scope.tenant.into()),
            ("consumer".to_owned(), consumer.name.into()),
            (what.to_owned(), value),
        ]);
        self.file.write_all(format!("{}\n", Value::Object(line)).as_bytes()).unwrap();
    }
}

fn client(api: &Api) -> ConsumerServiceClient<Channel> {
    ConsumerServiceClient::new(api.channel()).max_decoding_message_size(64 * 1024 * 1024)
}

#[expect(clippy::disallowed_methods, reason = "a history tells when things happened")]
fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
