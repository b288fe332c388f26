//! How postings lie in a block: sorted, each as its difference to the one before.

use prost::encoding::{decode_varint, encode_varint};

use super::{Entry, Posting};
use crate::store::StoreError;

/// Encoded bytes of a block, and an entry: with its row's own few bytes it fills a page of `SQLite`'s, and half of one
/// of `PostgreSQL`'s where its first uid is not a long one.
const BLOCK_BYTES: usize = 3_900;

/// The mark of an entry that is the first, beyond the length of any uid: those have 256 bytes at the most.
const FIRST: u64 = 1 << 13;

/// Encodes entries, which must come in order.
#[derive(Debug, Default)]
pub(crate) struct Block {
    first: Option<Posting>,
    term: i64,
    time: i64,
    bytes: Vec<u8>,
}

impl Block {
    pub(crate) fn push(&mut self, entry: &Entry) {
        let Posting { term, time, uid } = &entry.posting;
        if self.first.is_none() {
            self.first = Some(entry.posting.clone());
        }
        let same = self.term == *term && !self.bytes.is_empty();
        // The term's difference, the time's, then the uid's length with the marks.
        encode_varint(term.wrapping_sub(self.term).cast_unsigned(), &mut self.bytes);
        let from = if same { self.time } else { 0 };
        encode_varint(zigzag(time.wrapping_sub(from)), &mut self.bytes);
        let first = if entry.is_first { FIRST } else { 0 };
        encode_varint(first | (uid.len() as u64) << 1 | u64::from(entry.finds), &mut self.bytes);
        self.bytes.extend_from_slice(uid.as_bytes());
        (self.term, self.time) = (*term, *time);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES
    }

    /// The first posting and the bytes; nothing of an empty one.
    pub(crate) fn finish(self) -> Option<(Posting, Vec<u8>)> {
        Some((self.first?, self.bytes))
    }
}

/// As many blocks as they need.
pub(crate) fn cut<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut block = Block::default();
    for entry in entries {
        block.push(entry);
        if block.is_full() {
            blocks.push(std::mem::take(&mut block));
        }
    }
    if block.first.is_some() {
        blocks.push(block);
    }
    blocks
}

/// All of them in one, however many.
pub(crate) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut block = Block::default();
    for entry in entries {
        block.push(entry);
    }
    block.bytes
}

pub(crate) fn decode(mut bytes: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let damaged = |_| damage();
    let mut entries = Vec::new();
    let (mut term, mut time) = (0_i64, 0_i64);
    let mut first = true;
    while !bytes.is_empty() {
        let step = decode_varint(&mut bytes).map_err(damaged)?;
        if step != 0 || first {
            time = 0;
        }
        first = false;
        term = term.wrapping_add(step.cast_signed());
        time = time.wrapping_add(unzigzag(decode_varint(&mut bytes).map_err(damaged)?));
        let marks = decode_varint(&mut bytes).map_err(damaged)?;
        let length =
            usize::try_from((marks & !FIRST) >> 1).ok().filter(|length| *length <= bytes.len()).ok_or_else(damage)?;
        let (uid, rest) = bytes.split_at(length);
        let uid = std::str::from_utf8(uid).map_err(|_| damage())?.to_owned();
        bytes = rest;
        let (finds, is_first) = (marks & 1 == 1, marks & FIRST != 0);
        entries.push(Entry { posting: Posting { term, time, uid }, finds, is_first });
    }
    Ok(entries)
}

pub(crate) fn damage() -> StoreError {
    StoreError::Damaged { what: "posting", why: "its block can't be read".to_owned() }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    prop_compose! {
        fn entry()(term in prop_oneof![0..3_i64, any::<i64>()], time in prop_oneof![0..9_i64, any::<i64>()],
            uid in "[a-z]{0,3}|.{0,9}|.{256}", finds in any::<bool>(), is_first in any::<bool>()) -> Entry {
            Entry { posting: Posting { term, time, uid }, finds, is_first }
        }
    }

    proptest! {
        #[test]
        fn entries_come_back(mut entries in vec(entry(), 0..50)) {
            entries.sort_by(|one, other| one.posting.cmp(&other.posting));
            prop_assert_eq!(decode(&encode(&entries)).unwrap(), entries);
        }

        #[test]
        fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
