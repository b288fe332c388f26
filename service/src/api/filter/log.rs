//! The filter of the log: what a transition is, how its booking stands after it, and which booking it is.

use calbridge_proto::v1::TransitionKind;

use super::{Written, conditions};
use crate::{
    api::errors::ApiError,
    store::{LogCondition, LogFilter},
};

const FIELDS: &str = "a field: status, kind, event_type_id or uid";

/// Reads a filter; the empty one is of every entry.
pub(in crate::api) fn parse(text: &str) -> Result<LogFilter, ApiError> {
    conditions(text, |reader| condition(&reader.written()?)).map(LogFilter)
}

fn condition(written: &Written<'_>) -> Result<LogCondition, ApiError> {
    match written.field.as_str() {
        "status" => Ok(LogCondition::Status(written.equal_or_not()?, written.status()?)),
        "kind" => Ok(LogCondition::Kind(written.equal_or_not()?, kind(written)?)),
        "event_type_id" => Ok(LogCondition::EventTypeId(written.event_type_id()?)),
        "uid" => written.equal_only().map(|()| LogCondition::Uid(written.value.clone())),
        _ => Err(written.unknown(FIELDS)),
    }
}

fn kind(written: &Written<'_>) -> Result<TransitionKind, ApiError> {
    let kind = TransitionKind::from_str_name(&written.name("TRANSITION_KIND_"));
    let known = kind.filter(|kind| *kind != TransitionKind::Unspecified);
    known.ok_or_else(|| written.wrong("a kind, like STATUS_CHANGED"))
}

#[cfg(test)]
mod tests {
    use calbridge_proto::v1::BookingStatus;

    use super::*;
    use crate::store::Comparison::{Equal, NotEqual};

    #[test]
    fn each_condition_is_read() {
        for (text, expected) in [
            ("status = CANCELLED", LogCondition::Status(Equal, BookingStatus::Cancelled)),
            ("status != BOOKING_STATUS_NO_SHOW", LogCondition::Status(NotEqual, BookingStatus::NoShow)),
            ("kind = MOVED", LogCondition::Kind(Equal, TransitionKind::Moved)),
            ("kind!=TRANSITION_KIND_APPEARED", LogCondition::Kind(NotEqual, TransitionKind::Appeared)),
            ("event_type_id = 310", LogCondition::EventTypeId(310)),
            ("uid = \"aZ 3\"", LogCondition::Uid("aZ 3".to_owned())),
        ] {
            assert_eq!(parse(text).unwrap().0, [expected], "{text}");
        }
        assert_eq!(parse("kind = MOVED AND uid = a").unwrap().0.len(), 2);
        assert_eq!(parse("").unwrap(), LogFilter::default());
    }

    #[test]
    fn a_refusal_says_where() {
        for (text, character) in
            [("start_time = 3", 1), ("kind < MOVED", 6), ("kind = GONE", 8), ("uid != a", 5), ("kind = UNSPECIFIED", 8)]
        {
            match parse(text) {
                Err(ApiError::FilterSyntax { character: at, .. }) => assert_eq!(at, character, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
