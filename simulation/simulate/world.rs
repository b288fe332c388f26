//! The world of a seed: its machines and the network between them, what breaks in it and when, and its end.

use std::{cell::RefCell, collections::BTreeMap, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use calbridge_adapter::{Resolver, Settings as AdapterSettings, simulation::Disk};
use calbridge_process::{Access, Database, Limits, Secret, SpoolSettings, Tenant};
use calbridge_service::{Settings as ServiceSettings, serve_store, store::memory::Memory};
use calbridge_telemetry::Readiness;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use crate::{
    calcom, disk, laws,
    network::{self, Door, GRPC, HTTP},
    plan::{Fault, Host, Plan, What},
    readers,
    seen::Seen,
    store::{Mood, Moods, Moody},
    story,
};

/// A turn of every host. Messages arrive between turns.
const TICK: Duration = Duration::from_millis(5);
/// How often it is looked whether everything has settled, and how much the spools hold.
const GLANCE: Duration = Duration::from_millis(250);
/// After the end of all faults everything that was promised is done within this time: connections that died in silence
/// are noticed after eight seconds, answers are waited for ten, and a reader pauses ten before it comes again.
const SETTLED: Duration = Duration::from_secs(45);
/// What a process needs to end when it is told to: its grace, and a last word to a service.
const ENDED: Duration = Duration::from_secs(25);
/// A message is lost once in so many, where messages are lost.
const LOSS: f64 = 0.01;
/// What is on its way to a process, or from it.
const TCP_SEGMENTS: usize = 4_096;

/// One seed's world.
pub(crate) struct World {
    sim: Sim<'static>,
    plan: Rc<Plan>,
    memory: Memory,
    /// Of each service's store.
    moods: Vec<Moods>,
    seen: Seen,
    /// What ends the process that each host runs now.
    stops: Stops,
    folder: TempDir,
    /// Faults that have not begun, in their order.
    to_come: Vec<Fault>,
    /// And those that have, and have not ended.
    going_on: Vec<Fault>,
    glance: Duration,
}

type Stops = Rc<RefCell<BTreeMap<Host, CancellationToken>>>;

/// The name of a tenant.
pub(crate) fn tenant(number: usize) -> String {
    format!("tenant-{number}")
}

/// What Cal.com signs its webhooks with.
pub(crate) fn secret(tenant: usize) -> String {
    format!("the secret of tenant-{tenant}")
}

impl World {
    pub(crate) fn new(plan: Plan) -> std::io::Result<Self> {
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(plan.seed)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_hours(1))
            .min_message_latency(Duration::ZERO)
            .max_message_latency(plan.latency)
            .tcp_capacity(TCP_SEGMENTS);
        if plan.shuffled {
            builder.enable_random_order();
        }
        disk::begin(plan.seed);
        network::begin(plan.seed);
        let (sim, to_come) = (builder.build(), plan.faults.clone());
        let moods = (0..plan.services).map(|_| Moods::default()).collect();
        let mut world = Self {
            sim,
            plan: Rc::new(plan),
            memory: Memory::default(),
            moods,
            seen: Seen::default(),
            stops: Stops::default(),
            folder: tempfile::tempdir()?,
            to_come,
            going_on: Vec::new(),
            glance: Duration::ZERO,
        };
        (0..world.plan.services).for_each(|number| world.add_service(number));
        (0..world.plan.adapters).for_each(|number| world.add_adapter(number));
        world.add_clients();
        Ok(world)
    }

    /// Runs to the end; the first law that does not hold.
    pub(crate) fn run(mut self) -> Result<Summary, String> {
        let bound = self.plan.healed() + SETTLED;
        loop {
            self.step()?;
            let now = self.sim.elapsed();
            self.break_and_mend(now)?;
            if now < self.glance {
                continue;
            }
            self.glance = now + GLANCE;
            laws::bounds(&self.plan, &self.spools(), &self.seen)?;
            let is_over = now >= self.plan.healed() && self.seen.with(|seen| seen.is_sent);
            let missing =
                if is_over { laws::missing(&self.plan, &self.memory, &self.spools(), &self.seen)? } else { None };
            match missing {
                None if is_over => break,
                Some(missing) if now > bound => return Err(format!("{SETTLED:?} after all was mended: {missing}")),
                _ => {}
            }
        }
        let settled = self.sim.elapsed();
        self.end()?;
        laws::judge(&self.plan, &self.memory, &self.seen)?;
        Ok(Summary::of(&self.plan, &self.seen, settled))
    }

    fn step(&mut self) -> Result<(), String> {
        self.sim.step().map_err(|why| format!("a host ended: {why}"))?;
        if let Some(directory) = disk::has_failed() {
            let of = (0..self.plan.adapters).find(|number| self.spool(*number) == directory);
            let number = of.ok_or_else(|| format!("{} is nobody's", directory.display()))?;
            self.say(&format!("the power of adapter-{number} is gone in the middle of a sync"));
            self.lose_power(number)?;
            self.start(Host::Adapter(number));
        }
        self.seen.first_broken().map_or(Ok(()), Err)
    }

    fn say(&self, line: &str) {
        story::say(&format!("{:>9.3}  {line}", self.sim.elapsed().as_secs_f64()));
    }

    /// Has everybody end as they are told to: adapters first, for they may have something for the services.
    fn end(&mut self) -> Result<(), String> {
        let adapters = (0..self.plan.adapters).map(Host::Adapter);
        let services = (0..self.plan.services).map(Host::Service);
        for hosts in [adapters.collect::<Vec<_>>(), services.collect()] {
            for host in &hosts {
                self.stop(*host);
            }
            let bound = self.sim.elapsed() + ENDED;
            while hosts.iter().any(|host| self.sim.is_host_running(host.to_string())) {
                self.step()?;
                if self.sim.elapsed() > bound {
                    return Err(format!("{hosts:?} were told to end, and did not within {ENDED:?}"));
                }
            }
        }
        self.say("everybody has ended");
        Ok(())
    }

    fn break_and_mend(&mut self, now: Duration) -> Result<(), String> {
        let over: Vec<_> = self.going_on.extract_if(.., |fault| fault.ends <= now).collect();
        for fault in over {
            self.say(&format!("over: {:?}", fault.what));
            self.mend(fault.what);
        }
        while self.to_come.first().is_some_and(|fault| fault.begins <= now) {
            let fault = self.to_come.remove(0);
            self.say(&format!("begins: {:?}, for {:?}", fault.what, fault.ends.saturating_sub(fault.begins)));
            self.break_it(fault.what)?;
            self.going_on.push(fault);
        }
        Ok(())
    }

    fn break_it(&mut self, what: What) -> Result<(), String> {
        match what {
            What::Cut(one, other) => self.sim.partition(one.to_string(), other.to_string()),
            What::Deaf(from, to) => self.sim.partition_oneway(from.to_string(), to.to_string()),
            What::Hold(one, other) => self.sim.hold(one.to_string(), other.to_string()),
            What::Slow(one, other, milliseconds) => {
                self.sim.set_link_latency(one.to_string(), other.to_string(), Duration::from_millis(milliseconds));
            }
            What::Lossy(one, other) => self.sim.set_link_fail_rate(one.to_string(), other.to_string(), LOSS),
            What::Kill(host) => self.sim.crash(host.to_string()),
            What::Power(adapter) => self.lose_power(adapter)?,
            What::PowerInSync(adapter) => disk::fail_in_sync(&self.spool(adapter)),
            What::Stop(host) => self.stop(host),
            What::Store(service, mood) => self.moods[service].set(mood),
        }
        Ok(())
    }

    fn mend(&mut self, what: What) {
        match what {
            What::Cut(one, other) | What::Deaf(one, other) => self.sim.repair(one.to_string(), other.to_string()),
            What::Hold(one, other) => self.sim.release(one.to_string(), other.to_string()),
            What::Slow(one, other, _) => {
                self.sim.set_link_latency(one.to_string(), other.to_string(), TICK);
            }
            What::Lossy(one, other) => {
                self.sim.set_link_fail_rate(one.to_string(), other.to_string(), 0.0);
                self.sim.repair(one.to_string(), other.to_string());
            }
            What::Kill(host) | What::Stop(host) => self.start(host),
            What::Power(adapter) => self.start(Host::Adapter(adapter)),
            What::PowerInSync(_) => disk::forget_failing(),
            What::Store(service, _) => self.moods[service].set(Mood::Well),
        }
    }

    fn start(&mut self, host: Host) {
        self.sim.bounce(host.to_string());
    }

    fn stop(&self, host: Host) {
        if let Some(stop) = self.stops.borrow().get(&host) {
            stop.cancel();
        }
    }

    fn lose_power(&mut self, adapter: usize) -> Result<(), String> {
        self.sim.crash(Host::Adapter(adapter).to_string());
        disk::lose_power(&self.spool(adapter)).map_err(|why| format!("the disk of adapter-{adapter}: {why}"))
    }

    fn spool(&self, adapter: usize) -> PathBuf {
        self.folder.path().join(format!("adapter-{adapter}"))
    }

    fn spools(&self) -> Vec<PathBuf> {
        (0..self.plan.adapters).map(|number| self.spool(number)).collect()
    }

    fn add_service(&mut self, number: usize) {
        let (memory, moods) = (self.memory.clone(), self.moods[number].clone());
        let (stops, host) = (Rc::clone(&self.stops), Host::Service(number));
        let settings = Rc::new(service_settings(&self.plan));
        self.sim.host(host.to_string(), move || {
            let (store, stop, settings) = (Moody::open(&memory, &moods), renew(&stops, host), Rc::clone(&settings));
            async move {
                story::tell(&format!("{host} begins"));
                let door = Door::open(GRPC).await?;
                serve_store(store, network::micros, &settings, door, &Readiness::new(), stop).await?;
                story::tell(&format!("{host} ends"));
                Ok(())
            }
        });
    }

    fn add_adapter(&mut self, number: usize) {
        let (plan, stops, host) = (Rc::clone(&self.plan), Rc::clone(&self.stops), Host::Adapter(number));
        let directory = self.spool(number);
        self.sim.host(host.to_string(), move || {
            let (settings, stop) = (adapter_settings(&plan, directory.clone()), renew(&stops, host));
            async move {
                story::tell(&format!("{host} begins"));
                let (door, disk) = (Door::open(HTTP).await?, Disk::simulated(disk::sync, disk::pace));
                calbridge_adapter::simulation::run(settings, disk, door, Readiness::new(), stop).await?;
                story::tell(&format!("{host} ends"));
                Ok(())
            }
        });
    }

    fn add_clients(&mut self) {
        let (plan, memory, seen) = (Rc::clone(&self.plan), self.memory.clone(), self.seen.clone());
        self.sim.client(Host::Calcom.to_string(), async move {
            calcom::send(plan, memory, seen).await;
            Ok(())
        });
        let services = self.plan.services;
        for number in 0..2 {
            let seen = self.seen.clone();
            self.sim.host(Host::Watcher(number).to_string(), move || readers::watch(number, services, seen.clone()));
        }
        let seen = self.seen.clone();
        self.sim.host(Host::Worker.to_string(), move || readers::work(services, seen.clone()));
    }
}

