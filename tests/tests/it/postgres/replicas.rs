//! Two services and two adapters on one `PostgreSQL` and one Redis: golden lives, told several times over both adapters
//! and in no order, become one state, and whoever follows the log by positions misses nothing of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Instant,
};

use calbridge_calcom::golden::{
    self,
    lives::{self, Life},
};
use calbridge_e2e::{
    api::Api,
    chance::{self, Chance, SEED},
    fleet::{Fleet, Plan},
    postgres::{Durability, Postgres},
    redis_server::RedisServer,
    system::SECRET,
    v1::{BookingStatus, SubmitOutcome},
    wait,
    webhook::{Sender, sha256},
};
use tokio::{sync::oneshot, task::JoinSet};
use tokio_postgres::NoTls;

use super::{SENDERS, errors, no_deadlock};

/// How often each body is sent.
const COPIES: usize = 3;
/// Far above what any answer takes.
const DEADLINE: &str = "10s";

/// One webhook on its way.
struct Post {
    tenant: String,
    body: Vec<u8>,
    adapter: usize,
}

/// Every body of every life, some times over, in an order of chance.
fn posts(lives: &[Life], chance: &mut Chance) -> Vec<Post> {
    let bodies = lives
        .iter()
        .flat_map(|life| life.steps.iter().map(|(trigger, told)| (life.name.clone(), golden::body(*trigger, told))));
    let mut posts: Vec<Post> = bodies
        .flat_map(|told| std::iter::repeat_n(told, COPIES))
        .map(|(tenant, body)| Post { tenant, body, adapter: chance.below(2) })
        .collect();
    chance.shuffle(&mut posts);
    posts
}

/// Sends them side by side; how often each body of a tenant was new to the fleet.
async fn spray(fleet: &Fleet, posts: Vec<Post>) -> BTreeMap<(String, Vec<u8>), usize> {
    let posts = Arc::new(Mutex::new(posts));
    let edges: Vec<Sender> = fleet.adapters.iter().map(|adapter| Sender::new(adapter.listening().http())).collect();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (posts, edges) = (Arc::clone(&posts), edges.clone());
        senders.spawn(async move {
            let mut answers = Vec::new();
            let next = || posts.lock().unwrap().pop();
            while let Some(Post { tenant, body, adapter }) = next() {
                let answer = edges[adapter].send(&tenant, SECRET, body.clone()).await;
                assert_eq!(answer.status, 200, "{tenant}");
                answers.push(((tenant, sha256(&body)), answer.outcome()));
            }
            answers
        });
    }
    let mut fresh = BTreeMap::new();
    for (body, outcome) in wait::within("all are answered", senders.join_all()).await.into_iter().flatten() {
        *fresh.entry(body).or_default() += usize::from(outcome != "duplicate");
    }
    fresh
}

/// Everything that has a position: a delivery's first change has the delivery's.
const LOG: &str = "SELECT position, 'delivery' AS kind FROM deliveries
    UNION ALL SELECT position, 'transition' FROM transitions
    UNION ALL SELECT position, 'duplicate' FROM duplicates";

/// A row of the log, as far as it matters who comes first.
type Place = (i64, String);

/// Follows the log by position until told to end: all that it saw, in order, and in how many looks.
async fn follow(url: String, mut end: oneshot::Receiver<()>) -> (Vec<Place>, usize) {
    let behind = format!("SELECT position, kind FROM ({LOG}) AS log WHERE position > $1 ORDER BY 1, 2");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let (mut cursor, mut seen, mut looks) = (0, Vec::<Place>::new(), 0);
    loop {
        let is_last = end.try_recv().is_ok();
        let page = client.query(&behind, &[&cursor]).await.unwrap();
        seen.extend(page.iter().map(|row| (row.get(0), row.get(1))));
        cursor = seen.last().map_or(cursor, |(position, _)| *position);
        looks += 1;
        if is_last {
            return (seen, looks);
        }
    }
}

