//! What holds for every store: outcomes, duplicates, positions, timelines, isolation of tenants.

use calbridge_proto::v1::{self, BookingStatus, SubmitOutcome::*, TransitionKind, booking_event::Payload};
use calbridge_service::store::{Batch, DUPLICATE_NOTES_MAX, Position, Store, StoreError};

use crate::support::*;

pub(crate) async fn each_delivery_gets_its_outcome(backend: &impl Backend) {
    let store = backend.open().await;
    let ping = webhook(v1::Trigger::Ping, 5, Some(Payload::Ping(v1::PingPayload::default())));
    let round = [created("u1", 1), created("u1", 2), recording("u1", 3), unparsed(b"false"), ping, cancelled("u1", 4)];
    let committed = commit(&store, &round).await;
    assert_eq!(outcomes(&committed), [Applied, NoChange, Recorded, Unparsed, Recorded, Applied]);

    let made: Vec<_> = committed.iter().flat_map(|committed| &committed.transitions).collect();
    let kinds: Vec<_> = made.iter().map(|made| (made.kind(), made.from_status(), made.to_status())).collect();
    assert_eq!(
        kinds,
        [
            (TransitionKind::Appeared, BookingStatus::Unspecified, BookingStatus::Scheduled),
            (TransitionKind::StatusChanged, BookingStatus::Scheduled, BookingStatus::Cancelled),
        ]
    );
    assert_eq!(made[1].delivery_id, committed[5].first.delivery_id.to_string());
    assert_eq!(made[1].position, committed[5].first.position.to_token());
    assert_eq!(made[1].trigger(), v1::Trigger::BookingCancelled);
    assert_eq!(made[1].rule, "cancelled");
    assert_eq!(made[1].source(), v1::TransitionSource::Webhook);
    assert_eq!(made[1].commit_time.map(|time| time.seconds), Some(NOW / 1_000_000));
    assert_eq!(made[1].event_time.map(|time| time.seconds), Some(4));
    assert_eq!(committed[2].first.booking_uid.as_deref(), Some("u1"));
    assert_eq!(committed[3].first.booking_uid, None);
}

pub(crate) async fn a_copy_is_answered_with_the_first_result(backend: &impl Backend) {
    let store = backend.open().await;
    let (one, other) = (created("u1", 1), created("u2", 1));
    let first = commit(&store, std::slice::from_ref(&one)).await;
    let again = commit(&store, &[other.clone(), one.clone(), other.clone(), one.clone()]).await;
    assert_eq!(outcomes(&again), [Applied, Duplicate, Duplicate, Duplicate]);
    assert_eq!(again[1].first, first[0].first);
    assert_eq!(again[3].first, first[0].first);
    assert_eq!(again[2].first, again[0].first, "a repetition within a round is one of the first in it");
    assert!(again[1].transitions.is_empty());

    let kept = deliveries(&store).await;
    let counts: Vec<_> = kept.iter().map(|kept| (kept.booking_uid.as_str(), kept.duplicate_count)).collect();
    assert_eq!(counts, [("u1", 2), ("u2", 1)]);
}

pub(crate) async fn an_unparsed_body_is_known_by_its_request(backend: &impl Backend) {
    let store = backend.open().await;
    let (one, other) = (unparsed(b"false"), unparsed(b"false"));
    let first = commit(&store, &[one.clone(), other.clone()]).await;
    assert_eq!(outcomes(&first), [Unparsed, Unparsed]);
    let again = commit(&store, &[other]).await;
    assert_eq!(outcomes(&again), [Duplicate]);
    assert_eq!(again[0].first, first[1].first);

    let kept = store.delivery(TENANT, first[0].first.delivery_id, true).await.unwrap().unwrap();
    assert_eq!(kept.raw_body, b"false");
    assert_eq!(kept.disposition(), v1::DeliveryDisposition::Unparsed);
    assert_eq!(kept.body_sha256, one.delivery().body_sha256);
}

