//! The order, number and batching of deliveries never show in a booking.

use calbridge_proto::v1::{self, booking_event::Payload};
use calbridge_service::store::{Batch, Store};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{sqlite::Sqlite, support::*};

const UIDS: [&str; 4] = ["u1", "u2", "u3", "u4"];

fn any_webhook() -> impl Strategy<Value = Webhook> {
    let uid = || proptest::sample::select(&UIDS[..]);
    let time = 1..6_i64;
    prop_oneof![
        (uid(), time.clone()).prop_map(|(uid, time)| created(uid, time)),
        (uid(), time.clone()).prop_map(|(uid, time)| cancelled(uid, time)),
        (uid(), uid(), time.clone()).prop_map(|(uid, from, time)| rescheduled(uid, from, time)),
        (uid(), time.clone()).prop_map(|(uid, time)| recording(uid, time)),
        (uid(), uid(), time.clone()).prop_map(|(uid, from, time)| {
            booking(v1::Trigger::BookingCreated, uid, time, |payload| {
                payload.title = format!("Told at {time}");
                payload.ical_uid = format!("{from}@Cal.com");
            })
        }),
        (uid(), time, any::<bool>()).prop_map(|(uid, time, no_show)| {
            let guest = v1::PersonPayload {
                email: "guest@example.com".to_owned(),
                no_show: Some(no_show),
                ..Default::default()
            };
            let payload =
                v1::NoShowPayload { booking_uid: uid.to_owned(), attendees: vec![guest], ..Default::default() };
            webhook(v1::Trigger::BookingNoShowUpdated, time, Some(Payload::NoShow(payload)))
        }),
    ]
}

/// Commits in rounds of the given sizes, then reads every booking without what says when we learned.
async fn outcome(webhooks: &[Webhook], sizes: &[usize]) -> Vec<Option<v1::Booking>> {
    let backend = Sqlite::unsynced();
    let store = backend.open().await;
    let mut rest = webhooks;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (round, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        let deliveries = round.iter().map(Webhook::delivery).collect();
        store.commit(Batch { deliveries, now: NOW, ..Batch::default() }).await.unwrap();
        rest = behind;
    }
    let mut bookings = Vec::new();
    for uid in UIDS {
        let booking = read(&store, uid).await;
        bookings.push(booking.map(|booking| v1::Booking {
            position: String::new(),
            etag: String::new(),
            update_time: None,
            ..booking
        }));
    }
    bookings
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bookings_are_the_same_however_their_webhooks_arrive(
        webhooks in vec(any_webhook(), 1..20),
        copies in vec(any::<Index>(), 0..6),
        shuffle in vec(any::<Index>(), 26),
        sizes in vec(1..20_usize, 1..4),
    ) {
        let mut arrived = webhooks.clone();
        arrived.extend(copies.iter().map(|copy| copy.get(&webhooks).clone()));
        let count = arrived.len();
        for (place, other) in shuffle.iter().take(count).enumerate() {
            arrived.swap(place, other.index(count));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (in_order, as_arrived) =
            runtime.block_on(async { (outcome(&webhooks, &[1]).await, outcome(&arrived, &sizes).await) });
        prop_assert_eq!(in_order, as_arrived);
    }
}
