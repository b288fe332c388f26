//! A real `PostgreSQL` server with a cluster of its own, and everything bad that can happen to one.
//!
//! It refuses to run as root: there it runs as the user `postgres`, who is given the cluster's folder.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::{Pid, User, geteuid},
};
use tempfile::TempDir;

use crate::{port, wait::PATIENCE};

/// The superuser of the cluster; whoever comes over loopback is trusted.
pub const USER: &str = "postgres";
/// Where Debian keeps the programs of each version, apart from the path.
const DEBIAN: &str = "/usr/lib/postgresql";
/// How often another port is tried where somebody took the first one in between.
const TRIES: usize = 10;
/// Between two looks at a server that starts or ends.
const LOOK: Duration = Duration::from_millis(10);

/// How a cluster is made and its server started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether a commit is on stable storage when it is answered.
    pub fsync: bool,
    /// Further settings of the server, as `postgresql.conf` has them.
    pub set: Vec<(String, String)>,
    /// Where the cluster's folder is made; the system's folder for temporary files where none is named.
    pub beside: Option<PathBuf>,
}

/// One `PostgreSQL` server. It and its cluster are gone when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    port: u16,
    settings: Settings,
    folder: TempDir,
}

impl Postgres {
    /// Starts one with an empty cluster on a free port; returns when it answers.
    #[must_use]
    pub fn start(fsync: bool) -> Self {
        let settings = Settings { fsync, set: Vec::new(), beside: None };
        Self::start_with(settings).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, made to measure.
    ///
    /// # Errors
    ///
    /// What is missing on this machine, or what the server said.
    pub fn start_with(settings: Settings) -> Result<Self, String> {
        let folder = match &settings.beside {
            Some(beside) => TempDir::new_in(beside),
            None => TempDir::new(),
        };
        let folder = folder.map_err(|why| format!("no folder for PostgreSQL: {why}"))?;
        initdb(folder.path())?;
        for _ in 0..TRIES {
            let port = port::free();
            if let Some(child) = launch(port, folder.path(), &settings)? {
                return Ok(Self { child, port, settings, folder });
            }
        }
        Err(format!("PostgreSQL found no free port in {TRIES} tries"))
    }

    /// The id of its first process, whose children are all others.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `postgres://…` of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database.
    pub fn create_database(&self, name: &str) {
        self.execute("postgres", &format!("CREATE DATABASE \"{name}\""));
    }

    /// Runs statements, divided by `; `.
    pub fn execute(&self, database: &str, sql: &str) {
        let _ = self.ask(database, sql);
    }

    /// The same; returns what they answer, a line for each row, columns divided by `|`.
    #[must_use]
    pub fn ask(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(program("psql").unwrap_or_else(|why| panic!("{why}")));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database)]);
        // One argument each: several statements in one would be one transaction, which CHECKPOINT can't be part of.
        for statement in sql.split("; ") {
            psql.args(["-c", statement]);
        }
        text("psql", psql.stdin(Stdio::null()).output()).unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    /// What a database takes on disk, in bytes, without the log that all share.
    #[must_use]
    pub fn database_bytes(&self, database: &str) -> u64 {
        self.ask("postgres", &format!("CHECKPOINT; SELECT pg_database_size('{database}')"))
            .lines()
            .last()
            .and_then(|line| line.parse().ok())
            .unwrap()
    }

    /// The server and all its processes stand still: connections stand, nothing is answered.
    pub fn freeze(&self) {
        // The first one first: it makes no further ones then.
        self.family().into_iter().for_each(|process| send(process, Signal::SIGSTOP));
    }

    /// They go on, and so does all that was asked meanwhile.
    pub fn thaw(&self) {
        self.family().into_iter().for_each(|process| send(process, Signal::SIGCONT));
    }

    /// Ends at once without a word to the disk, as `pg_ctl stop -m immediate` does; the next start recovers.
    pub fn stop_immediately(&mut self) {
        self.end(&[Signal::SIGQUIT]);
    }

    /// `kill -9` of all its processes.
    pub fn kill(&mut self) {
        self.end(&[Signal::SIGKILL]);
    }

    /// Starts it again on its cluster and port after an end; returns when it answers.
    pub fn restart(&mut self) {
        let launched = launch(self.port, self.folder.path(), &self.settings).unwrap_or_else(|why| panic!("{why}"));
        self.child = launched.unwrap_or_else(|| panic!("port {} was taken meanwhile", self.port));
    }

    /// Its processes, the first one first.
    fn family(&self) -> Vec<u32> {
        let first = self.child.id();
        std::iter::once(first).chain(children(first)).collect()
    }

    /// Sends signals to all its processes, and waits until they are gone: a restart would refuse to begin before.
    fn end(&mut self, signals: &[Signal]) {
        let family = self.family();
        for signal in signals {
            for process in &family {
                send(*process, *signal);
            }
        }
        self.child.wait().unwrap();
        let end = Instant::now() + PATIENCE;
        while family.iter().any(|process| lives(*process)) {
            assert!(Instant::now() < end, "PostgreSQL does not end");
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Where it was killed already there is nothing to end; a frozen one dies of SIGKILL as well.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// The processes whose parent is `parent`; none where the system has no `/proc`.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

fn parent_of(process: u32) -> Option<u32> {
    stat(process)?.1.parse().ok()
}

/// One that ended and that nobody has asked for does not live.
fn lives(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| state != "Z")
}

/// State and parent.
fn stat(process: u32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned);
    Some((fields.next()?, fields.next()?))
}

