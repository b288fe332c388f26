//! Bombs of headers, in both versions of HTTP: many, huge, of any bytes, behind the body, and small ones that unfold to
//! megabytes.

use std::time::Duration;

use calbridge_e2e::{
    frames::{END_HEADERS, END_STREAM, KEPT_LAST, Kind, frame, kept, literal, opening, post},
    siege::attack,
    system::Plan,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{MARK, Siege, TIME};

/// At once.
const ATTACKERS: usize = 12;
/// Longer than the edge leaves any of these without an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// What the edge may hold of each: hyper's read buffer, twice while it grows, and what its headers are taken apart to.
const HELD_EACH: u64 = 3 * 128 * 1024;

#[tokio::test]
async fn bombs_of_headers_are_refused_before_they_are_large() {
    let siege = Siege::begin(Plan::new()).await;
    let edge = siege.system.adapter.listening().http();
    let bombs: &'static [(&str, Vec<u8>, Refusal)] = Vec::leak([of_http_1(), of_http_2()].concat());
    attack(ATTACKERS, TIME, |attacker| async move {
        for at in 0..bombs.len() {
            let (name, bytes, refusal) = &bombs[(attacker + at) % bombs.len()];
            let Ok(mut socket) = Siege::stranger(edge).await else { continue };
            let _ = socket.write_all(bytes).await;
            let mut answer = Vec::new();
            let read = timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "{name}: the connection is still open");
            refusal.check(name, &answer);
        }
    })
    .await;
    let held = u64::try_from(ATTACKERS).unwrap() * HELD_EACH;
    siege.lift("bombs of headers", held).await.service.stop().await;
}

/// How a bomb is met; the connection ends in any case. Where much of it was still on its way, the answer may have been
/// lost with it.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    Status(&'static str),
    /// An HTTP/2 connection, or one stream of it.
    Frames,
}

impl Refusal {
    fn check(self, name: &str, answer: &[u8]) {
        match self {
            Self::Status(status) => {
                let text = String::from_utf8_lossy(answer);
                let is_fitting = text.is_empty() || text.starts_with(&format!("HTTP/1.1 {status} "));
                assert!(is_fitting && text.matches("HTTP/1.1 ").count() < 2, "{name}: {text}");
            }
            Self::Frames => assert!(!answer.starts_with(b"HTTP/1.1 "), "{name}"),
        }
    }
}

fn of_http_1() -> Vec<(&'static str, Vec<u8>, Refusal)> {
    let head = |headers: &str| {
        format!("POST /webhooks/calcom HTTP/1.1\r\nHost: {MARK}\r\nConnection: close\r\n{headers}\r\n").into_bytes()
    };
    let every_byte: Vec<u8> = (0..=255_u8).flat_map(|byte| [b"X".as_slice(), &[byte], b": 1\r\n"].concat()).collect();
    let strange = [b"POST /webhooks/calcom HTTP/1.1\r\n".as_slice(), &every_byte, b"\r\n"].concat();
    let chunked = |trailers: &str| {
        [head("Transfer-Encoding: chunked\r\n"), format!("1\r\nx\r\n0\r\n{trailers}\r\n").into_bytes()].concat()
    };
    vec![
        ("five thousand headers", head(&format!("X: {MARK}\r\n").repeat(5_000)), Refusal::Status("431")),
        ("a header of four megabytes", head(&format!("X: {}\r\n", MARK.repeat(600_000))), Refusal::Status("431")),
        ("a name of a megabyte", head(&format!("{}: x\r\n", "x".repeat(1024 * 1024))), Refusal::Status("431")),
        ("a name of every byte", strange, Refusal::Status("400")),
        ("a thousand cookies", head(&format!("Cookie: {MARK}=1\r\n").repeat(1_000)), Refusal::Status("431")),
        ("a cookie of cookies", head(&format!("Cookie: {}\r\n", "a=1; ".repeat(8_000))), Refusal::Status("431")),
        ("trailers of a megabyte", chunked(&format!("X: {}\r\n", MARK.repeat(150_000))), Refusal::Status("400")),
        ("a thousand trailers", chunked(&format!("X: {MARK}\r\n").repeat(1_000)), Refusal::Status("400")),
    ]
}

fn of_http_2() -> Vec<(&'static str, Vec<u8>, Refusal)> {
    let path = post("/webhooks/calcom");
    let request = |flags, block: &[u8]| frame(Kind::Headers, flags | END_STREAM, 1, block);
    // Each byte is a header of four kilobytes by then: 48 MB from 16 KB.
    let value = MARK.repeat(570);
    let bomb = [&path[..], &kept("x", &value), &vec![KEPT_LAST; 12_000]].concat();
    let more = literal("x", &value);
    let endless = frame(Kind::Continuation, 0, 1, &more).repeat(1_000);
    let empty = frame(Kind::Continuation, 0, 1, &[]).repeat(20_000);
    let many = [&path[..], &literal("x", MARK).repeat(1_000)].concat();
    let cookies = [&path[..], &literal("cookie", "a=1").repeat(1_200)].concat();
    // hyper closes what it has refused; what it has only answered, the client ends by this.
    let bye = frame(Kind::GoAway, 0, 0, &[0; 8]);
    let all = [
        ("a bomb of one kept header", request(END_HEADERS, &bomb)),
        ("headers that never end", [request(0, &path), endless].concat()),
        ("empty frames that never end", [request(0, &path), empty].concat()),
        ("a thousand headers", request(END_HEADERS, &many)),
        ("a thousand cookies in HTTP/2", request(END_HEADERS, &cookies)),
    ];
    let whole = |frames: Vec<u8>| [opening(None), frames, bye.clone()].concat();
    all.map(|(name, frames)| (name, whole(frames), Refusal::Frames)).to_vec()
}
