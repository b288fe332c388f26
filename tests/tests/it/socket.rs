//! The HTTP edge under everything that a network can send: each kind of bad input has its documented answer, and the
//! process that gave it thousands of times is as small as before.

mod flood;
mod table;

use std::{net::SocketAddr, time::Duration};

use calbridge_e2e::{
    program::Program,
    socket::{RawAnswer, Socket},
    system::{Plan, SECRET, TENANT},
    wait,
    webhook::{SIGNATURE, Sender, created, sign},
};

use self::table::{Answer, Case, Send};

/// Limits of time that a test can wait for, and that a busy machine still meets.
const SHORT: &str = "700ms";
/// Files that a process opens and closes by itself.
pub(crate) const FILES: usize = 4;

/// A request as Cal.com would send it, with a path, more headers and a body.
fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: calbridge\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// A signed request to the default tenant.
fn signed(body: &[u8]) -> Vec<u8> {
    request(&format!("/webhooks/calcom/{TENANT}"), &format!("{SIGNATURE}: {}\r\n", sign(SECRET, body)), body)
}

async fn play(edge: SocketAddr, case: &Case) -> (RawAnswer, Socket) {
    let mut socket = Socket::connect(edge).await;
    match &case.send {
        Send::Whole(bytes) => socket.write(bytes).await,
        Send::Cut(bytes) => {
            socket.write(bytes).await;
            socket.finish().await;
        }
        Send::Slowly(bytes, tail) => {
            socket.write(bytes).await;
            // Faster than any limit on silence, slower than the limit on the whole.
            socket.trickle(tail, Duration::from_millis(100)).await;
        }
    }
    (socket.answer().await, socket)
}

async fn is_answered_as_documented(edge: SocketAddr, case: &Case) {
    let (answer, mut socket) = play(edge, case).await;
    let name = case.name;
    match &case.answer {
        Answer::Closed => assert_eq!((answer.status, answer.body.len()), (0, 0), "{name}: {answer:?}"),
        Answer::Empty(status) => {
            assert_eq!((answer.status, answer.body.len()), (*status, 0), "{name}: {answer:?}");
            socket.closed().await;
        }
        Answer::Error(status, error) => {
            assert_eq!(answer.status, *status, "{name}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
            assert_eq!(String::from_utf8_lossy(&answer.body), format!("{{\"error\":\"{error}\"}}"), "{name}");
            assert_eq!(answer.header("allow"), (*status == 405).then_some("POST"), "{name}");
            if [408, 413].contains(status) {
                socket.closed().await;
            }
        }
        Answer::Outcome(outcome) => {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["outcome"], *outcome, "{name}");
        }
    }
    let leaked = ["panic", "src/", "rust"].iter().any(|word| String::from_utf8_lossy(&answer.body).contains(word));
    assert!(!leaked, "{name}: the answer tells of the inside: {answer:?}");
}

/// Waits until the connections of the clients are gone.
pub(crate) async fn settle(program: &Program, files: usize) {
    wait::until("the connections are closed", || async { (program.open_files() <= files).then_some(()) }).await;
}

#[tokio::test]
async fn every_kind_of_bad_input_has_its_documented_answer() {
    are_answered_as_documented(Plan::new(), &table::quick()).await;
}

#[tokio::test]
async fn whoever_is_slow_is_not_waited_for() {
    let plan = Plan::new().adapter("--header-timeout", SHORT).adapter("--body-timeout", SHORT);
    are_answered_as_documented(plan, &table::slow()).await;
}

async fn are_answered_as_documented(plan: Plan, cases: &[Case]) {
    let mut system = plan.start().await;
    let edge = system.adapter.listening().http();
    let files = system.adapter.open_files();
    for case in cases {
        is_answered_as_documented(edge, case).await;
        let good = Sender::new(edge).send(TENANT, SECRET, created(&format!("after{}", case.name))).await;
        assert_eq!(good.outcome(), "applied", "after: {}", case.name);
    }
    let applied = cases.iter().filter(|case| case.answer == Answer::Outcome("applied")).count();
    let bookings = system.api().all_bookings(TENANT).await;
    assert_eq!(bookings.len(), cases.len() + applied, "only what was answered with a 2xx is stored");
    settle(&system.adapter, files + FILES).await;
    system.stop().await;
    assert!(!system.adapter.stderr().contains("panicked"), "{}", system.adapter.stderr());
}

#[tokio::test]
async fn every_refusal_of_a_signature_is_the_same_bytes() {
    let mut system = Plan::new().start().await;
    let edge = system.adapter.listening().http();
    let body = created("refusedA");
    let right = sign(SECRET, &body);
    let mut answers = Vec::new();
    for (path, header) in [
        ("/webhooks/calcom/default", String::new()),
        ("/webhooks/calcom/default", format!("{SIGNATURE}: no-secret-provided\r\n")),
        ("/webhooks/calcom/default", format!("{SIGNATURE}: {}\r\n", sign("other", &body))),
        ("/webhooks/calcom/nobody", format!("{SIGNATURE}: {right}\r\n")),
        ("/webhooks/calcom/DEFAULT", format!("{SIGNATURE}: {right}\r\n")),
        ("/webhooks/calcom/%64efault", format!("{SIGNATURE}: {right}\r\n")),
    ] {
        let mut socket = Socket::connect(edge).await;
        socket.write(&request(path, &header, &body)).await;
        let answer = socket.answer().await;
        let undated: Vec<_> =
            answer.head.lines().filter(|line| !line.to_lowercase().starts_with("date:")).map(str::to_owned).collect();
        answers.push((undated, answer.body));
    }
    assert!(answers[0].0[0].contains("401"));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert!(system.api().all_deliveries(TENANT).await.is_empty());
    system.stop().await;
}

#[tokio::test]
async fn http_2_without_tls_serves_the_same() {
    let mut system = Plan::new().start().await;
    let sender = Sender::h2c(system.adapter.listening().http());
    let body = created("h2cAAAAA");
    assert_eq!(sender.send(TENANT, SECRET, body.clone()).await.outcome(), "applied");
    assert_eq!(sender.send(TENANT, SECRET, body.clone()).await.outcome(), "duplicate");
    assert_eq!(sender.send(TENANT, "wrong", body.clone()).await.status, 401);
    let big = vec![b'x'; 1024 * 1024 + 1];
    assert_eq!(sender.send(TENANT, SECRET, big).await.status, 413);
    let gone = sender.request(hyper::Method::POST, "/elsewhere", &[], body).await.unwrap();
    assert_eq!(gone.status, 404);
    system.stop().await;
}
