//! What bodies say that come again and again: typed and encoded once, for all copies that follow.
//!
//! A body says the same whenever it comes, so of a copy nothing is looked into but whether it is one: byte by byte. The
//! first is taken as any; only what comes a second time is kept, for a while.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use calbridge_calcom::{Typed, type_body};
use calbridge_proto::v1::{BookingEvent, Trigger};
use prost::Message as _;

use crate::labels;

/// Bodies that are known to have come, at most: what comes within a second at the highest rates.
const CAME: usize = 4_096;

/// Those of them of which is kept what they say.
const KEPT: usize = 64;

/// The largest body of which that is kept, and the most that it may say, encoded: all kept are below 2 MiB. Cal.com's
/// are a quarter of it.
const BYTES_MOST: usize = 16 * 1024;

/// The bodies of a moment ago. Others take their places, each at random.
pub(crate) struct Copies {
    /// Checksums of those that came.
    came: Box<[AtomicU32]>,
    kept: Box<[Mutex<Option<Arc<Said>>>]>,
}

/// What a body says, as it is sent on with every copy of it.
#[derive(Debug)]
pub(crate) struct Said {
    body: Bytes,
    pub(crate) trigger: Trigger,
    pub(crate) trigger_name: String,
    pub(crate) disposition: &'static str,
    /// The fields of a `BookingEvent` that typing fills in.
    pub(crate) encoded: Vec<u8>,
}

/// How a body was found.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart as soon as it is made")]
pub(crate) enum Found {
    /// New, or too seldom seen.
    Typed(Typed),
    /// A copy of what is kept.
    Copy(Arc<Said>),
}

impl Copies {
    pub(crate) fn new() -> Self {
        Self {
            came: (0..CAME).map(|_| AtomicU32::new(0)).collect(),
            kept: (0..KEPT).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// What the body says. From its second time on it is kept.
    pub(crate) fn find(&self, body: &Bytes) -> Found {
        if body.len() > BYTES_MOST {
            return Found::Typed(type_body(body));
        }
        let print = crc32fast::hash(body);
        let place = |places: usize| usize::try_from(print).unwrap_or_default() % places;
        let came = self.came.get(place(CAME)).is_some_and(|came| came.swap(print, Ordering::Relaxed) == print);
        let Some(kept) = self.kept.get(place(KEPT)).filter(|_| came) else { return Found::Typed(type_body(body)) };
        let said = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(said) = said.filter(|said| said.body == body) {
            return Found::Copy(said);
        }
        let typed = type_body(body);
        if let Some(said) = Said::of(body, &typed) {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(said));
        }
        Found::Typed(typed)
    }
}

impl Said {
    /// Of a body that could be typed, unless it says too much.
    fn of(body: &[u8], typed: &Typed) -> Option<Self> {
        typed.payload.as_ref()?;
        let mut event = BookingEvent::default();
        typed.clone().into_event(&mut event);
        Some(Self {
            // Its own memory: the one it came in may be a part of a larger piece.
            body: Bytes::copy_from_slice(body),
            trigger: typed.trigger,
            trigger_name: typed.trigger_name.clone(),
            disposition: labels::disposition_label(typed),
            encoded: Some(event.encode_to_vec()).filter(|encoded| encoded.len() <= BYTES_MOST)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use calbridge_calcom::golden::{self, Golden};
    use calbridge_proto::v1::{BookingPayload, booking_event::Payload};
    use jiff::Timestamp;

    use super::*;

    fn body(number: i64) -> Bytes {
        let time = Timestamp::from_second(1_790_000_000).unwrap();
        golden::body(Trigger::BookingCreated, &Golden::new(&format!("u{number}"), number, time, time)).into()
    }

    fn is_copy(found: &Found) -> bool {
        matches!(found, Found::Copy(_))
    }

    #[test]
    fn what_comes_a_third_time_is_known_and_says_the_same() {
        let copies = Copies::new();
        let raw = body(1);
        let Found::Typed(first) = copies.find(&raw) else { panic!("it never came") };
        assert_eq!(first, type_body(&raw));
        assert!(!is_copy(&copies.find(&body(2))), "another");
        let Found::Typed(second) = copies.find(&raw) else { panic!("nothing was kept of it") };
        assert_eq!(second, first);
        let Found::Copy(third) = copies.find(&raw) else { panic!("it came twice") };
        assert_eq!((third.trigger, &third.trigger_name), (first.trigger, &first.trigger_name));
        assert_eq!(third.disposition, labels::disposition_label(&first));
        let mut event = BookingEvent::default();
        first.into_event(&mut event);
        assert_eq!(BookingEvent::decode(third.encoded.as_slice()).unwrap(), event);
    }

    #[test]
    fn another_body_of_one_checksum_is_no_copy() {
        let copies = Copies::new();
        let raw = body(1);
        let other = Bytes::from_static(b"another");
        for _ in 0..3 {
            copies.find(&raw);
        }
        // As if both had one.
        let print = crc32fast::hash(&other);
        copies.came[usize::try_from(print).unwrap() % CAME].store(print, Ordering::Relaxed);
        let said = copies.kept.iter().find_map(|kept| kept.lock().unwrap().clone()).unwrap();
        *copies.kept[usize::try_from(print).unwrap() % KEPT].lock().unwrap() = Some(said);
        let Found::Typed(typed) = copies.find(&other) else { panic!("its bytes are others") };
        assert_eq!(typed, type_body(&other));
    }

    #[test]
    fn what_is_large_or_says_nothing_is_not_kept() {
        let copies = Copies::new();
        let spaces = " ".repeat(BYTES_MOST);
        let large = Bytes::from([body(1).as_ref(), spaces.as_bytes()].concat());
        for raw in [large, Bytes::from_static(b"false"), Bytes::new()] {
            for _ in 0..4 {
                assert!(!is_copy(&copies.find(&raw)), "{} bytes", raw.len());
            }
        }
        assert!(copies.kept.iter().all(|kept| kept.lock().unwrap().is_none()));
        let title = " ".repeat(BYTES_MOST);
        let payload = Some(Payload::Booking(BookingPayload { title, ..BookingPayload::default() }));
        assert!(Said::of(b"{}", &Typed { payload, ..Typed::default() }).is_none(), "it says more than is kept");
    }
}
