//! Rows as bytes: nothing is lost, equal rows are equal bytes, and no bytes make a panic.

use calbridge_proto::v1::Trigger;
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    laws::told,
    world::{World, marks, tell},
};
use crate::{DecodeError, Row, facts};

proptest! {
    #[test]
    fn rows_survive_their_encoding(told in vec(told(), 0..10)) {
        for row in World::of(&told).rows.values() {
            let bytes = row.encode();
            let decoded = Row::decode(&bytes);
            prop_assert_eq!(decoded.as_ref(), Ok(row));
            prop_assert_eq!(decoded.map(|row| row.encode()), Ok(bytes));
        }
    }

    #[test]
    fn rows_cut_short_or_with_more_behind_are_refused(told in vec(told(), 1..4), cut in any::<Index>(), more: u8) {
        for row in World::of(&told).rows.values() {
            let mut bytes = row.encode();
            prop_assert!(Row::decode(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(more);
            prop_assert_eq!(Row::decode(&bytes), Err(DecodeError::Malformed("bytes left over")));
        }
    }

    #[test]
    fn broken_bytes_never_panic(told in vec(told(), 1..4), place in any::<Index>(), byte: u8) {
        for row in World::of(&told).rows.values() {
            let mut bytes = row.encode();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            if let Ok(row) = Row::decode(&bytes) {
                prop_assert_eq!(Row::decode(&row.encode()), Ok(row), "what is read can be written");
            }
        }
    }

    #[test]
    fn garbage_never_panics(mut bytes in vec(any::<u8>(), 1..200)) {
        bytes[0] = 1;
        let _ = Row::decode(&bytes);
    }
}

#[test]
fn an_empty_row_is_a_row() {
    let row = Row::default();
    assert_eq!(Row::decode(&row.encode()), Ok(row.clone()));
    assert!(!row.is_visible());
}

/// The layout is stored: these bytes must be read for ever, so a new number for an old member shows here.
#[test]
fn the_layout_stays() {
    let told = tell(Trigger::BookingNoShowUpdated, 0, marks("u1", &[("A@x.example", true)]));
    let row = &facts(&told.event, &[0xab; 32])[0].registers;
    let stamp = |rank: u8| [&[rank, 0x80, 0x80, 0xaf, 0xa2, 0xdb, 0xff, 0xad, 0x06][..], &[0xab; 32]].concat();
    let expected = [
        &[1][..],
        // The least `createdAt`.
        &[1, 0x80, 0x80, 0xaf, 0xa2, 0xdb, 0xff, 0xad, 0x06],
        // Two stamps, a fill and a write; one address.
        &[2],
        &stamp(2),
        &stamp(3),
        &[1, 11],
        b"a@x.example",
        &[4],
        // Evidence: accepted, attendance.
        &[0, 2, 0, 0],
        &[0, 7, 0, 0],
        // An attendee's spelling and mark.
        &[5, 1, 0, 0, 1, 5, 11],
        b"A@x.example",
        &[6, 1, 0, 2, 2],
    ]
    .concat();
    assert_eq!(row.encode(), expected);
    assert_eq!(Row::decode(&expected).as_ref(), Ok(row));
}

#[test]
fn stamps_that_are_out_of_order_or_evidences_own_are_refused() {
    let stamp = |rank: u8, time: u8| [&[rank, time][..], &[7; 32]].concat();
    let of_evidence = [&[3, 0][..], &[0; 32]].concat();
    for stamps in [[stamp(2, 8), stamp(2, 4)], [stamp(2, 4), stamp(2, 4)], [stamp(2, 4), of_evidence]] {
        let bytes = [&[1, 0, 2][..], &stamps.concat(), &[0, 0]].concat();
        assert_eq!(Row::decode(&bytes), Err(DecodeError::Malformed("stamps out of order")), "{stamps:?}");
    }
    let ordered = [&[1, 0, 2][..], &stamp(2, 4), &stamp(2, 8), &[0, 0]].concat();
    assert_eq!(Row::decode(&ordered), Ok(Row::default()), "what nothing refers to is left out");
}

#[test]
fn what_is_not_a_row_says_why() {
    for (bytes, expected) in [
        (&[][..], DecodeError::Malformed("too short")),
        (&[2, 0, 0, 0, 0], DecodeError::UnknownLayout(2)),
        (&[1, 9, 0, 0, 0], DecodeError::Malformed("neither there nor absent")),
        (&[1, 0, 0, 0, 1, 99], DecodeError::Malformed("unknown key")),
        (&[1, 0, 0, 0, 1, 0, 99], DecodeError::Malformed("unknown member")),
        (&[1, 0, 0, 0, 1, 0, 2, 5, 0], DecodeError::Malformed("no such stamp")),
        (&[1, 0, 0, 0, 1, 0, 2, 0, 99], DecodeError::Malformed("unknown value")),
        (&[1, 0, 0, 0, 1, 8, 0], DecodeError::Malformed("no such address")),
        (&[1, 0, 0, 0, 2, 0, 2, 0, 0, 0, 2, 0, 0], DecodeError::Malformed("keys out of order")),
        (&[1, 0, 0, 2, 1, b'b', 1, b'a', 0], DecodeError::Malformed("addresses out of order")),
        (&[1, 0, 0, 0, 1, 4, 1, 0xff], DecodeError::Malformed("text")),
        // A count that no body could hold ends where the bytes do.
        (&[1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], DecodeError::Malformed("too short")),
    ] {
        assert_eq!(Row::decode(bytes), Err(expected), "{bytes:?}");
    }
}
