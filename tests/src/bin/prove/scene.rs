//! Everything that a webhook meets, and what has become of it: programs, servers, the wires between them, watchers.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use calbridge_e2e::{
    chance::Chance,
    metrics::Page,
    port,
    postgres::{Durability, FIRST, Postgres},
    program::{Program, Start},
    reader::Reader,
    redis_server::RedisServer,
    relay::{Relay, Weather},
    system::{SECRET, config_of, ready},
    truth::Truth,
    wait,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Kind,
    misfortune::{ADAPTERS, Misfortune, Target, WATCHERS, What, Who, Wire},
};

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_millis(5);
/// Before a program is started again that could not start: its database may be away.
const AGAIN: Duration = Duration::from_millis(100);
/// While something is still delivered, nobody gives up: between two deliveries it may be so long.
const STANDSTILL: Duration = Duration::from_mins(1);

/// How often each kind of misfortune has come.
pub(crate) type Struck = BTreeMap<String, usize>;

/// A program of ours that comes back where it was.
struct Slot {
    start: Start,
    program: Program,
    is_up: bool,
}

pub(crate) struct Scene {
    folder: PathBuf,
    adapters: Vec<Slot>,
    edges: Vec<SocketAddr>,
    services: Vec<Slot>,
    grpc: Vec<SocketAddr>,
    redis: RedisServer,
    postgres: Option<Postgres>,
    watchers: Vec<Reader>,
    watched: Vec<Value>,
    wires: BTreeMap<Wire, Relay>,
    /// What is to end, and when.
    away: Vec<(Instant, What)>,
    struck: Struck,
}

impl Slot {
    /// Starts it; it is up when it says where it listens.
    fn begin(start: Start) -> Self {
        Self { program: start.spawn(), start, is_up: false }
    }

    fn kill(&mut self) {
        self.program.kill();
        self.is_sound();
        self.is_up = false;
    }

    /// It has never panicked.
    fn is_sound(&self) {
        let said = self.program.stderr();
        assert!(!said.contains("panicked"), "{said}");
    }

    /// False where it could not start, as it may while its database is away.
    fn goes_on(&mut self) -> bool {
        let ended = self.program.ended();
        self.is_up |= self.program.is_listening();
        assert!(ended.is_none() || !self.is_up, "it ended by itself: {ended:?}\n{}", self.program.stderr());
        ended.is_none()
    }
}

impl Scene {
    pub(crate) async fn start(kind: Kind, folder: &Path, tenants: &[&'static str], chance: &mut Chance) -> Self {
        let config = folder.join("calbridge.toml");
        let secrets = tenants.iter().map(|tenant| ((*tenant).to_owned(), SECRET.to_owned())).collect();
        fs::write(&config, config_of(&secrets, false)).unwrap();
        let redis = RedisServer::start();
        let postgres = (kind == Kind::Postgres).then(|| Postgres::start(Durability::Synced));
        let grpc: Vec<SocketAddr> = (0..kind.services()).map(|_| local(port::free())).collect();
        let edges: Vec<SocketAddr> = (0..ADAPTERS).map(|_| local(port::free())).collect();
        let mut wires = BTreeMap::new();
        for wire in kind.wires() {
            let to = match wire {
                Wire::Forward(_, service) => grpc[service],
                Wire::Redis(_) => local(redis.port()),
                Wire::Postgres(_) => postgres.as_ref().unwrap().address(),
            };
            wires.insert(wire, Relay::to(to).await);
        }
        let service = |number: usize| {
            let database = match &postgres {
                None => format!("sqlite://{}", database(folder).display()),
                Some(postgres) => postgres.url_by(wires[&Wire::Postgres(number)].address()),
            };
            let start = Start::new("calbridge-service")
                .flag("--grpc", grpc[number].to_string())
                .flag("--admin", "127.0.0.1:0")
                .flag("--data-dir", folder.join(format!("data{number}")))
                .flag("--database-url", database)
                .flag("--redis-url", format!("redis://{}", wires[&Wire::Redis(number)].address()))
                .flag("--config", &config);
            Slot::begin(start)
        };
        let adapter = |number: usize| {
            let to = |service| format!("http://{}", wires[&Wire::Forward(number, service)].address());
            // The first promises what the service has committed, the others what their spools have.
            let ack = if number == 0 { "committed" } else { "spooled" };
            let start = Start::new("calbridge-adapter")
                .flag("--http", edges[number].to_string())
                .flag("--admin", "127.0.0.1:0")
                .flag("--service", (0..grpc.len()).map(to).collect::<Vec<_>>().join(","))
                .flag("--spool-dir", folder.join(format!("spool{number}")))
                .flag("--ack", ack)
                .flag("--config", &config);
            Slot::begin(start)
        };
        let services: Vec<_> = (0..grpc.len()).map(service).collect();
        let adapters: Vec<_> = (0..ADAPTERS).map(adapter).collect();
        let (watchers, watched) = (0..WATCHERS).map(|number| watcher(number, folder, &grpc, tenants, chance)).unzip();
        let (folder, away, struck) = (folder.to_owned(), Vec::new(), Struck::new());
        let mut scene =
            Self { folder, adapters, edges, services, grpc, redis, postgres, watchers, watched, wires, away, struck };
        scene.recover().await;
        scene
    }

    /// Where webhooks are sent to.
    pub(crate) fn edges(&self) -> Vec<SocketAddr> {
        self.edges.clone()
    }

    pub(crate) fn any_service(&self) -> SocketAddr {
        self.grpc[0]
    }

    /// For the judge.
    pub(crate) fn watchers(&self) -> &[Value] {
        &self.watched
    }

    pub(crate) fn struck(&self) -> &Struck {
        &self.struck
    }

    pub(crate) fn truth(&self) -> Truth<'_> {
        match &self.postgres {
            Some(postgres) => Truth::Postgres(postgres, FIRST),
            None => Truth::Sqlite(database(&self.folder)),
        }
    }

