//! The log, read forward: whole, in order, once, whatever is asked of it.

use std::sync::Arc;

use calbridge_proto::v1::{self, BookingStatus, TransitionKind};
use calbridge_service::store::{
    Comparison, LOG_ENTRIES_MAX, LOG_LOOKS_MAX, LogCondition, LogEntry, LogFilter, LogQuery, Position, Purgeable, Store,
};

use crate::{
    retention::{commit_aged, log_past, purge},
    support::*,
};

fn query(after: Position) -> LogQuery {
    LogQuery { tenant: Arc::from(TENANT), after, filter: Arc::default(), recorded: false }
}

/// The whole log, page by page.
async fn read(store: &impl Store, query: &LogQuery) -> Vec<(Position, LogEntry)> {
    let mut query = query.clone();
    let mut entries = Vec::new();
    loop {
        let page = store.log(query.clone()).await.unwrap();
        assert!(page.through > query.after || !page.more, "a page that is not the last one moves on");
        assert!(page.entries.iter().all(|(position, _)| *position > query.after && *position <= page.through));
        query.after = page.through;
        entries.extend(page.entries);
        if !page.more {
            assert!(entries.is_sorted_by(|(a, _), (b, _)| a < b), "positions rise strictly");
            return entries;
        }
    }
}

fn told(entries: &[(Position, LogEntry)]) -> Vec<String> {
    let tell = |entry: &LogEntry| match entry {
        LogEntry::Transition(made) => format!("{} {:?} {:?}", made.uid, made.kind(), made.to_status()),
        LogEntry::Recorded(delivery) => format!("{} recorded", delivery.booking_uid),
    };
    entries.iter().map(|(_, entry)| tell(entry)).collect()
}

pub(crate) async fn the_log_tells_each_transition_once_in_order(backend: &impl Backend) {
    let store = backend.open().await;
    let mut follow = store.follow();
    let mut made = 0;
    for webhooks in [
        vec![created("u1", 1), Webhook { tenant: "other", ..created("x1", 1) }],
        vec![rescheduled("u2", "u1", 2), created("u3", 3)],
        vec![recording("u2", 4), cancelled("u3", 5), created("u3", 3)],
    ] {
        made += commit(&store, &webhooks).await.iter().map(|committed| committed.transitions.len()).sum::<usize>();
    }
    let head = store.head().await.unwrap();
    follow.wait_for(|through| *through >= head).await.unwrap();

    let entries = read(&store, &query(Position(0))).await;
    let expected = [
        "u1 Appeared Scheduled",
        "u2 Appeared Scheduled",
        "u1 StatusChanged Rescheduled",
        "u3 Appeared Scheduled",
        "u3 StatusChanged Cancelled",
    ];
    assert_eq!(told(&entries), expected);
    for (position, entry) in &entries {
        let LogEntry::Transition(transition) = entry else { unreachable!("none is recorded") };
        assert_eq!(transition.position, position.to_token());
        let timeline = store.timeline(TENANT, &transition.uid, Position(0), 100).await.unwrap();
        let line = timeline.iter().find(|(at, _)| at == position).unwrap();
        assert_eq!(line.1.transition.as_ref(), Some(&**transition), "the log and the timeline say the same");
    }
    // From any place on, the rest.
    for at in 0..entries.len() {
        assert_eq!(read(&store, &query(entries[at].0)).await, entries[at + 1..]);
    }
    let page = store.log(query(head)).await.unwrap();
    assert_eq!((page.entries.len(), page.through, page.more), (0, head, false));
    assert_eq!(made, entries.len() + 1, "the other tenant's is the other's");
}

