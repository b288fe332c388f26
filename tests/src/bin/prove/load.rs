//! Cal.com's side: each webhook is sent when it is due, whatever has become of those before it, and tried four times at
//! the most. What got no 2xx by then is given up.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use calbridge_e2e::{chance::Chance, stories::Post, system::SECRET, truth::answered, webhook::Sender};
use serde_json::Value;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{sleep, sleep_until, timeout},
};

use crate::scene::Scene;

/// Cal.com's tries at the most.
const TRIES: u32 = 4;
/// For an answer: longer than any that the adapter gives late, shorter than Cal.com's own.
const ANSWER: Duration = Duration::from_secs(5);
/// Before the second try; each one after it waits twice as long, and a part by chance. Cal.com waits longer.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two lines that say how far it is.
const LINES: Duration = Duration::from_secs(5);

/// Senders at work.
pub(crate) struct Load {
    task: JoinHandle<Heard>,
    webhooks: usize,
    sent: Arc<AtomicUsize>,
    told: Mutex<Instant>,
}

/// What was answered.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// A line of the history for each answer that promised to keep it.
    pub(crate) kept: Vec<Value>,
    /// Answers of each status.
    pub(crate) answers: BTreeMap<u16, usize>,
    /// Those that no edge may give to what is signed well.
    pub(crate) strange: BTreeMap<u16, usize>,
    /// Tries without an answer.
    pub(crate) silent: usize,
    /// Webhooks that got no 2xx in all their tries.
    pub(crate) given_up: usize,
    /// How long the answers took that promised something.
    pub(crate) took: Vec<Duration>,
}

impl Load {
    /// Sends these, so many a second, to any of the edges.
    pub(crate) fn start(posts: Vec<Post>, rate: u32, edges: Vec<SocketAddr>, chance: &mut Chance) -> Self {
        let (webhooks, sent) = (posts.len(), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(send_all(posts, rate, edges, Chance::new(chance.number()), Arc::clone(&sent)));
        Self { task, webhooks, sent, told: Mutex::new(Instant::now()) }
    }

    /// How many there are.
    pub(crate) fn webhooks(&self) -> usize {
        self.webhooks
    }

    /// How many were sent, answered or not.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether everything was sent, and answered or given up.
    pub(crate) fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    /// Says now and then how far it is.
    pub(crate) fn tell(&self, struck: usize, misfortunes: usize, scene: &Scene) {
        let mut told = self.told.lock().unwrap();
        if told.elapsed() >= LINES {
            *told = Instant::now();
            let away = scene.away();
            println!(
                "{} of {} webhooks sent, {struck} of {misfortunes} misfortunes, away: {away}",
                self.sent(),
                self.webhooks
            );
        }
    }

    pub(crate) async fn end(self) -> Heard {
        self.task.await.unwrap()
    }
}

async fn send_all(
    posts: Vec<Post>,
    rate: u32,
    edges: Vec<SocketAddr>,
    mut chance: Chance,
    count: Arc<AtomicUsize>,
) -> Heard {
    let edges: Arc<Vec<Sender>> = Arc::new(edges.into_iter().map(Sender::new).collect());
    let heard = Arc::new(Mutex::new(Heard::default()));
    let began = tokio::time::Instant::now();
    let mut sending = JoinSet::new();
    for (number, post) in posts.into_iter().enumerate() {
        sleep_until(began + Duration::from_secs(1) / rate * u32::try_from(number).unwrap()).await;
        let (edges, heard, chance) = (Arc::clone(&edges), Arc::clone(&heard), Chance::new(chance.number()));
        sending.spawn(send(post, edges, heard, chance));
        count.fetch_add(1, Ordering::Relaxed);
        while sending.try_join_next().is_some() {}
    }
    sending.join_all().await;
    std::mem::take(&mut *heard.lock().unwrap())
}

async fn send(post: Post, edges: Arc<Vec<Sender>>, heard: Arc<Mutex<Heard>>, mut chance: Chance) {
    for number in 0..TRIES {
        if number > 0 {
            let pause = PAUSE * 2_u32.pow(number - 1);
            sleep(pause + pause / 100 * u32::try_from(chance.below(100)).unwrap()).await;
        }
        let edge = &edges[chance.below(edges.len())];
        let began = Instant::now();
        let answer = timeout(ANSWER, edge.try_send(post.tenant, SECRET, post.body.clone())).await;
        let mut heard = heard.lock().unwrap();
        let Ok(Ok(answer)) = answer else {
            heard.silent += 1;
            continue;
        };
        let status = answer.status.as_u16();
        *heard.answers.entry(status).or_default() += 1;
        if answer.status.is_success() {
            heard.took.push(began.elapsed());
            heard.kept.push(answered(post.tenant, &post.body, &answer));
            return;
        }
        if status != 503 {
            *heard.strange.entry(status).or_default() += 1;
        }
    }
    heard.lock().unwrap().given_up += 1;
}