pub(crate) async fn what_was_confirmed_is_what_was_committed(backend: &impl Backend) {
    let store = backend.open().await;
    let committed = commit(&store, &[created("u1", 1), unparsed(b"false")]).await;
    let known = created("u1", 1).delivery().key;
    let unknown = created("u1", 2).delivery().key;
    let foreign = Webhook { tenant: "other", ..created("u1", 1) }.delivery().key;
    let confirmed = store.confirm(vec![unknown, known.clone(), foreign, known]).await.unwrap();
    let first = Some(committed[0].first.clone());
    assert_eq!(confirmed, [None, first.clone(), None, first]);
    assert_eq!(store.confirm(Vec::new()).await.unwrap(), []);
}

pub(crate) async fn positions_rise_in_commit_order(backend: &impl Backend) {
    let store = backend.open().await;
    let mut seen = vec![Position::default()];
    for round in 0..5 {
        let at = round * 10;
        let moved = rescheduled(&format!("v{round}"), &format!("u{round}"), at + 2);
        let uid = format!("u{round}");
        let committed = commit(&store, &[created(&uid, at), created(&uid, at + 1), moved, unparsed(b"{")]).await;
        assert_eq!(outcomes(&committed), [Applied, NoChange, Applied, Unparsed]);
        assert_eq!(committed[2].transitions.len(), 2, "the new booking and the one that it replaced");
        for committed in &committed {
            let taken = committed.transitions.iter().map(|made| Position::from_token(&made.position).unwrap());
            let taken: Vec<_> = taken.collect();
            assert_eq!(committed.first.position, *taken.last().unwrap_or(&committed.first.position));
            if taken.is_empty() {
                seen.push(committed.first.position);
            }
            seen.extend(taken);
        }
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
}

pub(crate) async fn rounds_at_once_do_not_share_positions(backend: &impl Backend) {
    let store = std::sync::Arc::new(backend.open().await);
    let rounds = (0..40).map(|n| {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move { commit(&*store, &[created(&format!("u{n}"), n), unparsed(b"?")]).await })
    });
    let mut positions = Vec::new();
    for round in rounds.collect::<Vec<_>>() {
        positions.extend(round.await.unwrap().iter().map(|committed| committed.first.position.0));
    }
    positions.sort_unstable();
    assert_eq!(positions, (1..=80).collect::<Vec<_>>());
}

pub(crate) async fn who_follows_positions_misses_nothing(backend: &impl Backend) {
    const WRITERS: i64 = 4;
    const ROUNDS: i64 = 25;
    const PAGE: usize = 7;
    let store = std::sync::Arc::new(backend.open().await);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = std::sync::Arc::clone(&store);
        writers.spawn(async move {
            let mut taken = Vec::new();
            for n in 0..ROUNDS {
                let uid = format!("u{}", n % 5);
                let new = booking(v1::Trigger::BookingCreated, &uid, n, |of| of.title = format!("of {writer}"));
                // Of one body a single one is new, whoever comes first; each copy takes a position as well.
                let told = [new, unparsed(b"?"), rescheduled("v", &uid, n)];
                let committed = commit(&*store, &told).await;
                let kept = committed.into_iter().filter(|committed| committed.outcome != Duplicate);
                taken.extend(kept.map(|committed| committed.first.position));
                tokio::task::yield_now().await;
            }
            taken
        });
    }
    let all = usize::try_from(WRITERS * ROUNDS * 2 + ROUNDS).unwrap();
    let follow = async {
        let (mut cursor, mut followed) = (Position::default(), Vec::new());
        while followed.len() < all {
            let page = store.journal(None, cursor, PAGE).await.unwrap();
            cursor = page.last().map_or(cursor, |(position, _)| *position);
            followed.extend(page.into_iter().map(|(position, _)| position));
            tokio::task::yield_now().await;
        }
        followed
    };
    let followed = calbridge_e2e::wait::within("the follower sees all", follow).await;
    assert!(followed.is_sorted_by(|one, next| one < next), "each once, in rising order: {followed:?}");
    let mut taken: Vec<_> = writers.join_all().await.concat();
    taken.sort_unstable();
    assert_eq!(followed, taken, "none is skipped");
    assert_eq!(store.journal(None, taken[all - 1], PAGE).await.unwrap(), []);
}

