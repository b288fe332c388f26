//! The same webhooks in a place where nothing happens, with a store of the same kind: in the order in which they were
//! first sent, with no Redis, no spool and no second replica.

use std::{
    collections::{HashSet, VecDeque},
    path::Path,
    sync::{Arc, Mutex},
};

use calbridge_e2e::{
    stories::{Post, Stories},
    system::{self, SECRET},
    truth::Truth,
    webhook::sha256,
};
use tokio::task::JoinSet;

use crate::{TENANTS, scene::Scene};

/// The database of that place.
const CALM: &str = "calm";
/// Webhooks on their way at a time.
const SENDERS: usize = 32;

/// Tells another system what a store has kept, and writes down what it makes of it.
pub(crate) async fn write(stories: &Stories, scene: &Scene, folder: &Path) {
    let kept = scene.truth().bodies();
    let mut left: HashSet<&(String, String)> = kept.iter().collect();
    let is_kept = |post: &&Post| left.remove(&(post.tenant.to_owned(), hex::encode(sha256(&post.body))));
    let posts: VecDeque<Post> = stories.posts.iter().filter(is_kept).cloned().collect();
    let plan = TENANTS.iter().fold(system::Plan::new(), |plan, tenant| plan.tenant(tenant, SECRET));
    let plan = if let Some(server) = scene.postgres() {
        let _ = server.query(&format!("CREATE DATABASE {CALM}"));
        plan.service("--database-url", server.url_of(CALM))
    } else {
        plan
    };
    let mut system = plan.start().await;
    let posts = Arc::new(Mutex::new(posts));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (sender, posts) = (system.sender(), Arc::clone(&posts));
        senders.spawn(async move {
            loop {
                let Some(post) = posts.lock().unwrap().pop_front() else { return };
                // Slow it may be, on a machine that has much to do.
                while sender.send(post.tenant, SECRET, post.body.clone()).await.status != 200 {}
            }
        });
    }
    senders.join_all().await;
    let truth = match scene.postgres() {
        Some(server) => Truth::Postgres(server, CALM),
        None => Truth::Sqlite(system.data().join("calbridge.db")),
    };
    truth.write_calm(folder);
    system.stop().await;
}