pub(crate) async fn recorded_deliveries_stand_in_the_log_where_asked_for(backend: &impl Backend) {
    let store = backend.open().await;
    commit(&store, &[created("u1", 1), recording("u1", 2), created("u2", 3), recording("", 4), unparsed(b"x")]).await;
    let with = LogQuery { recorded: true, ..query(Position(0)) };
    let entries = read(&store, &with).await;
    assert_eq!(told(&entries), ["u1 Appeared Scheduled", "u1 recorded", "u2 Appeared Scheduled", " recorded"]);
    let bodies = entries.iter().filter_map(|(_, entry)| match entry {
        LogEntry::Recorded(delivery) => Some(delivery.raw_body.clone()),
        LogEntry::Transition(_) => None,
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [recording("u1", 2).body, recording("", 4).body]);

    let of = |condition| LogQuery { filter: Arc::new(LogFilter(vec![condition])), ..with.clone() };
    let of_u1 = read(&store, &of(LogCondition::Uid("u1".to_owned()))).await;
    assert_eq!(told(&of_u1), ["u1 Appeared Scheduled", "u1 recorded"]);
    let appeared = read(&store, &of(LogCondition::Kind(Comparison::Equal, TransitionKind::Appeared))).await;
    assert_eq!(told(&appeared), ["u1 Appeared Scheduled", "u2 Appeared Scheduled"]);
}

pub(crate) async fn a_filter_of_the_log_means_what_it_says(backend: &impl Backend) {
    let store = backend.open().await;
    let typed = booking(v1::Trigger::BookingCreated, "u3", 3, |payload| payload.event_type_id = Some(310));
    commit(&store, &[created("u1", 1), cancelled("u1", 2), created("u2", 3), typed]).await;
    for (condition, expected) in [
        (LogCondition::Uid("u1".to_owned()), &["u1 Appeared Scheduled", "u1 StatusChanged Cancelled"][..]),
        (LogCondition::Status(Comparison::Equal, BookingStatus::Cancelled), &["u1 StatusChanged Cancelled"]),
        (
            LogCondition::Status(Comparison::NotEqual, BookingStatus::Cancelled),
            &["u1 Appeared Scheduled", "u2 Appeared Scheduled", "u3 Appeared Scheduled"],
        ),
        (LogCondition::Kind(Comparison::Equal, TransitionKind::StatusChanged), &["u1 StatusChanged Cancelled"]),
        (LogCondition::EventTypeId(310), &["u3 Appeared Scheduled"]),
    ] {
        let asked = LogQuery { filter: Arc::new(LogFilter(vec![condition.clone()])), ..query(Position(0)) };
        assert_eq!(told(&read(&store, &asked).await), expected, "{condition:?}");
    }
}

pub(crate) async fn pages_of_the_log_skip_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let many = LOG_ENTRIES_MAX * 2 + 3;
    let webhooks: Vec<_> = (0..many).map(|n| created(&format!("u{n:04}"), 1)).collect();
    for round in webhooks.chunks(100) {
        commit(&store, round).await;
    }
    // A stretch of somebody else's, longer than a page looks.
    let other = |n: usize| Webhook { tenant: "other", ..created(&format!("x{n:05}"), 1) };
    let others: Vec<_> = (0..=LOG_LOOKS_MAX).map(other).collect();
    for round in others.chunks(1_000) {
        commit(&store, round).await;
    }
    commit(&store, &[created("last", 2), recording("last", 3)]).await;
    let entries = read(&store, &LogQuery { recorded: true, ..query(Position(0)) }).await;
    let uids: Vec<_> = entries.iter().map(|(_, entry)| entry.uid().to_owned()).collect();
    let last = ["last".to_owned(), "last".to_owned()];
    assert_eq!(uids, (0..many).map(|n| format!("u{n:04}")).chain(last).collect::<Vec<_>>());
}

pub(crate) async fn the_log_says_up_to_where_it_is_purged(backend: &impl Backend) {
    let store = backend.open().await;
    commit_aged(&store, 100, &[created("u1", 1), recording("u1", 2)]).await;
    commit_aged(&store, 1, &[created("u2", 3)]).await;
    assert_eq!(store.log(query(Position(0))).await.unwrap().purged, Position(0));
    let first = read(&store, &query(Position(0))).await[0].0;

    purge(&store, Purgeable::Bodies, 90).await;
    store.purge_log(log_past(TENANT, 90, Position(0), &[])).await.unwrap();

    let page = store.log(LogQuery { recorded: true, ..query(Position(0)) }).await.unwrap();
    assert_eq!(page.purged, first);
    assert_eq!(told(&page.entries), ["u1 recorded", "u2 Appeared Scheduled"]);
    let LogEntry::Recorded(delivery) = &page.entries[0].1 else { unreachable!("it is recorded") };
    assert!(delivery.raw_body_purged && delivery.raw_body.is_empty());

    purge(&store, Purgeable::Deliveries, 90).await;
    let recorded = page.entries[0].0;
    let purged = async |recorded| store.log(LogQuery { recorded, ..query(Position(0)) }).await.unwrap().purged;
    assert_eq!((purged(false).await, purged(true).await), (first, recorded));
}
