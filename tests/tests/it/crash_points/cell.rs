//! One cell of the table: programs with one of them armed, the way to its point, its next life, and the verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    os::unix::process::ExitStatusExt as _,
};

use calbridge_e2e::{
    program::{Program, Start},
    system::{self, SECRET, System, TENANT},
    v1::Booking,
    wait,
    webhook::sha256,
};
use calbridge_process::crash::{Point, VARIABLE};
use nix::sys::signal::Signal;

use super::{
    Servers,
    plan::{Plan, Redis, Way, Who},
    purge,
    readers::Readers,
    stream::{Ends, Stream},
    truth::Truth,
};

/// What the operator typed instead of the secret.
const WRONG: &str = "whsec_of_another_webhook";
/// To whom the same is told again where nothing crashes.
const CALM: &str = "calm";
/// Webhooks that come before a service is frozen, or meanwhile.
const FEW: usize = 6;

#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) point: Point,
    pub(super) redis: Redis,
    /// Cal.com sends again what had no 2xx.
    sends_again: bool,
    /// No other cell of the table has it.
    number: usize,
}

impl Cell {
    /// Those of a store.
    pub(super) fn all(is_sqlite: bool) -> Vec<Self> {
        let mut cells = Vec::new();
        for (row, point) in Point::ALL.iter().enumerate() {
            let plan = Plan::of(*point);
            for (column, redis) in Redis::ALL.into_iter().enumerate() {
                if plan.is_met(is_sqlite, redis) {
                    let sends_again = (row + column + usize::from(is_sqlite)).is_multiple_of(2);
                    cells.push(Self { point: *point, redis, sends_again, number: cells.len() });
                }
            }
        }
        cells
    }

    pub(super) async fn run(self, servers: &Servers) {
        let mut scene = Scene::set(self, servers).await;
        scene.reach().await;
        scene.recover().await;
        scene.go_on().await;
        scene.is_whole().await;
        if scene.plan.way == Way::Purge {
            purge::survive(&mut scene.system, &scene.truth, self.point, (VARIABLE, self.armed())).await;
        }
        scene.end().await;
    }

    /// What the one who is to die is started with.
    fn armed(self) -> String {
        let column = Redis::ALL.iter().position(|redis| *redis == self.redis).unwrap();
        format!("{}:{}", self.point.name(), Plan::of(self.point).times[column])
    }
}

/// Waits until a program has killed itself at a point.
pub(super) async fn dies(program: &mut Program, point: Point) {
    let died = wait::until(&format!("{} is reached", point.name()), || ready(program.ended())).await;
    assert_eq!(died.signal(), Some(Signal::SIGKILL as i32), "it ended with {died}: {}", program.stderr());
    let said = format!("killed at {}", point.name());
    wait::until(&said, || ready(program.stderr().contains(&said).then_some(()))).await;
    assert!(!program.stderr().contains("panicked"), "{}", program.stderr());
}

/// Bookings without what says when they were learnt of, and by whom.
pub(super) fn plain(bookings: Vec<Booking>) -> Vec<Booking> {
    let without = |booking: Booking| Booking {
        tenant: String::new(),
        update_time: None,
        position: String::new(),
        etag: String::new(),
        ..booking
    };
    let mut plain: Vec<_> = bookings.into_iter().map(without).collect();
    plain.sort_by(|one, other| one.uid.cmp(&other.uid));
    plain
}

struct Scene {
    cell: Cell,
    plan: Plan,
    system: System,
    stream: Stream,
    readers: Readers,
    truth: Truth,
}

