//! A real `PostgreSQL` server, and everything bad that can happen to one.
//!
//! Its files are copied from a cluster that is made once and kept beside the system's other temporary files: making one
//! takes a second, copying it a tenth.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::{Pid, User, geteuid},
};
use tempfile::TempDir;

use crate::{
    port,
    wait::{self, PATIENCE},
};

/// How often another port is tried where somebody took the first one in between.
const TRIES: usize = 10;
/// Between two looks at a server that starts.
const LOOK: Duration = Duration::from_millis(10);
/// `PostgreSQL` refuses to run as root, and is run as this user then.
const USER: &str = "postgres";

/// The database that every server has.
pub const FIRST: &str = "postgres";

/// When a commit of the server counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage.
    Synced,
    /// In the operating system's hands: for tests in which no machine fails.
    Unsynced,
}

/// One server with an empty database `postgres`. It is killed when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl Postgres {
    /// Starts one on a free port; returns when it answers.
    #[must_use]
    pub fn start(durability: Durability) -> Self {
        Self::start_in(TempDir::new().unwrap(), durability, &[])
    }

    /// The same, with its files in a folder, and with settings of its own (`name=value`).
    #[must_use]
    pub fn start_in(folder: TempDir, durability: Durability, settings: &[&str]) -> Self {
        copy_cluster(folder.path());
        let synced = if durability == Durability::Synced { "on" } else { "off" };
        let mut all = vec![format!("fsync={synced}"), format!("full_page_writes={synced}")];
        all.extend(settings.iter().map(|setting| (*setting).to_owned()));
        for _ in 0..TRIES {
            let port = port::free();
            if let Some(child) = launch(folder.path(), port, &all) {
                return Self { child, port, settings: all, folder };
            }
        }
        panic!("postgres found no free port in {TRIES} tries");
    }

    /// `postgres://…`, of the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(FIRST)
    }

    /// `postgres://…`, of another database.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// `postgres://…`, of the database `postgres`, by way of another address.
    #[must_use]
    pub fn url_by(&self, address: SocketAddr) -> String {
        format!("postgres://{USER}@{address}/{FIRST}")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// What `psql` prints of a statement, without decoration.
    ///
    /// # Panics
    ///
    /// Where the server refuses it.
    #[must_use]
    pub fn query(&self, sql: &str) -> String {
        self.query_in(FIRST, sql)
    }

    /// The same of another database.
    ///
    /// # Panics
    ///
    /// Where the server refuses it.
    #[must_use]
    pub fn query_in(&self, database: &str, sql: &str) -> String {
        let told = self.psql(database, sql);
        assert!(told.status.success(), "{sql}: {}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap().trim_end().to_owned()
    }

    /// What `psql` says of a statement that the server refuses, or dies of; nothing where it does well.
    #[must_use]
    pub fn refusal(&self, sql: &str) -> Option<String> {
        let told = self.psql(FIRST, sql);
        (!told.status.success()).then(|| String::from_utf8_lossy(&told.stderr).into_owned())
    }

    /// The process that the others belong to.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The port it listens at.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Writes a file into its folder that it alone can read, and answers where.
    #[must_use]
    pub fn keep_file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown_to_user(&path);
        path
    }

    /// Changes settings of the running server (`name=value`), and returns when they hold for new connections.
    pub async fn set(&self, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            let _ = self.query(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        }
        self.reload().await;
    }

    /// Has the server read its files again, and returns when what they say holds for new connections.
    pub async fn reload(&self) {
        const READ: &str = "SELECT pg_conf_load_time()";
        let before = self.query(READ);
        let _ = self.query("SELECT pg_reload_conf()");
        wait::until("the settings hold", || std::future::ready((self.query(READ) != before).then_some(()))).await;
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SIGSTOP to all of it: connections stand, nothing is answered.
    pub fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// SIGCONT: what was sent meanwhile is executed now.
    pub fn thaw(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    /// `kill -9` to all of it: what was not on stable storage is gone.
    pub fn kill(&mut self) {
        self.signal_all(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// An immediate stop: no connection is finished, nothing is written that was not.
    pub fn stop_immediately(&mut self) {
        signal::kill(pid(self.child.id()), Signal::SIGQUIT).unwrap();
        self.child.wait().unwrap();
    }

    /// Cuts every connection but our own.
    pub fn cut_connections(&self) {
        let _ = self.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
    }

    /// Starts it again on the port it had; returns when it answers.
    pub fn restart(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            // What is left of the one before may hold its memory for a moment.
            if let Some(child) = launch(self.folder.path(), self.port, &self.settings) {
                self.child = child;
                return;
            }
            assert!(Instant::now() < end, "postgres does not start again on port {}", self.port);
        }
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        let mut psql = Command::new(program("psql"));
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.url_of(database)]);
        // Timeouts of the server's are for others.
        psql.env("PGOPTIONS", "-c statement_timeout=0 -c lock_timeout=0");
        psql.stdin(Stdio::null()).output().unwrap()
    }

    fn signal_all(&self, signal: Signal) {
        let children = children(self.child.id());
        // The first of them first: it would start others in place of those that are gone.
        let _ = signal::kill(pid(self.child.id()), signal);
        for child in children {
            let _ = signal::kill(pid(child), signal);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.signal_all(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The processes that a process has started and not yet waited for.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Whether there is a server to start on this machine.
#[must_use]
pub fn is_installed() -> bool {
    find("postgres").is_some()
}

/// Nothing where it ended by itself: the port is taken.
fn launch(folder: &Path, port: u16, settings: &[String]) -> Option<Child> {
    let mut command = as_user("postgres");
    command.arg("-D").arg(folder).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    command.arg("-k").arg(folder).args(settings.iter().flat_map(|setting| ["-c", setting]));
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if is_ready(port) {
            return Some(child);
        }
        assert!(Instant::now() < end, "postgres on port {port} does not answer");
        thread::sleep(LOOK);
    }
    None
}

fn is_ready(port: u16) -> bool {
    let mut look = Command::new(program("pg_isready"));
    look.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null());
    look.status().unwrap().success()
}

/// Copies the cluster that all are copied from, and makes it before where there is none.
fn copy_cluster(folder: &Path) {
    let template = template();
    if !template.is_dir() {
        make_template(&template);
    }
    let copied = Command::new("cp").arg("-a").arg(template.join(".")).arg(folder).status().unwrap();
    assert!(copied.success(), "{} can't be copied", template.display());
}

fn template() -> PathBuf {
    let release = Command::new(program("postgres")).arg("--version").output().unwrap().stdout;
    let release: String = String::from_utf8(release).unwrap().chars().filter(char::is_ascii_alphanumeric).collect();
    std::env::temp_dir().join(format!("calbridge-{release}-of-{}", geteuid()))
}

fn make_template(template: &Path) {
    let making = TempDir::new().unwrap();
    let data = making.path().join("data");
    fs::create_dir(&data).unwrap();
    give_to_user(making.path());
    give_to_user(&data);
    let mut command = as_user("initdb");
    command.args(["--no-sync", "--no-instructions", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
    let made = command.arg("-D").arg(&data).stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    // Small enough for many at a time.
    let settings = "shared_buffers = 16MB\nmax_connections = 60\nautovacuum_naptime = 5s\n";
    let file = data.join("postgresql.auto.conf");
    fs::write(&file, settings).unwrap();
    // Tests run side by side: whoever comes second finds it made.
    if let Err(why) = fs::rename(&data, template) {
        assert!(template.is_dir(), "{}: {why}", template.display());
    }
}

/// A command of `PostgreSQL`'s, as the user that may run it.
fn as_user(name: &str) -> Command {
    let program = program(name);
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let user = User::from_name(USER).unwrap().expect("the package of postgres makes its user");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string(), "--clear-groups", "--"]);
    command.arg(program);
    command
}

fn chown_to_user(path: &Path) {
    if geteuid().is_root() {
        let user = User::from_name(USER).unwrap().expect("the package of postgres makes its user");
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

/// A folder that only the user of the server can enter.
pub fn give_to_user(folder: &Path) {
    chown_to_user(folder);
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
}

/// A program of `PostgreSQL`'s: on the path, or where Debian has it.
///
/// # Panics
///
/// Where it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not there: install PostgreSQL, on Debian `apt install postgresql`"))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let mut releases: Vec<PathBuf> = debian.collect();
    releases.sort();
    let mut found = std::env::split_paths(&path).chain(releases.into_iter().rev()).map(|folder| folder.join(name));
    found.find(|program| program.is_file())
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap())
}
