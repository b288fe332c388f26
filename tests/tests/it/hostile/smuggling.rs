//! Shapes by which a request is hidden in another: each is refused and its connection ended, or read in the one way
//! that there is. What stands behind it is a request of its own only where nobody could read it otherwise.

use std::net::SocketAddr;

use calbridge_e2e::{socket::Socket, system::Plan};
use tokio::task::JoinSet;

use super::{MARK, Siege};

/// Until a connection that idles is closed: then all its answers are here.
const IDLE: &str = "700ms";
/// The whole table so often, all of its lines at once.
const ROUNDS: usize = 3;

/// One shape, and the statuses of all answers that may come, in order; one of these lists.
#[derive(Clone)]
struct Shape {
    name: &'static str,
    bytes: Vec<u8>,
    answers: &'static [&'static [u16]],
}

/// Refused.
const REFUSED: &[&[u16]] = &[&[400]];
/// Read as one request, which nobody signed.
const ONE: &[&[u16]] = &[&[401]];
/// Read as two, the second of them for a path that is not there: the framing leaves no doubt.
const TWO: &[&[u16]] = &[&[401, 404]];

#[tokio::test]
async fn no_request_is_hidden_in_another() {
    let siege = Siege::begin(Plan::new().adapter("--header-timeout", IDLE)).await;
    let edge = siege.system.adapter.listening().http();
    for _ in 0..ROUNDS {
        let mut players = JoinSet::new();
        for shape in shapes() {
            players.spawn(async move { play(edge, shape).await });
        }
        let wrong: Vec<_> = players.join_all().await.into_iter().flatten().collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    siege.lift("requests in requests", 0).await.service.stop().await;
}

/// What is wrong with how it was met, if anything.
async fn play(edge: SocketAddr, Shape { name, bytes, answers }: Shape) -> Option<String> {
    let mut socket = Socket::connect(edge).await;
    socket.write(&bytes).await;
    let received = socket.rest().await;
    let text = String::from_utf8_lossy(&received);
    let statuses: Vec<u16> = text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect();
    let is_known = answers.iter().any(|known| *known == statuses);
    (!is_known).then(|| format!("{name}: {statuses:?} instead of one of {answers:?}"))
}

fn shapes() -> Vec<Shape> {
    [lengths(), codings(), chunks(), lines(), targets(), unread()].concat()
}

/// The hidden one.
fn hidden() -> String {
    format!("GET /{MARK} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// A request with these headers and this body, and the hidden one behind it.
fn shape(name: &'static str, headers: &str, body: &str, answers: &'static [&'static [u16]]) -> Shape {
    let head = format!("POST /webhooks/calcom HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n{body}");
    Shape { name, bytes: [head, hidden()].concat().into_bytes(), answers }
}

fn lengths() -> Vec<Shape> {
    let chunked = "Transfer-Encoding: chunked";
    vec![
        shape("a length and chunks", &format!("Content-Length: 4\r\n{chunked}"), "0\r\n\r\n", ONE),
        shape("chunks and a length", &format!("{chunked}\r\nContent-Length: 4"), "0\r\n\r\n", ONE),
        shape("two lengths that differ", "Content-Length: 0\r\nContent-Length: 5", "hello", REFUSED),
        shape("two lengths that agree", "Content-Length: 5\r\nContent-Length: 5", "hello", TWO),
        shape("a list of lengths", "Content-Length: 5, 5", "hello", REFUSED),
        shape("a length below nothing", "Content-Length: -5", "hello", REFUSED),
        shape("a length with a sign", "Content-Length: +5", "hello", REFUSED),
        shape("a length in hex", "Content-Length: 0x5", "hello", REFUSED),
        shape("a length in two parts", "Content-Length: 1 5", "hello", REFUSED),
        shape("a length beyond all numbers", "Content-Length: 18446744073709551621", "hello", REFUSED),
        shape("a length with zeros before it", "Content-Length: 00005", "hello", TWO),
        shape("no length's value", "Content-Length:", "", REFUSED),
        shape("a length of a name with a space", "Content-Length : 5", "hello", REFUSED),
        shape("a length behind a NUL", "Content-Length: \x005", "hello", REFUSED),
        shape("a length in quotes", "Content-Length: \"5\"", "hello", REFUSED),
    ]
}

fn codings() -> Vec<Shape> {
    let with = |name, coding: &str| shape(name, &format!("Transfer-Encoding:{coding}"), "0\r\n\r\n", REFUSED);
    let line = |name, lines: &str| shape(name, lines, "0\r\n\r\n", REFUSED);
    let old =
        format!("POST /webhooks/calcom HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}", hidden());
    vec![
        shape("chunks", "Transfer-Encoding: chunked", "0\r\n\r\n", ONE),
        shape("chunks behind a tab", "Transfer-Encoding:\tChunked \t", "0\r\n\r\n", ONE),
        with("nearly chunks", " xchunked"),
        with("chunks of chunks", " chunked, chunked"),
        with("chunks and nothing", " chunked, identity"),
        with("nothing in chunks", " identity, chunked"),
        with("something packed in chunks", " gzip, chunked"),
        with("chunks behind a comma", " ,chunked"),
        with("chunks with a parameter", " chunked;q=1"),
        with("chunks behind a line's middle", " \x0bchunked"),
        with("chunks behind a NUL", " \0chunked"),
        with("chunks in quotes", " \"chunked\""),
        with("no coding", ""),
        line("chunks twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        line("chunks and then none", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        line("none and then chunks", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        line("a coding of a name with a space", "Transfer-Encoding : chunked\r\nContent-Length: 5"),
        line("a coding on a folded line", "X: 1\r\n Transfer-Encoding: chunked\r\nContent-Length: 5"),
        line("a value on a folded line", "Transfer-Encoding:\r\n chunked"),
        Shape { name: "chunks in an old version", bytes: old.into_bytes(), answers: REFUSED },
    ]
}

fn chunks() -> Vec<Shape> {
    let of = |name, body: &str, answers| shape(name, "Transfer-Encoding: chunked", body, answers);
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000));
    vec![
        of("one chunk", "5\r\nhello\r\n0\r\n\r\n", ONE),
        of("a chunk of more than there are numbers", "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", REFUSED),
        of("a chunk that comes round", "10000000000000005\r\nhello\r\n0\r\n\r\n", REFUSED),
        of("a chunk with a sign", "+5\r\nhello\r\n0\r\n\r\n", REFUSED),
        of("a chunk below nothing", "-5\r\nhello\r\n0\r\n\r\n", REFUSED),
        of("a chunk in C's hex", "0x5\r\nhello\r\n0\r\n\r\n", REFUSED),
        of("a chunk of no size", "\r\nhello\r\n0\r\n\r\n", REFUSED),
        of("a chunk without its end", "5\r\nhelloX\r\n0\r\n\r\n", REFUSED),
        of("a chunk that ends in a bare line feed", "5\r\nhello\n0\r\n\r\n", REFUSED),
        of("a size that ends in a bare line feed", "5\nhello\r\n0\r\n\r\n", REFUSED),
        of("an extension with a line feed", "5;a\nb\r\nhello\r\n0\r\n\r\n", REFUSED),
        of("an extension with a carriage return", "5;a\rb\r\nhello\r\n0\r\n\r\n", REFUSED),
        of("an extension without an end", &long, REFUSED),
        of("a trailer that says another length", "0\r\nContent-Length: 50\r\n\r\n", ONE),
        of("a trailer that is none", "0\r\nno trailer\r\n\r\n", REFUSED),
    ]
}

fn lines() -> Vec<Shape> {
    let whole = |name, head: &str, answers| {
        let bytes = [head, &hidden()].concat().into_bytes();
        Shape { name, bytes, answers }
    };
    let end = "Host: h\r\nContent-Length: 0\r\n\r\n";
    vec![
        shape("a folded line", "X: 1\r\n 2\r\nContent-Length: 0", "", REFUSED),
        shape("a space before the colon", "X : 1\r\nContent-Length: 0", "", REFUSED),
        shape("a space before the name", " X: 1\r\nContent-Length: 0", "", REFUSED),
        shape("a NUL in a name", "X\0: 1\r\nContent-Length: 0", "", REFUSED),
        shape("a NUL in a value", "X: \0\r\nContent-Length: 0", "", REFUSED),
        shape("a bare carriage return", "X: 1\rContent-Length: 50\r\nContent-Length: 0", "", REFUSED),
        whole("tabs in the first line", &format!("POST\t/webhooks/calcom\tHTTP/1.1\r\n{end}"), REFUSED),
        whole("two spaces in the first line", &format!("POST  /webhooks/calcom HTTP/1.1\r\n{end}"), REFUSED),
        whole("a version with a space", &format!("POST /webhooks/calcom HTTP/1.1 \r\n{end}"), REFUSED),
        whole("a version of nobody's", &format!("POST /webhooks/calcom HTTP/1.2\r\n{end}"), REFUSED),
        whole("no version", "POST /webhooks/calcom\r\n", REFUSED),
        whole("the oldest version", "GET /\r\n", REFUSED),
        // RFC 9112 lets a line feed alone end a line; where it does, it does so in every place.
        whole(
            "line feeds alone",
            "POST /webhooks/calcom HTTP/1.1\nHost: h\nContent-Length: 0\n\n",
            &[&[401, 404], &[400]],
        ),
    ]
}

fn targets() -> Vec<Shape> {
    let to = |name, target: &str, answers| {
        let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
        Shape { name, bytes: [head, hidden()].concat().into_bytes(), answers }
    };
    let connect = format!("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n{}", hidden());
    vec![
        to("a target with a host", "http://elsewhere/webhooks/calcom", TWO),
        to("a target with another scheme", "ftp://h/webhooks/calcom", TWO),
        to("a host as the target", "h:80", &[&[404, 404], &[400]]),
        to("a star as the target", "*", &[&[404, 404], &[400]]),
        to("a target without a slash", "webhooks/calcom", &[&[404, 404], &[400]]),
        to("a target with a fragment", "/webhooks/calcom#x", &[&[401, 404], &[400]]),
        to("a target with a line end", "/webhooks/calcom%0d%0aX:1", &[&[404, 404]]),
        Shape { name: "a tunnel", bytes: connect.into_bytes(), answers: &[&[404], &[404, 404], &[405], &[405, 404]] },
    ]
}

/// Answered before their bodies are read: what they hide is a body, and no request.
fn unread() -> Vec<Shape> {
    let body = hidden().repeat(3);
    let with = |name, line: &str, answers| {
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Shape { name, bytes: head.into_bytes(), answers }
    };
    let large = format!("POST /webhooks/calcom HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n{body}");
    vec![
        with("the body of a path that is not there", "POST /nowhere", &[&[404]]),
        with("the body of a GET", "GET /webhooks/calcom", &[&[405]]),
        with("the body of a forged webhook", "POST /webhooks/calcom", ONE),
        Shape { name: "the body of one that is too large", bytes: large.into_bytes(), answers: &[&[413]] },
    ]
}
