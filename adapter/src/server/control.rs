//! Frames of HTTP/2 that bring no request and no body, and cost us work all the same: PING and SETTINGS want an answer
//! each, others are looked up for nothing (RFC 9113, section 10.5). Pure.
//!
//! A peer has some for each request that it begins, and some with time; whoever sends more is no sender of webhooks.

use std::time::Duration;

use tokio::time::Instant;

/// Length, type, flags, stream (RFC 9113, section 4.1).
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// Goes on with HEADERS; what it may bring is bounded with them.
const CONTINUATION: u8 = 9;

/// At once, and at the most: what a peer sends as it begins, many times over.
const MOST: u32 = 200;
/// For each request: windows that it opens for the answer, a reset.
const FOR_A_REQUEST: u32 = 4;
/// One comes back each: keep-alives come in seconds.
const RETURNS: Duration = Duration::from_millis(10);

/// Counts them, of one connection, behind the preface.
#[derive(Debug)]
pub(super) struct Control {
    head: [u8; HEAD_BYTES],
    /// So many bytes of the head are here.
    known: usize,
    /// So many bytes of the payload are still to come.
    left: usize,
    allowed: u32,
    /// Until when what time brings is counted.
    since: Instant,
}

impl Control {
    pub(super) fn new(now: Instant) -> Self {
        Self { head: [0; HEAD_BYTES], known: 0, left: 0, allowed: MOST, since: now }
    }

    /// Whether what has come now is still within what a peer may send.
    pub(super) fn allows(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        self.earn(now);
        while !bytes.is_empty() {
            let payload = self.left.min(bytes.len());
            (self.left, bytes) = (self.left - payload, &bytes[payload..]);
            let head = (HEAD_BYTES - self.known).min(bytes.len());
            self.head[self.known..self.known + head].copy_from_slice(&bytes[..head]);
            (self.known, bytes) = (self.known + head, &bytes[head..]);
            if self.known == HEAD_BYTES && !self.begin() {
                return false;
            }
        }
        true
    }

    /// A frame's head is here.
    fn begin(&mut self) -> bool {
        let [high, middle, low, kind, ..] = self.head;
        self.known = 0;
        self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            HEADERS => self.allowed = (self.allowed + FOR_A_REQUEST).min(MOST),
            CONTINUATION => {}
            // An empty one may end a body, and nothing else.
            DATA if self.left > 0 => {}
            _ => match self.allowed.checked_sub(1) {
                Some(allowed) => self.allowed = allowed,
                None => return false,
            },
        }
        true
    }

    fn earn(&mut self, now: Instant) {
        let returned = now.saturating_duration_since(self.since).as_millis() / RETURNS.as_millis();
        let returned = u32::try_from(returned).unwrap_or(MOST).min(MOST);
        if returned > 0 {
            self.allowed = (self.allowed + returned).min(MOST);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let [.., high, middle, low] = payload.to_be_bytes();
        [&[high, middle, low, kind, 0, 0, 0, 0, 1], &vec![0xff; payload][..]].concat()
    }

    #[test]
    fn a_flood_of_pings_is_ended_and_one_a_second_is_not() {
        let (mut now, ping) = (Instant::now(), frame(PING, 8));
        let mut control = Control::new(now);
        for _ in 0..MOST {
            assert!(control.allows(&ping, now));
        }
        assert!(!control.allows(&ping, now));
        for _ in 0..10 * MOST {
            now += Duration::from_secs(1);
            assert!(control.allows(&ping, now));
        }
    }

    #[test]
    fn whoever_sends_requests_may_say_something_about_each() {
        let now = Instant::now();
        let mut control = Control::new(now);
        let request = [frame(HEADERS, 40), frame(DATA, 2_000), frame(DATA, 0), frame(WINDOW_UPDATE, 4)].concat();
        for _ in 0..10 * MOST {
            assert!(control.allows(&request, now));
        }
    }

    #[test]
    fn bodies_of_nothing_are_a_flood_too() {
        let now = Instant::now();
        let mut control = Control::new(now);
        let empty = frame(DATA, 0).repeat(usize::try_from(MOST).unwrap() + 1);
        assert!(!control.allows(&empty, now));
    }

    proptest! {
        /// However the bytes are cut, the same frames are seen.
        #[test]
        fn frames_are_told_apart_wherever_they_are_cut(
            payloads in prop::collection::vec(0..40_usize, 1..60),
            cuts in prop::collection::vec(1..30_usize, 1..60),
        ) {
            let now = Instant::now();
            let mut control = Control::new(now);
            let all: Vec<u8> = payloads.iter().flat_map(|payload| frame(PING, *payload)).collect();
            let (mut rest, mut cuts) = (&all[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (now_here, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                prop_assert!(control.allows(now_here, now));
                rest = later;
            }
            prop_assert_eq!(control.allowed, MOST - u32::try_from(payloads.len()).unwrap());
        }
    }
}
