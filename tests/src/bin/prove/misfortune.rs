//! What can happen, to whom, and for how long: all of it drawn by chance from a number.

use std::time::Duration;

use calbridge_e2e::{
    chance::Chance,
    relay::{Cut, Weather},
};

use crate::Kind;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Adapter(usize),
    Service(usize),
    Redis,
    Postgres,
    Watcher(usize),
}

/// A wire between two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wire {
    /// From an adapter to a service.
    Forward(usize, usize),
    /// From a service to Redis.
    Redis(usize),
    /// From a service to its database server.
    Postgres(usize),
}

/// Something bad, and how long it lasts.
#[derive(Debug, Clone)]
pub(crate) struct Misfortune {
    pub(crate) what: What,
    pub(crate) lasts: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// `kill -9`; it is started again.
    Kill(Who),
    /// SIGSTOP; it goes on as if no time had passed.
    Freeze(Who),
    /// Bytes are late, or lost.
    Weather(Wire, Weather),
    /// Connections are cut.
    Cut(Wire, Cut),
}

/// What a misfortune hits: one at a time of each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Who(Who),
    Wire(Wire),
}

/// How long at the most, in milliseconds. Longer than the adapter's patience, and than a sender's.
const KILLED: usize = 1_500;
const FROZEN: usize = 3_000;
const WEATHER: usize = 3_000;
/// The slowest wire, in milliseconds for each piece.
const SLOW: usize = 50;

/// Adapters, services of `PostgreSQL`, and watchers.
pub(crate) const ADAPTERS: usize = 2;
pub(crate) const WATCHERS: usize = 4;

impl Kind {
    pub(crate) fn services(self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres => 2,
        }
    }

    /// Whom it hits, each as often as it stands here.
    fn whom(self) -> Vec<Who> {
        let mut all: Vec<Who> = (0..ADAPTERS).flat_map(|number| [Who::Adapter(number); 3]).collect();
        all.extend((0..WATCHERS).map(Who::Watcher));
        all.extend([Who::Redis; 3]);
        match self {
            Self::Sqlite => all.extend([Who::Service(0); 6]),
            Self::Postgres => {
                all.extend((0..self.services()).flat_map(|number| [Who::Service(number); 3]));
                all.extend([Who::Postgres; 4]);
            }
        }
        all
    }

    /// Every wire there is.
    pub(crate) fn wires(self) -> Vec<Wire> {
        let services = 0..self.services();
        let forward = |service| (0..ADAPTERS).map(move |adapter| Wire::Forward(adapter, service));
        let mut all: Vec<Wire> = services.clone().flat_map(forward).collect();
        all.extend(services.clone().map(Wire::Redis));
        if self == Self::Postgres {
            all.extend(services.map(Wire::Postgres));
        }
        all
    }
}

impl What {
    pub(crate) fn target(&self) -> Target {
        match self {
            Self::Kill(who) | Self::Freeze(who) => Target::Who(*who),
            Self::Weather(wire, _) | Self::Cut(wire, _) => Target::Wire(*wire),
        }
    }

    /// Whom it has ended.
    pub(crate) fn killed(&self) -> Option<Who> {
        if let Self::Kill(who) = self { Some(*who) } else { None }
    }

    /// Its kind, for the report.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Kill(who) => format!("kill -9 of {}", who.name()),
            Self::Freeze(who) => format!("SIGSTOP of {}", who.name()),
            Self::Weather(wire, weather) => {
                let how = match weather {
                    Weather::Slow(_) => "slow",
                    Weather::Held => "held",
                    Weather::Deaf => "lost one way",
                    Weather::Lost => "lost both ways",
                    Weather::Clear => "clear",
                };
                format!("bytes {how}, {}", wire.name())
            }
            Self::Cut(wire, cut) => {
                let how = match cut {
                    Cut::Reset => "reset",
                    Cut::ClientsEnd => "half closed by the client",
                    Cut::ServerEnds => "half closed by the server",
                };
                format!("connections {how}, {}", wire.name())
            }
        }
    }
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Adapter(_) => "an adapter",
            Self::Service(_) => "a service",
            Self::Redis => "Redis",
            Self::Postgres => "PostgreSQL",
            Self::Watcher(_) => "a watcher",
        }
    }
}

impl Wire {
    fn name(self) -> &'static str {
        match self {
            Self::Forward(..) => "adapter to service",
            Self::Redis(_) => "service to Redis",
            Self::Postgres(_) => "service to PostgreSQL",
        }
    }
}

/// So many kills, a quarter as many freezes, half as many cuts of the network, in an order of chance.
pub(crate) fn all(kind: Kind, kills: usize, chance: &mut Chance) -> Vec<Misfortune> {
    let mut all = Vec::new();
    let lasts = |most, chance: &mut Chance| Duration::from_millis(u64::try_from(1 + chance.below(most)).unwrap());
    // Everybody in turn, so that nobody is spared however few there are.
    for who in whom(kind, chance).take(kills) {
        all.push(Misfortune { what: What::Kill(who), lasts: lasts(KILLED, chance) });
    }
    // A watcher that is frozen only waits.
    let freezes = whom(kind, chance).filter(|who| !matches!(who, Who::Watcher(_)));
    for who in freezes.take(kills / 4) {
        all.push(Misfortune { what: What::Freeze(who), lasts: lasts(FROZEN, chance) });
    }
    let wires = kind.wires();
    for _ in 0..kills / 2 {
        let wire = wires[chance.below(wires.len())];
        all.push(Misfortune { what: network(wire, chance), lasts: lasts(WEATHER, chance) });
    }
    chance.shuffle(&mut all);
    all
}

fn whom(kind: Kind, chance: &mut Chance) -> impl Iterator<Item = Who> + use<> {
    let mut whom = kind.whom();
    chance.shuffle(&mut whom);
    whom.into_iter().cycle()
}

fn network(wire: Wire, chance: &mut Chance) -> What {
    let slow = Duration::from_millis(u64::try_from(1 + chance.below(SLOW)).unwrap());
    match chance.below(7) {
        0 => What::Weather(wire, Weather::Slow(slow)),
        1 => What::Weather(wire, Weather::Held),
        2 => What::Weather(wire, Weather::Deaf),
        3 => What::Weather(wire, Weather::Lost),
        4 => What::Cut(wire, Cut::Reset),
        5 => What::Cut(wire, Cut::ClientsEnd),
        _ => What::Cut(wire, Cut::ServerEnds),
    }
}
