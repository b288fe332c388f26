//! How what is large lies in a store: compressed where that saves something, with a dictionary of what all of its kind
//! have in common. Reading a body back checks its size and its SHA-256, so what comes out is the very bytes that were
//! signed, or an error.
//!
//! The dictionaries were trained on golden events by `calbridge-bench`'s `dictionary`. They may never change: what was
//! packed with one can be read with no other.

use std::{borrow::Cow, cell::RefCell, fmt, io, sync::LazyLock};

use sha2::{Digest, Sha256};
use zstd::{
    bulk::{Compressor, Decompressor},
    dict::DecoderDictionary,
    zstd_safe::{CParameter, get_frame_content_size},
};

use super::{BODY_BYTES_MAX, StoreError};

/// Stored as they came.
const RAW: i16 = 0;
/// One zstd frame.
const ZSTD: i16 = 1;
/// One zstd frame with the first dictionary of bodies.
const ZSTD_BODIES: i16 = 2;

/// The fastest level: with the dictionary Cal.com's JSON of 4 KB becomes less than a tenth, and higher levels gain
/// little.
const LEVEL: i32 = 1;

/// Entries of the tables in which repetitions are looked up, as a power of two. What is packed is a few KB: the level's
/// own tables, of up to 128 KB, find next to nothing more, and leave no room for anything else in the processor's
/// caches.
const HASH_LOG: u32 = 12;

/// Below this the frame's own overhead eats the gain.
const COMPRESS_FROM_BYTES: usize = 64;

/// What a zstd frame begins with (RFC 8878, section 3.1.1). A booking's first byte is the tag of its tenant, 0x0a, and
/// a row's is the number of its layout.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

const BODIES: &[u8] = include_bytes!("pack/bodies.zdict");
const BOOKINGS: &[u8] = include_bytes!("pack/bookings.zdict");
const ROWS: &[u8] = include_bytes!("pack/rows.zdict");

static UNPACK_BODIES: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(BODIES));
static UNPACK_BOOKINGS: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(BOOKINGS));
static UNPACK_ROWS: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(ROWS));

thread_local! {
    /// Rows and transitions are read by the thousand: making a decompressor costs more than using it.
    static READER: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
    /// Of the runtime's threads, on which ingest packs bodies while a store writes.
    static AHEAD: RefCell<Option<Compressor<'static>>> = RefCell::new(compressor(BODIES).ok());
}

/// A raw body that is packed already; by default it is not.
#[derive(Debug, Clone, Default)]
pub struct PackedBody(Option<Box<[u8]>>);

impl PackedBody {
    /// Leaves to the store what does not get smaller.
    pub(crate) fn of(body: &[u8]) -> Self {
        // The compressor makes room for all of the body.
        Self(AHEAD.with_borrow_mut(|compressor| smaller(compressor, body)).map(Vec::into_boxed_slice))
    }
}

/// A body in the form in which it is stored.
pub(crate) struct Packed<'a> {
    pub(crate) encoding: i16,
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// Packs one after the other with the same compressors: making one costs more than using it.
pub(crate) struct Packer {
    bodies: Option<Compressor<'static>>,
    bookings: Option<Compressor<'static>>,
    rows: Option<Compressor<'static>>,
}

impl fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { bodies: compressor(BODIES).ok(), bookings: compressor(BOOKINGS).ok(), rows: compressor(ROWS).ok() }
    }

    /// Stores raw what does not get smaller, or can't be compressed for want of memory. `ahead` is what was made of the
    /// body before.
    pub(crate) fn body<'a>(&mut self, body: &'a [u8], ahead: &'a PackedBody) -> Packed<'a> {
        if let PackedBody(Some(bytes)) = ahead {
            return Packed { encoding: ZSTD_BODIES, bytes: Cow::Borrowed(bytes) };
        }
        match smaller(&mut self.bodies, body) {
            Some(bytes) => Packed { encoding: ZSTD_BODIES, bytes: Cow::Owned(bytes) },
            None => Packed { encoding: RAW, bytes: Cow::Borrowed(body) },
        }
    }

    /// The booking of a transition, encoded.
    pub(crate) fn booking<'a>(&mut self, booking: &'a [u8]) -> Cow<'a, [u8]> {
        smaller(&mut self.bookings, booking).map_or(Cow::Borrowed(booking), Cow::Owned)
    }

    /// A booking's row, encoded.
    pub(crate) fn row<'a>(&mut self, row: &'a [u8]) -> Cow<'a, [u8]> {
        smaller(&mut self.rows, row).map_or(Cow::Borrowed(row), Cow::Owned)
    }
}

