//! Webhooks that flow until they are told to stop, each of a booking of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use calbridge_e2e::{
    system::{SECRET, TENANT},
    wait,
    webhook::{Answer, Sender, created, sha256},
};
use tokio::{task::JoinSet, time::sleep};

/// At once.
const SENDERS: usize = 4;
/// A sender that was refused takes a breath: it is to show that refusals go on, not how many there can be.
const BREATH: Duration = Duration::from_millis(5);

/// A body's SHA-256, its booking's uid, and what it was answered.
pub(super) type Sent = (Vec<u8>, String, Answered);

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// With a 2xx.
    Kept,
    /// With a 503.
    Refused,
    /// Not at all: the edge has gone.
    Not,
}

/// The flow.
pub(super) struct Flow {
    is_over: Arc<AtomicBool>,
    kept: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    senders: JoinSet<Vec<Sent>>,
}

/// A webhook about a booking of this uid.
impl Flow {
    /// Uids begin with `prefix`.
    pub(super) fn start(edge: SocketAddr, prefix: &str) -> Self {
        let (kept, refused, is_over) = Default::default();
        let mut flow = Self { is_over, kept, refused, senders: JoinSet::new() };
        for sender in 0..SENDERS {
            let (kept, refused, is_over) = (flow.kept.clone(), flow.refused.clone(), flow.is_over.clone());
            let prefix = format!("{prefix}x{sender}x");
            flow.senders.spawn(async move {
                let (to, mut sent) = (Sender::new(edge), Vec::new());
                while !is_over.load(Ordering::Relaxed) {
                    let uid = format!("{prefix}{}", sent.len());
                    let body = created(&uid);
                    let sum = sha256(&body);
                    let answered =
                        to.try_send(TENANT, SECRET, body).await.map_or(Answered::Not, |answer| judge(&answer));
                    sent.push((sum, uid, answered));
                    match answered {
                        Answered::Kept => drop(kept.fetch_add(1, Ordering::Relaxed)),
                        Answered::Refused => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            sleep(BREATH).await;
                        }
                        Answered::Not => break,
                    }
                }
                sent
            });
        }
        flow
    }

    /// Waits until so many more are answered with a 2xx.
    pub(super) async fn keeps(&self, more: usize) {
        reaches("webhooks are answered with a 2xx", &self.kept, more).await;
    }

    /// Waits until so many more are answered with a 503.
    pub(super) async fn is_refused(&self, more: usize) {
        reaches("webhooks are answered with a 503", &self.refused, more).await;
    }

    /// How many were answered with a 503 so far.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Stops, and waits for the last answers.
    pub(super) async fn stop(self) -> Vec<Sent> {
        self.is_over.store(true, Ordering::Relaxed);
        self.senders.join_all().await.into_iter().flatten().collect()
    }
}

async fn reaches(what: &str, count: &AtomicUsize, more: usize) {
    let wanted = count.load(Ordering::Relaxed) + more;
    let there = || std::future::ready((count.load(Ordering::Relaxed) >= wanted).then_some(()));
    wait::until(what, there).await;
}

/// Nothing but these two may come, whatever the disk does.
fn judge(answer: &Answer) -> Answered {
    match answer.status.as_u16() {
        200 | 202 => Answered::Kept,
        503 => {
            let after = answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
            assert!((1..=60).contains(&after), "Retry-After: {after}");
            Answered::Refused
        }
        status => panic!("answered {status}"),
    }
}
