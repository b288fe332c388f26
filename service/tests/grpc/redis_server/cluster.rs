//! A Redis cluster of a test's own: three masters that share the slots, and replicas where a test wants some.

use std::{fs, net::TcpListener};

use calbridge_e2e::wait;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use super::RedisServer;

/// Masters of every cluster.
pub(crate) const MASTERS: usize = 3;
/// A node that is silent for so long counts as dead. Short, or a test would wait for it.
const NODE_TIMEOUT: &str = "1000";
/// The nodes talk to each other on the port so far above.
const BUS: u16 = 10_000;

/// Nodes that know each other. The first three are the masters.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<RedisServer>,
    /// Where the nodes speak TLS, with clients and among themselves; without TLS nowhere.
    tls_ports: Vec<u16>,
    /// The certificate that all of them share, as it vouches for itself.
    pub(crate) certificate: Option<String>,
    /// A node that can't write its configuration ends itself.
    folder: TempDir,
}

impl Cluster {
    /// Three masters.
    pub(crate) async fn start() -> Self {
        Self::of(None, tempfile::tempdir().unwrap()).await
    }

    /// Three masters behind TLS. The test itself goes in without.
    pub(crate) async fn with_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A cluster tells the addresses of its nodes, and no names.
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        Self::of(Some(cert.pem()), folder).await
    }

    async fn of(certificate: Option<String>, folder: TempDir) -> Self {
        let mut cluster = Self { nodes: Vec::new(), tls_ports: Vec::new(), certificate, folder };
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
        wait::holds("the replica follows", async || info(replica, "INFO").await.contains("master_link_status:up"))
            .await;
        // Only a replica of which the others know may take its master's place.
        wait::holds("all know the replica", async || {
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
        if self.certificate.is_some() {
            return self.tls_ports.iter().map(|port| format!("rediss://127.0.0.1:{port}")).collect();
        }
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
        wait::holds("the replica is a master", async || info(&self.nodes[node], "ROLE").await.starts_with("master"))
            .await;
        wait::holds("the cluster is whole", async || {
            info(&self.nodes[node], "CLUSTER INFO").await.contains("cluster_state:ok")
        })
        .await;
    }

    async fn id(&self, node: usize) -> String {
        self.nodes[node].run(&["CLUSTER", "MYID"]).await
    }

    fn launch(&mut self) {
        let (port, tls_port) = (port_with_bus(), port_with_bus());
        let path = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let mut options: Vec<String> = ["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT]
            .into_iter()
            .chain(["--repl-diskless-sync-delay", "0"])
            .map(str::to_owned)
            .collect();
        options.extend([
            "--cluster-config-file".to_owned(),
            path(&format!("{port}.conf")),
            "--dir".to_owned(),
            path(""),
        ]);
        if self.certificate.is_some() {
            let cert = path("cert.pem");
            options.extend(["--tls-cluster", "yes", "--tls-auth-clients", "no", "--tls-port"].map(str::to_owned));
            options.extend([tls_port.to_string(), "--tls-cert-file".to_owned(), cert.clone()]);
            options.extend(["--tls-ca-cert-file".to_owned(), cert, "--tls-key-file".to_owned(), path("key.pem")]);
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        if let Some(node) = RedisServer::at(port, &options) {
            self.nodes.push(node);
            self.tls_ports.push(tls_port);
        }
    }

    async fn introduce(&self, node: &RedisServer) {
        let port = if self.certificate.is_some() { self.tls_ports[0] } else { self.nodes[0].port };
        node.run_all([format!("CLUSTER MEET 127.0.0.1 {port}")]).await;
    }

    async fn is_one(&self) {
        let nodes = format!("cluster_known_nodes:{}", self.nodes.len());
        wait::holds("the cluster is one", async || {
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

/// A port that is free together with the one on which the nodes talk.
fn port_with_bus() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < u16::MAX - BUS && TcpListener::bind(("127.0.0.1", port + BUS)).is_ok() {
            return port;
        }
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
