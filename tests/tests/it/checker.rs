//! Everything crashes, and nobody misses anything: senders, two services, watchers and clients of consumers at work
//! while chance kills (`kill -9`) one after the other; what each reader saw is judged by a program of its own, which
//! knows only the history that they wrote and what plain SQL finds in the store.
//!
//! The test has the steps, `history_reader` the readers' conduct, `check_history` the laws.

mod operator;
mod readers;
mod senders;

use std::{fs, path::Path, thread, time::Instant};

use calbridge_e2e::{
    api::Api,
    chance::{self, Chance, SEED},
    fleet::{Fleet, Plan},
    postgres::{Durability, FIRST, Postgres},
    program::Start,
    redis_server::RedisServer,
    stories,
    truth::{Truth, write_lines},
    wait,
};
use tempfile::TempDir;

use self::{
    operator::{Care, Operator},
    readers::{Consumer, Readers},
    senders::Senders,
};

const TENANTS: [&str; 2] = ["acme", "birch"];
/// Far above what any answer takes.
const DEADLINE: &str = "10s";

/// How often each misfortune comes, one after the other in an order of chance.
const MISFORTUNES: [(Misfortune, usize); 6] = [
    (Misfortune::ServiceIsKilled, 6),
    (Misfortune::ServiceIsFrozen, 2),
    (Misfortune::ConnectionsAreCut, 2),
    (Misfortune::WatcherIsKilled, 14),
    (Misfortune::ClientIsKilled, 24),
    (Misfortune::LettersAreCaredFor, 12),
];
/// Below it the history would not say much.
const ENTRIES_LEAST: usize = 4_000;
/// Watchers, and clients of consumers, see an entry for so many webhooks at the least before the next misfortune, so
/// that neither are left far behind. Whatever the webhooks are, there is more: in the end each kind has seen more
/// entries than webhooks were sent.
const WEBHOOKS_SEEN: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misfortune {
    /// And started again before the next one.
    ServiceIsKilled,
    /// And goes on before the next one, as if no time had passed.
    ServiceIsFrozen,
    /// Those of the services to the store.
    ConnectionsAreCut,
    WatcherIsKilled,
    ClientIsKilled,
    /// Dead letters are replayed and deleted.
    LettersAreCaredFor,
}

/// A folder of the history; it is kept where the test fails.
struct Folder(TempDir);

impl Folder {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.disable_cleanup(true);
            eprintln!("the history is kept in {}", self.0.path().display());
        }
    }
}

/// What the test plays with.
struct Scene {
    fleet: Fleet,
    /// The service that does not serve now, and what has become of it.
    away: Option<(usize, Misfortune)>,
    postgres: Postgres,
    consumers: Vec<Consumer>,
    readers: Readers,
    operator: Operator,
    chance: Chance,
}

impl Scene {
    /// Any service that lives.
    fn api(&mut self) -> Api {
        let number = self.away.map_or_else(|| self.chance.below(2), |(away, _)| 1 - away);
        Api::new(self.fleet.services[number].listening().grpc())
    }

    async fn strike(&mut self, misfortune: Misfortune) {
        match misfortune {
            Misfortune::ServiceIsKilled | Misfortune::ServiceIsFrozen => {
                let number = self.chance.below(2);
                self.away = Some((number, misfortune));
                let service = &mut self.fleet.services[number];
                if misfortune == Misfortune::ServiceIsFrozen {
                    service.freeze();
                } else {
                    assert!(!service.stderr().contains("panicked"), "{}", service.stderr());
                    service.kill();
                }
            }
            Misfortune::ConnectionsAreCut => self.postgres.cut_connections(),
            Misfortune::WatcherIsKilled => self.readers.kill_a_watcher(&mut self.chance),
            Misfortune::ClientIsKilled => self.readers.kill_a_client(&mut self.chance),
            Misfortune::LettersAreCaredFor => {
                let api = self.api();
                let consumer = &self.consumers[self.chance.below(self.consumers.len())];
                self.operator.care(&api, consumer, Care::ByChance, &mut self.chance).await;
            }
        }
    }

    /// Whoever reads from a frozen service notices nothing and waits: all of them may.
    async fn thaw(&mut self) {
        if matches!(self.away, Some((_, Misfortune::ServiceIsFrozen))) {
            self.recover().await;
        }
    }

    /// Everything that is away comes back.
    async fn recover(&mut self) {
        self.readers.revive();
        if let Some((number, misfortune)) = self.away.take() {
            if misfortune == Misfortune::ServiceIsFrozen {
                self.fleet.services[number].thaw();
            } else {
                self.fleet.restart(number);
            }
            self.fleet.linked(number, true).await;
        }
    }

    /// Waits until so many entries more are seen of each kind of reader than there were before.
    async fn see(&mut self, before: [usize; 2], more: usize) {
        let readers = &mut self.readers;
        let seen = || {
            let now = readers.seen();
            std::future::ready((0..2).all(|kind| now[kind] >= before[kind] + more).then_some(()))
        };
        wait::until("entries are seen", seen).await;
    }