    /// The server that has the bookings, where there is one.
    pub(crate) fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// Who is not as it should be, in words.
    pub(crate) fn away(&self) -> String {
        let mut all: Vec<String> = self.away.iter().map(|(_, what)| format!("{what:?}")).collect();
        let down = |slots: &[Slot]| slots.iter().filter(|slot| !slot.is_up).count();
        all.push(format!("{} of ours", down(&self.adapters) + down(&self.services)));
        all.join(", ")
    }

    /// Whether it would hit somebody who is there.
    pub(crate) fn may_strike(&self, misfortune: &Misfortune) -> bool {
        let target = misfortune.what.target();
        let is_free = self.away.iter().all(|(_, what)| what.target() != target);
        is_free
            && match target {
                Target::Who(Who::Adapter(number)) => self.adapters[number].is_up,
                Target::Who(Who::Service(number)) => self.services[number].is_up,
                Target::Who(_) | Target::Wire(_) => true,
            }
    }

    pub(crate) fn strike(&mut self, Misfortune { what, lasts }: Misfortune) {
        *self.struck.entry(what.name()).or_default() += 1;
        match what {
            What::Kill(who) => self.kill(who),
            What::Freeze(who) => self.freeze(who),
            What::Weather(wire, weather) => self.wires[&wire].have(weather),
            What::Cut(wire, cut) => return self.wires[&wire].cut(cut),
        }
        self.away.push((Instant::now() + lasts, what));
    }

    /// Waits a moment, ends what is to end by now, and starts again what could not start.
    pub(crate) async fn go_on(&mut self) {
        sleep(LOOK).await;
        let now = Instant::now();
        for (_, what) in self.away.extract_if(.., |(until, _)| *until <= now).collect::<Vec<_>>() {
            self.end(what);
        }
        let mut failed = false;
        let killed: Vec<Who> = self.away.iter().filter_map(|(_, what)| what.killed()).collect();
        for (number, slot) in self.services.iter_mut().enumerate() {
            if !killed.contains(&Who::Service(number)) && !slot.goes_on() {
                slot.program = slot.start.spawn();
                failed = true;
            }
        }
        for (number, slot) in self.adapters.iter_mut().enumerate() {
            if !killed.contains(&Who::Adapter(number)) {
                assert!(slot.goes_on(), "an adapter does not start: {}", slot.program.stderr());
            }
        }
        self.watchers.iter_mut().for_each(Reader::revive);
        if failed {
            sleep(AGAIN).await;
        }
    }

