//! A yardstick beside an attack: an honest sender at a rate that no trouble slows down, each webhook over a connection
//! of its own as Cal.com opens them, on a thread of its own so that the attackers' work is not counted as the edge's.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    runtime,
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{
    program::Program,
    system::{SECRET, TENANT},
    wait::PATIENCE,
    webhook::{SIGNATURE, sign},
};

/// Fifty webhooks a second: far more than one Cal.com sends, and little beside what the edge can take.
const BETWEEN: Duration = Duration::from_millis(20);
/// What the edge promises whoever holds a secret, whatever others do: in it 99 of a hundred are answered, by a debug
/// build on two cores that the attackers share. A connection that finds the queue of those to be accepted full is tried
/// again by its own system after one second (RFC 6298, 2.1), which is in it;
const PROMISE: Duration = Duration::from_millis(1_500);
/// or in so many times what half of them take while nobody attacks, where the machine is slower than that.
const SLOWER_MOST: u32 = 100;
/// A sender that comes to its turn so late was held up by the machine, and what was on its way then says nothing of the
/// edge.
const STALL: Duration = Duration::from_millis(500);

/// An honest sender at work.
#[derive(Debug)]
pub struct Yardstick {
    thread: Option<thread::JoinHandle<()>>,
    stop: watch::Sender<bool>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    answers: Vec<Answer>,
    /// When the machine stood still, from and to.
    stalls: Vec<(Instant, Instant)>,
}

#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    /// When it was to be sent.
    due: Instant,
    /// From then on.
    took: Duration,
}

/// What it was answered.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Webhooks sent; each was answered with a 2xx.
    pub sent: usize,
    /// Half of them were answered within it, but for those that the machine held up.
    pub median: Duration,
    /// And 99 of a hundred.
    pub p99: Duration,
}

impl Measured {
    /// Whether the edge kept its promise; `calm` was measured in the same run before the attack.
    #[must_use]
    pub fn is_as_promised(&self, calm: &Self) -> bool {
        self.p99 < PROMISE.max(calm.median * SLOWER_MOST)
    }
}

impl Yardstick {
    /// Begins to send what `body` makes of a number, over TLS where there is a way to agree on it.
    #[must_use]
    pub fn begin(edge: SocketAddr, tls: Option<TlsConnector>, body: fn(&str) -> Vec<u8>) -> Self {
        let (stop, mut stopping) = watch::channel(false);
        let seen = Arc::<Mutex<Seen>>::default();
        let all = Arc::clone(&seen);
        let work = async move {
            let (mut tasks, mut ticks) = (JoinSet::new(), interval(BETWEEN));
            // One that comes late is late: the next are not held back for it.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for number in 0.. {
                let due = tokio::select! {
                    due = ticks.tick() => due,
                    _ = stopping.changed() => break,
                };
                if due.elapsed() > STALL {
                    all.lock().unwrap().stalls.push((due, Instant::now()));
                }
                let request = request(&body(&format!("honest{number}")));
                let (tls, all) = (tls.clone(), Arc::clone(&all));
                tasks.spawn(async move {
                    let status = timeout(PATIENCE, post(edge, tls, &request)).await.unwrap_or(0);
                    all.lock().unwrap().answers.push(Answer { status, due, took: due.elapsed() });
                });
            }
            tasks.join_all().await;
        };
        let run = move || runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
        Self { thread: Some(thread::spawn(run)), stop, seen }
    }

    /// How many were answered since it was asked last.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.seen.lock().unwrap().answers.len()
    }

    /// What was answered so far, and forgets it.
    #[must_use]
    pub fn so_far(&self) -> Measured {
        let mut seen = self.seen.lock().unwrap();
        measured(std::mem::take(&mut seen.answers), &seen.stalls)
    }

    /// Ends it, and says what was answered since it was asked last.
    #[must_use]
    pub fn end(mut self) -> Measured {
        self.stop.send_replace(true);
        self.thread.take().unwrap().join().unwrap();
        self.so_far()
    }
}

fn measured(answers: Vec<Answer>, stalls: &[(Instant, Instant)]) -> Measured {
    let failed: Vec<_> = answers.iter().filter(|answer| ![200, 202].contains(&answer.status)).collect();
    assert!(failed.is_empty(), "{} of {} honest webhooks: {:?}", failed.len(), answers.len(), failed[0]);
    let sent = answers.len();
    let was_held_up =
        |answer: &Answer| stalls.iter().any(|(from, to)| answer.due < *to && answer.due + answer.took > *from);
    let mut took: Vec<_> =
        answers.into_iter().filter(|answer| !was_held_up(answer)).map(|answer| answer.took).collect();
    took.sort_unstable();
    let of_hundred = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
    Measured { sent, median: of_hundred(50), p99: of_hundred(99) }
}

/// Signed, and the last on its connection.
fn request(body: &[u8]) -> Vec<u8> {
    let (length, signature) = (body.len(), sign(SECRET, body));
    let head = format!(
        "POST /webhooks/calcom/{TENANT} HTTP/1.1\r\nHost: calbridge\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{SIGNATURE}: {signature}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The status that came back; 0 where none did.
async fn post(edge: SocketAddr, tls: Option<TlsConnector>, request: &[u8]) -> u16 {
    let Ok(stream) = TcpStream::connect(edge).await else { return 0 };
    stream.set_nodelay(true).unwrap();
    match tls {
        None => exchange(stream, request).await,
        Some(tls) => match tls.connect(ServerName::try_from("localhost").unwrap(), stream).await {
            Ok(stream) => exchange(stream, request).await,
            Err(_) => 0,
        },
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> u16 {
    if stream.write_all(request).await.is_err() {
        return 0;
    }
    let mut answer = Vec::new();
    // What came before a reset counts.
    let _ = stream.read_to_end(&mut answer).await;
    let line = String::from_utf8_lossy(&answer);
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Attackers that go on until their time is over, each as `attack` does it again and again.
pub async fn attack<F, Fut>(attackers: usize, time: Duration, attack: F)
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (end, mut tasks) = (Instant::now() + time, JoinSet::new());
    let mut next: Vec<usize> = (0..attackers).collect();
    loop {
        for attacker in next.drain(..) {
            let work = attack(attacker);
            tasks.spawn(async move {
                work.await;
                attacker
            });
        }
        tokio::select! {
            Some(ended) = tasks.join_next() => next.push(ended.unwrap()),
            () = sleep_until(end) => return,
        }
    }
}

/// Lets this process open as many sockets as the system allows.
pub fn raise_open_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// The most memory that a program ever had, in bytes.
#[must_use]
pub fn peak_bytes(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}
