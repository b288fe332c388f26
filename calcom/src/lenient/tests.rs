use serde::de::MapAccess;

use super::{Int, LIST_ITEMS_MAX, Object, Slot, from_json, parse_time};

/// One field of each kind.
#[derive(Debug, Default, PartialEq)]
struct Sample {
    text: String,
    int: Option<i32>,
    flag: Option<bool>,
    time: Option<prost_types::Timestamp>,
    inner: Option<Inner>,
    list: Vec<i64>,
}

impl<'de> Object<'de> for Sample {
    type Message = Self;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "text" => self.text = slot.text()?,
            "int" => self.int = slot.int()?,
            "flag" => self.flag = slot.flag()?,
            "time" => self.time = slot.time()?,
            "inner" => self.inner = slot.read::<Inner>()?,
            "list" => self.list = slot.list::<Int, _>()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<Self> {
        Some(self)
    }
}

#[derive(Debug, Default, PartialEq)]
struct Inner(String);

impl<'de> Object<'de> for Inner {
    type Message = Self;

    fn field<A: MapAccess<'de>>(&mut self, key: &str, slot: Slot<'_, A>) -> Result<(), A::Error> {
        match key {
            "name" => self.0 = slot.text()?,
            _ => slot.skip()?,
        }
        Ok(())
    }

    fn finish(self) -> Option<Self> {
        Some(self)
    }
}

fn read(json: &str) -> Sample {
    from_json::<Sample>(json).expect("parses").expect("is an object")
}

#[test]
fn fields_of_their_own_type_are_read() {
    let sample = read(
        r#"{"text":"a","int":-7,"flag":false,"time":"1970-01-01T00:00:01Z","x":[{}],"inner":{"name":"n"},
            "list":[1,2]}"#,
    );
    let time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let inner = Some(Inner("n".to_owned()));
    assert_eq!(
        sample,
        Sample { text: "a".to_owned(), int: Some(-7), flag: Some(false), time, inner, list: vec![1, 2] }
    );
}

#[test]
fn fields_of_another_type_are_unset_and_harm_no_other() {
    let other_types = ["null", "true", "1.5", "\"x\"", "[1.5,{\"name\":[]}]", "{\"name\":{}}", "99999999999999999999"];
    for key in ["text", "int", "flag", "time", "inner", "list"] {
        for value in other_types {
            let sample = read(&format!(r#"{{"text":"before","{key}":{value},"list":[3]}}"#));
            assert_eq!(sample.list, [3], "{key}: {value}");
            let meant = matches!((key, value), ("text", "\"x\"") | ("flag", "true") | ("inner", "{\"name\":{}}"));
            let text_elsewhere = if key == "text" { "" } else { "before" };
            if !meant {
                let unset = Sample { text: text_elsewhere.to_owned(), list: vec![3], ..Sample::default() };
                assert_eq!(sample, unset, "{key}: {value}");
            }
        }
    }
}

#[test]
fn numbers_and_their_digits_stand_in_for_each_other() {
    assert_eq!(read(r#"{"text":12,"int":"34"}"#), read(r#"{"text":"12","int":34}"#));
    assert_eq!(read(r#"{"text":18446744073709551615}"#).text, "18446744073709551615");
    for unclean in [r#""""#, r#"" 1""#, r#""1.0""#, r#""0x1""#, "2147483648", "1e1"] {
        assert_eq!(read(&format!(r#"{{"int":{unclean}}}"#)).int, None, "{unclean}");
    }
}

#[test]
fn the_last_of_two_equal_keys_wins() {
    assert_eq!(read(r#"{"text":"a","text":"b"}"#).text, "b");
    assert_eq!(read(r#"{"text":"a","text":null}"#).text, "");
    assert_eq!(read(r#"{"list":[1,2],"list":[3]}"#).list, [3]);
    assert_eq!(read(r#"{"inner":{"name":"n"},"inner":7}"#).inner, None);
}

#[test]
fn keys_may_be_escaped() {
    assert_eq!(read(r#"{"te\u0078t":"a"}"#).text, "a");
}

#[test]
fn only_what_is_no_json_is_an_error() {
    for broken in ["", "{", "{\"text\":}", "{\"text\":\"a\"} x", "{\"x\":\"\u{1}\"}", "{\"int\":1e400}", "{\"x\":01}"] {
        assert!(from_json::<Sample>(broken).is_err(), "{broken}");
    }
    for no_object in ["null", "7", "\"x\"", "[{}]", " false "] {
        assert_eq!(from_json::<Sample>(no_object).expect("parses"), None, "{no_object}");
    }
}

#[test]
fn lists_are_bounded_and_read_to_their_end() {
    let items = vec!["1"; LIST_ITEMS_MAX + 5].join(",");
    let sample = read(&format!(r#"{{"list":[{items}],"text":"after"}}"#));
    assert_eq!((sample.list.len(), sample.text.as_str()), (LIST_ITEMS_MAX, "after"));
}

#[test]
fn depth_is_no_danger() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for key in ["text", "inner", "list", "x"] {
        let sample = read(&format!(r#"{{"{key}":{deep},"int":1}}"#));
        assert_eq!(sample, Sample { int: Some(1), ..Sample::default() }, "{key}");
    }
}

#[test]
fn times_of_every_format_are_the_same_instant() {
    let expected = Some(prost_types::Timestamp { seconds: 1_791_540_000, nanos: 0 });
    for text in [
        "2026-10-09T10:00:00Z",
        "2026-10-09T10:00:00.000Z",
        "2026-10-09T10:00:00+00:00",
        "2026-10-09T02:00:00-08:00",
        "2026-10-09T15:45:00+05:45",
        "2026-10-10T00:00:00.000+14:00",
    ] {
        assert_eq!(parse_time(text), expected, "{text}");
    }
    let before_epoch = parse_time("1969-12-31T23:59:59.250Z");
    assert_eq!(before_epoch, Some(prost_types::Timestamp { seconds: -1, nanos: 250_000_000 }));
}

#[test]
fn what_is_no_time_is_unset() {
    for text in [
        "",
        "Invalid Date",
        "2026-10-09",
        "2026-10-09T10:00:00",
        "2026-13-09T10:00:00Z",
        "0000-12-31T23:59:59Z",
        "-000001-01-01T00:00:00Z",
        "+010000-01-01T00:00:00.000Z",
        "+275760-09-13T00:00:00.000Z",
        "1791540000000",
    ] {
        assert_eq!(parse_time(text), None, "{text}");
    }
    assert_eq!(parse_time("0001-01-01T00:00:00Z").map(|time| time.seconds), Some(super::TIMESTAMP_SECONDS_MIN));
    assert!(parse_time("9999-12-30T00:00:00Z").is_some());
}
