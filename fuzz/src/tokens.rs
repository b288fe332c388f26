//! What clients carry without knowing what it is: positions, page tokens, the ids of a consumer's deliveries. What is
//! read is written the same; nothing else is read; and a token is good for its own list alone.

use calbridge_service::{
    fuzzing::{Choices, Place, consume_id, page_place, page_token, read_consume_id},
    store::{BookingCursor, DeliveryOf, Position},
};

use crate::cut::Cut;

const LIST: Choices<'_> = Choices { tenant: "acme", choices: &["start_time", ""] };
const OTHERS: [Choices<'_>; 3] = [
    Choices { tenant: "other", ..LIST },
    Choices { choices: &["start_time", "desc"], ..LIST },
    Choices { choices: &["start_time"], ..LIST },
];

pub(crate) fn judge(input: &[u8]) {
    let mut cut = Cut(input);
    match cut.byte() % 3 {
        0 => judge_text(&String::from_utf8_lossy(cut.rest())),
        1 => judge_places(&mut cut),
        _ => judge_damage(&mut cut),
    }
}

/// A text that somebody sent.
fn judge_text(text: &str) {
    if let Some(position) = Position::from_token(text) {
        assert!(position >= Position::default(), "no place stands before the first: {position:?}");
        assert_eq!(position.to_token(), text);
    }
    if let Some(delivery) = read_consume_id(text) {
        assert_eq!(consume_id(delivery), text);
    }
    for like in kinds() {
        if let Some(place) = page_place(LIST, text, &like) {
            assert_eq!(page_token(LIST, &place), text);
        }
    }
}

/// Whatever is written is read again.
fn judge_places(cut: &mut Cut<'_>) {
    let (one, other) = (cut.number(), cut.number());
    // A NUL is in no name, and refused.
    let name = String::from_utf8_lossy(cut.rest()).replace('\0', "");
    for position in [one, other].map(Position) {
        let read = Position::from_token(&position.to_token());
        assert_eq!(read, Some(position).filter(|position| position.0 >= 0));
    }
    let delivery = DeliveryOf { position: Position(one & i64::MAX), lease: other & i64::MAX };
    assert_eq!(read_consume_id(&consume_id(delivery)), Some(delivery));
    let cursor = BookingCursor { time: one, uid: name.clone() };
    for place in [Place::Position(Position(one)), Place::Cursor(cursor), Place::Name(name)] {
        let token = page_token(LIST, &place);
        assert_eq!(page_place(LIST, &token, &place), Some(place.clone()));
        for other in OTHERS {
            assert_eq!(page_place(other, &token, &place), None, "{other:?}");
        }
    }
}

/// A token that was changed on its way is refused.
fn judge_damage(cut: &mut Cut<'_>) {
    let (at, with, position) = (usize::from(cut.byte()), cut.byte(), cut.number());
    let uid = String::from_utf8_lossy(cut.rest()).into_owned();
    for place in [Place::Position(Position(position)), Place::Cursor(BookingCursor { time: position, uid })] {
        let token = page_token(LIST, &place);
        let mut changed = token.clone().into_bytes();
        let at = at % changed.len();
        changed[at] = with;
        let changed = String::from_utf8_lossy(&changed);
        if changed != token {
            assert_eq!(page_place(LIST, &changed, &place), None, "{token} became {changed}");
        }
    }
}

fn kinds() -> [Place; 3] {
    let cursor = BookingCursor { time: 0, uid: String::new() };
    [Place::Position(Position(0)), Place::Cursor(cursor), Place::Name(String::new())]
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let cursor = BookingCursor { time: 1_790_000_000_000_000, uid: "u1".to_owned() };
    let delivery = DeliveryOf { position: Position(300), lease: 7 };
    let texts = [
        Position(300).to_token(),
        consume_id(delivery),
        page_token(LIST, &Place::Position(Position(300))),
        page_token(LIST, &Place::Cursor(cursor)),
        page_token(LIST, &Place::Name("acme".to_owned())),
    ];
    let mut seeds: Vec<_> = texts.iter().map(|text| [&[0], text.as_bytes()].concat()).collect();
    seeds.push([&[1][..], &[7; 16], b"u1"].concat());
    seeds.push([&[2][..], &[9, b'A'], &[7; 8], b"u1"].concat());
    seeds
}
