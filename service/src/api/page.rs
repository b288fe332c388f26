//! Pages: how many entries, where the next one goes on, and that a token is used for the list it came from.
//!
//! A token is base64url of a version, a checksum over what the list is, and the place. It guards against mistakes, not
//! against forgery: a forged one shows nothing that the caller could not ask for.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use sha2::{Digest, Sha256};

use super::errors::ApiError;
use crate::{
    settings::{PAGE_BYTES, PAGE_DEFAULT, PAGE_MOST},
    store::{BookingCursor, Position},
};

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;
const PLACE_BYTES: usize = 8;

/// What a list is: its method, and each of the caller's choices that its pages share.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a> {
    pub(super) method: &'static str,
    pub(super) tenant: &'a str,
    /// The uid, the filter and the order, as far as the method has them, in normal form.
    pub(super) choices: &'a [&'a str],
}

/// Entries of a page: 0 means the default, and more than the most is taken as the most.
pub(super) fn size(page_size: i32) -> Result<usize, ApiError> {
    match usize::try_from(page_size) {
        Err(_) => Err(ApiError::InvalidField { field: "page_size", why: "must not be negative" }),
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_MOST)),
    }
}

/// Cuts what was found (one entry more than the page holds, where there is more) to a page, by number and by bytes.
/// True if something is left for the next one.
pub(super) fn cut<T>(found: &mut Vec<T>, size: usize, bytes: impl Fn(&T) -> usize) -> bool {
    let mut total = 0;
    let within = |entry: &&T| {
        total += bytes(entry);
        total <= PAGE_BYTES
    };
    // One entry is a page however large it is, or the list would end here.
    let fitting = found.iter().take(size).take_while(within).count().max(1);
    let more = found.len() > fitting;
    found.truncate(fitting);
    more
}

/// The encoded size of a message.
pub(super) fn encoded<M: Message>(message: &M) -> usize {
    message.encoded_len()
}

