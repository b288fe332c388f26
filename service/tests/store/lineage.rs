//! Lineages: bookings that replaced one another, however the links were heard of.

use calbridge_proto::v1::{self, LinkEvidence, MeetingPayload, Trigger, booking_event::Payload};
use calbridge_service::store::{LINEAGE_MAX, Store};

use crate::support::*;

async fn lineage(store: &impl Store, uid: &str) -> Vec<String> {
    let bookings = store.lineage(TENANT, uid, 0).await.unwrap().bookings;
    for booking in &bookings {
        assert_eq!(Some(booking), read(store, &booking.uid).await.as_ref(), "the same as read by itself");
    }
    bookings.into_iter().map(|booking| booking.uid).collect()
}

async fn last(store: &impl Store, uid: &str) -> Option<String> {
    store.booking(TENANT, uid, true).await.unwrap().map(|booking| booking.uid)
}

fn seated(uid: &str, created: i64) -> Webhook {
    booking(Trigger::BookingCreated, uid, created, |payload| {
        payload.seats_per_time_slot = Some(3);
        payload.attendee_seat_id = format!("seat of {uid}");
        payload.attendees = vec![v1::PersonPayload { email: "a@x.example".into(), ..Default::default() }];
    })
}

pub(crate) async fn a_chain_of_any_length_is_one_lineage(backend: &impl Backend) {
    let store = backend.open().await;
    let count = 150;
    // Told from both ends to the middle.
    let mut order: Vec<usize> = (1..count).collect();
    order.sort_by_key(|n| (n % 2, if n % 2 == 0 { *n } else { count - n }));
    let mut told = vec![created("u000", 1)];
    told.extend(
        order
            .into_iter()
            .map(|n| rescheduled(&format!("u{n:03}"), &format!("u{:03}", n - 1), i64::try_from(n).unwrap() + 1)),
    );
    commit(&store, &told).await;
    let uids: Vec<_> = (0..count).map(|n| format!("u{n:03}")).collect();
    for uid in ["u000", "u075", "u149"] {
        assert_eq!(lineage(&store, uid).await, uids);
        assert_eq!(read(&store, uid).await.unwrap().origin_uid, "u000");
        assert_eq!(last(&store, uid).await.as_deref(), Some("u149"));
    }
}

pub(crate) async fn a_lost_middle_is_joined_by_the_ical_uid_and_marked(backend: &impl Backend) {
    let store = backend.open().await;
    let third = booking(Trigger::BookingRescheduled, "u3", 3, |payload| {
        payload.reschedule_uid = "u2".into();
        payload.ical_uid = "u1@Cal.com".into();
    });
    commit(&store, &[created("u1", 1), third]).await;
    assert_eq!(lineage(&store, "u1").await, ["u1", "u2", "u3"]);
    let evidence = async |uid: &str| {
        let booking = read(&store, uid).await.unwrap();
        (booking.rescheduled_from_evidence(), booking.rescheduled_to_evidence())
    };
    assert_eq!(evidence("u1").await, (LinkEvidence::Unspecified, LinkEvidence::IcalUid));
    assert_eq!(evidence("u2").await, (LinkEvidence::IcalUid, LinkEvidence::RescheduleUid));
    assert_eq!(evidence("u3").await, (LinkEvidence::RescheduleUid, LinkEvidence::Unspecified));
    assert_eq!(last(&store, "u1").await.as_deref(), Some("u3"), "the hint leads past the lost one");

    // The lost one comes after all.
    commit(&store, &[rescheduled("u2", "u1", 2)]).await;
    assert_eq!(evidence("u1").await, (LinkEvidence::Unspecified, LinkEvidence::RescheduleUid));
    assert_eq!(evidence("u2").await, (LinkEvidence::RescheduleUid, LinkEvidence::RescheduleUid));
    assert_eq!(lineage(&store, "u2").await, ["u1", "u2", "u3"]);
}

pub(crate) async fn of_several_successors_the_older_comes_first(backend: &impl Backend) {
    let store = backend.open().await;
    let told = [rescheduled("b", "a", 5), rescheduled("c", "a", 3), created("a", 1), rescheduled("d", "c", 7)];
    commit(&store, &told).await;
    assert_eq!(lineage(&store, "d").await, ["a", "c", "b", "d"]);
    assert_eq!(last(&store, "a").await.as_deref(), Some("b"), "the one named last");
}

pub(crate) async fn a_lineage_is_known_by_a_booking_that_is_not(backend: &impl Backend) {
    let store = backend.open().await;
    let moved = booking(Trigger::BookingCreated, "u2", 2, |payload| payload.ical_uid = "u1@Cal.com".into());
    commit(&store, &[moved]).await;
    assert_eq!(lineage(&store, "u1").await, ["u2"]);
    assert_eq!(last(&store, "u1").await, None);
    assert_eq!(lineage(&store, "nobody").await, Vec::<String>::new());
    assert_eq!(store.lineage("other", "u2", 0).await.unwrap().bookings, []);
}