pub(crate) async fn a_booking_reads_as_its_last_transition_left_it(backend: &impl Backend) {
    let store = backend.open().await;
    commit(&store, &[created("u1", 1)]).await;
    let after_creation = read(&store, "u1").await.unwrap();
    commit(&store, &[rescheduled("u2", "u1", 2)]).await;
    for uid in ["u1", "u2"] {
        let booking = read(&store, uid).await.unwrap();
        let last = timeline(&store, uid).await.into_iter().filter_map(|entry| entry.transition).next_back().unwrap();
        assert_eq!(last.booking.as_ref(), Some(&booking));
        assert_eq!(last.position, booking.position);
        assert_eq!((booking.tenant.as_str(), booking.uid.as_str()), (TENANT, uid));
        assert_eq!(booking.update_time.map(|time| time.seconds), Some(NOW / 1_000_000));
        assert_eq!(booking.origin_uid, "u1");
        assert_ne!(booking.etag, after_creation.etag);
    }
    assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Rescheduled);
    assert_eq!(read(&store, "U1").await, None, "uids are case-sensitive");
}

pub(crate) async fn no_change_leaves_the_visible_booking_alone(backend: &impl Backend) {
    let store = backend.open().await;
    commit(&store, &[created("u1", 10)]).await;
    let before = read(&store, "u1").await;
    let later = Batch { now: NOW + 5_000_000, ..batch(&[created("u1", 20)]) };
    assert_eq!(outcomes(&store.commit(later).await.unwrap()), [NoChange]);
    assert_eq!(read(&store, "u1").await, before);

    // Its keys did advance: what was told between the two is older than what is known.
    let between = booking(v1::Trigger::BookingCreated, "u1", 15, |payload| payload.title = "Older".into());
    assert_eq!(outcomes(&commit(&store, &[between]).await), [NoChange]);
    assert_eq!(read(&store, "u1").await.unwrap().title, "About u1");
}

pub(crate) async fn a_lineage_begins_where_nothing_precedes_however_late(backend: &impl Backend) {
    let store = backend.open().await;
    commit(&store, &[rescheduled("u3", "u2", 3)]).await;
    assert_eq!(read(&store, "u3").await.unwrap().origin_uid, "u2");
    commit(&store, &[rescheduled("u2", "u1", 2)]).await;
    for uid in ["u1", "u2", "u3"] {
        assert_eq!(read(&store, uid).await.unwrap().origin_uid, "u1");
    }
    commit(&store, &[rescheduled("u1", "u3", 4)]).await;
    for uid in ["u1", "u2", "u3"] {
        assert_eq!(read(&store, uid).await.unwrap().origin_uid, "u1", "a cycle answers its least uid");
    }
}

pub(crate) async fn hints_alone_are_kept_and_not_shown(backend: &impl Backend) {
    let store = backend.open().await;
    let moved = booking(v1::Trigger::BookingCreated, "u2", 2, |payload| payload.ical_uid = "u1@Cal.com".into());
    commit(&store, &[moved]).await;
    assert_eq!(read(&store, "u1").await, None);
    assert_eq!(read(&store, "u2").await.unwrap().rescheduled_from_uid, "u1");
    let hinted: Vec<_> = timeline(&store, "u1").await.iter().map(v1::TimelineEntry::outcome).collect();
    assert_eq!(hinted, [NoChange]);
    commit(&store, &[created("u1", 1)]).await;
    assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Rescheduled);
}