/// What ends the process that begins now.
fn renew(stops: &Stops, host: Host) -> CancellationToken {
    let stop = CancellationToken::new();
    stops.borrow_mut().insert(host, stop.clone());
    stop
}

fn service_settings(plan: &Plan) -> ServiceSettings {
    ServiceSettings {
        database: Database::Sqlite("unused".into()),
        redis: None,
        dedupe_keys: plan.dedupe_keys,
        clock: Arc::default(),
        retention: Arc::default(),
        scratch: "unused".into(),
        tls: None,
        principals: Vec::new(),
        connections: 100,
        shutdown_grace: Duration::from_secs(5),
    }
}

/// The service is one name; its addresses are those of the services that there are.
fn adapter_settings(plan: &Plan, directory: PathBuf) -> AdapterSettings {
    let tenants = (0..plan.lives.len()).map(|number| {
        let secrets = vec![Secret::always("main", secret(number))];
        (tenant(number), Tenant { secrets, allow_unsigned: false })
    });
    let services = plan.services;
    let lookup = move |_, port| async move {
        let address = |number| (turmoil::lookup(Host::Service(number).to_string()), port).into();
        Ok((0..services).map(address).collect())
    };
    AdapterSettings {
        tenants: tenants.collect(),
        reload: None,
        trusted_proxies: Vec::new(),
        tls: None,
        services: vec![format!("http://services:{GRPC}")],
        access: Access::default(),
        resolver: Resolver::by(lookup).dialing(network::dial),
        spool: Some(SpoolSettings { directory, bytes: plan.spool_bytes, age: Duration::from_hours(1) }),
        quarantine: None,
        ack: plan.ack,
        limits: Limits { in_flight: plan.in_flight, ..Limits::default() },
        moment: network::moment,
    }
}

/// What a seed did, in one line.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) line: String,
}

impl Summary {
    fn of(plan: &Plan, seen: &Seen, settled: Duration) -> Self {
        let (committed, spooled, tried) = seen.with(|seen| {
            let sum = |of: fn(&crate::seen::Answers) -> usize| seen.answers.values().map(of).sum::<usize>();
            (sum(|answers| answers.committed), sum(|answers| answers.spooled), sum(|answers| answers.tried))
        });
        let line = format!(
            "{} adapters, {} services, {} webhooks in {tried} requests, {committed} committed, {spooled} spooled, \
             {} faults, settled after {:.1} s",
            plan.adapters,
            plan.services,
            plan.webhooks.len(),
            plan.faults.len(),
            settled.as_secs_f64(),
        );
        Self { line }
    }
}
