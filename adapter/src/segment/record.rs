//! The bytes of a segment: a head of its own, then records, one behind the other. Pure.
//!
//! A record's length has a check of its own, so that a record whose body was damaged is passed over and not taken for
//! the end. The check of the length is salted with the segment's number: bytes of another file are no records here.
//! All numbers are little-endian.

/// What every segment begins with.
const MAGIC: &[u8; 8] = b"CALSPOOL";
/// The layout below. A reader that meets another leaves the file alone.
const VERSION: u32 = 1;
/// Magic, version, number, check.
pub(crate) const SEGMENT_HEAD_BYTES: usize = 24;
/// Length, its check, the body's check.
pub(crate) const RECORD_HEAD_BYTES: usize = 12;
/// Kind, the tenant's length, time.
const BODY_HEAD_BYTES: usize = 10;

/// The longest record: the largest event with its tenant's name. What claims to be longer is no record.
pub(crate) const RECORD_BYTES_MOST: usize = crate::MAX_EVENT_BYTES + 1024;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An encoded `BookingEvent` on its way to the service.
    Event,
    /// The same, but for what typing its body adds: that is done when it is sent.
    Untyped,
    /// A webhook whose signature no secret had made, as it came.
    Quarantined,
}

/// One record's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// What the payload is; none for a word of a later release, whose records are kept and left alone.
    pub(crate) kind: Option<Kind>,
    /// Whose.
    pub(crate) tenant: &'a str,
    /// When it was received, in microseconds since 1970-01-01T00:00:00Z.
    pub(crate) time: i64,
    /// The rest.
    pub(crate) payload: &'a [u8],
}

impl Record<'_> {
    /// Whether it is on its way to the service, whole or still to be typed.
    pub(crate) fn is_event(&self) -> bool {
        matches!(self.kind, Some(Kind::Event | Kind::Untyped))
    }
}

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A record with a body of so many bytes, and their check.
    Record { length: usize, check: u32 },
    /// Nothing that was written whole.
    Torn,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Quarantined => 2,
            Self::Untyped => 3,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Event, Self::Untyped, Self::Quarantined].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The head of the segment of this number.
pub(crate) fn segment_head(number: u64) -> [u8; SEGMENT_HEAD_BYTES] {
    let mut head = [0; SEGMENT_HEAD_BYTES];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..20].copy_from_slice(&number.to_le_bytes());
    let check = crc32fast::hash(&head[..20]);
    head[20..].copy_from_slice(&check.to_le_bytes());
    head
}

/// Why a file is not read as a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSegment {
    /// It ended before it was begun.
    Torn,
    /// It is something else, or of another number.
    Foreign,
    /// A later release wrote it.
    Later(u32),
}

/// Checks the head of the segment of this number.
pub(crate) fn check_segment(head: &[u8], number: u64) -> Result<(), NoSegment> {
    let wanted = segment_head(number);
    if head == wanted {
        return Ok(());
    }
    let Some(head) = head.first_chunk::<SEGMENT_HEAD_BYTES>() else { return Err(NoSegment::Torn) };
    if head[..8] != wanted[..8] {
        return Err(if head.iter().all(|byte| *byte == 0) { NoSegment::Torn } else { NoSegment::Foreign });
    }
    match u32::from_le_bytes([head[8], head[9], head[10], head[11]]) {
        VERSION => Err(NoSegment::Foreign),
        later => Err(NoSegment::Later(later)),
    }
}

/// Bytes of a record of this payload.
pub(crate) fn length(tenant: &str, payload: &[u8]) -> usize {
    RECORD_HEAD_BYTES + BODY_HEAD_BYTES + tenant.len() + payload.len()
}

