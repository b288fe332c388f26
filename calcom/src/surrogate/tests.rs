use std::borrow::Cow;

use proptest::prelude::*;

use super::well_formed;

#[test]
fn a_text_without_broken_escapes_is_borrowed() {
    for text in [
        "",
        r#"{"a":"b"}"#,
        r#""a whole pair \ud83d\uDE00 and \u00e9""#,
        r#""an escaped backslash \\ud83d and \\u0000""#,
        r#""\"\/\b\f\n\r\t\\""#,
        "\"broken \\u12 and \\uzzzz and \\é and \\",
    ] {
        assert!(matches!(well_formed(text), Cow::Borrowed(same) if same == text), "{text}");
    }
}

#[test]
fn nuls_and_lone_surrogates_become_replacement_characters() {
    for (text, expected) in [
        (r#""\ud83d""#, "\"\u{fffd}\""),
        (r#""\uDE00""#, "\"\u{fffd}\""),
        (r#""\u0000""#, "\"\u{fffd}\""),
        (r#""a\ud83d\ud83d\ude00b""#, "\"a\u{fffd}\\ud83d\\ude00b\""),
        (r#""\ude00\ud83d""#, "\"\u{fffd}\u{fffd}\""),
        (r#""\\\ud83d""#, "\"\\\\\u{fffd}\""),
        (r#""\ud83d\\ude00""#, "\"\u{fffd}\\\\ude00\""),
        (r#""\ud83d\u0041""#, "\"\u{fffd}\\u0041\""),
        (r#""\ud83d\u00""#, "\"\u{fffd}\\u00\""),
        (r#"{"\udfff":1}"#, "{\"\u{fffd}\":1}"),
    ] {
        assert_eq!(well_formed(text), expected, "{text}");
    }
}

/// A piece of a JSON string: as it is written, and the UTF-16 that JavaScript reads.
fn piece() -> impl Strategy<Value = (String, Vec<u16>)> {
    let unit = prop_oneof![Just(0_u16), 0xD7F0..=0xE00F_u16, any::<u16>()];
    let escape = (unit, any::<bool>()).prop_map(|(unit, upper)| {
        let text = if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
        (text, vec![unit])
    });
    let short = prop_oneof![Just((r"\\", '\\')), Just((r#"\""#, '"')), Just((r"\n", '\n')), Just((r"\/", '/'))];
    let short = short.prop_map(|(text, read)| (text.to_owned(), vec![u16::try_from(u32::from(read)).unwrap()]));
    let plain = prop_oneof![Just("u0000"), Just("ud83d"), Just("é"), Just("😀"), Just("x")];
    let plain = plain.prop_map(|text| (text.to_owned(), text.encode_utf16().collect()));
    prop_oneof![4 => escape, 1 => short, 1 => plain]
}

proptest! {
    #[test]
    fn a_repaired_string_reads_as_javascript_made_well_formed(pieces in prop::collection::vec(piece(), 0..40)) {
        let body: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
        let units = pieces.iter().flat_map(|(_, units)| units.iter().copied());
        let expected: String = char::decode_utf16(units)
            .map(|read| read.unwrap_or('\u{fffd}'))
            .map(|read| if read == '\0' { '\u{fffd}' } else { read })
            .collect();
        let text = format!("\"{body}\"");

        let repaired = well_formed(&text);

        prop_assert_eq!(serde_json::from_str::<String>(&repaired).unwrap(), expected);
    }

    #[test]
    fn any_text_is_repaired_once(text in r#"[\\ud8300e"x😀]{0,60}"#) {
        let once = well_formed(&text).into_owned();
        prop_assert_eq!(well_formed(&once), once.clone());
        if !text.contains("\\u") {
            prop_assert_eq!(once, text);
        }
    }
}
