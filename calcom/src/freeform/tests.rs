use std::collections::BTreeMap;

use calbridge_proto::v1::{BookingEvent, BookingPayload, ResponsePayload, booking_event::Payload};
use prost::Message;
use prost_types::{Value, value::Kind};

use super::{DEPTH_MAX, FormResponses, MAP_KEYS_MAX, Metadata, NODES_MAX, Responses, compact};
use crate::lenient::from_json;

fn metadata(json: &str) -> BTreeMap<String, String> {
    from_json::<Metadata>(json).expect("parses")
}

fn responses(json: &str) -> BTreeMap<String, ResponsePayload> {
    from_json::<Responses>(json).expect("parses")
}

/// The answer to the question `q`.
fn answer(json: &str) -> Kind {
    let value = responses(&format!(r#"{{"q":{json}}}"#)).remove("q").expect("answered").value;
    value.expect("has a value").kind.expect("has a kind")
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

#[test]
fn metadata_is_words() {
    let map = metadata(
        r#"{"s":"a \"b\" é","i":12,"f":1.50,"big":12345678901234567890123,"t":true,"n":null,
            "o": { "b" : [1, 2] , "a" : " x \" y " },"e":""}"#,
    );
    let expected = [
        ("s", "a \"b\" é"),
        ("i", "12"),
        ("f", "1.50"),
        ("big", "12345678901234567890123"),
        ("t", "true"),
        ("o", r#"{"b":[1,2],"a":" x \" y "}"#),
        ("e", ""),
    ];
    assert_eq!(map, expected.map(|(key, word)| (key.to_owned(), word.to_owned())).into());
}

#[test]
fn metadata_that_is_no_object_is_empty_and_the_last_of_equal_keys_wins() {
    for json in ["null", "[1]", "\"x\"", "7"] {
        assert!(metadata(json).is_empty(), "{json}");
    }
    assert_eq!(metadata(r#"{"a":1,"a":2}"#)["a"], "2");
    assert!(metadata(r#"{"a":1,"a":null}"#).is_empty());
}

#[test]
fn maps_are_bounded_by_their_first_keys() {
    let entries: Vec<_> = (0..MAP_KEYS_MAX + 7).map(|index| format!(r#""k{index:05}":{index}"#)).collect();
    let map = metadata(&format!(r#"{{{},"k00000":"last"}}"#, entries.join(",")));
    assert_eq!(map.len(), MAP_KEYS_MAX);
    assert_eq!(map["k00000"], "last");
    assert!(!map.contains_key(&format!("k{MAP_KEYS_MAX:05}")));
}

#[test]
fn wrapped_answers_lose_their_wrapper() {
    let map = responses(
        r#"{"name":{"label":"your_name","value":"A","isHidden":false},"phone":{"label":"phone","isHidden":true},
            "old":{"value":"B"},"extra":{"label":"l","value":1,"isHidden":"no","color":"red"}}"#,
    );
    let string = |text_value: &str| Some(Value { kind: Some(text(text_value)) });
    let name = ResponsePayload { label: "your_name".to_owned(), value: string("A"), hidden: Some(false) };
    assert_eq!(map["name"], name);
    assert_eq!(map["phone"], ResponsePayload { label: "phone".to_owned(), value: None, hidden: Some(true) });
    assert_eq!(map["old"].value, string("B"));
    let one = Some(Value { kind: Some(Kind::NumberValue(1.0)) });
    assert_eq!(map["extra"], ResponsePayload { label: "l".to_owned(), value: one, hidden: None });
}

#[test]
fn bare_answers_stay_whole() {
    assert_eq!(answer(r#""A""#), text("A"));
    assert_eq!(answer("true"), Kind::BoolValue(true));
    assert_eq!(answer("-2.5"), Kind::NumberValue(-2.5));
    let Kind::StructValue(place) = answer(r#"{"value":"integrations:daily","optionValue":""}"#) else {
        panic!("a radio input's answer is no wrapper");
    };
    assert_eq!(place.fields["value"].kind, Some(text("integrations:daily")));
    assert_eq!(place.fields.len(), 2);
    let Kind::ListValue(list) = answer(r#"["a",null,{"b":[]}]"#) else {
        panic!("a list stays one");
    };
    assert_eq!(list.values.len(), 3);
    assert_eq!(list.values[1].kind, Some(Kind::NullValue(0)));
}

#[test]
fn unanswered_questions_have_no_value() {
    assert!(responses(r#"{"q":null}"#).is_empty());
    assert_eq!(responses(r#"{"q":{"label":"l","value":null}}"#)["q"].value, None);
    assert_eq!(responses(r#"{"q":{}}"#)["q"], ResponsePayload::default());
}

#[test]
fn a_routing_forms_answer_is_its_value() {
    let json = r#"{"size":{"value":"1-10","response":{"label":"1-10","id":"b1"}},"bare":"x","label":{"label":"y"}}"#;
    let map = from_json::<FormResponses>(json).expect("parses");
    assert_eq!(map["size"].value, Some(Value { kind: Some(text("1-10")) }));
    assert_eq!(map["bare"].value, Some(Value { kind: Some(text("x")) }));
    assert!(matches!(map["label"].value, Some(Value { kind: Some(Kind::StructValue(_)) })));
}

/// `depth` objects round the word `core`.
fn nest(depth: usize) -> String {
    format!("{}\"core\"{}", "{ \"a\" : ".repeat(depth), "}".repeat(depth))
}

/// How many objects stand round the innermost value, and that value.
fn unnest(mut kind: Kind) -> (usize, Kind) {
    let mut depth = 0;
    while let Kind::StructValue(mut object) = kind {
        kind = object.fields.remove("a").and_then(|value| value.kind).expect("nested");
        depth += 1;
    }
    (depth, kind)
}

#[test]
fn what_lies_too_deep_is_compact_json() {
    assert_eq!(unnest(answer(&format!("[{}]", nest(1)))).0, 0);
    assert_eq!(unnest(answer(&nest(DEPTH_MAX))), (DEPTH_MAX, text("core")));
    assert_eq!(unnest(answer(&nest(DEPTH_MAX + 2))), (DEPTH_MAX, text(r#"{"a":{"a":"core"}}"#)));
    let (depth, rest) = unnest(answer(&nest(5_000)));
    assert_eq!(depth, DEPTH_MAX);
    assert_eq!(rest, text(&compact(&nest(5_000 - DEPTH_MAX))));
}

#[test]
fn the_deepest_value_survives_the_wire() {
    for deep in [nest(5_000), format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000))] {
        let responses = responses(&format!(r#"{{"q":{{"label":"l","value":{deep}}}}}"#));
        let booking = BookingPayload { responses, ..BookingPayload::default() };
        let event = BookingEvent { payload: Some(Payload::Booking(booking)), ..BookingEvent::default() };
        assert_eq!(BookingEvent::decode(event.encode_to_vec().as_slice()).expect("decodes"), event);
    }
}

#[test]
fn one_map_may_nest_so_many_values() {
    let list = format!("[{}]", vec!["0"; NODES_MAX].join(", "));
    let map = responses(&format!(r#"{{"a":{list},"b":[0],"c":"word"}}"#));
    assert!(matches!(map["a"].value, Some(Value { kind: Some(Kind::ListValue(_)) })));
    assert_eq!(map["b"].value, Some(Value { kind: Some(text("[0]")) }));
    assert_eq!(map["c"].value, Some(Value { kind: Some(text("word")) }));
    let longer = format!("[{}]", vec!["0"; NODES_MAX + 1].join(", "));
    assert_eq!(answer(&longer), text(&longer.replace(' ', "")));
}

#[test]
fn a_number_beyond_f64_stays_text() {
    assert_eq!(answer("1e400"), text("1e400"));
    assert_eq!(answer("[1, 1e400]"), text("[1,1e400]"));
    assert_eq!(metadata(r#"{"n":1e400}"#)["n"], "1e400");
}

#[test]
fn compact_json_has_no_white_space_outside_strings() {
    let json = "{ \"a b\" :\t[ 1 ,\n2 ] , \"c\\\" d\" : \" \\\\\" }";
    assert_eq!(compact(json), r#"{"a b":[1,2],"c\" d":" \\"}"#);
}