fn compressor(dictionary: &[u8]) -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
    compressor.set_dictionary(LEVEL, dictionary)?;
    Ok(compressor)
}

fn smaller(compressor: &mut Option<Compressor<'static>>, bytes: &[u8]) -> Option<Vec<u8>> {
    let compressor = compressor.as_mut().filter(|_| bytes.len() >= COMPRESS_FROM_BYTES)?;
    compressor.compress(bytes).ok().filter(|packed| packed.len() < bytes.len())
}

/// The body as it was sent. `size` and `sha256` are the delivery's.
pub(crate) fn body(encoding: i16, stored: Vec<u8>, size: i64, sha256: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = |what: &str| StoreError::Damaged { what: "body", why: format!("{what} can't be right") };
    let size = usize::try_from(size).ok().filter(|size| *size <= BODY_BYTES_MAX).ok_or_else(|| damaged("its size"))?;
    let unpacked = match encoding {
        RAW => Ok(stored),
        ZSTD => Decompressor::new().and_then(|mut zstd| zstd.decompress(&stored, size)),
        ZSTD_BODIES => {
            Decompressor::with_prepared_dictionary(&UNPACK_BODIES).and_then(|mut zstd| zstd.decompress(&stored, size))
        }
        _ => return Err(damaged("its encoding")),
    };
    let body = unpacked.map_err(|_| damaged("its compressed bytes"))?;
    if body.len() != size || Sha256::digest(&body)[..] != *sha256 {
        return Err(damaged("its SHA-256"));
    }
    Ok(body)
}

/// The booking of a transition, as it was encoded.
pub(crate) fn booking(stored: &[u8]) -> Result<Cow<'_, [u8]>, StoreError> {
    let damaged = || StoreError::Damaged { what: "transition", why: "its booking can't be unpacked".to_owned() };
    unpack(stored, &UNPACK_BOOKINGS).ok_or_else(damaged)
}

/// A booking's row, as it was encoded.
pub(crate) fn row(stored: &[u8]) -> Result<Cow<'_, [u8]>, StoreError> {
    let damaged = || StoreError::Damaged { what: "booking", why: "its row can't be unpacked".to_owned() };
    unpack(stored, &UNPACK_ROWS).ok_or_else(damaged)
}

/// The same for a check, which is to find what is damaged: that stays as it lies.
pub(crate) fn row_or_rest(stored: Vec<u8>) -> Vec<u8> {
    let unpacked = match row(&stored) {
        Ok(Cow::Owned(unpacked)) => Some(unpacked),
        Ok(Cow::Borrowed(_)) | Err(_) => None,
    };
    unpacked.unwrap_or(stored)
}

/// What was packed with a dictionary, or was never packed; nothing where it is damaged.
fn unpack<'s>(stored: &'s [u8], dictionary: &'static DecoderDictionary<'static>) -> Option<Cow<'s, [u8]>> {
    if !stored.starts_with(&MAGIC) {
        return Some(Cow::Borrowed(stored));
    }
    let unpacked = READER.with_borrow_mut(|reader| {
        let reader = reader.as_mut()?;
        reader.set_prepared_dictionary(dictionary).ok()?;
        reader.decompress(stored, size_of(stored)?).ok()
    });
    unpacked.map(Cow::Owned)
}

