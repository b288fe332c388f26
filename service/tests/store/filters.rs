//! Lists by filter: whatever an index finds, a filter is what it says, page by page.

use calbridge_proto::v1::{BookingStatus, PersonPayload, Trigger};
use calbridge_service::store::{
    BookingOrder, BookingQuery,
    Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual},
    Condition::{self, AttendeeEmail, EventTypeId, Metadata, OrganizerEmail, StartTime, Status, UpdateTime},
    Filter, PAGE_LOOKS_MAX, Store,
};
use prost_types::Timestamp;

use crate::{pages::whole_list, support::*};

const BOOKINGS: i64 = 60;

fn person(email: String) -> PersonPayload {
    PersonPayload { email, ..PersonPayload::default() }
}

/// Bookings of three hosts, five guests, four event types and seven campaigns; some cancelled, some without a start.
fn webhooks() -> Vec<Webhook> {
    let triggers = [Trigger::BookingCreated, Trigger::BookingRequested, Trigger::BookingCancelled];
    let webhook = |n: i64| {
        let place = usize::try_from(n).unwrap();
        let mut webhook = booking(triggers[place % 3], &format!("u{n:02}"), 1, |payload| {
            payload.start_time = (n % 6 != 0).then_some(Timestamp { seconds: (n % 8) * 60, nanos: 0 });
            payload.end_time = payload.start_time;
            payload.organizer = Some(person(format!("Host{}@x.example", n % 3)));
            payload.attendees = vec![person(format!("guest{}@x.example", n % 5)), person("All@x.example".into())];
            payload.event_type_id = Some(n % 4);
            payload.metadata =
                [("campaign".to_owned(), format!("c{}", n % 7)), ("odd key".to_owned(), "x".into())].into();
        });
        webhook.body.extend(n.to_be_bytes());
        webhook
    };
    (0..BOOKINGS).map(webhook).collect()
}

fn filters() -> Vec<Vec<Condition>> {
    let text = str::to_owned;
    vec![
        vec![],
        vec![Status(Equal, BookingStatus::Scheduled)],
        vec![Status(NotEqual, BookingStatus::Cancelled)],
        vec![StartTime(GreaterOrEqual, 120_000_000), StartTime(Less, 300_000_000)],
        vec![StartTime(NotEqual, 60_000_000)],
        vec![StartTime(LessOrEqual, 60_000_000)],
        vec![UpdateTime(Greater, NOW + 1), UpdateTime(LessOrEqual, NOW + 4)],
        vec![OrganizerEmail(text("host1@x.example"))],
        vec![AttendeeEmail(text("guest3@x.example"))],
        vec![AttendeeEmail(text("all@x.example"))],
        vec![EventTypeId(2)],
        vec![Metadata(text("campaign"), text("c5"))],
        vec![Metadata(text("odd key"), text("x")), AttendeeEmail(text("guest0@x.example"))],
        vec![Metadata(text("campaign"), text("c1")), Status(Equal, BookingStatus::Requested), EventTypeId(1)],
        vec![OrganizerEmail(text("host0@x.example")), StartTime(Greater, 0), Metadata(text("odd key"), text("x"))],
        vec![AttendeeEmail(text("nobody@x.example"))],
        vec![Metadata(text("campaign"), text("C5"))],
        vec![EventTypeId(99)],
    ]
}

pub(crate) async fn a_filter_lists_what_it_says_in_each_order(backend: &impl Backend) {
    let store = backend.open().await;
    for (round, webhooks) in (0..).zip(webhooks().chunks(9)) {
        let mut batch = batch(webhooks);
        batch.now = NOW + round;
        store.commit(batch).await.unwrap();
    }
    // Another tenant's are never among them.
    commit(&store, &webhooks().into_iter().map(|webhook| Webhook { tenant: "other", ..webhook }).collect::<Vec<_>>())
        .await;
    for order in [BookingOrder::StartTime, BookingOrder::UpdateTime] {
        let query =
            |filter, descending, limit| BookingQuery { order, descending, filter, limit, ..by_start(Vec::new()) };
        let all = whole_list(&store, query(Filter::default(), false, 100)).await;
        assert_eq!(all.len(), 60);
        for conditions in filters() {
            let filter = Filter(conditions);
            let expected: Vec<_> = all.iter().filter(|booking| filter.matches(booking)).cloned().collect();
            for limit in [1, 7, 100] {
                assert_eq!(whole_list(&store, query(filter.clone(), false, limit)).await, expected, "{filter:?}");
                let mut backwards = whole_list(&store, query(filter.clone(), true, limit)).await;
                backwards.reverse();
                assert_eq!(backwards, expected, "{filter:?} descending");
            }
        }
    }
}

pub(crate) async fn a_booking_is_found_by_what_it_has_and_not_by_what_it_had(backend: &impl Backend) {
    let store = backend.open().await;
    let told = |created, guest: &str, campaign: &str, start| {
        booking(Trigger::BookingCreated, "u1", created, |payload| {
            payload.title = format!("told at {created}");
            payload.attendees = vec![person(format!("{guest}@x.example"))];
            payload.metadata = [("campaign".to_owned(), campaign.to_owned())].into();
            payload.start_time = Some(Timestamp { seconds: start, nanos: 0 });
        })
    };
    let finds = async |condition: Condition| {
        let query = by_start(vec![condition]);
        whole_list(&store, query).await.len()
    };
    let guest = |name: &str| AttendeeEmail(format!("{name}@x.example"));
    let campaign = |name: &str| Metadata("campaign".into(), name.to_owned());
    commit(&store, &[told(1, "a", "one", 100)]).await;
    assert_eq!((finds(guest("a")).await, finds(campaign("one")).await), (1, 1));
    // Two changes in one round, the second back to what was: only the last counts.
    commit(&store, &[told(2, "b", "two", 200), told(3, "a", "three", 300)]).await;
    assert_eq!((finds(guest("a")).await, finds(guest("b")).await), (1, 0));
    assert_eq!((finds(campaign("one")).await, finds(campaign("two")).await, finds(campaign("three")).await), (0, 0, 1));
    // A late older word finds nothing.
    commit(&store, &[told(2, "c", "four", 200)]).await;
    assert_eq!((finds(guest("c")).await, finds(campaign("three")).await), (0, 1));
}

pub(crate) async fn a_page_that_passes_many_by_comes_early_and_short(backend: &impl Backend) {
    let store = backend.open().await;
    let count = PAGE_LOOKS_MAX + 5;
    let startless =
        |n: &usize| booking(Trigger::BookingCreated, &format!("u{n:06}"), 1, |payload| payload.start_time = None);
    for chunk in (0..count).collect::<Vec<_>>().chunks(1_000) {
        commit(&store, &chunk.iter().map(startless).collect::<Vec<_>>()).await;
    }
    commit(&store, &[created("u", 1)]).await;
    // A booking without a start stands first in the index, and is before no time.
    let filter = Filter(vec![StartTime(Less, i64::MAX)]);
    let query = |after| BookingQuery { filter: filter.clone(), after, ..by_start(Vec::new()) };
    let first = store.bookings(query(None)).await.unwrap();
    assert!(first.bookings.is_empty() && first.next.is_some(), "short, and not the last");
    let listed = whole_list(&store, query(None)).await;
    assert_eq!(listed.iter().map(|booking| booking.uid.as_str()).collect::<Vec<_>>(), ["u"]);
}
