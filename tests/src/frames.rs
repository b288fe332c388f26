//! HTTP/2 frame by frame, as no client library would send them.

/// What an HTTP/2 client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The last frame of a request's headers.
pub const END_HEADERS: u8 = 0x4;
/// The last frame of a stream's side.
pub const END_STREAM: u8 = 0x1;
/// The answer to a ping, or to settings.
pub const ACK: u8 = 0x1;

/// A frame's kind, by RFC 9113.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A part of a body.
    Data = 0x0,
    /// A request's headers, or their beginning.
    Headers = 0x1,
    /// The end of a stream.
    Reset = 0x3,
    /// What a side asks of the other.
    Settings = 0x4,
    /// To be answered.
    Ping = 0x6,
    /// The end of a connection.
    GoAway = 0x7,
    /// More may be sent.
    WindowUpdate = 0x8,
    /// More headers.
    Continuation = 0x9,
}

/// One frame.
#[must_use]
pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind as u8, flags], &stream.to_be_bytes(), payload].concat()
}

/// The beginning of a connection, with one setting of the client's if there is one.
#[must_use]
pub fn opening(setting: Option<(u16, u32)>) -> Vec<u8> {
    let payload = setting.map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    [PREFACE, &frame(Kind::Settings, 0, 0, &payload.unwrap_or_default())].concat()
}

/// A block of headers: a POST to this path, without compression.
#[must_use]
pub fn post(path: &str) -> Vec<u8> {
    // From the static table: `:method: POST`, `:scheme: http`, `:path`, `:authority`.
    [&[0x83, 0x86][..], &[0x04], &text(path), &[0x01], &text("calbridge")].concat()
}

/// One header that the other side is to keep in its table.
#[must_use]
pub fn kept(name: &str, value: &str) -> Vec<u8> {
    [&[0x40][..], &text(name), &text(value)].concat()
}

/// One header that it is not to keep.
#[must_use]
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0x00][..], &text(name), &text(value)].concat()
}

/// The header that was kept last: number 62, the first behind the static table.
pub const KEPT_LAST: u8 = 0xbe;

/// A text, without Huffman's code.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = text.len();
    if left < 0x7f {
        bytes.push(u8::try_from(left).unwrap());
    } else {
        bytes.push(0x7f);
        left -= 0x7f;
        while left >= 0x80 {
            bytes.push(0x80 | u8::try_from(left & 0x7f).unwrap());
            left >>= 7;
        }
        bytes.push(u8::try_from(left).unwrap());
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// The next whole frame of what was received: its kind's number, and what is behind it.
#[must_use]
pub fn next(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (head, rest) = bytes.split_at_checked(9)?;
    let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
    Some((head[3], rest.get(length..)?))
}