impl List<'_> {
    /// The token of the page behind this position.
    pub(super) fn token_at(&self, position: Position) -> String {
        self.token(&position.0.to_be_bytes())
    }

    /// The token of the page behind this booking.
    pub(super) fn token_behind(&self, cursor: &BookingCursor) -> String {
        self.token(&[&cursor.time.to_be_bytes(), cursor.uid.as_bytes()].concat())
    }

    /// The token of the page behind what has this name.
    pub(super) fn token_behind_name(&self, name: &str) -> String {
        self.token(name.as_bytes())
    }

    /// The name in a token; none where the token is empty: the first page.
    pub(super) fn name(&self, token: &str) -> Result<Option<String>, ApiError> {
        let Some(place) = self.place(token)? else { return Ok(None) };
        let name = String::from_utf8(place).ok().filter(|name| !name.contains('\0'));
        name.map(Some).ok_or(ApiError::PageTokenMismatch)
    }

    /// The position in a token; none where the token is empty: the first page.
    pub(super) fn position(&self, token: &str) -> Result<Option<Position>, ApiError> {
        let Some(place) = self.place(token)? else { return Ok(None) };
        let position = place.try_into().map_err(|_| ApiError::PageTokenMismatch)?;
        Ok(Some(Position(i64::from_be_bytes(position))))
    }

    /// The booking in a token; none where the token is empty: the first page.
    pub(super) fn cursor(&self, token: &str) -> Result<Option<BookingCursor>, ApiError> {
        let Some(place) = self.place(token)? else { return Ok(None) };
        let (time, uid) = place.split_first_chunk::<PLACE_BYTES>().ok_or(ApiError::PageTokenMismatch)?;
        let uid = String::from_utf8(uid.to_vec()).ok().filter(|uid| !uid.contains('\0'));
        let uid = uid.ok_or(ApiError::PageTokenMismatch)?;
        Ok(Some(BookingCursor { time: i64::from_be_bytes(*time), uid }))
    }

    fn token(&self, place: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([&[VERSION], self.checksum(place).as_slice(), place].concat())
    }

    fn place(&self, token: &str) -> Result<Option<Vec<u8>>, ApiError> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| ApiError::PageTokenMismatch)?;
        let place = match bytes.split_first() {
            Some((&VERSION, rest)) => rest.split_first_chunk::<CHECKSUM_BYTES>(),
            _ => None,
        };
        match place {
            Some((checksum, place)) if *checksum == self.checksum(place) => Ok(Some(place.to_vec())),
            _ => Err(ApiError::PageTokenMismatch),
        }
    }

    /// Over the list and the place, each part led by its length, so that no two lists look alike.
    fn checksum(&self, place: &[u8]) -> [u8; CHECKSUM_BYTES] {
        let mut hash = Sha256::new();
        let texts = [self.method, self.tenant].into_iter().chain(self.choices.iter().copied());
        for part in texts.map(str::as_bytes).chain([place]) {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let mut checksum = [0; CHECKSUM_BYTES];
        checksum.copy_from_slice(&hash.finalize()[..CHECKSUM_BYTES]);
        checksum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: List<'_> = List { method: "ListBookings", tenant: "acme", choices: &["", "start_time"] };

    #[test]
    fn a_page_size_is_bounded() {
        assert!(matches!(size(-1), Err(ApiError::InvalidField { field: "page_size", .. })));
        assert_eq!(size(0).unwrap(), 100);
        assert_eq!(size(1).unwrap(), 1);
        assert_eq!(size(1000).unwrap(), 1000);
        assert_eq!(size(i32::MAX).unwrap(), 1000);
    }

    #[test]
    fn a_page_is_cut_by_number_and_by_bytes() {
        let cut_to = |sizes: &[usize], size| {
            let mut entries = sizes.to_vec();
            let more = cut(&mut entries, size, |entry| *entry);
            (entries.len(), more)
        };
        assert_eq!(cut_to(&[1, 1, 1], 3), (3, false));
        assert_eq!(cut_to(&[1, 1, 1], 2), (2, true));
        assert_eq!(cut_to(&[], 2), (0, false));
        assert_eq!(cut_to(&[PAGE_BYTES, 1, 1], 3), (1, true));
        assert_eq!(cut_to(&[PAGE_BYTES / 2, PAGE_BYTES / 2, 1], 3), (2, true));
        assert_eq!(cut_to(&[PAGE_BYTES + 1, 1], 2), (1, true), "one entry always fits");
        assert_eq!(cut_to(&[PAGE_BYTES + 1], 2), (1, false));
    }

    #[test]
    fn a_token_is_good_for_its_own_list_alone() {
        let token = LIST.token_at(Position(7));
        for other in [
            List { method: "ListDeliveries", ..LIST },
            List { tenant: "acme2", ..LIST },
            List { choices: &["", "start_time desc"], ..LIST },
            List { choices: &["s", "tart_time"], ..LIST },
            List { choices: &["start_time"], ..LIST },
        ] {
            assert_eq!(other.position(&token), Err(ApiError::PageTokenMismatch), "{other:?}");
        }
        assert_eq!(LIST.position(&token), Ok(Some(Position(7))));
        assert_eq!(LIST.position(""), Ok(None));
    }

    proptest! {
        #[test]
        fn places_survive_their_token(position: i64, time: i64, uid in "[^\\x00]*") {
            prop_assert_eq!(LIST.position(&LIST.token_at(Position(position))), Ok(Some(Position(position))));
            let cursor = BookingCursor { time, uid };
            prop_assert_eq!(LIST.cursor(&LIST.token_behind(&cursor)), Ok(Some(cursor)));
        }

        #[test]
        fn anything_else_is_refused(token in "[A-Za-z0-9_=+/-]{1,40}") {
            prop_assert_eq!(LIST.position(&token), Err(ApiError::PageTokenMismatch));
            prop_assert_eq!(LIST.cursor(&token), Err(ApiError::PageTokenMismatch));
        }

        #[test]
        fn a_changed_token_is_refused(position: i64, at in 0_usize..22, to in "[A-Za-z0-9_-]") {
            let token = LIST.token_at(Position(position));
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            if changed != token {
                prop_assert_eq!(LIST.position(&changed), Err(ApiError::PageTokenMismatch));
            }
        }
    }
}