pub(crate) async fn two_that_replace_each_other_end_the_walk(backend: &impl Backend) {
    let store = backend.open().await;
    commit(&store, &[rescheduled("u1", "u2", 1), rescheduled("u2", "u1", 2), rescheduled("u3", "u2", 3)]).await;
    for uid in ["u1", "u2", "u3"] {
        assert_eq!(lineage(&store, uid).await, ["u1", "u2", "u3"]);
    }
    assert!(last(&store, "u1").await.is_some());
}

pub(crate) async fn seats_join_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    // A timer of a booking that nobody else told of names the seated one that a seat moved from.
    let timer = MeetingPayload { uid: "u2".into(), from_reschedule: "u1".into(), ..Default::default() };
    let minted = Webhook {
        body: b"minted".to_vec(),
        ..booking(Trigger::BookingCreated, "u3", 2, |payload| {
            payload.seats_per_time_slot = Some(3);
            payload.ical_uid = "u1@Cal.com".into();
        })
    };
    commit(&store, &[webhook(Trigger::MeetingStarted, 0, Some(Payload::Meeting(timer))), minted, seated("u1", 1)])
        .await;
    for uid in ["u1", "u2", "u3"] {
        assert_eq!(lineage(&store, uid).await, [uid]);
        let booking = read(&store, uid).await.unwrap();
        assert_eq!((booking.rescheduled_from_uid.as_str(), booking.rescheduled_to_uid.as_str()), ("", ""));
        assert_eq!(booking.origin_uid, uid);
    }
}

pub(crate) async fn a_chain_leads_through_a_booking_that_is_not_shown(backend: &impl Backend) {
    let store = backend.open().await;
    // Of the middle one and of the move to the last nobody heard but a timer.
    let timer = MeetingPayload {
        uid: "u3".into(),
        from_reschedule: "u2".into(),
        ical_uid: "u1@Cal.com".into(),
        ..Default::default()
    };
    commit(&store, &[created("u1", 1), webhook(Trigger::MeetingStarted, 0, Some(Payload::Meeting(timer)))]).await;
    assert_eq!(read(&store, "u2").await, None);
    for uid in ["u1", "u2", "u3"] {
        assert_eq!(lineage(&store, uid).await, ["u1", "u3"]);
    }
    assert_eq!(read(&store, "u3").await.unwrap().origin_uid, "u1");
    assert_eq!(last(&store, "u1").await.as_deref(), Some("u3"));
}

pub(crate) async fn a_lineage_of_large_bookings_comes_in_pages(backend: &impl Backend) {
    let store = backend.open().await;
    let count = 50;
    let large = |n: i64| {
        booking(Trigger::BookingRescheduled, &format!("u{:02}", n + 1), n, |payload| {
            payload.reschedule_uid = format!("u{n:02}");
            payload.description = "d".repeat(250_000);
        })
    };
    commit(&store, &(0..count).map(large).collect::<Vec<_>>()).await;
    let first = store.lineage(TENANT, "u25", 0).await.unwrap();
    assert!(first.more && first.bookings.len() < 40, "{}", first.bookings.len());
    let second = store.lineage(TENANT, "u25", first.bookings.len()).await.unwrap();
    let uids: Vec<_> = [first.bookings, second.bookings].concat().into_iter().map(|booking| booking.uid).collect();
    assert_eq!((uids, second.more), ((0..=count).map(|n| format!("u{n:02}")).collect(), false));
}

pub(crate) async fn a_lineage_is_bounded(backend: &impl Backend) {
    let store = backend.open().await;
    let count = LINEAGE_MAX + 50;
    let told: Vec<_> =
        (0..count).map(|n| rescheduled(&format!("u{:05}", n + 1), "u00000", i64::try_from(n).unwrap())).collect();
    for round in told.chunks(200) {
        commit(&store, round).await;
    }
    assert_eq!(store.lineage(TENANT, "u00007", 0).await.unwrap().bookings.len(), LINEAGE_MAX);
    // And so is a chain, of whose last nothing behind it is in sight.
    let name = |n: usize| format!("c{n:05}");
    let told: Vec<_> =
        (0..=LINEAGE_MAX).map(|n| rescheduled(&name(n + 1), &name(n), i64::try_from(count + n).unwrap())).collect();
    for round in told.chunks(200) {
        commit(&store, round).await;
    }
    let mut shown = Vec::new();
    loop {
        let page = store.lineage(TENANT, &name(LINEAGE_MAX + 1), shown.len()).await.unwrap();
        shown.extend(page.bookings.into_iter().map(|booking| booking.uid));
        if !page.more {
            break;
        }
    }
    assert_eq!(shown, (2..=LINEAGE_MAX + 1).map(name).collect::<Vec<_>>(), "itself among them");
}
