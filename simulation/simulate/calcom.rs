//! Cal.com: sends each webhook when its time has come, and tries again what got no 2xx, as often as it does.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use calbridge_e2e::{
    chance::Chance,
    webhook::{SIGNATURE, sign},
};
use calbridge_service::store::{Store, memory::Memory};
use futures_util::{FutureExt as _, future::join_all};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, sleep_until, timeout};
use turmoil::net::TcpStream;

use crate::{
    network::HTTP,
    plan::{Host, Plan, Webhook},
    seen::Seen,
    story, world,
};

/// A sender gives a receiver so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries, at the most.
const PAUSE_MOST: usize = 1_200;
/// What an answer's 200 says is looked up among so many newest deliveries.
const LOOKED_UP: usize = 1_000;

/// Sends everything.
pub(crate) async fn send(plan: Rc<Plan>, memory: Memory, seen: Seen) {
    let begun = tokio::time::Instant::now();
    let mut sendings = Vec::new();
    for (number, webhook) in plan.webhooks.iter().enumerate() {
        for (at, tries) in &webhook.sent {
            let calcom = Calcom {
                adapters: plan.adapters,
                number,
                webhook,
                memory: &memory,
                seen: &seen,
                chance: Chance::new(plan.seed ^ u64::try_from(sendings.len()).unwrap_or(0) << 40),
            };
            sendings.push(async move {
                sleep_until(begun + *at).await;
                calcom.insist(*tries).await;
            });
        }
    }
    join_all(sendings).await;
    seen.with(|seen| seen.is_sent = true);
    story::tell("calcom has sent everything");
}

/// One webhook on its way.
struct Calcom<'a> {
    adapters: usize,
    number: usize,
    webhook: &'a Webhook,
    memory: &'a Memory,
    seen: &'a Seen,
    chance: Chance,
}

impl Calcom<'_> {
    async fn insist(mut self, tries: usize) {
        for tried in 1..=tries {
            let adapter = Host::Adapter(self.chance.below(self.adapters));
            let answered = timeout(PATIENCE, self.post(adapter)).await.unwrap_or_else(|_| Err("no answer".to_owned()));
            let (number, is_kept) = (self.number, matches!(answered, Ok((200 | 202, _))));
            let heard = match &answered {
                Ok((status, word)) => format!("{status} {word}"),
                Err(why) => why.clone(),
            };
            story::tell(&format!("webhook {number} of tenant-{} to {adapter}: {heard}", self.webhook.tenant));
            if let Ok((status, _)) = answered {
                self.judge(status);
            }
            if is_kept {
                return;
            }
            if tried < tries {
                sleep(Duration::from_millis(u64::try_from(200 + self.chance.below(PAUSE_MOST)).unwrap_or(0))).await;
            }
        }
    }

    /// The status, and what it says of what became of it.
    async fn post(&self, adapter: Host) -> Result<(u16, String), String> {
        let stream = TcpStream::connect((adapter.to_string(), HTTP)).await.map_err(|why| why.kind().to_string())?;
        let broken = |why: hyper::Error| why.to_string();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(async move { drop(connection.await) });
        let (tenant, body) = (world::tenant(self.webhook.tenant), Bytes::from(self.webhook.body.clone()));
        let request = Request::post(format!("/webhooks/calcom/{tenant}"))
            .header("Host", "adapter")
            .header("Content-Type", "application/json")
            .header("X-Cal-Webhook-Version", "2021-10-20")
            .header(SIGNATURE, sign(&world::secret(self.webhook.tenant), &body))
            .body(Full::new(body))
            .map_err(|why| why.to_string())?;
        self.seen.with(|seen| seen.answers.entry(self.number).or_default().tried += 1);
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let said = response.into_body().collect().await.map_err(broken)?.to_bytes();
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap_or_default();
        Ok((status, said["outcome"].as_str().unwrap_or_default().to_owned()))
    }

    /// What may be answered at all, and that a 200 is in the store by the time that it is heard.
    fn judge(&self, status: u16) {
        let number = self.number;
        match status {
            200 => {
                self.seen.with(|seen| seen.answers.entry(number).or_default().committed += 1);
                let tenant = world::tenant(self.webhook.tenant);
                let store = self.memory.open();
                let kept = store.deliveries(&tenant, None, LOOKED_UP).now_or_never();
                let is_there = kept.is_some_and(|kept| {
                    kept.is_ok_and(|kept| kept.iter().any(|(_, delivery)| delivery.body_sha256 == self.webhook.sha256))
                });
                if !is_there {
                    self.seen.broken(format!("webhook {number} was answered 200 and is not in the store"));
                }
            }
            202 => self.seen.with(|seen| seen.answers.entry(number).or_default().spooled += 1),
            503 => {}
            other => self.seen.broken(format!("webhook {number} was answered {other}")),
        }
    }
}
