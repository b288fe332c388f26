//! Cal.com, so to speak: lives of many bookings told side by side, a webhook here and there twice or out of its place,
//! as fast as the test lets them be told.

use std::{
    collections::VecDeque,
    fs::File,
    io::Write,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use calbridge_calcom::golden::{
    self, Golden,
    lives::{self, minute},
};
use calbridge_e2e::{chance::Chance, fleet::Fleet, system::SECRET, v1::Trigger, wait, webhook::Sender};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

/// Webhooks on their way at a time.
const SENDERS: usize = 8;
/// After a refusal: Cal.com does not hammer either.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// How often each golden life is told to each tenant, of other bookings each time.
const TELLINGS: usize = 7;
/// Bookings of each tenant that change all the time, and how often each does.
const RESTLESS: usize = 4;
const CHANGES: i64 = 50;
/// Forms of each tenant, which speak of no booking.
const FORMS: i64 = 30;
/// A webhook is sent twice, or out of its place, once in so many times.
const COPIED: usize = 8;
const MISPLACED: usize = 6;
/// Webhooks of others between two of one life: at times they come one upon the other, at times not.
const GAPS: [usize; 3] = [3, 40, 250];

/// A webhook, and whose.
type Post = (&'static str, Vec<u8>);

/// The uid of a booking that changes all the time.
pub(super) fn restless(number: usize) -> String {
    format!("restless{number}")
}

/// All webhooks, in the order in which they are sent.
pub(super) fn posts(tenants: [&'static str; 2], chance: &mut Chance) -> VecDeque<Post> {
    let lives = lives::all();
    let steps: usize = lives.iter().map(|life| life.steps.len()).sum();
    let all = tenants.len() * TELLINGS * steps;
    let mut placed: Vec<(usize, Post)> = Vec::new();
    for tenant in tenants {
        for telling in 0..TELLINGS {
            for (number, life) in lives.iter().enumerate() {
                let (begin, gap) = (chance.below(all), GAPS[chance.below(GAPS.len())]);
                for (step, (trigger, told)) in life.steps.iter().enumerate() {
                    let body = golden::body(*trigger, &renamed(told, &format!("{telling}x{number}")));
                    place(&mut placed, begin + step * gap, 2 * gap, (tenant, body), chance);
                }
            }
        }
        for number in 0..RESTLESS {
            for change in 0..CHANGES {
                let at = all * usize::try_from(change).unwrap() / usize::try_from(CHANGES).unwrap();
                placed.push((at + chance.below(GAPS[0]), (tenant, change_of(&restless(number), change))));
            }
        }
        for form in 0..FORMS {
            let told = Golden { created_at: minute(form), ..Golden::new("", 0, minute(0), minute(0)) };
            placed.push((chance.below(all), (tenant, golden::body(Trigger::FormSubmitted, &told))));
        }
    }
    placed.sort_by_key(|(at, _)| *at);
    placed.into_iter().map(|(_, post)| post).collect()
}

fn place(placed: &mut Vec<(usize, Post)>, at: usize, far: usize, post: Post, chance: &mut Chance) {
    let at = if chance.once_in(MISPLACED) { at + chance.below(far) } else { at };
    if chance.once_in(COPIED) {
        placed.push((at + chance.below(far), post.clone()));
    }
    placed.push((at, post));
}

/// Of another booking.
fn renamed(told: &Golden, end: &str) -> Golden {
    let other = |uid: &Option<String>| uid.as_ref().map(|uid| format!("{uid}{end}"));
    Golden {
        uid: format!("{}{end}", told.uid),
        ical_uid_of: other(&told.ical_uid_of),
        reschedule_uid: other(&told.reschedule_uid),
        ..told.clone()
    }
}

/// The host sets the mark of an attendee, and takes it back.
fn change_of(uid: &str, number: i64) -> Vec<u8> {
    let booking = Golden::new(uid, 9_100, minute(number), minute(600));
    if number == 0 {
        return golden::body(Trigger::BookingCreated, &booking);
    }
    let marks = vec![(booking.attendees[0].email.clone(), number % 2 == 1)];
    golden::body(Trigger::BookingNoShowUpdated, &Golden { no_shows: marks, ..booking })
}

/// Senders at work. Each answer is written down.
pub(super) struct Senders {
    tasks: JoinSet<()>,
    posts: Arc<Mutex<VecDeque<Post>>>,
    permits: Arc<Semaphore>,
    answered: Arc<AtomicUsize>,
}

impl Senders {
    /// They send nothing yet.
    pub(super) fn start(fleet: &Fleet, posts: VecDeque<Post>, folder: &Path, chance: &mut Chance) -> Self {
        let edges: Vec<_> = fleet.adapters.iter().map(|adapter| Sender::new(adapter.listening().http())).collect();
        let answers = Arc::new(Mutex::new(File::create(folder.join("senders.jsonl")).unwrap()));
        let (posts, permits) = (Arc::new(Mutex::new(posts)), Arc::new(Semaphore::new(0)));
        let answered = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..SENDERS {
            let (edges, posts, permits) = (edges.clone(), Arc::clone(&posts), Arc::clone(&permits));
            let (answers, answered, mut chance) =
                (Arc::clone(&answers), Arc::clone(&answered), Chance::new(chance.number()));
            tasks.spawn(async move {
                while let Ok(permit) = permits.acquire().await {
                    permit.forget();
                    let Some((tenant, body)) = posts.lock().unwrap().pop_front() else { return };
                    let line = send(&edges, tenant, &body, &mut chance).await;
                    answers.lock().unwrap().write_all(line.as_bytes()).unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { tasks, posts, permits, answered }
    }

    /// Lets them send so many more.
    pub(super) fn may_send(&self, more: usize) {
        self.permits.add_permits(more);
    }

    /// Waits until so many are answered, in all.
    pub(super) async fn answered(&self, count: usize) {
        let answered = || std::future::ready((self.answered.load(Ordering::Relaxed) >= count).then_some(()));
        wait::until("the webhooks are answered", answered).await;
    }

    /// Lets them send all that is left, and waits for their end.
    pub(super) async fn end(self) {
        // And one for each to find that nothing is left.
        let left = self.posts.lock().unwrap().len() + SENDERS;
        self.permits.add_permits(left);
        wait::within("the senders end", self.tasks.join_all()).await;
    }
}

/// Until it is taken in, at any edge. The answer is a line of the history.
async fn send(edges: &[Sender], tenant: &str, body: &[u8], chance: &mut Chance) -> String {
    loop {
        let answer = edges[chance.below(edges.len())].send(tenant, SECRET, body.to_vec()).await;
        if answer.status == 200 {
            return format!("{}\n", json!({"delivery": answer.delivery_id(), "outcome": answer.outcome()}));
        }
        assert_eq!(answer.status, 503);
        sleep(REFUSED_PAUSE).await;
    }
}