pub(crate) async fn the_timeline_tells_all_that_spoke_of_a_booking(backend: &impl Backend) {
    let store = backend.open().await;
    let first = created("u1", 1);
    let committed = commit(&store, &[first.clone(), created("u1", 2), recording("u1", 3), first.clone()]).await;
    let copied = Batch { duplicates: vec![first.copy_of(&committed[0].first)], ..batch(&[rescheduled("u2", "u1", 4)]) };
    store.commit(copied).await.unwrap();

    let told = timeline(&store, "u1").await;
    let outcomes: Vec<_> = told.iter().map(v1::TimelineEntry::outcome).collect();
    assert_eq!(outcomes, [Applied, NoChange, Recorded, Duplicate, Applied, Duplicate]);
    assert!(told.iter().map(|entry| &entry.position).is_sorted_by(|a, b| a < b));
    for entry in [&told[3], &told[5]] {
        assert_eq!(entry.delivery_id, committed[0].first.delivery_id.to_string(), "a copy carries the first's id");
        assert_eq!(entry.trigger(), v1::Trigger::BookingCreated);
        assert_eq!(entry.event_time, told[0].event_time);
        assert_eq!(entry.transition, None);
    }
    assert_eq!(told[5].receive_time.map(|time| time.seconds), Some(8), "each copy has a receipt of its own");
    assert_eq!((told[5].secret_id.as_str(), told[5].trace_id.as_str()), ("second", ""));
    assert_eq!((told[0].secret_id.as_str(), told[0].trace_id.len()), ("main", 32));
    assert_eq!(told[4].trigger_name, "TRIGGER_BOOKING_RESCHEDULED");
    assert_eq!(told[4].transition.as_ref().map(|made| made.uid.as_str()), Some("u1"));
    assert_eq!(told[1].transition, None);
}

pub(crate) async fn a_timeline_shows_no_transition_of_another_booking(backend: &impl Backend) {
    let store = backend.open().await;
    // The second moves u2 once more; of u1 it says what is known.
    commit(&store, &[rescheduled("u2", "u1", 2), rescheduled("u2", "u1", 3)]).await;
    let (old, new) = (timeline(&store, "u1").await, timeline(&store, "u2").await);
    assert_eq!(old[1].position, new[1].position);
    assert_eq!((old[1].outcome(), &old[1].transition), (NoChange, &None));
    assert_eq!(new[1].outcome(), Applied);
    assert_eq!(new[1].transition.as_ref().map(v1::Transition::kind), Some(TransitionKind::Moved));
}

pub(crate) async fn a_copy_is_told_to_every_booking_that_the_first_spoke_of(backend: &impl Backend) {
    let store = backend.open().await;
    let moved = rescheduled("u2", "u1", 2);
    commit(&store, std::slice::from_ref(&moved)).await;
    commit(&store, &[moved]).await;
    for uid in ["u1", "u2"] {
        let outcomes: Vec<_> = timeline(&store, uid).await.iter().map(v1::TimelineEntry::outcome).collect();
        assert_eq!(outcomes, [Applied, Duplicate], "{uid}");
    }
}

pub(crate) async fn a_replayed_body_is_noted_a_bounded_number_of_times(backend: &impl Backend) {
    let store = backend.open().await;
    let first = created("u1", 1);
    let committed = commit(&store, std::slice::from_ref(&first)).await;
    let copies = usize::try_from(DUPLICATE_NOTES_MAX).unwrap() + 10;
    let round = Batch { duplicates: vec![first.copy_of(&committed[0].first); copies], now: NOW, ..Batch::default() };
    store.commit(round).await.unwrap();
    commit(&store, std::slice::from_ref(&first)).await;

    let kept = deliveries(&store).await;
    assert_eq!(kept[0].duplicate_count, DUPLICATE_NOTES_MAX + 11);
    assert_eq!(timeline(&store, "u1").await.len(), 33, "the delivery and the noted copies");
    let next = commit(&store, &[created("u2", 1)]).await;
    assert_eq!(next[0].first.position, Position(DUPLICATE_NOTES_MAX + 2), "copies that are not noted take no position");
}

pub(crate) async fn a_delivery_reads_as_it_came(backend: &impl Backend) {
    let store = backend.open().await;
    let sent = Webhook { body: b"{\"triggerEvent\":\"BOOKING_CREATED\"}".repeat(200), ..created("u1", 7) };
    let committed = commit(&store, std::slice::from_ref(&sent)).await;
    let id = committed[0].first.delivery_id;
    let kept = store.delivery(TENANT, id, true).await.unwrap().unwrap();
    assert_eq!(kept.raw_body, sent.body);
    assert_eq!(kept.body_size, i64::try_from(sent.body.len()).unwrap());
    assert_eq!(kept.body_sha256, sent.delivery().body_sha256);
    assert_eq!(kept.delivery_id, id.to_string());
    assert_eq!(kept.trigger(), v1::Trigger::BookingCreated);
    assert_eq!(kept.disposition(), v1::DeliveryDisposition::Accepted);
    assert_eq!(kept.outcome(), Applied);
    assert_eq!(kept.booking_uid, "u1");
    assert_eq!(kept.webhook_version, "2021-10-20");
    assert_eq!(kept.content_type, "application/json");
    assert_eq!(kept.event_time.map(|time| time.seconds), Some(7));
    assert_eq!(kept.receive_time.map(|time| time.seconds), Some(8));
    let without = store.delivery(TENANT, id, false).await.unwrap().unwrap();
    assert_eq!(without, v1::Delivery { raw_body: Vec::new(), ..kept });
    assert_eq!(store.delivery(TENANT, fresh_id(), true).await.unwrap(), None);
}

