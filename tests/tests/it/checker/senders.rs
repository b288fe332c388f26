//! Cal.com, so to speak: its stories, as fast as the test lets them be told.

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

use calbridge_e2e::{
    chance::Chance,
    fleet::Fleet,
    stories::{Plan, Post},
    system::SECRET,
    truth::answered,
    wait,
    webhook::Sender,
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

/// Webhooks on their way at a time.
const SENDERS: usize = 8;
/// After a refusal: Cal.com does not hammer either.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// What is told.
pub(super) fn told(tenants: &'static [&'static str]) -> Plan {
    Plan { tenants, tellings: 7, restless: (4, 50), forms: 30 }
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
    pub(super) fn start(fleet: &Fleet, posts: Vec<Post>, folder: &Path, chance: &mut Chance) -> Self {
        let edges: Vec<_> = fleet.adapters.iter().map(|adapter| Sender::new(adapter.listening().http())).collect();
        let answers = Arc::new(Mutex::new(File::create(folder.join("senders.jsonl")).unwrap()));
        let (posts, permits) = (Arc::new(Mutex::new(VecDeque::from(posts))), Arc::new(Semaphore::new(0)));
        let answered = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..SENDERS {
            let (edges, posts, permits) = (edges.clone(), Arc::clone(&posts), Arc::clone(&permits));
            let (answers, answered, mut chance) =
                (Arc::clone(&answers), Arc::clone(&answered), Chance::new(chance.number()));
            tasks.spawn(async move {
                while let Ok(permit) = permits.acquire().await {
                    permit.forget();
                    let Some(post) = posts.lock().unwrap().pop_front() else { return };
                    let line = send(&edges, &post, &mut chance).await;
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
async fn send(edges: &[Sender], post: &Post, chance: &mut Chance) -> String {
    let Post { tenant, body } = post;
    loop {
        let answer = edges[chance.below(edges.len())].send(tenant, SECRET, body.clone()).await;
        if answer.status == 200 {
            return format!("{}\n", answered(tenant, body, &answer));
        }
        assert_eq!(answer.status, 503);
        sleep(REFUSED_PAUSE).await;
    }
}