    /// Everything is as it should be again.
    pub(crate) async fn recover(&mut self) {
        for (_, what) in std::mem::take(&mut self.away) {
            self.end(what);
        }
        let end = Instant::now() + STANDSTILL;
        while !self.adapters.iter().chain(&self.services).all(|slot| slot.is_up) {
            assert!(Instant::now() < end, "not everything starts again: {}", self.away());
            self.go_on().await;
        }
        for slot in self.adapters.iter().chain(&self.services) {
            ready(&slot.program).await;
        }
    }

    /// Waits until everything that was promised is delivered, and everybody has been told.
    pub(crate) async fn settle(&mut self) {
        let (mut least, mut end) = (f64::MAX, Instant::now() + STANDSTILL);
        loop {
            let mut waiting = 0.0;
            for adapter in &self.adapters {
                let page = Page::read(adapter.program.listening().admin()).await;
                waiting += page.sum("calbridge_spool_depth", &[]);
            }
            if waiting == 0.0 {
                break;
            }
            if waiting < least {
                println!("{waiting} webhooks wait in spools");
                (least, end) = (waiting, Instant::now() + STANDSTILL);
            }
            assert!(Instant::now() < end, "{waiting} webhooks are not delivered");
            sleep(AGAIN).await;
        }
        let head = self.truth().head();
        for watcher in &mut self.watchers {
            let told = || std::future::ready((watcher.cursor() >= &*head).then_some(()));
            wait::until("the watchers are told all", told).await;
        }
    }

    pub(crate) async fn stop(mut self) {
        for slot in self.adapters.iter_mut().chain(&mut self.services) {
            slot.is_sound();
            slot.program.stop().await;
        }
        if let Some(postgres) = &self.postgres {
            assert_eq!(postgres.query("SELECT sum(deadlocks) FROM pg_stat_database"), "0");
        }
    }

    fn kill(&mut self, who: Who) {
        match who {
            Who::Adapter(number) => self.adapters[number].kill(),
            Who::Service(number) => self.services[number].kill(),
            Who::Redis => self.redis.kill(),
            Who::Postgres => self.postgres.as_mut().unwrap().kill(),
            Who::Watcher(number) => self.watchers[number].kill(),
        }
    }

    fn freeze(&self, who: Who) {
        match who {
            Who::Adapter(number) => self.adapters[number].program.freeze(),
            Who::Service(number) => self.services[number].program.freeze(),
            Who::Redis => self.redis.freeze(),
            Who::Postgres => self.postgres.as_ref().unwrap().freeze(),
            Who::Watcher(_) => {}
        }
    }

    fn end(&mut self, what: What) {
        match what {
            What::Kill(Who::Adapter(number)) => {
                self.adapters[number] = Slot::begin(self.adapters[number].start.clone());
            }
            What::Kill(Who::Service(number)) => {
                self.services[number] = Slot::begin(self.services[number].start.clone());
            }
            What::Kill(Who::Redis) => self.redis.restart(),
            What::Kill(Who::Postgres) => self.postgres.as_mut().unwrap().restart(),
            What::Freeze(Who::Adapter(number)) => self.adapters[number].program.thaw(),
            What::Freeze(Who::Service(number)) => self.services[number].program.thaw(),
            What::Freeze(Who::Redis) => self.redis.thaw(),
            What::Freeze(Who::Postgres) => self.postgres.as_ref().unwrap().thaw(),
            What::Weather(wire, _) => self.wires[&wire].have(Weather::Clear),
            // A watcher lives again at once, and what is cut stays cut.
            What::Kill(Who::Watcher(_)) | What::Freeze(Who::Watcher(_)) | What::Cut(..) => {}
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn database(folder: &Path) -> PathBuf {
    folder.join("calbridge.db")
}

/// Every second one also hears of what changes nothing.
fn watcher(
    number: usize,
    folder: &Path,
    services: &[SocketAddr],
    tenants: &[&'static str],
    chance: &mut Chance,
) -> (Reader, Value) {
    let (name, tenant) = (format!("watcher{number}"), tenants[number % tenants.len()]);
    let recorded = number / tenants.len() % 2 == 1;
    let services: Vec<String> = services.iter().map(ToString::to_string).collect();
    let order = json!({
        "services": services,
        "tenant": tenant,
        "seed": chance.number(),
        "task": {"watch": {"filter": "", "recorded": recorded}},
    });
    let watched = json!({"name": name, "tenant": tenant, "filter": "", "recorded": recorded});
    (Reader::start(folder, &name, order), watched)
}
