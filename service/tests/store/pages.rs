//! Pages: put together they are the whole list, whatever their size and whichever way they run.

use std::sync::Arc;

use calbridge_proto::v1;
use calbridge_service::store::{
    BookingCursor, BookingOrder, BookingPage, BookingQuery, Condition, LogCondition, LogEntry, LogFilter, LogQuery,
    PAGE_BYTES_MAX, Position, Store, StoreError,
};
use prost::Message;
use prost_types::Timestamp;

use crate::{chance::Chance, support::*};

const BOOKINGS: i64 = 25;

pub(crate) async fn pages_of_bookings_skip_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    // Ties in both orders, and bookings without a start.
    for n in 0..BOOKINGS {
        let start = (n % 4 != 0).then(|| Timestamp { seconds: (n % 3) * 60, nanos: 0 });
        let webhook = booking(v1::Trigger::BookingCreated, &format!("u{n:02}"), 1, |payload| {
            payload.start_time = start;
            payload.end_time = start;
        });
        let mut round = batch(&[webhook, Webhook { tenant: "other", ..created("x", 1) }]);
        round.now = NOW + n / 5;
        store.commit(round).await.unwrap();
    }
    for order in [BookingOrder::StartTime, BookingOrder::UpdateTime] {
        let all = list(&store, order, false, 1_000).await;
        assert_eq!(all.len(), 25);
        assert!(all.is_sorted_by(|a, b| key(order, a) < key(order, b)));
        for limit in [1, 2, 7, 25] {
            assert_eq!(list(&store, order, false, limit).await, all, "{order:?} by {limit}");
            let mut backwards = list(&store, order, true, limit).await;
            backwards.reverse();
            assert_eq!(backwards, all, "{order:?} descending by {limit}");
        }
    }
}

pub(crate) async fn large_bookings_make_short_pages(backend: &impl Backend) {
    let store = backend.open().await;
    let large = |n| {
        booking(v1::Trigger::BookingCreated, &format!("u{n:02}"), 1, |payload| {
            payload.description = "d".repeat(250_000);
        })
    };
    commit(&store, &(0..50).map(large).collect::<Vec<_>>()).await;
    let query = |after| BookingQuery { order: BookingOrder::UpdateTime, after, limit: 1_000, ..by_start(Vec::new()) };
    let BookingPage { bookings: first, next, .. } = store.bookings(query(None)).await.unwrap();
    let bytes: usize = first.iter().map(Message::encoded_len).sum();
    assert!((PAGE_BYTES_MAX..PAGE_BYTES_MAX + 260_000).contains(&bytes), "{bytes}");
    let (time, uid) = key(BookingOrder::UpdateTime, first.last().unwrap());
    assert_eq!(next, Some(BookingCursor { time, uid }));
    let second = store.bookings(query(next)).await.unwrap();
    assert_eq!((first.len() + second.bookings.len(), second.next), (50, None));
}

/// A chain of three and two beside it; the second of the chain and the first beside it are to be damaged.
pub(crate) async fn before_damage(store: &impl Store) {
    let of_type = |uid: &str, created: i64, from: &str| {
        booking(v1::Trigger::BookingRescheduled, uid, created, |payload| {
            payload.event_type_id = Some(1);
            from.clone_into(&mut payload.reschedule_uid);
        })
    };
    let told =
        [of_type("u1", 1, ""), of_type("u2", 2, "u1"), of_type("u3", 3, "u2"), of_type("u4", 4, ""), created("u5", 5)];
    commit(store, &told).await;
}

/// What is read then.
pub(crate) async fn behind_damage(store: &impl Store) {
    for order in [BookingOrder::StartTime, BookingOrder::UpdateTime] {
        for (conditions, sound) in
            [(Vec::new(), &["u1", "u3", "u5"][..]), (vec![Condition::EventTypeId(1)], &["u1", "u3"])]
        {
            for limit in [1, 1_000] {
                let query = BookingQuery { order, limit, ..by_start(conditions.clone()) };
                let (mut listed, mut left_out) = list_with_damaged(store, query).await;
                listed.sort_unstable();
                left_out.sort_unstable();
                left_out.dedup();
                assert_eq!(listed, sound, "{order:?} {conditions:?} by {limit}");
                assert_eq!(left_out, ["u2", "u4"], "{order:?} {conditions:?} by {limit}");
            }
        }
    }
    for uid in ["u2", "u4"] {
        let error = store.booking(TENANT, uid, false).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { what: "booking", .. }), "{error}");
    }
    let lineage = store.lineage(TENANT, "u3", 0).await.unwrap();
    let uids: Vec<_> = lineage.bookings.iter().map(|booking| booking.uid.as_str()).collect();
    assert_eq!((uids, lineage.damaged), (vec!["u1", "u3"], vec!["u2".to_owned()]));
    let rows = store.rows(None, None, 1_000).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.key.1.as_str()).collect::<Vec<_>>(), ["u1", "u2", "u3", "u4", "u5"]);
}

/// The uids of every page, and of what those leave out.
pub(crate) async fn list_with_damaged(store: &impl Store, mut query: BookingQuery) -> (Vec<String>, Vec<String>) {
    let (mut listed, mut left_out) = (Vec::new(), Vec::new());
    loop {
        let page = store.bookings(query.clone()).await.unwrap();
        listed.extend(page.bookings.into_iter().map(|booking| booking.uid));
        left_out.extend(page.damaged);
        query.after = page.next;
        if query.after.is_none() {
            return (listed, left_out);
        }
    }
}

/// Letters that no store packs into few.
pub(crate) fn noise(number: u64, letters: usize) -> String {
    let mut chance = Chance::new(number + 1);
    let letter = |_| char::from(b'!' + u8::try_from(chance.below(90)).unwrap());
    (0..letters).map(letter).collect()
}

