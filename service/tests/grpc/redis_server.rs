//! A redis-server of a test's own: killed when dropped.

pub(crate) mod cluster;

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Tries to find a port that is free by the time the server binds it.
const PORT_TRIES: usize = 10;

/// A running redis-server.
pub(crate) struct RedisServer {
    child: Child,
    pub(crate) port: u16,
}

impl RedisServer {
    /// One on any free port.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// One on any free port, with these options.
    pub(crate) fn start_with(more: &[&str]) -> Self {
        for _ in 0..PORT_TRIES {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(server) = Self::at(port, more) {
                return server;
            }
        }
        panic!("no free port in {PORT_TRIES} tries");
    }

    /// One on this port, or none if it is taken.
    pub(crate) fn at(port: u16, more: &[&str]) -> Option<Self> {
        let mut child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is not installed: on Debian and Ubuntu `apt-get install redis-server`");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines {
            if line.unwrap().contains("Ready to accept connections") {
                return Some(Self { child, port });
            }
        }
        child.wait().unwrap();
        None
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) -> u16 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.port
    }

    /// Runs commands on it.
    pub(crate) async fn run<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = Box::pin(client.get_multiplexed_async_connection()).await.unwrap();
        let (name, arguments) = command.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut connection).await.unwrap()
    }

    /// Runs many commands on it, one after the other; none may fail.
    pub(crate) async fn run_all(&self, commands: impl IntoIterator<Item = String>) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = Box::pin(client.get_multiplexed_async_connection()).await.unwrap();
        let mut pipeline = redis::Pipeline::new();
        for command in commands {
            let mut words = command.split(' ');
            pipeline.cmd(words.next().unwrap()).arg(words.collect::<Vec<_>>());
        }
        pipeline.query_async::<()>(&mut connection).await.unwrap();
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run(&["KEYS", "calbridge:acme:*"]).await;
        keys.sort_unstable();
        keys
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Killed already, or now: a frozen one dies of it, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
