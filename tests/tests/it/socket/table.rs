//! One line for each kind of bad input, with the answer that the HTTP edge documents for it.

use calbridge_e2e::{
    system::{SECRET, TENANT},
    webhook::{SIGNATURE, sign},
};

use super::{created, request, signed};

/// How a request is sent.
#[derive(Debug, Clone)]
pub(super) enum Send {
    /// At once.
    Whole(Vec<u8>),
    /// At once, and then nothing more comes.
    Cut(Vec<u8>),
    /// The first at once, the second a byte at a time.
    Slowly(Vec<u8>, Vec<u8>),
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The connection is closed without a word.
    Closed,
    /// hyper's own refusals: no body, and the connection ends.
    Empty(u16),
    /// Ours: JSON with this `error`.
    Error(u16, &'static str),
    /// 200 with this outcome.
    Outcome(&'static str),
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) send: Send,
    pub(super) answer: Answer,
}

const LIMIT: usize = 1024 * 1024;
const SIGNED_OUT: Answer = Answer::Error(401, "Invalid webhook signature");

/// Those that are answered at once.
pub(super) fn quick() -> Vec<Case> {
    [routes(), sizes(), malformed(), bodies(), signatures()].concat()
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, answer: Answer) -> Case {
    Case { name, send: Send::Whole(bytes.into()), answer }
}

/// A request line with nothing behind it.
fn bare(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: calbridge\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

fn routes() -> Vec<Case> {
    let not_allowed = Answer::Error(405, "Method not allowed");
    let not_found = Answer::Error(404, "Not found");
    vec![
        case("GET", bare("GET /webhooks/calcom/default HTTP/1.1"), not_allowed.clone()),
        case("PUT", bare("PUT /webhooks/calcom HTTP/1.1"), not_allowed.clone()),
        case("DELETE", bare("DELETE /api/calcom-webhook HTTP/1.1"), not_allowed.clone()),
        case("a method of nobody's", bare("BREW /webhooks/calcom/default HTTP/1.1"), not_allowed),
        case("the root", bare("POST / HTTP/1.1"), not_found.clone()),
        case("a slash too many", bare("POST /webhooks/calcom/default/ HTTP/1.1"), not_found.clone()),
        case("a path below", bare("POST /webhooks/calcom/default/more HTTP/1.1"), not_found.clone()),
        case("the admin's path", bare("GET /metrics HTTP/1.1"), not_found.clone()),
        case("dots in the path", bare("POST /webhooks/calcom/../../etc/passwd HTTP/1.1"), not_found),
        case("a query", with_query(), Answer::Outcome("applied")),
    ]
}

fn with_query() -> Vec<u8> {
    let body = created("query");
    request("/webhooks/calcom?token=%00&x=1", &format!("{SIGNATURE}: {}\r\n", sign(SECRET, &body)), &body)
}

fn sizes() -> Vec<Case> {
    let too_large = Answer::Error(413, "Body too large");
    let path = "/webhooks/calcom/default";
    let declared = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", LIMIT + 1);
    let absurd = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999999999999\r\n\r\n");
    let patient =
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", LIMIT + 1);
    let mut chunked = chunked_head().into_bytes();
    for _ in 0..=(LIMIT / 65_536) {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&vec![b'x'; 65_536]);
        chunked.extend_from_slice(b"\r\n");
    }
    let many = "X-Again: 1\r\n".repeat(101);
    let long_uri = format!("POST /{} HTTP/1.1", "x".repeat(70_000));
    vec![
        case("one byte too many, declared", declared, too_large.clone()),
        case("absurdly many bytes, declared", absurd, too_large.clone()),
        case("too many bytes, waiting to be asked", patient, too_large.clone()),
        case("too many bytes, in chunks", chunked, too_large),
        case("as many as may be", signed(&vec![b' '; LIMIT]), Answer::Outcome("unparsed")),
        case("too many headers", request(path, &many, b""), Answer::Empty(431)),
        case(
            "too large a header",
            request(path, &format!("X-Long: {}\r\n", "x".repeat(20_000)), b""),
            Answer::Empty(431),
        ),
        case("too long a path", bare(&long_uri), Answer::Empty(414)),
    ]
}

fn malformed() -> Vec<Case> {
    let chunk = |text: &str| [chunked_head().as_bytes(), text.as_bytes()].concat();
    let head = "POST /webhooks/calcom/default HTTP/1.1\r\nHost: h\r\n";
    vec![
        case(
            "no HTTP at all",
            "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03 and more of it\r\n\r\n",
            Answer::Empty(400),
        ),
        case("a line of noise", "hello\r\n\r\n", Answer::Empty(400)),
        case("a version of nobody's", "POST / HTTP/9.9\r\nHost: h\r\n\r\n", Answer::Empty(400)),
        case("a space in the path", "POST /a b HTTP/1.1\r\nHost: h\r\n\r\n", Answer::Empty(400)),
        case("a header without a colon", format!("{head}Broken\r\n\r\n"), Answer::Empty(400)),
        case("a NUL in a header", format!("{head}X: a\0b\r\n\r\n"), Answer::Empty(400)),
        case("a length that is no number", format!("{head}Content-Length: ten\r\n\r\n"), Answer::Empty(400)),
        case(
            "two different lengths",
            format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            Answer::Empty(400),
        ),
        case("a chunk of no size", chunk("zz\r\n\r\n"), Answer::Empty(400)),
        case("a chunk that is longer than it says", chunk("2\r\nabcdef\r\n0\r\n\r\n"), Answer::Empty(400)),
        Case {
            name: "a body that ends early",
            send: Send::Cut(signed(&created("early"))[..900].to_vec()),
            answer: Answer::Empty(400),
        },
        Case { name: "a head that ends early", send: Send::Cut(head.as_bytes().to_vec()), answer: Answer::Closed },
    ]
}

fn chunked_head() -> String {
    "POST /webhooks/calcom/default HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()
}

/// Signed well: each is kept, whatever it is.
fn bodies() -> Vec<Case> {
    let unparsed = Answer::Outcome("unparsed");
    let text = |uid: &str| String::from_utf8(created(uid)).unwrap();
    let huge = text("huge").replace("\"bookingId\":2001", "\"bookingId\":1e400");
    let twice = text("twice").replace("\"uid\":", "\"uid\":\"the first\",\"uid\":");
    let large = text("large").replace("\"bookingId\":2001", "\"bookingId\":99999999999999999999");
    assert!(huge.contains("1e400") && twice.contains("the first") && large.contains("9999999999"));
    vec![
        case("an empty body", signed(b""), unparsed.clone()),
        case("the body false", signed(b"false"), unparsed.clone()),
        case(
            "bytes that are not UTF-8",
            signed(b"{\"triggerEvent\":\"PING\",\"payload\":{\"title\":\"\xff\xfe\"}}"),
            unparsed.clone(),
        ),
        case("nesting without an end", signed("[".repeat(200_000).as_bytes()), unparsed.clone()),
        case("nesting that nobody reads", signed(deep("note", 10_000).as_bytes()), Answer::Outcome("applied")),
        case("nesting in what is read", signed(deep("responses", 10_000).as_bytes()), Answer::Outcome("applied")),
        case("a number beyond all numbers", signed(huge.as_bytes()), unparsed.clone()),
        case("an id beyond all ids", signed(large.as_bytes()), Answer::Outcome("applied")),
        case("the same key twice", signed(twice.as_bytes()), Answer::Outcome("applied")),
        case("half a document", signed(b"{\"triggerEvent\":\"BOOKING_CREATED\",\"payload\":{"), unparsed),
        case(
            "a payload of another shape",
            signed(b"{\"triggerEvent\":\"BOOKING_CREATED\",\"payload\":{\"uid\":[]}}"),
            Answer::Outcome("recorded"),
        ),
    ]
}

/// A booking with one field that is an object in an object in an object.
fn deep(field: &str, levels: usize) -> String {
    let nested = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let uid = format!("deep{field}{levels}");
    format!(r#"{{"triggerEvent":"BOOKING_CREATED","payload":{{"uid":"{uid}","{field}":{nested}}}}}"#)
}

fn signatures() -> Vec<Case> {
    let path = format!("/webhooks/calcom/{TENANT}");
    let with = |uid: &str, headers: &dyn Fn(&str) -> String| {
        let body = created(uid);
        request(&path, &headers(&sign(SECRET, &body)), &body)
    };
    let applied = Answer::Outcome("applied");
    let wrong = "0".repeat(64);
    let body = created("line end");
    let line_end = [&body[..], b"\r\n"].concat();
    vec![
        case("no signature", with("none", &|_| String::new()), SIGNED_OUT),
        case("no signature and no body", request(&path, "", b""), SIGNED_OUT),
        case("no secret", with("nosecret", &|_| format!("{SIGNATURE}: no-secret-provided\r\n")), SIGNED_OUT),
        case("half a signature", with("half", &|good| format!("{SIGNATURE}: {}\r\n", &good[..32])), SIGNED_OUT),
        case("a signature and more", with("more", &|good| format!("{SIGNATURE}: {good}00\r\n")), SIGNED_OUT),
        case(
            "two that differ",
            with("differ", &|good| format!("{SIGNATURE}: {good}\r\n{SIGNATURE}: {wrong}\r\n")),
            SIGNED_OUT,
        ),
        case(
            "the first name decides",
            with("first", &|good| format!("{SIGNATURE}: {wrong}\r\nCal-Signature: {good}\r\n")),
            SIGNED_OUT,
        ),
        case(
            "an unknown tenant",
            request("/webhooks/calcom/nobody", &format!("{SIGNATURE}: {}\r\n", sign(SECRET, &body)), &body),
            SIGNED_OUT,
        ),
        case(
            "the same twice",
            with("same", &|good| format!("{SIGNATURE}: {good}\r\n{SIGNATURE}: {good}\r\n")),
            applied.clone(),
        ),
        case("upper case", with("upper", &|good| format!("{SIGNATURE}: {}\r\n", good.to_uppercase())), applied.clone()),
        case("a prefix", with("prefix", &|good| format!("{SIGNATURE}: sha256={good}\r\n")), applied.clone()),
        case("the second name", with("second", &|good| format!("Cal-Signature-256: {good}\r\n")), applied.clone()),
        case("the third name", with("third", &|good| format!("X-Cal-Signature: {good}\r\n")), applied.clone()),
        case("the fourth name", with("fourth", &|good| format!("Cal-Signature: {good}\r\n")), applied.clone()),
        case(
            "a line end behind the body",
            request(&path, &format!("{SIGNATURE}: {}\r\n", sign(SECRET, &body)), &line_end),
            applied.clone(),
        ),
        case(
            "a path without a tenant",
            request(
                "/api/webhooks/cal-com",
                &format!("{SIGNATURE}: {}\r\n", sign(SECRET, &created("alias"))),
                &created("alias"),
            ),
            applied,
        ),
    ]
}

/// Those that run into a limit of time.
pub(super) fn slow() -> Vec<Case> {
    let body = created("slow");
    let whole = signed(&body);
    let head = whole.len() - body.len();
    let slowly = |name, at_once: &[u8], tail: &[u8], answer| Case {
        name,
        send: Send::Slowly(at_once.to_vec(), tail.to_vec()),
        answer,
    };
    vec![
        case("nothing sent", "", Answer::Closed),
        case("half a preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM", Answer::Closed),
        case("a head that stops", &whole[..head / 2], Answer::Closed),
        slowly("slow headers", &whole[..10], &whole[10..head], Answer::Closed),
        case("a body that never comes", &whole[..head], Answer::Error(408, "Body too slow")),
        slowly("a slow body", &whole[..head + 10], &whole[head + 10..head + 40], Answer::Error(408, "Body too slow")),
    ]
}