impl Scene {
    async fn set(cell: Cell, servers: &Servers) -> Self {
        let plan = Plan::of(cell.point);
        let name = format!("cell{}", cell.number);
        let database = servers.database(&name);
        let is_wrong = plan.way == Way::Quarantine;
        let mut of = system::Plan::new().returning().with_spool().tenant(CALM, SECRET);
        if is_wrong {
            of = of.tenant(TENANT, WRONG).adapter("--quarantine-rate", "1000");
        }
        if let Some(database) = &database {
            of = of.service("--database-url", database).service("--database-connections", "2");
        }
        if let Some(redis) = servers.redis(cell.redis) {
            of = of.service("--redis-url", redis);
        }
        of = match plan.way {
            Way::Committed | Way::Unheard | Way::Clock => of.adapter("--forward-deadline", "2s"),
            Way::Spooled => of.adapter("--ack", "spooled"),
            _ => of,
        };
        if plan.way == Way::Clock {
            of = of.with_clock();
        }
        // The others are armed on their way.
        if !matches!(plan.way, Way::Found | Way::SentOn | Way::Quarantine | Way::Purge) {
            of = of.first_life(VARIABLE, cell.armed());
        }
        let system = of.start().await;
        let stream = if plan.way == Way::Clock {
            Stream::of_ends(SECRET, &name)
        } else {
            Stream::of_lives(SECRET, u64::try_from(cell.number).unwrap(), &name)
        };
        let (readers, truth) = (Readers::start(&system), Truth::of(&system.data(), database));
        Self { cell, plan, system, stream, readers, truth }
    }

    /// Brings whoever is to die to the point.
    async fn reach(&mut self) {
        match self.plan.way {
            Way::Committed | Way::Default | Way::Spooled | Way::Clock => self.flow().await,
            Way::Unheard => {
                self.send(FEW).await;
                self.system.service.freeze();
                self.flow().await;
                self.system.service.kill();
            }
            Way::Late => self.answer_late().await,
            Way::Found | Way::SentOn => self.find_a_spool().await,
            Way::Quarantine => self.replay().await,
            Way::Purge => self.send(self.stream.waiting()).await,
        }
    }

    async fn send(&self, most: usize) {
        self.stream.send(self.system.adapter.listening().http(), most).await;
    }

    /// Webhooks come until it is over: copies, when all are sent.
    async fn flow(&mut self) {
        let (stream, edge) = (self.stream.clone(), self.system.adapter.listening().http());
        let is_clock = self.plan.way == Way::Clock;
        let sending = tokio::spawn(async move {
            // A copy would have its round speak for the clock.
            if is_clock {
                stream.send(edge, usize::MAX).await;
            } else {
                stream.send_on(edge).await;
            }
        });
        let program = match self.plan.who {
            Who::Adapter => &mut self.system.adapter,
            _ => &mut self.system.service,
        };
        dies(program, self.cell.point).await;
        self.stream.is_over(true);
        if self.plan.who == Who::Service {
            // Whoever waits for a commit waits for the next life.
            self.recover().await;
        }
        sending.await.unwrap();
        self.stream.is_over(false);
    }

    /// The service answers when the spool has what it answers for. On a slow machine it may do so before it is frozen,
    /// and the adapter is gone before all are sent.
    async fn answer_late(&mut self) {
        self.send(FEW).await;
        self.system.service.freeze();
        self.send(FEW).await;
        self.system.service.thaw();
        dies(&mut self.system.adapter, self.cell.point).await;
    }

    /// An adapter finds what another has left, and sends it on once the service is back.
    async fn find_a_spool(&mut self) {
        self.system.service.kill();
        self.send(self.stream.waiting() / 2).await;
        self.all_are_promised();
        self.system.adapter.kill();
        self.system.adapter = self.armed(self.system.adapter_plan()).spawn();
        if self.plan.way == Way::SentOn {
            self.system.adapter.await_listening();
            self.system.restart_service();
        }
        dies(&mut self.system.adapter, self.cell.point).await;
    }

