//! Packed bodies: they are webhooks as they stand. What is signed is kept as it was sent and unpacked by nobody, so a
//! bomb is as large as it is.

use calbridge_e2e::{
    socket::Socket,
    system::{Plan, SECRET, TENANT},
    v1::DeliveryDisposition,
    webhook::{SIGNATURE, created, sha256, sign},
};

use super::Siege;

/// What a bomb of the first kind would unfold to, if anybody unpacked it.
const BOMB: usize = 128 * 1024 * 1024;

#[tokio::test]
async fn packed_bodies_are_kept_as_they_were_signed_and_unpacked_by_nobody() {
    let siege = Siege::begin(Plan::new()).await;
    let edge = siege.system.adapter.listening().http();
    let mut kept = Vec::new();
    for (coding, body) in packed() {
        let (length, signature) = (body.len(), sign(SECRET, &body));
        let head = format!(
            "POST /webhooks/calcom/{TENANT} HTTP/1.1\r\nHost: h\r\nContent-Encoding: {coding}\r\n\
             Content-Length: {length}\r\n{SIGNATURE}: {signature}\r\n\r\n"
        );
        let mut socket = Socket::connect(edge).await;
        socket.write(&[head.as_bytes(), &body].concat()).await;
        let answer = socket.answer().await;
        assert!([200, 202].contains(&answer.status), "{coding}: {answer:?}");
        kept.push(body);
    }
    let mut system = siege.lift("packed bodies", 0).await;
    let stored = system.api().all_deliveries(TENANT).await;
    for body in kept {
        let delivery = stored.iter().find(|delivery| delivery.body_sha256 == sha256(&body)).expect("it is kept");
        assert_eq!(delivery.disposition(), DeliveryDisposition::Unparsed);
    }
    system.service.stop().await;
}

/// By the names that their senders give them.
fn packed() -> Vec<(&'static str, Vec<u8>)> {
    let webhook = stored_gzip(&created("packed"));
    vec![
        ("gzip", webhook.clone()),
        ("gzip, gzip", stored_gzip(&webhook)),
        ("gzip", bomb()),
        // What is said decides nothing: nobody looks.
        ("br", bomb()),
        ("deflate", webhook[10..webhook.len() - 8].to_vec()),
    ]
}

/// RFC 1952 around blocks that are stored as they are (RFC 1951).
fn stored_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut all = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let length = u16::try_from(bytes.len()).unwrap();
    all.push(1);
    all.extend_from_slice(&length.to_le_bytes());
    all.extend_from_slice(&(!length).to_le_bytes());
    all.extend_from_slice(bytes);
    all.extend_from_slice(&crc32(bytes).to_le_bytes());
    all.extend_from_slice(&u32::from(length).to_le_bytes());
    all
}

/// One block of fixed codes: a zero, and copies of the 258 bytes before, each of 13 bits; the copies alone unfold to
/// [`BOMB`] bytes.
fn bomb() -> Vec<u8> {
    let mut bits = Bits::default();
    // The last block, with fixed codes; the byte 0.
    bits.push(0b1, 1);
    bits.push(0b01, 2);
    bits.push_code(0b0011_0000, 8);
    for _ in 0..BOMB / 258 {
        // The length 258 is the code 285, and the distance 1 is the code 0.
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    // The end of the block.
    bits.push_code(0, 7);
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    let size = u32::try_from(BOMB / 258 * 258 + 1).unwrap();
    // Nobody comes as far as the checksum.
    [&header[..], &bits.bytes, &[0; 4], &size.to_le_bytes()].concat()
}

/// As deflate packs them, from the lowest bit on.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for at in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = u8::try_from((value >> at) & 1).unwrap();
            *self.bytes.last_mut().unwrap() |= bit << (self.used % 8);
            self.used += 1;
        }
    }

    /// A code's highest bit comes first.
    fn push_code(&mut self, code: u32, count: u32) {
        self.push(code.reverse_bits() >> (32 - count), count);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}
