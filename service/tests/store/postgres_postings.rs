//! What finds bookings on `PostgreSQL`: through the tail and the runs, while services merge them, and in a database of
//! the schema before.

use calbridge_e2e::wait;
use calbridge_proto::v1::{self, PersonPayload, Trigger};
use calbridge_service::store::{BookingOrder, BookingQuery, Condition, Store};

use crate::{pages::whole_list, postgres::Server, support::*};

/// So many that the tail is full after a few bookings.
const KEYS: usize = 100;
const CAMPAIGNS: usize = 3;

/// Told again at another time it is found by other things.
fn told(n: usize, created: i64) -> Webhook {
    booking(Trigger::BookingCreated, &format!("u{n:04}"), created, |payload| {
        payload.title = format!("told at {created}");
        payload.attendees = vec![PersonPayload { email: format!("told{created}@x.example"), ..Default::default() }];
        payload.metadata = (0..KEYS).map(|key| (format!("k{key}"), format!("{n}"))).collect();
        payload.metadata.insert("campaign".to_owned(), (n % CAMPAIGNS).to_string());
    })
}

async fn found(store: &impl Store, order: BookingOrder, condition: Condition) -> Vec<String> {
    let query = BookingQuery { order, limit: 70, ..by_start(vec![condition]) };
    let mut found: Vec<_> = whole_list(store, query).await.into_iter().map(|booking| booking.uid).collect();
    found.sort();
    found
}

#[tokio::test]
async fn bookings_are_found_while_services_merge_what_finds_them() {
    const BOOKINGS: usize = 500;
    let server = Server::default();
    let replicas = [server.open().await, server.open().await];
    let campaign = |of: usize| Condition::Metadata("campaign".to_owned(), of.to_string());
    let guest = |created: i64| Condition::AttendeeEmail(format!("told{created}@x.example"));
    let uids = |numbers: &mut dyn Iterator<Item = usize>| numbers.map(|n| format!("u{n:04}")).collect::<Vec<_>>();
    for created in [1, 2] {
        for (round, numbers) in (0..BOOKINGS).collect::<Vec<_>>().chunks(25).enumerate() {
            let [store, other] =
                if round % 2 == 0 { [&replicas[0], &replicas[1]] } else { [&replicas[1], &replicas[0]] };
            commit(store, &numbers.iter().map(|n| told(*n, created)).collect::<Vec<_>>()).await;
            let all = if created == 1 { numbers[0] + 25 } else { BOOKINGS };
            let of = round % CAMPAIGNS;
            for order in [BookingOrder::StartTime, BookingOrder::UpdateTime] {
                let expected = uids(&mut (0..all).filter(|n| n % CAMPAIGNS == of));
                assert_eq!(found(other, order, campaign(of)).await, expected);
                assert_eq!(found(other, order, guest(created)).await, uids(&mut (0..numbers[0] + 25)));
            }
        }
    }
    assert_eq!(found(&replicas[0], BookingOrder::StartTime, guest(1)).await, [] as [&str; 0]);
    let settled = "SELECT count(*) FILTER (WHERE level = 0) < 8 AND min(level) >= 0 AND max(level) >= 1
        FROM posting_runs";
    wait::until("runs are merged", async || (server.0.query(settled) == "t").then_some(())).await;
    for (of, store) in (0..CAMPAIGNS).zip(replicas.iter().cycle()) {
        let expected = uids(&mut (0..BOOKINGS).filter(|n| n % CAMPAIGNS == of));
        assert_eq!(found(store, BookingOrder::StartTime, campaign(of)).await, expected);
    }
    let left = "SELECT count(*) FROM posting_blocks WHERE run NOT IN (SELECT run FROM posting_runs)";
    assert_eq!(server.0.query(left), "0");
}

/// From the schema of today back to the one before postings.
const BACK_TO_FIVE: &str = "
    DROP TABLE posting_tail; DROP TABLE posting_runs; DROP TABLE posting_blocks; DROP TYPE block_row;
    ALTER TABLE head DROP COLUMN tail_start, DROP COLUMN tail_end, DROP COLUMN tail_entries, DROP COLUMN run;
    CREATE TABLE terms (term BIGINT NOT NULL, start_time BIGINT NOT NULL, uid TEXT COLLATE \"C\" NOT NULL,
        PRIMARY KEY (term, start_time, uid));
    CREATE TYPE term_row AS (term BIGINT, start_time BIGINT, uid TEXT);
    CREATE INDEX bookings_by_start ON bookings (tenant, start_time, uid) WHERE visible = 1;
    CREATE INDEX bookings_by_status ON bookings (tenant, status, start_time, uid) WHERE visible = 1;
    CREATE INDEX bookings_by_organizer ON bookings (tenant, organizer, start_time, uid) WHERE visible = 1;
    CREATE INDEX bookings_by_event_type ON bookings (tenant, event_type_id, start_time, uid) WHERE visible = 1;
    UPDATE calbridge_schema SET version = 5";

#[tokio::test]
async fn a_database_of_the_schema_before_is_brought_up_to_date() {
    let server = Server::default();
    let store = server.open().await;
    let host = booking(Trigger::BookingCreated, "host", 1, |payload| {
        payload.organizer = Some(PersonPayload { email: "Host@x.example".into(), ..Default::default() });
        payload.event_type_id = Some(3);
    });
    let hinted = booking(Trigger::BookingCreated, "u0001", 2, |payload| payload.ical_uid = "u0@Cal.com".into());
    let plain: Vec<_> = (2..200).map(|n| told(n, 1)).collect();
    commit(&store, &[host, hinted, cancelled("u0002", 3), unparsed(b"?")]).await;
    commit(&store, &plain).await;
    let conditions = [
        None,
        Some(Condition::OrganizerEmail("host@x.example".into())),
        Some(Condition::EventTypeId(3)),
        Some(Condition::Status(calbridge_service::store::Comparison::Equal, v1::BookingStatus::Cancelled)),
        Some(Condition::Metadata("campaign".into(), "1".into())),
        Some(Condition::AttendeeEmail("told1@x.example".into())),
    ];
    let lists = async |store: &_| {
        let mut lists = Vec::new();
        for condition in &conditions {
            lists.push(whole_list(store, by_start(condition.clone().into_iter().collect())).await);
        }
        lists
    };
    // One that can't be read is met by a list, and left out.
    let damaged = booking(Trigger::BookingCreated, "damaged", 5, |_| {});
    commit(&store, &[damaged]).await;
    let _ = server.0.query("UPDATE bookings SET state = '\\xff00ff' WHERE uid = 'damaged'");
    let before = lists(&store).await;
    assert!(before.iter().all(|list| !list.is_empty()));
    store.close().await;
    drop(store);
    let _ = server.0.query(BACK_TO_FIVE);

    let store = server.open().await;
    assert_eq!(lists(&store).await, before);
    assert_eq!(store.bookings(by_start(Vec::new())).await.unwrap().damaged, ["damaged"]);
    commit(&store, &[cancelled("u0003", 4)]).await;
    assert_eq!(lists(&store).await[3].len(), before[3].len() + 1, "rounds go on");
}
