//! How raw bodies lie in a store: compressed where that saves something. Reading one back checks its size and its
//! SHA-256, so what comes out is the very bytes that were signed, or an error.

use std::{borrow::Cow, fmt};

use sha2::{Digest, Sha256};
use zstd::bulk::{Compressor, decompress};

use super::{BODY_BYTES_MAX, StoreError};

/// Stored as they came.
const RAW: i16 = 0;
/// One zstd frame.
const ZSTD: i16 = 1;

/// The fastest level: Cal.com's JSON of 3 KB becomes less than half in under 20 µs, and higher levels gain little.
const LEVEL: i32 = 1;

/// Below this the frame's own overhead eats the gain.
const COMPRESS_FROM_BYTES: usize = 128;

/// A body in the form in which it is stored.
pub(crate) struct Packed<'a> {
    pub(crate) encoding: i16,
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// Packs one body after the other with the same compressor: making one costs more than using it.
pub(crate) struct Packer {
    compressor: Option<Compressor<'static>>,
}

impl fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { compressor: Compressor::new(LEVEL).ok() }
    }

    /// Stores raw what does not get smaller, or can't be compressed for want of memory.
    pub(crate) fn pack<'a>(&mut self, body: &'a [u8]) -> Packed<'a> {
        let packed = match &mut self.compressor {
            Some(compressor) if body.len() >= COMPRESS_FROM_BYTES => compressor.compress(body).ok(),
            _ => None,
        };
        match packed {
            Some(bytes) if bytes.len() < body.len() => Packed { encoding: ZSTD, bytes: Cow::Owned(bytes) },
            _ => Packed { encoding: RAW, bytes: Cow::Borrowed(body) },
        }
    }
}

/// The body as it was sent. `size` and `sha256` are the delivery's.
pub(crate) fn unpack(encoding: i16, stored: Vec<u8>, size: i64, sha256: &[u8]) -> Result<Vec<u8>, StoreError> {
    let size = usize::try_from(size).ok().filter(|size| *size <= BODY_BYTES_MAX).ok_or_else(|| damaged("its size"))?;
    let body = match encoding {
        RAW => stored,
        ZSTD => decompress(&stored, size).map_err(|_| damaged("its compressed bytes"))?,
        _ => return Err(damaged("its encoding")),
    };
    if body.len() != size || Sha256::digest(&body)[..] != *sha256 {
        return Err(damaged("its SHA-256"));
    }
    Ok(body)
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged { what: "body", why: format!("{what} can't be right") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(body: &[u8]) -> (i16, Vec<u8>) {
        let packed = Packer::new().pack(body).into_stored();
        let size = i64::try_from(body.len()).unwrap();
        (packed.0, unpack(packed.0, packed.1, size, &Sha256::digest(body)).unwrap())
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
        assert_eq!(there_and_back(&[7; 4_000]).0, ZSTD);
        let noise: Vec<u8> = (0_u32..64).flat_map(|n| Sha256::digest(n.to_be_bytes()).to_vec()).collect();
        assert_eq!(there_and_back(&noise).0, RAW);
    }

    #[test]
    fn damage_is_told_and_never_answered() {
        let body = [7_u8; 4_000];
        let sha256 = Sha256::digest(body);
        let (encoding, stored) = Packer::new().pack(&body).into_stored();
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
            let answer = unpack(encoding, stored, size, &sha256);
            assert!(matches!(answer, Err(StoreError::Damaged { what: "body", .. })), "{answer:?}");
        }
    }
}