pub(crate) async fn what_was_admitted_late_says_so(backend: &impl Backend) {
    let store = backend.open().await;
    let late = |webhook: &Webhook| {
        let mut delivery = webhook.delivery();
        delivery.event.recovered = true;
        delivery
    };
    let (parsed, template) = (created("u1", 1), unparsed(b"false"));
    let recovered = [&parsed, &template].map(late);
    let committed = store.commit(Batch { deliveries: recovered.into(), ..batch(&[]) }).await.unwrap();
    assert_eq!(outcomes(&committed), [Applied, Unparsed], "it counts like any other");
    for webhook in [&parsed, &template] {
        let again = commit(&store, std::slice::from_ref(webhook)).await;
        assert_eq!(outcomes(&again), [Duplicate], "a copy that came in time changes nothing");
        let kept = store.delivery(TENANT, again[0].first.delivery_id, true).await.unwrap().unwrap();
        assert_eq!(kept.disposition(), v1::DeliveryDisposition::Recovered);
        assert_eq!(
            kept.receive_time,
            webhook.delivery().event.receive_time,
            "when it came is not when it was admitted"
        );
    }
    assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Scheduled);
}

pub(crate) async fn tenants_do_not_see_each_other(backend: &impl Backend) {
    let store = backend.open().await;
    let ours = commit(&store, &[created("u1", 1)]).await;
    let theirs = Webhook { tenant: "other", ..cancelled("u1", 2) };
    // The very bytes of ours are no duplicate in their hands.
    let same = Webhook { tenant: "other", ..created("u1", 1) };
    assert_eq!(outcomes(&commit(&store, &[theirs, same]).await), [Applied, NoChange]);

    assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Scheduled);
    assert_eq!(store.booking("other", "u1", false).await.unwrap().unwrap().status(), BookingStatus::Cancelled);
    assert_eq!(timeline(&store, "u1").await.len(), 1);
    assert_eq!(deliveries(&store).await.len(), 1);
    assert_eq!(store.delivery("other", ours[0].first.delivery_id, true).await.unwrap(), None);
    assert_eq!(store.booking("nobody", "u1", false).await.unwrap(), None);
}

pub(crate) async fn what_was_committed_is_there_when_opened_again(backend: &impl Backend) {
    let store = backend.open().await;
    let first = commit(&store, &[created("u1", 1), unparsed(b"false")]).await;
    let booking = read(&store, "u1").await;
    drop(store);

    let store = backend.open().await;
    assert_eq!(read(&store, "u1").await, booking);
    let again = commit(&store, &[created("u1", 1), cancelled("u1", 2)]).await;
    assert_eq!(outcomes(&again), [Duplicate, Applied]);
    assert_eq!(again[0].first, first[0].first);
    assert!(again[1].first.position > first[1].first.position);
}

pub(crate) async fn a_closed_store_takes_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    store.probe().await.unwrap();
    commit(&store, &[created("u1", 1)]).await;
    store.close().await;
    store.close().await;
    let unavailable = |refused: Option<StoreError>| matches!(refused, Some(StoreError::Unavailable { .. }));
    assert!(unavailable(store.commit(batch(&[created("u2", 1)])).await.err()));
    assert!(unavailable(store.booking(TENANT, "u1", false).await.err()));
    assert!(unavailable(store.probe().await.err()));

    let store = backend.open().await;
    assert_eq!(deliveries(&store).await.len(), 1);
    assert_eq!(store.commit(Batch::default()).await.unwrap().len(), 0, "an empty round is one");
}
