//! Cal.com, so to speak: lives of bookings told side by side, some webhooks twice, and what was answered.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use calbridge_calcom::golden::{
    self, Golden, Person,
    lives::{self, minute},
};
use calbridge_e2e::{
    chance::Chance,
    stories::renamed,
    system::TENANT,
    v1::{BookingStatus, PaymentStatus, Trigger},
    wait,
    webhook::Sender,
};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

/// Lives of one stream.
const LIVES: usize = 6;
/// Webhooks that speak of no booking.
const FORMS: i64 = 2;
/// A webhook is sent again soon once in so many times.
const COPIED: usize = 5;
/// And long after, once in so many.
const REPEATED: usize = 3;
/// Webhooks on their way at a time.
const SENDERS: usize = 4;
/// How long after they are told bookings end, where the clock is to see it: time enough to tell them, and for several
/// rounds of the clock.
const ENDS: [SignedDuration; 3] =
    [SignedDuration::from_millis(2_000), SignedDuration::from_millis(3_200), SignedDuration::from_millis(5_000)];
/// The clock's grace, where nobody says another.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

/// Where each booking ends.
pub(super) type Ends = BTreeMap<String, (BookingStatus, PaymentStatus)>;

/// A stream, and how far it is.
#[derive(Clone)]
pub(super) struct Stream {
    secret: &'static str,
    waiting: Arc<Mutex<VecDeque<Vec<u8>>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    ends: Arc<Ends>,
    is_over: Arc<AtomicBool>,
}

/// A webhook that was sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) body: Vec<u8>,
    /// None: the connection broke.
    status: Option<u16>,
}

impl Stream {
    /// Some lives, the same for each number; whoever is in them has a name of his own.
    pub(super) fn of_lives(secret: &'static str, number: u64, name: &str) -> Self {
        let mut chance = Chance::new(number);
        let lives = lives::all();
        let (mut told, mut ends) = (Vec::new(), Ends::new());
        for place in 0..LIVES {
            let life = &lives[chance.below(lives.len())];
            let end = format!("{name}x{place}");
            ends.extend(life.ends.iter().map(|(uid, status, payment)| (format!("{uid}{end}"), (*status, *payment))));
            // One step of each life in turn.
            let steps = life.steps.iter().enumerate();
            told.extend(steps.map(|(step, (trigger, of))| ((step, place), golden::body(*trigger, &renamed(of, &end)))));
        }
        told.sort();
        let mut waiting: Vec<Vec<u8>> = told.into_iter().map(|(_, body)| body).collect();
        waiting.extend((0..FORMS).map(|form| form_of(name, form)));
        let copies: Vec<_> = waiting.iter().filter(|_| chance.once_in(COPIED)).cloned().collect();
        for copy in copies {
            let at = waiting.iter().position(|body| *body == copy).unwrap() + 1;
            waiting.insert(at + chance.below(waiting.len() - at + 1), copy);
        }
        let repeated: Vec<_> = waiting.iter().step_by(REPEATED).cloned().collect();
        waiting.extend(repeated);
        Self::new(secret, waiting, ends)
    }

    /// Bookings that end in a moment.
    pub(super) fn of_ends(secret: &'static str, name: &str) -> Self {
        let now = now();
        let (mut waiting, mut ends) = (Vec::new(), Ends::new());
        for (number, soon) in ENDS.into_iter().enumerate() {
            let uid = format!("ends{name}x{number}");
            let end = now - GRACE + soon;
            let told =
                Golden::new(&uid, 9_300, end - SignedDuration::from_hours(2), end - SignedDuration::from_mins(30));
            waiting.push(golden::body(Trigger::BookingCreated, &told));
            ends.insert(uid, (BookingStatus::Completed, PaymentStatus::None));
        }
        Self::new(secret, waiting, ends)
    }

    fn new(secret: &'static str, waiting: Vec<Vec<u8>>, ends: Ends) -> Self {
        Self {
            secret,
            waiting: Arc::new(Mutex::new(waiting.into())),
            sent: Arc::default(),
            ends: Arc::new(ends),
            is_over: Arc::default(),
        }
    }

    /// Sends so many of those that wait, several at a time, to an edge: until that is gone, or it is said to be over.
    /// Whether all of them were answered.
    pub(super) async fn send(&self, edge: SocketAddr, most: usize) -> bool {
        let left = Arc::new(Mutex::new(most));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (stream, left, sender) = (self.clone(), Arc::clone(&left), Sender::new(edge));
            senders.spawn(async move {
                while let Some(body) = stream.next(&left) {
                    if !stream.send_one(&sender, body).await {
                        return false;
                    }
                }
                true
            });
        }
        senders.join_all().await.into_iter().all(|answered| answered)
    }

    /// Sends all that waits, and copies of it, until the edge is gone, or it is said to be over.
    pub(super) async fn send_on(&self, edge: SocketAddr) {
        while self.send(edge, usize::MAX).await && !self.is_over.load(Ordering::Relaxed) {
            self.waiting.lock().unwrap().extend(self.sent().into_keys());
        }
    }

    fn next(&self, left: &Mutex<usize>) -> Option<Vec<u8>> {
        let mut left = left.lock().unwrap();
        if *left == 0 || self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        *left -= 1;
        self.waiting.lock().unwrap().pop_front()
    }

    /// Whether it was answered.
    async fn send_one(&self, sender: &Sender, body: Vec<u8>) -> bool {
        let answer = sender.try_send(TENANT, self.secret, body.clone()).await;
        let status = answer.ok().map(|answer| answer.status.as_u16());
        self.sent.lock().unwrap().push(Sent { body, status });
        status.is_some()
    }

    /// Whoever sends ends with what he is at; or begins again.
    pub(super) fn is_over(&self, is_over: bool) {
        self.is_over.store(is_over, Ordering::Relaxed);
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }

    /// Sends again what had no 2xx, as Cal.com does, until it has.
    pub(super) async fn send_again(&self, edge: SocketAddr) {
        let sender = Sender::new(edge);
        for (body, is_kept) in self.sent() {
            if !is_kept {
                let kept = || async {
                    self.send_one(&sender, body.clone()).await;
                    self.sent()[&body].then_some(())
                };
                wait::until("it is kept at another try", kept).await;
            }
        }
    }

    /// Every body that was sent, and whether it was ever answered with a 2xx.
    pub(super) fn sent(&self) -> BTreeMap<Vec<u8>, bool> {
        let mut sent = BTreeMap::new();
        for Sent { body, status } in self.sent.lock().unwrap().iter() {
            let is_kept = status.is_some_and(|status| (200..300).contains(&status));
            *sent.entry(body.clone()).or_default() |= is_kept;
        }
        sent
    }

    /// How often which answer was given.
    pub(super) fn answers(&self) -> BTreeMap<Option<u16>, usize> {
        let mut answers = BTreeMap::new();
        for Sent { status, .. } in self.sent.lock().unwrap().iter() {
            *answers.entry(*status).or_default() += 1;
        }
        answers
    }

    /// Where the bookings end, if all of it is told.
    pub(super) fn ends(&self) -> &Ends {
        &self.ends
    }
}

fn form_of(name: &str, number: i64) -> Vec<u8> {
    let who = Person::new("Tomas Okafor", &format!("{name}x{number}@lighthouse.example"));
    let told = Golden { created_at: minute(number), attendees: vec![who], ..Golden::new("", 0, minute(0), minute(0)) };
    golden::body(Trigger::FormSubmitted, &told)
}

#[expect(clippy::disallowed_methods, reason = "bookings end by the clock of the services")]
fn now() -> Timestamp {
    Timestamp::now()
}
