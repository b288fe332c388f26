//! Who reads: watchers, and clients that share consumers, each a process of its own with a file that it writes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use calbridge_e2e::{chance::Chance, reader::Reader, stories::restless};
use serde_json::{Value, json};

use super::TENANTS;

/// Processes that share a consumer.
const CLIENTS: usize = 3;

/// A reader without a place in the service.
pub(super) struct Watcher {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
}

/// Which entries are meant. The filter is given to the service and to the checker as it stands.
pub(super) struct Scope {
    pub(super) tenant: &'static str,
    pub(super) filter: String,
    pub(super) recorded: bool,
}

/// A consumer, by what it is made with.
pub(super) struct Consumer {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
    pub(super) blocks: bool,
    pub(super) max_in_flight: usize,
    pub(super) max_deliveries: i32,
    pub(super) ack_wait: Duration,
    /// What its filter says, of the truth's columns: tells the test when everything is read.
    pub(super) sql: &'static str,
}

fn scope(tenant: usize, filter: &str, recorded: bool) -> Scope {
    Scope { tenant: TENANTS[tenant], filter: filter.to_owned(), recorded }
}

pub(super) fn watchers() -> Vec<Watcher> {
    let one = format!("uid = {}", restless(0));
    vec![
        Watcher { name: "sees-all", scope: scope(0, "", false) },
        Watcher { name: "sees-more", scope: scope(0, "", true) },
        Watcher { name: "sees-statuses", scope: scope(1, "kind = STATUS_CHANGED", false) },
        Watcher { name: "sees-some", scope: scope(1, "status != CANCELLED AND kind != APPEARED", true) },
        // Most of what moves its cursor are heartbeats.
        Watcher { name: "sees-few", scope: scope(1, "status = AWAITING_HOST", false) },
        Watcher { name: "sees-one", scope: scope(0, &one, true) },
    ]
}

pub(super) fn consumers() -> Vec<Consumer> {
    let ack_wait = Duration::from_secs(1);
    vec![
        Consumer {
            name: "waits",
            scope: scope(0, "", false),
            blocks: true,
            max_in_flight: 30,
            max_deliveries: 5,
            ack_wait,
            sql: "kind <> 0",
        },
        Consumer {
            name: "flows",
            scope: scope(0, "", true),
            blocks: false,
            max_in_flight: 20,
            max_deliveries: 4,
            ack_wait,
            sql: "TRUE",
        },
        Consumer {
            name: "waits-for-changes",
            scope: scope(1, "kind != APPEARED", false),
            blocks: true,
            max_in_flight: 16,
            max_deliveries: 4,
            ack_wait,
            sql: "kind NOT IN (0, 1)",
        },
        Consumer {
            name: "flows-past-some",
            scope: scope(1, "status != RESCHEDULED AND kind != PEOPLE_CHANGED", false),
            blocks: false,
            max_in_flight: 24,
            max_deliveries: 3,
            ack_wait: 2 * ack_wait,
            sql: "kind NOT IN (0, 6) AND to_status <> 9",
        },
    ]
}

impl Scope {
    fn plan(&self) -> Value {
        json!({"tenant": self.tenant, "filter": self.filter, "recorded": self.recorded})
    }
}

/// For the checker.
pub(super) fn plan(watchers: &[Watcher], consumers: &[Consumer]) -> Value {
    let with = |mut scope: Value, more: Value| {
        let (Value::Object(scope_of), Value::Object(more)) = (&mut scope, more) else {
            unreachable!("both are objects")
        };
        scope_of.extend(more);
        scope
    };
    let watchers = watchers.iter().map(|watcher| with(watcher.scope.plan(), json!({"name": watcher.name})));
    let consumers = consumers.iter().map(|consumer| {
        let mut clients: Vec<String> = (0..CLIENTS).map(|number| client(consumer, number)).collect();
        clients.push(orderly(consumer));
        let more = json!({
            "name": consumer.name,
            "blocks": consumer.blocks,
            "max_in_flight": consumer.max_in_flight,
            "max_deliveries": consumer.max_deliveries,
            "ack_wait": u64::try_from(consumer.ack_wait.as_micros()).unwrap(),
            "clients": clients,
        });
        with(consumer.scope.plan(), more)
    });
    json!({"watchers": watchers.collect::<Vec<_>>(), "consumers": consumers.collect::<Vec<_>>()})
}

fn client(consumer: &Consumer, number: usize) -> String {
    format!("{}-{number}", consumer.name)
}

fn orderly(consumer: &Consumer) -> String {
    format!("{}-orderly", consumer.name)
}

/// All of them.
pub(super) struct Readers {
    folder: PathBuf,
    services: Vec<String>,
    watchers: Vec<Reader>,
    clients: Vec<Reader>,
}

impl Readers {
    pub(super) fn start(
        folder: &Path,
        services: impl Iterator<Item = SocketAddr>,
        (watchers, consumers): (&[Watcher], &[Consumer]),
        chance: &mut Chance,
    ) -> Self {
        let services: Vec<String> = services.map(|service| service.to_string()).collect();
        let mut readers = Self { folder: folder.to_owned(), services, watchers: Vec::new(), clients: Vec::new() };
        for Watcher { name, scope } in watchers {
            let task = json!({"watch": {"filter": scope.filter, "recorded": scope.recorded}});
            let reader = Reader::start(folder, name, readers.order(scope, &task, chance));
            readers.watchers.push(reader);
        }
        for consumer in consumers {
            for number in 0..CLIENTS {
                let reader = readers.consume(consumer, &client(consumer, number), false, chance);
                readers.clients.push(reader);
            }
        }
        readers
    }

    fn order(&self, scope: &Scope, task: &Value, chance: &mut Chance) -> Value {
        json!({"services": self.services, "tenant": scope.tenant, "seed": chance.number(), "task": task})
    }

    fn consume(&self, consumer: &Consumer, name: &str, orderly: bool, chance: &mut Chance) -> Reader {
        // Each may have most of what may be out, all together less than they ask for.
        let most = if orderly { consumer.max_in_flight } else { consumer.max_in_flight * 3 / 4 };
        let task = json!({"consume": {"consumer": consumer.name, "most": most, "orderly": orderly}});
        Reader::start(&self.folder, name, self.order(&consumer.scope, &task, chance))
    }

    /// Ends the clients that do as chance has it, and lets one of each consumer ack whatever it gets.
    pub(super) fn become_orderly(&mut self, consumers: &[Consumer], chance: &mut Chance) {
        self.revive();
        self.clients.clear();
        for consumer in consumers {
            let reader = self.consume(consumer, &orderly(consumer), true, chance);
            self.clients.push(reader);
        }
    }

    pub(super) fn kill_a_watcher(&mut self, chance: &mut Chance) {
        let number = chance.below(self.watchers.len());
        self.watchers[number].kill();
    }

    pub(super) fn kill_a_client(&mut self, chance: &mut Chance) {
        let number = chance.below(self.clients.len());
        self.clients[number].kill();
    }

    /// Those that ended by themselves live again.
    pub(super) fn revive(&mut self) {
        self.watchers.iter_mut().chain(&mut self.clients).for_each(Reader::revive);
    }

    /// Entries that watchers, and clients of consumers, have seen so far.
    pub(super) fn seen(&mut self) -> [usize; 2] {
        [&mut self.watchers, &mut self.clients].map(|readers| readers.iter_mut().map(Reader::seen).sum())
    }

    /// Where each watcher stands.
    pub(super) fn cursors(&mut self) -> Vec<String> {
        self.watchers.iter_mut().map(|watcher| watcher.cursor().to_owned()).collect()
    }
}
