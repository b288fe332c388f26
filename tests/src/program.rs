//! One calbridge program as a process: started, read, signalled, and ended with its test.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::wait::{self, PATIENCE};

/// What is kept of each output: enough for every test, bounded for a program gone wild.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;
/// What of it is shown when a test fails.
const SHOWN_OUTPUT: usize = 4 * 1024;

/// A built program of this workspace.
///
/// # Panics
///
/// Where it is not built: `cargo test -p` builds no binaries of other packages.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let program = place(name);
    assert!(program.is_file(), "{} is absent: run `cargo build --workspace` first", program.display());
    program
}

/// Where a program of this workspace lies once it is built as the running one was.
#[must_use]
pub fn place(name: &str) -> PathBuf {
    folder().join(name)
}

/// Where all of them lie then.
///
/// # Panics
///
/// The running one has no path.
#[must_use]
pub fn folder() -> PathBuf {
    let running = std::env::current_exe().unwrap();
    // …/target/<profile>/<program> or …/target/<profile>/deps/<test>
    let folder = running.parent().unwrap();
    let profile = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    profile.to_owned()
}

/// How to start a program. It sees PATH, a HOME of its own, and what is set here; nothing else.
#[derive(Debug, Clone)]
pub struct Start {
    name: &'static str,
    /// Where it lies, if it is not one of this workspace.
    place: Option<PathBuf>,
    arguments: Vec<OsString>,
    environment: BTreeMap<String, String>,
}

impl Start {
    /// `name` is the binary's.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, place: None, arguments: Vec::new(), environment: BTreeMap::new() }
    }

    /// A program from elsewhere.
    #[must_use]
    pub fn foreign(name: &'static str, place: PathBuf) -> Self {
        Self { place: Some(place), ..Self::new(name) }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds a flag with its value.
    #[must_use]
    pub fn flag(self, flag: &str, value: impl Into<OsString>) -> Self {
        self.arg(flag).arg(value)
    }

    /// Sets one variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Starts it and returns at once.
    #[must_use]
    pub fn spawn(&self) -> Program {
        let home = TempDir::new().unwrap();
        let mut command = Command::new(self.place.clone().unwrap_or_else(|| path(self.name)));
        command.args(&self.arguments).env_clear().env("HOME", home.path());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.envs(&self.environment).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|why| panic!("{} does not start: {why}", self.name));
        let (send_line, first_line) = mpsc::channel();
        let stdout = Output::default();
        let stderr = Output::default();
        stdout.collect(BufReader::new(child.stdout.take().unwrap()), Some(send_line));
        stderr.collect(BufReader::new(child.stderr.take().unwrap()), None);
        Program { name: self.name, child, first_line, listening: Listening::default(), stdout, stderr, _home: home }
    }

    /// Starts it and waits until it says where it listens.
    #[must_use]
    pub fn serve(&self) -> Program {
        let mut program = self.spawn();
        program.await_listening();
        program
    }

    /// Starts it and waits until it says where it listens, or ends without having said so.
    ///
    /// # Errors
    ///
    /// What it said on its standard error.
    pub async fn try_serve(&self) -> Result<Program, String> {
        let mut program = self.spawn();
        if program.hears_where() {
            return Ok(program);
        }
        program.exit().await;
        program.stderr.finish().await;
        Err(program.stderr().trim().to_owned())
    }

    /// Runs it to its end.
    pub async fn run(&self) -> Ended {
        self.run_for(PATIENCE).await
    }

    /// The same where that takes as long by its nature.
    pub async fn run_for(&self, patience: Duration) -> Ended {
        let mut program = self.spawn();
        let status = program.exit_within(patience).await;
        program.stdout.finish().await;
        program.stderr.finish().await;
        Ended { code: status.code(), stdout: program.stdout(), stderr: program.stderr() }
    }
}

/// How a program ended that ran by itself.
#[derive(Debug)]
pub struct Ended {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    /// All that it printed.
    pub stdout: String,
    /// All that it said besides.
    pub stderr: String,
}

