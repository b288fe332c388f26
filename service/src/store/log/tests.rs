use super::*;

fn transition(uid: &str) -> LogEntry {
    LogEntry::Transition(Box::new(v1::Transition { uid: uid.to_owned(), ..v1::Transition::default() }))
}

fn read(rows: &[i64], end: i64) -> LogPart {
    let mut reading = LogReading::default();
    for position in rows {
        if !reading.take(Position(*position), Some(transition("u"))) {
            return reading.cut();
        }
    }
    reading.whole(Position(end))
}

fn positions(page: &LogPage) -> Vec<i64> {
    page.entries.iter().map(|(position, _)| position.0).collect()
}

#[test]
fn both_kinds_are_one_log() {
    let page = page(Position(9), read(&[2, 5, 8], 9), Some(read(&[1, 6], 9)), Position(0));
    assert_eq!(positions(&page), [1, 2, 5, 6, 8]);
    assert_eq!((page.through, page.more), (Position(9), false));
}

#[test]
fn a_page_ends_where_the_kind_that_was_read_least_ends() {
    let short = LogPart { through: Position(4), ..read(&[1, 4], 9) };
    let page = page(Position(9), read(&[2, 5, 8], 9), Some(short), Position(0));
    assert_eq!(positions(&page), [1, 2, 4], "what lies behind the cut comes with the next page");
    assert_eq!((page.through, page.more), (Position(4), true));
}

#[test]
fn entries_bytes_and_looks_are_bounded() {
    let many: Vec<i64> = (1..=1_000).collect();
    let entries = read(&many, 2_000);
    assert_eq!((entries.entries.len(), entries.through), (LOG_ENTRIES_MAX, Position(256)));

    let mut large = LogReading::default();
    assert!(!large.take(Position(1), Some(transition(&"u".repeat(LOG_BYTES_MAX)))), "and one more entry");

    let mut looks = LogReading::default();
    let bound = i64::try_from(LOG_LOOKS_MAX).unwrap();
    assert!((1..bound).all(|n| looks.take(Position(n), None)));
    assert!(!looks.take(Position(bound), None));
    assert_eq!(looks.cut().through, Position(bound));
}

#[test]
fn a_filter_asks_columns_first_and_the_booking_then() {
    let filter = LogFilter(vec![
        LogCondition::Status(Comparison::NotEqual, BookingStatus::Cancelled),
        LogCondition::Kind(Comparison::Equal, TransitionKind::Moved),
        LogCondition::Uid("u1".to_owned()),
        LogCondition::EventTypeId(3),
    ]);
    let (moved, scheduled) = (TransitionKind::Moved.into(), BookingStatus::Scheduled.into());
    assert!(filter.may_mean("u1", moved, scheduled));
    assert!(!filter.may_mean("u2", moved, scheduled));
    assert!(!filter.may_mean("u1", TransitionKind::Appeared.into(), scheduled));
    assert!(!filter.may_mean("u1", moved, BookingStatus::Cancelled.into()));
    assert!(filter.means(Some(&Booking { event_type_id: Some(3), ..Booking::default() })));
    assert!(!filter.means(Some(&Booking::default())));
    assert!(!filter.means_recorded() && !filter.means_delivery("u1"));
    let uid = LogFilter(vec![LogCondition::Uid("u1".to_owned())]);
    assert!(uid.means_recorded() && uid.means_delivery("u1") && !uid.means_delivery(""));
    assert!(LogFilter::default().means_delivery(""));
}

#[test]
fn a_filter_is_kept_as_it_is() {
    let filter = LogFilter(vec![
        LogCondition::Status(Comparison::NotEqual, BookingStatus::Cancelled),
        LogCondition::Kind(Comparison::Equal, TransitionKind::Moved),
        LogCondition::Uid("a \"u\"".to_owned()),
        LogCondition::EventTypeId(i64::MAX),
    ]);
    assert_eq!(LogFilter::decode(&filter.encode()), Some(filter));
    assert_eq!(LogFilter::decode(&LogFilter::default().encode()), Some(LogFilter::default()));
    for other in ["", "{}", "[1]", "[[\"status\",\"=\"]]", "[[\"status\",\"=\",99]]", "[[\"x\",\"=\",1]]"] {
        assert_eq!(LogFilter::decode(other), None, "{other}");
    }
}