pub(crate) async fn bookings_of_any_size_are_listed_once(backend: &impl Backend) {
    let store = backend.open().await;
    // Of three one is large, and of two one is meant by the filter.
    for n in 0..48_i64 {
        let webhook = booking(v1::Trigger::BookingCreated, &format!("u{n:02}"), 1, |payload| {
            payload.start_time = Some(Timestamp { seconds: (n % 5) * 60, nanos: 0 });
            payload.event_type_id = Some(n % 2);
            if n % 3 == 0 {
                payload.description = noise(n.unsigned_abs(), 600_000);
            }
        });
        let mut round = batch(&[webhook]);
        round.now = NOW + n / 4;
        store.commit(round).await.unwrap();
    }
    for order in [BookingOrder::StartTime, BookingOrder::UpdateTime] {
        for (conditions, count) in [(Vec::new(), 48), (vec![Condition::EventTypeId(1)], 24)] {
            let query = |limit, descending| BookingQuery { order, descending, limit, ..by_start(conditions.clone()) };
            let all = whole_list(&store, query(1_000, false)).await;
            assert_eq!(all.len(), count);
            assert!(all.is_sorted_by(|a, b| key(order, a) < key(order, b)));
            assert_eq!(whole_list(&store, query(7, false)).await, all, "{order:?}");
            let mut backwards = whole_list(&store, query(1_000, true)).await;
            backwards.reverse();
            assert_eq!(backwards, all, "{order:?} descending");
        }
    }
}

pub(crate) async fn what_large_bookings_went_through_is_told_whole(backend: &impl Backend) {
    const CHANGES: i64 = 24;
    let store = backend.open().await;
    for n in 0..CHANGES {
        let large = booking(v1::Trigger::BookingRescheduled, "u1", n, |payload| {
            payload.title = format!("told at {n}");
            payload.description = noise(n.unsigned_abs(), 600_000);
        });
        commit(&store, &[large, created("u2", n)]).await;
    }
    let said = |entries: &[v1::TimelineEntry]| -> Vec<String> {
        entries.iter().map(|entry| entry.transition.as_ref().unwrap().booking.as_ref().unwrap().title.clone()).collect()
    };
    let expected: Vec<_> = (0..CHANGES).map(|n| format!("told at {n}")).collect();
    let (mut paged, mut after) = (Vec::new(), Position::default());
    loop {
        let page = store.timeline(TENANT, "u1", after, 1_000).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        paged.extend(page.into_iter().map(|(_, entry)| entry));
    }
    assert_eq!(said(&paged), expected);

    let filter = Arc::new(LogFilter(vec![LogCondition::Uid("u1".to_owned())]));
    let mut query = LogQuery { tenant: TENANT.into(), after: Position::default(), filter, recorded: false };
    let mut logged = Vec::new();
    loop {
        let page = store.log(query.clone()).await.unwrap();
        logged.extend(page.entries.into_iter().map(|(_, entry)| match entry {
            LogEntry::Transition(made) => made.booking.unwrap().title,
            LogEntry::Recorded(_) => unreachable!("none was asked for"),
        }));
        if !page.more {
            break;
        }
        query.after = page.through;
    }
    assert_eq!(logged, expected);
}

pub(crate) async fn pages_of_a_timeline_skip_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    for n in 0..9 {
        commit(&store, &[created("u1", n), cancelled("u2", n), created("u1", n), recording("u1", n)]).await;
    }
    let all = timeline(&store, "u1").await;
    assert_eq!(all.len(), 27);
    for limit in [1, 4, 27] {
        let (mut paged, mut after) = (Vec::new(), Position::default());
        loop {
            let page = store.timeline(TENANT, "u1", after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some((last, _)) = page.last() else { break };
            after = *last;
            paged.extend(page.into_iter().map(|(_, entry)| entry));
        }
        assert_eq!(paged, all);
    }
}

pub(crate) async fn pages_of_deliveries_skip_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    for n in 0..10 {
        let foreign = Webhook { tenant: "other", ..created("u1", n) };
        commit(&store, &[created("u1", n), foreign, unparsed(b"false")]).await;
    }
    let all = store.deliveries(TENANT, None, 100).await.unwrap();
    assert_eq!(all.len(), 20);
    assert!(all.is_sorted_by(|(a, _), (b, _)| a > b), "newest first");
    for limit in [1, 3, 20] {
        let (mut paged, mut before) = (Vec::new(), None);
        loop {
            let page = store.deliveries(TENANT, before, limit).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            before = Some(*last);
            paged.extend(page);
        }
        assert_eq!(paged, all);
    }
}

async fn list(store: &impl Store, order: BookingOrder, descending: bool, limit: usize) -> Vec<v1::Booking> {
    let query = BookingQuery { order, descending, limit, ..by_start(Vec::new()) };
    whole_list(store, query).await
}

/// Every page of a list, put together.
pub(crate) async fn whole_list(store: &impl Store, mut query: BookingQuery) -> Vec<v1::Booking> {
    let mut all = Vec::new();
    loop {
        let page = store.bookings(query.clone()).await.unwrap();
        assert!(page.bookings.len() <= query.limit);
        all.extend(page.bookings);
        query.after = page.next;
        if query.after.is_none() {
            return all;
        }
    }
}

fn key(order: BookingOrder, booking: &v1::Booking) -> (i64, String) {
    let time = match order {
        BookingOrder::StartTime => booking.start_time,
        BookingOrder::UpdateTime => booking.update_time,
    };
    let micros = time.map_or(i64::MIN, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000);
    (micros, booking.uid.clone())
}