    /// Waits until a consumer has dealt with all that it means; what holds a booking back is replayed.
    async fn drain(&mut self, number: usize) {
        let (tenant, sql) = (self.consumers[number].scope.tenant, self.consumers[number].sql);
        let last = Truth::Postgres(&self.postgres, FIRST).last_of(&format!("tenant = '{tenant}' AND {sql}"));
        loop {
            let api = self.api();
            let consumer = &self.consumers[number];
            let operator = &self.operator;
            let quiet = async || {
                let view = operator.look(&api, consumer).await;
                let is_held = consumer.blocks && view.dead_letters > 0;
                let is_settled = view.in_flight + view.waiting == 0 && view.cursor >= last;
                (is_held || is_settled).then_some(view.dead_letters)
            };
            let dead_letters = wait::until(&format!("{} settles everything", consumer.name), quiet).await;
            if !consumer.blocks || dead_letters == 0 {
                return;
            }
            self.operator.care(&api, consumer, Care::ReplayAll, &mut self.chance).await;
        }
    }
}

/// As many of each as there are to be, in an order of chance.
fn misfortunes(chance: &mut Chance) -> Vec<Misfortune> {
    let mut all: Vec<Misfortune> =
        MISFORTUNES.iter().flat_map(|(misfortune, count)| std::iter::repeat_n(*misfortune, *count)).collect();
    chance.shuffle(&mut all);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_miss_nothing_and_see_it_in_order_whatever_is_killed() {
    let began = Instant::now();
    let seed = chance::seed();
    println!("{SEED}={seed}");
    let mut chance = Chance::new(seed);
    let folder = Folder(TempDir::new().unwrap());
    let (postgres, redis) = (Postgres::start(Durability::Unsynced), RedisServer::start());
    let plan = Plan::new(2, 2, DEADLINE)
        .tenants(TENANTS.map(str::to_owned))
        .service("--redis-url", redis.url())
        .without_clock();
    let fleet = Fleet::of(plan, |_, _| postgres.url()).await;
    let (watchers, consumers) = (readers::watchers(), readers::consumers());
    fs::write(folder.path().join("plan.json"), readers::plan(&watchers, &consumers).to_string()).unwrap();
    let operator = Operator::new(folder.path());
    for consumer in &consumers {
        operator.make(&Api::new(fleet.services[0].listening().grpc()), consumer).await;
    }
    let services = fleet.services.iter().map(|service| service.listening().grpc());
    let readers = Readers::start(folder.path(), services, (&watchers, &consumers), &mut chance);
    let misfortunes = misfortunes(&mut chance);
    let stories = stories::tell(senders::told(&TENANTS), &mut chance);
    write_lines(folder.path(), "sent", &stories.sent());
    write_lines(folder.path(), "lives", &stories.lives);
    let posts = stories.posts;
    // What is left over is sent in the end.
    let each = posts.len() / (misfortunes.len() + 1);
    println!("{} webhooks, {} misfortunes, {each} webhooks between two", posts.len(), misfortunes.len());
    let senders = Senders::start(&fleet, posts, folder.path(), &mut chance);
    let mut scene = Scene { fleet, away: None, postgres, consumers, readers, operator, chance };

    // One lot is always under way.
    senders.may_send(each);
    for (number, misfortune) in misfortunes.into_iter().enumerate() {
        let before = scene.readers.seen();
        senders.may_send(each);
        senders.answered((number + 1) * each).await;
        scene.thaw().await;
        scene.see(before, each / WEBHOOKS_SEEN).await;
        scene.recover().await;
        scene.strike(misfortune).await;
    }
    senders.end().await;
    scene.recover().await;
    println!("all is sent after {:?}", began.elapsed());
    is_judged(scene, folder).await;
    println!("all is done after {:?}", began.elapsed());
}

/// Lets everybody read to the end, and has the history judged.
async fn is_judged(mut scene: Scene, folder: Folder) {
    scene.readers.become_orderly(&scene.consumers, &mut scene.chance);
    for number in 0..scene.consumers.len() {
        scene.drain(number).await;
    }
    let head = Truth::Postgres(&scene.postgres, FIRST).head();
    let readers = &mut scene.readers;
    let told = || std::future::ready(readers.cursors().iter().all(|cursor| *cursor >= head).then_some(()));
    wait::until("the watchers are told all", told).await;
    let api = scene.api();
    for consumer in &scene.consumers {
        scene.operator.last_look(&api, consumer).await;
    }
    let truth = Truth::Postgres(&scene.postgres, FIRST);
    let entries = truth.entries();
    assert!(entries >= ENTRIES_LEAST, "{entries}");
    // None of them has ended in a panic meanwhile.
    scene.readers.revive();
    drop(scene.readers);
    let mut bookings = Vec::new();
    for tenant in TENANTS {
        bookings.extend(api.all_bookings(tenant).await);
    }
    truth.write(folder.path(), &bookings);
    for service in &scene.fleet.services {
        assert!(!service.stderr().contains("panicked"), "{}", service.stderr());
    }
    scene.fleet.stop().await;
    assert_eq!(scene.postgres.query("SELECT sum(deadlocks) FROM pg_stat_database"), "0");
    let verdict = Start::new("check_history").arg(folder.path()).run().await;
    println!("{}{}", verdict.stdout, verdict.stderr);
    assert_eq!(verdict.code, Some(0), "the history is not what it must be");
}

/// The checker's verdict is worth something only where it shares nothing with what it judges.
#[test]
fn the_checker_uses_nothing_of_calbridge() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/check_history");
    let files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file()).collect();
    assert!(files.len() > 5);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let used = text
            .lines()
            .filter(|line| line.contains("use ") && line.contains("calbridge") || line.contains("calbridge_"));
        assert_eq!(used.collect::<Vec<_>>(), [""; 0], "{}", file.display());
    }
}