#[tokio::test]
async fn lives_told_over_two_adapters_to_two_services_are_one_state_without_a_gap() {
    let seed = chance::seed();
    let (postgres, redis) = (Postgres::start(Durability::Synced), RedisServer::start());
    let lives = lives::all();
    let plan = Plan::new(2, 2, DEADLINE)
        .tenants(lives.iter().map(|life| life.name.clone()))
        .service("--redis-url", redis.url())
        .without_clock();
    let mut fleet = Fleet::of(plan, |_, _| postgres.url()).await;
    let (end, ends) = oneshot::channel();
    let follower = tokio::spawn(follow(postgres.url(), ends));
    let posts = posts(&lives, &mut Chance::new(seed));
    let (began, count) = (Instant::now(), posts.len());
    let fresh = spray(&fleet, posts).await;
    // A copy that Redis tells is answered at once, and noted with the next round.
    let copies = (count - fresh.len()).to_string();
    let noted = || std::future::ready((postgres.query("SELECT count(*) FROM duplicates") == copies).then_some(()));
    wait::until("every copy is noted", noted).await;
    end.send(()).unwrap();
    let (rows, looks) = wait::within("the follower ends", follower).await.unwrap();
    println!(
        "{SEED}={seed}: {count} webhooks, {} bodies of {} lives, in {:?}; {} rows of the log followed in {looks} looks",
        fresh.len(),
        lives.len(),
        began.elapsed(),
        rows.len(),
    );
    assert!(fresh.values().all(|fresh| *fresh == 1), "each body is new once");
    nothing_was_missed(&postgres, &rows);
    for life in &lives {
        is_one_state(&fleet, life).await;
    }
    for service in &fleet.services {
        assert_eq!(errors(&service.stderr()), [""; 0]);
    }
    let shares = [fleet.committed(0).await, fleet.committed(1).await];
    println!("the services committed {shares:?}");
    assert!(shares.iter().all(|share| *share > 0.0));
    fleet.stop().await;
    no_deadlock(&postgres);
}

/// What was followed is all there is, each row once and in order.
fn nothing_was_missed(postgres: &Postgres, seen: &[Place]) {
    assert!(seen.is_sorted_by(|one, next| one < next), "a row is told twice, or behind a later one");
    let all = postgres.query(&format!("SELECT position, kind FROM ({LOG}) AS log ORDER BY 1, 2"));
    let all: BTreeSet<Place> = all
        .lines()
        .map(|line| {
            let (position, kind) = line.split_once('|').unwrap();
            (position.parse().unwrap(), kind.to_owned())
        })
        .collect();
    let seen: BTreeSet<Place> = seen.iter().cloned().collect();
    let missed: Vec<_> = all.symmetric_difference(&seen).collect();
    assert!(missed.is_empty(), "rows that appeared behind the cursor, or are gone: {missed:?}");
}

/// Both services tell the life alike, as it ends, with each body once and each booking's changes as a chain.
async fn is_one_state(fleet: &Fleet, life: &Life) {
    let [api, other] = [0, 1].map(|service: usize| Api::new(fleet.services[service].listening().grpc()));
    let tenant = &life.name;
    let bookings = api.all_bookings(tenant).await;
    assert_eq!(bookings, other.all_bookings(tenant).await);
    let ends: BTreeMap<_, _> =
        bookings.iter().map(|one| (one.uid.as_str(), (one.status(), one.payment_status()))).collect();
    let expected = life.ends.iter().map(|(uid, status, payment)| (*uid, (*status, *payment))).collect();
    assert_eq!(ends, expected, "{tenant}");

    let deliveries = api.all_deliveries(tenant).await;
    assert_eq!(deliveries, other.all_deliveries(tenant).await);
    let stored: BTreeSet<_> = deliveries.iter().map(|delivery| delivery.body_sha256.clone()).collect();
    let sent = life.steps.iter().map(|(trigger, told)| sha256(&golden::body(*trigger, told))).collect();
    assert_eq!(stored, sent, "{tenant}");
    assert_eq!(deliveries.len(), stored.len(), "{tenant}: each body once");

    for booking in &bookings {
        let timeline = api.timeline(tenant, &booking.uid).await;
        assert_eq!(timeline, other.timeline(tenant, &booking.uid).await);
        let mut status = BookingStatus::Unspecified;
        let (mut fresh, mut copies) = (0, 0);
        for entry in &timeline {
            match entry.outcome() {
                SubmitOutcome::Duplicate => copies += 1,
                _ => fresh += 1,
            }
            if let Some(change) = &entry.transition {
                assert_eq!(change.from_status(), status, "{tenant} {}: a change begins elsewhere", booking.uid);
                status = change.to_status();
            }
        }
        assert_eq!(status, booking.status(), "{tenant} {}", booking.uid);
        assert_eq!(copies, fresh * (COPIES - 1), "{tenant} {}: every copy is noted", booking.uid);
    }
}