    /// What was refused by the wrong secret is admitted by the right one.
    async fn replay(&mut self) {
        self.send(self.stream.waiting()).await;
        let sent: usize = self.stream.answers().values().sum();
        assert_eq!(self.stream.answers(), [(Some(401), sent)].into());
        // A copy is not kept.
        let bodies = self.stream.sent().len();
        let kept = || async {
            let depth = self.system.adapter_metrics().await.sum("calbridge_quarantine_depth", &[]);
            (depth.to_string() == bodies.to_string()).then_some(())
        };
        wait::until("they are in quarantine", kept).await;
        self.system.change_secret(TENANT, SECRET);
        let replay = Start::new("calbridge")
            .arg("quarantine")
            .arg("replay")
            .flag("--spool-dir", self.system.spool())
            .flag("--config", self.system.config())
            .flag("--service", format!("http://{}", self.system.service.listening().grpc()));
        dies(&mut self.armed(&replay).spawn(), self.cell.point).await;
        let ended = replay.run().await;
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.contains(" 0 do not verify"), "{}", ended.stdout);
    }

    fn armed(&self, start: &Start) -> Start {
        start.clone().env(VARIABLE, self.cell.armed())
    }

    fn all_are_promised(&self) {
        assert!(self.stream.sent().values().all(|is_kept| *is_kept), "{:?}", self.stream.answers());
    }

    /// Whoever is gone lives again.
    async fn recover(&mut self) {
        if self.system.service.ended().is_some() {
            self.system.restart_service();
        }
        if self.system.adapter.ended().is_some() {
            self.system.restart_adapter();
        }
        self.system.ready().await;
    }

    /// The rest of the stream comes, and what had no 2xx again, or not.
    async fn go_on(&self) {
        self.send(self.stream.waiting()).await;
        let edge = self.system.adapter.listening().http();
        if self.cell.sends_again && self.plan.who != Who::Replay {
            self.stream.send_again(edge).await;
        }
    }

    /// Judges everything.
    async fn is_whole(&self) {
        let sent = self.stream.sent();
        let is_promised = |kept: bool| kept || self.plan.who == Who::Replay;
        let promised: BTreeSet<String> =
            sent.iter().filter(|(_, kept)| is_promised(**kept)).map(|(body, _)| hex::encode(sha256(body))).collect();
        let all_are_there = || async {
            let stored = self.truth.bodies().await;
            promised.iter().all(|body| stored.contains_key(body)).then_some(())
        };
        wait::until("all that was promised is stored", all_are_there).await;
        self.spool_is_empty().await;
        let stored = self.truth.bodies().await;
        assert!(stored.values().all(|count| *count == 1), "a body is stored twice: {stored:?}");
        let sent_bodies: BTreeMap<String, Vec<u8>> =
            sent.keys().map(|body| (hex::encode(sha256(body)), body.clone())).collect();
        assert!(stored.keys().all(|body| sent_bodies.contains_key(body)), "something is stored that was not sent");

        let is_all = stored.len() == sent.len();
        assert!(is_all || !self.cell.sends_again, "{} of {} are stored", stored.len(), sent.len());
        if is_all {
            let ends = || async { (self.ends().await == *self.stream.ends()).then_some(()) };
            if self.plan.way == Way::Clock {
                wait::until("the clock has completed them", ends).await;
            }
            assert_eq!(self.ends().await, *self.stream.ends());
        }
        self.readers.have_seen_all(&self.truth).await;

        let calm = self.system.sender();
        for body in stored.keys() {
            let answer = calm.send(CALM, SECRET, sent_bodies[body].clone()).await;
            assert!(answer.status.is_success(), "{}", answer.status);
        }
        self.spool_is_empty().await;
        let [crashed, calm] = [TENANT, CALM].map(|tenant| self.bookings(tenant));
        assert_eq!(crashed.await, calm.await, "the bookings are what they are where nothing crashes");
        let [crashed, calm] = [TENANT, CALM].map(|tenant| self.truth.states(tenant));
        assert_eq!(crashed.await, calm.await, "byte for byte");
    }

    async fn bookings(&self, tenant: &str) -> Vec<Booking> {
        plain(self.system.api().all_bookings(tenant).await)
    }

    async fn ends(&self) -> Ends {
        let ends = self.system.api().all_bookings(TENANT).await.into_iter();
        ends.map(|booking| (booking.uid.clone(), (booking.status(), booking.payment_status()))).collect()
    }

    /// Waits until nothing is in the spool that is to be sent on.
    async fn spool_is_empty(&self) {
        let status = Start::new("calbridge").arg("spool").arg("status").flag("--spool-dir", self.system.spool());
        let status = status.flag("--output", "json");
        let is_empty = || async {
            let ended = status.run().await;
            let shown: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
            assert_eq!(shown["unreadable"], 0, "{shown}");
            (shown["events"] == 0).then_some(())
        };
        wait::until("the spool is empty", is_empty).await;
    }

    async fn end(mut self) {
        println!("{:<20} {:<12} {:?}", self.cell.point.name(), self.cell.redis.name(), self.stream.answers());
        self.system.stop().await;
        for program in [&self.system.adapter, &self.system.service] {
            assert!(!program.stderr().contains("panicked"), "{}", program.stderr());
        }
    }
}
