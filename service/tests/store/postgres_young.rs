//! What finds bookings by attendee, while it is young and once it is in its tree.

use std::sync::Arc;

use calbridge_e2e::wait;
use calbridge_proto::v1::{PersonPayload, Trigger};
use calbridge_service::store::{
    BookingQuery, Condition, Store,
    postgres::{Options, PostgresStore},
};
use tokio::task::JoinSet;

use crate::{
    postgres::{Server, raw},
    support::*,
};

/// A release that derives otherwise has found it before.
const LAY: &str = "INSERT INTO terms SELECT f.term, f.start_time, f.uid
    FROM young_terms CROSS JOIN UNNEST(found) f WHERE f.uid = 'u5'";

/// A booking that begins at a time and to which one guest is invited.
fn told(uid: &str, created: i64, start: i64, guest: &str) -> Webhook {
    booking(Trigger::BookingCreated, uid, created, |payload| {
        payload.title = format!("told at {created}");
        payload.attendees = vec![PersonPayload { email: guest.to_owned(), ..Default::default() }];
        payload.start_time = Some(prost_types::Timestamp { seconds: start, nanos: 0 });
    })
}

/// All bookings of a guest, a page of two after the other.
async fn found(store: &PostgresStore, guest: &str, descending: bool) -> Vec<String> {
    let by_guest = by_start(vec![Condition::AttendeeEmail(guest.to_owned())]);
    let mut query = BookingQuery { descending, limit: 2, ..by_guest };
    let mut uids = Vec::new();
    loop {
        let page = store.bookings(query.clone()).await.unwrap();
        uids.extend(page.bookings.into_iter().map(|booking| booking.uid));
        query.after = page.next;
        if query.after.is_none() {
            return uids;
        }
    }
}

/// Waits for the mover.
async fn all_is_moved(server: &Server) {
    wait::holds("all is moved", async || server.0.query("SELECT count(*) FROM young_terms") == "0").await;
}

/// Its entries, each as the booking and when that begins.
fn in_the_tree(server: &Server) -> Vec<String> {
    let rows = server.0.query("SELECT uid || ' at ' || start_time / 1000000 FROM terms ORDER BY uid, start_time");
    rows.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_young_is_found_as_what_is_moved() {
    let server = Server::default();
    let store = server.open().await;
    let round = ["u1", "u2", "u3", "u4"].into_iter().zip(1..).map(|(uid, at)| told(uid, 10, at, "a@x.example"));
    commit(&store, &round.collect::<Vec<_>>()).await;
    all_is_moved(&server).await;
    assert_eq!(in_the_tree(&server), ["u1 at 1", "u2 at 2", "u3 at 3", "u4 at 4"]);

    // Nothing is moved from here on; rounds do not lay anything into the tree.
    let other = raw(&server).await;
    other.batch_execute("BEGIN; LOCK TABLE terms IN SHARE MODE").await.unwrap();
    // One is moved behind the others, one to somebody else and back again, one for good, and one comes.
    commit(&store, &[told("u1", 11, 9, "a@x.example"), told("u2", 11, 2, "b@x.example")]).await;
    commit(&store, &[told("u2", 12, 2, "a@x.example"), told("u3", 12, 3, "b@x.example")]).await;
    commit(&store, &[told("u5", 13, 5, "a@x.example")]).await;
    let expected = (vec!["u2", "u4", "u5", "u1"], vec!["u1", "u5", "u4", "u2"], vec!["u3"]);
    let lists = async |store: &PostgresStore| {
        let (forth, back) = (found(store, "a@x.example", false).await, found(store, "a@x.example", true).await);
        (forth, back, found(store, "b@x.example", false).await)
    };
    let young = lists(&store).await;
    assert_eq!(server.0.query("SELECT count(*) FROM young_terms"), "3", "they are young still");
    assert_eq!((&young.0, &young.1, &young.2), (&owned(&expected.0), &owned(&expected.1), &owned(&expected.2)));

    // Whoever wrote them goes before they are moved: the next one begins with that. One is in the tree already.
    drop(store);
    other.batch_execute(&format!("{LAY}; COMMIT")).await.unwrap();
    let store = server.open().await;
    all_is_moved(&server).await;
    assert_eq!(in_the_tree(&server), ["u1 at 9", "u2 at 2", "u3 at 3", "u4 at 4", "u5 at 5"]);
    assert_eq!(lists(&store).await, young);
}

fn owned(uids: &[&str]) -> Vec<String> {
    uids.iter().map(|uid| (*uid).to_owned()).collect()
}

/// Movers take turns, and what a round said later holds, whoever of them moves it.
#[tokio::test]
async fn several_movers_leave_what_was_said_last() {
    const STORES: i64 = 3;
    const ROUNDS: i64 = 40;
    let server = Server::default();
    let mut writers = JoinSet::new();
    for of in 0..STORES {
        let store = Arc::new(PostgresStore::open(&server.0.url(), Options::default()).await.unwrap());
        writers.spawn(async move {
            for n in 0..ROUNDS {
                let created = 10 + n * STORES + of;
                let guest = if n % 2 == 0 { "a@x.example" } else { "b@x.example" };
                commit(
                    store.as_ref(),
                    &[told("u1", created, created, guest), told(&format!("u{of}-{n}"), 10, 1, guest)],
                )
                .await;
            }
            store
        });
    }
    let stores = writers.join_all().await;
    all_is_moved(&server).await;
    let last = 10 + ROUNDS * STORES - 1;
    let tree = in_the_tree(&server);
    assert_eq!(tree.iter().filter(|entry| entry.starts_with("u1 ")).collect::<Vec<_>>(), [&format!("u1 at {last}")]);
    assert_eq!(i64::try_from(tree.len()).unwrap(), 1 + STORES * ROUNDS);
    let (a, b) = (found(&stores[0], "a@x.example", false).await, found(&stores[1], "b@x.example", false).await);
    assert_eq!((a.len(), b.len()), (60, 61));
}

/// More rounds than go in one move: a quiet store's mover does not come again for half a minute.
#[tokio::test]
async fn a_backlog_is_moved_at_once() {
    const LAY: &str = "INSERT INTO young_terms
        SELECT n, 1, ARRAY[ROW(n, 1, 'u')::term_row], '{}' FROM generate_series(1, 5000) AS n";
    let server = Server::default();
    drop(server.open().await);
    let _ = server.0.query(LAY);
    let _store = server.open().await;
    all_is_moved(&server).await;
    assert_eq!(server.0.query("SELECT count(*) FROM terms"), "5000");
}
