//! A real redis-server, and everything bad that can happen to one.

use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use redis::Connection;
use tempfile::TempDir;

use crate::{port, wait::PATIENCE};

/// How often another port is tried where somebody took the first one in between.
const TRIES: usize = 10;
/// Between two looks at a server that starts.
const LOOK: Duration = Duration::from_millis(5);

/// One redis-server that keeps nothing on disk. It is killed when it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one on a free port; returns when it answers.
    #[must_use]
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        for _ in 0..TRIES {
            let port = port::free();
            if let Some(child) = launch(port, &folder) {
                return Self { child, port, folder };
            }
        }
        panic!("redis-server found no free port in {TRIES} tries");
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `redis://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of our own.
    #[must_use]
    pub fn connection(&self) -> Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// Every key it holds, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.connection()).unwrap();
        keys.sort();
        keys
    }

    /// Forgets everything.
    pub fn flush(&self) {
        redis::cmd("FLUSHALL").exec(&mut self.connection()).unwrap();
    }

    /// SIGSTOP: connections stand, nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT: what was sent meanwhile is executed now.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// `kill -9`: connections break, new ones are refused.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, empty, on the port it had; returns when it answers.
    pub fn restart(&mut self) {
        self.child =
            launch(self.port, &self.folder).unwrap_or_else(|| panic!("port {} was taken meanwhile", self.port));
    }

    fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // A stopped process dies of SIGKILL as well; one that is gone needs nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing where the port is taken.
fn launch(port: u16, folder: &TempDir) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|why| {
            panic!("redis-server does not start ({why}): install it, on Debian `apt install redis-server`")
        });
    if comes_up(&mut child, port) {
        return Some(child);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// False where it ended by itself: the port is taken.
fn comes_up(child: &mut Child, port: u16) -> bool {
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if answers(port) {
            return true;
        }
        assert!(Instant::now() < end, "redis-server on port {port} does not answer PING");
        thread::sleep(LOOK);
    }
    false
}

fn answers(port: u16) -> bool {
    // Without this look first, the client library would wait and try by itself.
    TcpStream::connect(("127.0.0.1", port)).is_ok()
        && redis::Client::open(format!("redis://127.0.0.1:{port}"))
            .and_then(|client| client.get_connection())
            .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection))
            .is_ok_and(|answer| answer == "PONG")
}