fn send(process: u32, signal: Signal) {
    // One that ended by itself meanwhile needs nothing.
    let _ = signal::kill(Pid::from_raw(i32::try_from(process).unwrap()), signal);
}

fn initdb(folder: &Path) -> Result<(), String> {
    let initdb = program("initdb")?;
    let data = folder.join("data");
    fs::create_dir(&data).map_err(|why| format!("no folder for PostgreSQL: {why}"))?;
    if let Some(owner) = other_user()? {
        for path in [folder, &data] {
            chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).map_err(|why| why.to_string())?;
        }
    }
    let mut command = as_owner(&initdb)?;
    command.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username", USER, "-D"]).arg(&data);
    text("initdb", command.current_dir(folder).stdin(Stdio::null()).output()).map(drop)
}

/// Nothing where the port is taken.
fn launch(port: u16, folder: &Path, settings: &Settings) -> Result<Option<Child>, String> {
    let log = folder.join("log");
    let output = fs::File::create(&log).map_err(|why| why.to_string())?;
    let mut command = as_owner(&program("postgres")?)?;
    command.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    // Nobody may meet another server's socket in a shared folder.
    command.args(["-c", "unix_socket_directories=", "-c", if settings.fsync { "fsync=on" } else { "fsync=off" }]);
    for (name, value) in &settings.set {
        command.args(["-c", &format!("{name}={value}")]);
    }
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
    let mut child = command.spawn().map_err(|why| format!("postgres does not start: {why}"))?;
    if comes_up(&mut child, port)? {
        return Ok(Some(child));
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    if said.contains("Address already in use") {
        return Ok(None);
    }
    Err(format!("postgres ended at its start: {}", said.trim()))
}

/// False where it ended by itself.
fn comes_up(child: &mut Child, port: u16) -> Result<bool, String> {
    let ready = program("pg_isready")?;
    let end = Instant::now() + PATIENCE;
    while child.try_wait().map_err(|why| why.to_string())?.is_none() {
        let mut look = Command::new(&ready);
        look.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        if look.status().is_ok_and(|status| status.success()) {
            return Ok(true);
        }
        if Instant::now() > end {
            let _ = child.kill();
            return Err(format!("PostgreSQL on port {port} does not answer"));
        }
        thread::sleep(LOOK);
    }
    Ok(false)
}

/// A command that runs as whoever may own a cluster.
fn as_owner(program: &Path) -> Result<Command, String> {
    let Some(owner) = other_user()? else { return Ok(Command::new(program)) };
    let mut command = Command::new("setpriv");
    let (user, group) = (owner.uid.to_string(), owner.gid.to_string());
    command.args(["--reuid", &user, "--regid", &group, "--clear-groups", "--"]).arg(program);
    Ok(command)
}

/// Nobody where the present user may own a cluster.
fn other_user() -> Result<Option<User>, String> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    match User::from_name("postgres") {
        Ok(Some(user)) => Ok(Some(user)),
        _ => Err("PostgreSQL does not run as root, and there is no user postgres".to_owned()),
    }
}

/// A program of the newest version that is installed.
fn program(name: &str) -> Result<PathBuf, String> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|version| version.path());
    let found = versions.map(|version| version.join("bin").join(name)).filter(|program| program.is_file());
    let newest = found.max_by_key(|program| {
        let version = program.parent().and_then(Path::parent).and_then(Path::file_name);
        version.and_then(|version| version.to_str()).and_then(|version| version.parse::<u32>().ok())
    });
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
    };
    let missing = || format!("{name} is not installed: on Debian `apt install postgresql`");
    newest.or_else(in_path).ok_or_else(missing)
}

/// What a program that ran to its end printed.
fn text(name: &str, ran: std::io::Result<Output>) -> Result<String, String> {
    let output = ran.map_err(|why| format!("{name} does not start: {why}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_outlives_every_end() {
        let mut postgres = Postgres::start(true);
        postgres.create_database("kept");
        postgres.execute("kept", "CREATE TABLE kept (number int)");
        for (number, end) in [(1, Postgres::kill as fn(&mut Postgres)), (2, Postgres::stop_immediately)] {
            postgres.execute("kept", &format!("INSERT INTO kept VALUES ({number})"));
            end(&mut postgres);
            postgres.restart();
        }
        postgres.freeze();
        postgres.thaw();
        assert_eq!(postgres.ask("kept", "SELECT number FROM kept ORDER BY number"), "1\n2");
        assert!(postgres.database_bytes("kept") > 1_000_000);
        let family = postgres.family();
        drop(postgres);
        assert!(!family.into_iter().any(lives));
    }
}