/// What a frame says that it holds, if it may hold so much.
fn size_of(frame: &[u8]) -> Option<usize> {
    let size = get_frame_content_size(frame).ok().flatten()?;
    usize::try_from(size).ok().filter(|size| *size <= BODY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use calbridge_proto::v1;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn there_and_back(body: &[u8]) -> (i16, Vec<u8>) {
        let packed = Packer::new().body(body, &PackedBody::default()).into_stored();
        let size = i64::try_from(body.len()).unwrap();
        (packed.0, super::body(packed.0, packed.1, size, &Sha256::digest(body)).unwrap())
    }

    impl Packed<'_> {
        fn into_stored(self) -> (i16, Vec<u8>) {
            (self.encoding, self.bytes.into_owned())
        }
    }

    proptest! {
        #[test]
        fn every_body_comes_back(body in proptest::collection::vec(any::<u8>(), 0..2_000), times in 1..20_usize) {
            let body = body.repeat(times);
            prop_assert_eq!(there_and_back(&body).1, body);
        }
    }

    #[test]
    fn only_what_gets_smaller_is_compressed() {
        assert_eq!(there_and_back(b"false").0, RAW);
        assert_eq!(there_and_back(&[7; 4_000]).0, ZSTD_BODIES);
        let noise: Vec<u8> = (0_u32..64).flat_map(|n| Sha256::digest(n.to_be_bytes()).to_vec()).collect();
        assert_eq!(there_and_back(&noise).0, RAW);
    }

    #[test]
    fn what_was_packed_before_there_were_dictionaries_is_read() {
        let body = [7_u8; 4_000];
        let old = zstd::bulk::compress(&body, LEVEL).unwrap();
        assert_eq!(super::body(ZSTD, old, 4_000, &Sha256::digest(body)).unwrap(), body);
        let booking = v1::Booking { tenant: "acme".to_owned(), title: "x".repeat(400), ..v1::Booking::default() };
        let plain = booking.encode_to_vec();
        assert_eq!(super::booking(&plain).unwrap(), plain);
        let packed = Packer::new().booking(&plain).into_owned();
        assert!(packed.len() < plain.len() && packed.starts_with(&MAGIC));
        assert_eq!(super::booking(&packed).unwrap(), plain);
        assert!(matches!(super::booking(&packed[..20]), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn rows_come_back_packed_or_not() {
        let row = [&[1][..], &[7; 400]].concat();
        let packed = Packer::new().row(&row).into_owned();
        assert!(packed.len() < row.len() && packed.starts_with(&MAGIC));
        for stored in [&packed, &row, &Vec::new()] {
            let wanted = if stored.is_empty() { &[][..] } else { &row[..] };
            assert_eq!(super::row(stored).unwrap(), wanted);
        }
        assert!(matches!(super::row(&packed[..20]), Err(StoreError::Damaged { .. })));
        assert_eq!(super::row(&packed).unwrap(), row, "damage spoils nothing for the next");
    }

    /// Whoever trains them anew takes what is kept away.
    #[test]
    fn the_dictionaries_stay_what_they_are() {
        let hashes = [BODIES, BOOKINGS, ROWS].map(|bytes| hex::encode(&Sha256::digest(bytes)[..8]));
        assert_eq!(hashes, ["d094f5d589b3c7d4", "4ded5a4966519d00", "2d23b5769011eb5f"]);
    }

    #[test]
    fn damage_is_told_and_never_answered() {
        let body = [7_u8; 4_000];
        let sha256 = Sha256::digest(body);
        let (encoding, stored) = Packer::new().body(&body, &PackedBody::default()).into_stored();
        let ahead = PackedBody::of(&body);
        assert_eq!(Packer::new().body(&body, &ahead).into_stored(), (encoding, stored.clone()));
        let cases = [
            (encoding, stored.clone(), 3_999, sha256.to_vec()),
            (encoding, stored.clone(), -1, sha256.to_vec()),
            (encoding, stored.clone(), i64::MAX, sha256.to_vec()),
            (encoding, stored.clone(), 4_000, vec![0; 32]),
            (encoding, stored[1..].to_vec(), 4_000, sha256.to_vec()),
            (RAW, stored.clone(), 4_000, sha256.to_vec()),
            (9, stored, 4_000, sha256.to_vec()),
        ];
        for (encoding, stored, size, sha256) in cases {
            let answer = super::body(encoding, stored, size, &sha256);
            assert!(matches!(answer, Err(StoreError::Damaged { what: "body", .. })), "{answer:?}");
        }
    }
}
