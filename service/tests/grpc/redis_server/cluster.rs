//! A Redis cluster of a test's own: three masters that share the slots, and replicas where a test wants some.

use std::net::TcpListener;

use tempfile::TempDir;

use super::RedisServer;
use crate::harness::until;

/// Masters of every cluster.
pub(crate) const MASTERS: usize = 3;
/// A node that is silent for so long counts as dead. Short, or a test would wait for it.
const NODE_TIMEOUT: &str = "1000";
/// The nodes talk to each other on the port so far above.
const BUS: u16 = 10_000;

/// Nodes that know each other. The first three are the masters.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<RedisServer>,
    /// A node that can't write its configuration ends itself.
    folder: TempDir,
}

impl Cluster {
    /// Three masters.
    pub(crate) async fn start() -> Self {
        let mut cluster = Self { nodes: Vec::new(), folder: tempfile::tempdir().unwrap() };
        while cluster.nodes.len() < MASTERS {
            cluster.launch();
        }
        let ranges = [(0, 5460), (5461, 10_922), (10_923, 16_383)];
        for (number, (from, to)) in ranges.into_iter().enumerate() {
            let node = &cluster.nodes[number];
            node.run_all([format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)]).await;
            node.run_all([format!("CLUSTER ADDSLOTSRANGE {from} {to}")]).await;
            cluster.introduce(node).await;
        }
        cluster.is_one().await;
        cluster
    }

    /// Three masters, and a replica of the first.
    pub(crate) async fn with_replica() -> Self {
        let mut cluster = Self::start().await;
        while cluster.nodes.len() == MASTERS {
            cluster.launch();
        }
        let replica = &cluster.nodes[MASTERS];
        cluster.introduce(replica).await;
        cluster.is_one().await;
        replica.run_all([format!("CLUSTER REPLICATE {}", cluster.id(0).await)]).await;
        until("the replica follows", async || info(replica, "INFO").await.contains("master_link_status:up")).await;
        // Only a replica of which the others know may take its master's place.
        until("all know the replica", async || {
            let mut all = true;
            for node in &cluster.nodes {
                all &= info(node, "CLUSTER NODES").await.lines().any(|line| line.contains("slave"));
            }
            all
        })
        .await;
        cluster
    }

    /// How a service reaches it. A cluster has no databases.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("redis://127.0.0.1:{}", node.port)).collect()
    }

    /// What the masters of the beginning know.
    pub(crate) async fn keys(&self) -> usize {
        let mut keys = 0;
        for node in &self.nodes[..MASTERS] {
            keys += node.keys().await.len();
        }
        keys
    }

    /// What the one knows that knows least.
    pub(crate) async fn least(&self) -> usize {
        let mut least = usize::MAX;
        for node in &self.nodes[..MASTERS] {
            least = least.min(node.keys().await.len());
        }
        least
    }

    /// Gives empty slots of one master to another.
    pub(crate) async fn move_slots(&self, from: usize, to: usize, slots: std::ops::Range<u16>) {
        let (giver, taker) = (self.id(from).await, self.id(to).await);
        self.nodes[to].run_all(slots.clone().map(|slot| format!("CLUSTER SETSLOT {slot} IMPORTING {giver}"))).await;
        self.nodes[from].run_all(slots.clone().map(|slot| format!("CLUSTER SETSLOT {slot} MIGRATING {taker}"))).await;
        self.nodes[to].run_all(slots.clone().map(|slot| format!("CLUSTER SETSLOT {slot} NODE {taker}"))).await;
        self.nodes[from].run_all(slots.map(|slot| format!("CLUSTER SETSLOT {slot} NODE {taker}"))).await;
    }

    /// The node takes the place of its master, which knows and agrees.
    pub(crate) async fn promote(&self, node: usize) {
        self.nodes[node].run_all(["CLUSTER FAILOVER".to_owned()]).await;
        self.is_master(node).await;
    }

    /// Waits until the node is a master.
    pub(crate) async fn is_master(&self, node: usize) {
        until("the replica is a master", async || info(&self.nodes[node], "ROLE").await.starts_with("master")).await;
        until("the cluster is whole", async || {
            info(&self.nodes[node], "CLUSTER INFO").await.contains("cluster_state:ok")
        })
        .await;
    }

    async fn id(&self, node: usize) -> String {
        self.nodes[node].run(&["CLUSTER", "MYID"]).await
    }

    fn launch(&mut self) {
        let port = loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if port < u16::MAX - BUS && TcpListener::bind(("127.0.0.1", port + BUS)).is_ok() {
                break port;
            }
        };
        let file = self.folder.path().join(format!("{port}.conf"));
        let options = [
            ["--cluster-enabled", "yes"],
            ["--cluster-config-file", file.to_str().unwrap()],
            ["--cluster-node-timeout", NODE_TIMEOUT],
            ["--repl-diskless-sync-delay", "0"],
            ["--dir", self.folder.path().to_str().unwrap()],
        ];
        self.nodes.extend(RedisServer::at(port, options.as_flattened()));
    }

    async fn introduce(&self, node: &RedisServer) {
        node.run_all([format!("CLUSTER MEET 127.0.0.1 {}", self.nodes[0].port)]).await;
    }

    async fn is_one(&self) {
        let nodes = format!("cluster_known_nodes:{}", self.nodes.len());
        until("the cluster is one", async || {
            for node in &self.nodes {
                let info = info(node, "CLUSTER INFO").await;
                if !(info.contains("cluster_state:ok") && info.contains(&nodes)) {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

/// The answer to a question, as text.
async fn info(node: &RedisServer, question: &str) -> String {
    let words: Vec<&str> = question.split(' ').collect();
    match node.run(&words).await {
        redis::Value::Array(parts) => match &parts[..] {
            [redis::Value::BulkString(first), ..] => String::from_utf8_lossy(first).into_owned(),
            other => panic!("{question}: {other:?}"),
        },
        value => redis::from_redis_value(value).unwrap(),
    }
}
