//! A real redis-server, and everything bad that can happen to one.
//!
//! The test speaks with it over a socket in its folder, whatever the program under test has to show at its port.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
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

use crate::{
    port,
    wait::{self, PATIENCE},
};

/// How often another port is tried where somebody took the first one in between.
const TRIES: usize = 10;
/// Between two looks at a server that starts.
const LOOK: Duration = Duration::from_millis(5);
/// Its log, in its folder.
const LOG: &str = "redis.log";

/// One redis-server that keeps nothing on disk. It is killed when it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    setup: Setup,
    folder: TempDir,
}

/// What a server is to have beyond a port.
#[derive(Debug, Default)]
pub struct Setup {
    password: Option<String>,
    tls: bool,
    options: Vec<String>,
}

impl Setup {
    /// Whoever comes must know this password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.option("--requirepass", password)
    }

    /// TLS at the port, and nothing else.
    #[must_use]
    pub fn tls(mut self, certificate: &Path, key: &Path) -> Self {
        self.tls = true;
        self.option("--tls-cert-file", &certificate.to_string_lossy())
            .option("--tls-key-file", &key.to_string_lossy())
            .option("--tls-auth-clients", "no")
    }

    /// And only for clients with a certificate of this authority.
    #[must_use]
    pub fn clients_of(self, authority: &Path) -> Self {
        self.option("--tls-auth-clients", "yes").option("--tls-ca-cert-file", &authority.to_string_lossy())
    }

    fn option(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Nothing where the port is taken.
    fn launch(&self, port: u16, folder: &Path) -> Option<Child> {
        let port_option = if self.tls { ["--port", "0", "--tls-port"].as_slice() } else { &["--port"] };
        let mut child = Command::new("redis-server")
            .args(port_option)
            .arg(port.to_string())
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            // Verbose, it writes down whoever comes.
            .args(["--logfile", LOG, "--loglevel", "verbose", "--unixsocket"])
            .arg(socket(folder))
            .args(&self.options)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|why| {
                panic!("redis-server does not start ({why}): install it, on Debian `apt install redis-server`")
            });
        if self.comes_up(&mut child, folder) {
            return Some(child);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        None
    }

    /// False where it ended by itself: the port is taken.
    fn comes_up(&self, child: &mut Child, folder: &Path) -> bool {
        let end = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if self.answers(folder) {
                return true;
            }
            assert!(Instant::now() < end, "redis-server in {} does not answer PING", folder.display());
            thread::sleep(LOOK);
        }
        false
    }

    fn answers(&self, folder: &Path) -> bool {
        // Without this look first, the client library would wait and try by itself.
        UnixStream::connect(socket(folder)).is_ok()
            && self
                .client(folder)
                .get_connection()
                .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection))
                .is_ok_and(|answer| answer == "PONG")
    }

    fn client(&self, folder: &Path) -> redis::Client {
        let password = self.password.as_ref().map_or_else(String::new, |password| format!("?pass={password}"));
        redis::Client::open(format!("redis+unix://{}{password}", socket(folder).display())).unwrap()
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

impl RedisServer {
    /// Starts one on a free port; returns when it answers.
    #[must_use]
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    /// The same, with what it is to have.
    #[must_use]
    pub fn with(setup: Setup) -> Self {
        let folder = TempDir::new().unwrap();
        for _ in 0..TRIES {
            let port = port::free();
            if let Some(child) = setup.launch(port, folder.path()) {
                return Self { child, port, setup, folder };
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

    /// Where it listens, for an address of another kind.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection of our own.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.setup.client(self.folder.path()).get_connection().unwrap()
    }

    /// Waits until its port was connected to so many times more, in vain or not.
    pub async fn is_tried(&self, times: usize) {
        let visits = || {
            let log = fs::read_to_string(self.folder.path().join(LOG)).unwrap();
            log.lines().filter(|line| line.contains("Accepted 127.0.0.1")).count()
        };
        let before = visits();
        let tried = || std::future::ready((visits() >= before + times).then_some(()));
        wait::until("Redis is tried", tried).await;
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
        let child = self.setup.launch(self.port, self.folder.path());
        self.child = child.unwrap_or_else(|| panic!("port {} was taken meanwhile", self.port));
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