/// Appends a record to what is to be written to the segment of this number; its whole length in bytes.
pub(crate) fn encode(into: &mut Vec<u8>, number: u64, kind: Kind, tenant: &str, time: i64, payload: &[u8]) -> usize {
    let begin = into.len();
    into.resize(begin + RECORD_HEAD_BYTES, 0);
    into.push(kind.byte());
    // A tenant's name has at most 64 characters of ASCII; of one that is longer the rest would be read as the time.
    let tenant = &tenant.as_bytes()[..tenant.len().min(usize::from(u8::MAX))];
    into.push(u8::try_from(tenant.len()).unwrap_or(u8::MAX));
    into.extend_from_slice(tenant);
    into.extend_from_slice(&time.to_le_bytes());
    into.extend_from_slice(payload);
    let body = begin + RECORD_HEAD_BYTES;
    let length = u32::try_from(into.len() - body).unwrap_or(u32::MAX);
    let check = crc32fast::hash(&into[body..]);
    into[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    into[begin + 4..begin + 8].copy_from_slice(&length_check(length, number).to_le_bytes());
    into[begin + 8..body].copy_from_slice(&check.to_le_bytes());
    into.len() - begin
}

/// Reads what should be the head of a record in the segment of this number.
pub(crate) fn head(bytes: &[u8], number: u64) -> Head {
    let Some(bytes) = bytes.first_chunk::<RECORD_HEAD_BYTES>() else { return Head::Torn };
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let length = usize::try_from(word(0)).unwrap_or(usize::MAX);
    // The bounds first: whoever looks for a record at every byte is mostly answered by them.
    if (BODY_HEAD_BYTES..=RECORD_BYTES_MOST).contains(&length) && word(4) == length_check(word(0), number) {
        return Head::Record { length, check: word(8) };
    }
    Head::Torn
}

/// Reads a record's body; none where it is not what was written.
pub(crate) fn body(bytes: &[u8], check: u32) -> Option<Record<'_>> {
    if crc32fast::hash(bytes) != check {
        return None;
    }
    let (kind, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (tenant, rest) = rest.split_at_checked(usize::from(*length))?;
    let (time, payload) = rest.split_first_chunk::<8>()?;
    let tenant = str::from_utf8(tenant).ok()?;
    Some(Record { kind: Kind::of(*kind), tenant, time: i64::from_le_bytes(*time), payload })
}

fn length_check(length: u32, number: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], number: u64) -> Option<Record<'_>> {
        let Head::Record { length, check } = head(bytes, number) else { return None };
        body(bytes.get(RECORD_HEAD_BYTES..RECORD_HEAD_BYTES + length)?, check)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(number: u64, tenant in "[a-z0-9-]{0,64}", time: i64, payload: Vec<u8>) {
            let mut bytes = b"before".to_vec();
            let length = encode(&mut bytes, number, Kind::Event, &tenant, time, &payload);
            prop_assert_eq!(length, bytes.len() - 6);
            let found = read(&bytes[6..], number);
            prop_assert_eq!(found, Some(Record { kind: Some(Kind::Event), tenant: &tenant, time, payload: &payload }));
            prop_assert_eq!(read(&bytes[6..], number ^ 1), None, "bytes of another segment are no record");
        }

        #[test]
        fn what_was_cut_or_changed_is_not_read(payload: Vec<u8>, cut: usize, at: usize, with in 1..=u8::MAX) {
            let mut bytes = Vec::new();
            encode(&mut bytes, 7, Kind::Event, "acme", 5, &payload);
            prop_assert_eq!(read(&bytes[..cut % bytes.len()], 7), None);
            let at = at % bytes.len();
            bytes[at] ^= with;
            prop_assert_eq!(read(&bytes, 7), None);
        }

        #[test]
        fn whatever_stands_there_is_read_without_a_panic(bytes: Vec<u8>, number: u64, check: u32) {
            let _ = (head(&bytes, number), check_segment(&bytes, number), body(&bytes, check));
        }
    }

    #[test]
    fn a_segment_says_what_it_is() {
        let head = segment_head(3);
        assert_eq!(check_segment(&head, 3), Ok(()));
        assert_eq!(check_segment(&head, 4), Err(NoSegment::Foreign), "it was renamed");
        assert_eq!(check_segment(&head[..20], 3), Err(NoSegment::Torn));
        assert_eq!(
            check_segment(&[0; SEGMENT_HEAD_BYTES], 3),
            Err(NoSegment::Torn),
            "its first page was never written"
        );
        assert_eq!(check_segment(b"another thing altogether", 3), Err(NoSegment::Foreign));
        let mut later = head;
        later[8] = 2;
        assert_eq!(check_segment(&later, 3), Err(NoSegment::Later(2)));
    }

    #[test]
    fn a_word_of_a_later_release_is_no_damage() {
        let mut bytes = Vec::new();
        encode(&mut bytes, 7, Kind::Event, "acme", 5, b"payload");
        bytes[RECORD_HEAD_BYTES] = 99;
        let check = crc32fast::hash(&bytes[RECORD_HEAD_BYTES..]);
        let later = body(&bytes[RECORD_HEAD_BYTES..], check).unwrap();
        assert_eq!((later.kind, later.tenant, later.payload), (None, "acme", &b"payload"[..]));
    }
}