/// Where a program listens, as its first line says.
#[derive(Debug, Clone, Default)]
pub struct Listening {
    parts: BTreeMap<String, SocketAddr>,
}

impl Listening {
    /// Reads `listening http=HOST:PORT …`; nothing for any other line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let parts = line.strip_prefix("listening ")?.split(' ');
        let parts = parts.map(|part| {
            let (name, address) = part.split_once('=')?;
            Some((name.to_owned(), address.parse().ok()?))
        });
        Some(Self { parts: parts.collect::<Option<_>>()? })
    }

    /// The names of the parts, in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.parts.keys().map(String::as_str).collect()
    }

    /// The HTTP edge.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.parts["http"]
    }

    /// The gRPC service.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.parts["grpc"]
    }

    /// The admin listener.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.parts["admin"]
    }
}

/// A running program. It is killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    child: Child,
    first_line: mpsc::Receiver<String>,
    listening: Listening,
    stdout: Output,
    stderr: Output,
    _home: TempDir,
}

impl Program {
    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Everything on its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything on its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGSTOP: it is there, and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> ExitStatus {
        self.exit_within(PATIENCE).await
    }

    async fn exit_within(&mut self, patience: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let child = &mut self.child;
        wait::patiently(&what, patience, || std::future::ready(child.try_wait().unwrap())).await
    }

    /// SIGTERM; fails the test unless it ends with exit code 0.
    pub async fn stop(&mut self) {
        self.terminate();
        let status = self.exit().await;
        assert_eq!(status.code(), Some(0), "{} was told to stop; it ended with {status}\n{}", self.name, self.tail());
    }

    /// Resident memory, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
    }

    /// Open files and sockets.
    #[must_use]
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Waits until it says where it listens.
    pub fn await_listening(&mut self) {
        let line = self.first_line.recv_timeout(PATIENCE).unwrap_or_default();
        let Some(listening) = Listening::parse(&line) else {
            panic!("{} does not say where it listens, but {line:?}\n{}", self.name, self.tail());
        };
        self.listening = listening;
    }

    /// Whether it has said where it listens by now.
    pub fn is_listening(&mut self) -> bool {
        if let Some(listening) = self.first_line.try_recv().ok().and_then(|line| Listening::parse(&line)) {
            self.listening = listening;
        }
        !self.listening.parts.is_empty()
    }

    /// False where its output ended before it said anything.
    fn hears_where(&mut self) -> bool {
        let listening = self.first_line.recv_timeout(PATIENCE).ok().and_then(|line| Listening::parse(&line));
        let heard = listening.is_some();
        self.listening = listening.unwrap_or_default();
        heard
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        signal::kill(id, signal).unwrap();
    }

    fn tail(&self) -> String {
        let text = self.stderr();
        let mut from = text.len().saturating_sub(SHOWN_OUTPUT);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        format!("--- standard error of {}:\n{}", self.name, &text[from..])
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.tail());
        }
        // It may have ended by itself; there is nothing to do about any other failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One output of a process, read as it comes so that the process never waits for us.
#[derive(Debug, Clone, Default)]
struct Output(Arc<Mutex<Collected>>);

#[derive(Debug, Default)]
struct Collected {
    text: String,
    ended: bool,
}

impl Output {
    fn collect(&self, mut from: BufReader<impl Read + Send + 'static>, mut first: Option<mpsc::Sender<String>>) {
        let output = self.clone();
        thread::spawn(move || {
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line);
                if let Some(first) = first.take() {
                    // Nobody waits for the first line of a program that is run to its end.
                    let _ = first.send(text.trim_end().to_owned());
                }
                let mut collected = output.0.lock().unwrap();
                if collected.text.len() < MAX_OUTPUT {
                    collected.text.push_str(&text);
                }
                line.clear();
            }
            output.0.lock().unwrap().ended = true;
        });
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().text.clone()
    }

    async fn finish(&self) {
        wait::until("the output ends", || std::future::ready(self.0.lock().unwrap().ended.then_some(()))).await;
    }
}
