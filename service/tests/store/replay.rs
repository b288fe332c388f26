//! Kept deliveries merged again, and the journal and the rows as they are read for that.

use std::{sync::Arc, time::Duration};

use calbridge_proto::v1::{self, BookingStatus, SubmitOutcome::*, TransitionSource, Trigger, booking_event::Payload};
use calbridge_service::store::{ClockPolicies, NewDelivery, Position, Replay, Replayed, Store};

use crate::support::*;

/// What an older release could not type, as a newer one types it.
fn understood(kept: &Webhook, of: &Webhook, id: uuid::Uuid) -> NewDelivery {
    let meant = of.delivery();
    let body_sha256 = kept.delivery().body_sha256;
    let facts = calbridge_booking::facts(&meant.event, &body_sha256);
    NewDelivery { delivery_id: id, body_sha256, facts, trace_id: "feed".to_owned(), ..meant }
}

async fn replay(store: &impl Store, delivery: NewDelivery, dry_run: bool) -> Option<Replayed> {
    store.replay(Replay { delivery, dry_run, now: NOW + 5, clock: Arc::default() }).await.unwrap()
}

pub(crate) async fn what_was_unparsed_becomes_a_booking(backend: &impl Backend) {
    let store = backend.open().await;
    let kept = unparsed(b"a shape of a later year");
    let first = commit(&store, std::slice::from_ref(&kept)).await.remove(0).first;
    let meant = created("u1", 1);

    let tried = replay(&store, understood(&kept, &meant, first.delivery_id), true).await.unwrap();
    assert_eq!((tried.outcome, tried.transitions.len()), (Applied, 1));
    assert_eq!((tried.transitions[0].position.as_str(), tried.transitions[0].commit_time), ("", None));
    assert_eq!(read(&store, "u1").await, None, "a dry run changes nothing");
    assert_eq!(store.head().await.unwrap(), first.position);

    let done = replay(&store, understood(&kept, &meant, first.delivery_id), false).await.unwrap();
    let made = &done.transitions[0];
    assert_eq!((done.outcome, made.source()), (Applied, TransitionSource::Replay));
    assert_eq!((made.delivery_id.as_str(), made.trace_id.as_str()), (first.delivery_id.to_string().as_str(), "feed"));
    assert_eq!(read(&store, "u1").await.unwrap().status(), BookingStatus::Scheduled);
    let entries = timeline(&store, "u1").await;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].source(), entries[0].outcome()), (TransitionSource::Replay, Applied));
    assert_eq!((entries[0].trace_id.as_str(), entries[0].booking_uid.as_str()), ("feed", "u1"));

    let delivery = deliveries(&store).await.remove(0);
    assert_eq!((delivery.outcome(), delivery.trigger()), (Applied, Trigger::BookingCreated));
    assert_eq!(delivery.disposition(), v1::DeliveryDisposition::Unparsed, "how it was taken in stays what it was");
    assert_eq!(delivery.booking_uid, "u1");
    // Its key is still its request's.
    assert_eq!(outcomes(&commit(&store, &[kept]).await), [Duplicate]);
}

pub(crate) async fn a_replay_that_says_nothing_new_leaves_no_line(backend: &impl Backend) {
    let store = backend.open().await;
    let webhook = created("u1", 1);
    let first = commit(&store, &[webhook.clone(), cancelled("u1", 2), recording("u1", 3)]).await;
    let before = (timeline(&store, "u1").await, deliveries(&store).await, store.head().await.unwrap());
    let again = replay(&store, understood(&webhook, &webhook, first[0].first.delivery_id), false).await.unwrap();
    assert_eq!((again.outcome, again.transitions), (NoChange, Vec::new()));
    let recorded = recording("u1", 3);
    let again = replay(&store, understood(&recorded, &recorded, first[2].first.delivery_id), false).await.unwrap();
    assert_eq!(again.outcome, Recorded);
    assert_eq!((timeline(&store, "u1").await, deliveries(&store).await, store.head().await.unwrap()), before);
}

pub(crate) async fn a_replay_leaves_the_clock_to_speak_for_itself(backend: &impl Backend) {
    let store = backend.open().await;
    let webhook = created("u1", 1);
    let first = commit(&store, std::slice::from_ref(&webhook)).await.remove(0).first;
    let delivery = understood(&webhook, &webhook, first.delivery_id);
    let clock = Arc::new(ClockPolicies { otherwise: Some(Duration::ZERO), ..ClockPolicies::default() });
    let again = store.replay(Replay { delivery, dry_run: false, now: NOW, clock }).await.unwrap().unwrap();
    assert_eq!((again.outcome, again.transitions), (NoChange, Vec::new()));
    assert_eq!(timeline(&store, "u1").await.len(), 1, "what is due is not this delivery's news");
}

pub(crate) async fn a_quiet_replay_still_reads_what_is_said_of_a_series(backend: &impl Backend) {
    let store = backend.open().await;
    let webhook = cancelled("u1", 1);
    let first = commit(&store, std::slice::from_ref(&webhook)).await.remove(0).first;
    let meant = NewDelivery { leaves_siblings_silent: true, ..understood(&webhook, &webhook, first.delivery_id) };
    replay(&store, meant, false).await.unwrap();
    let entries = timeline(&store, "u1").await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].notes().collect::<Vec<_>>(), [v1::TimelineNote::SiblingsMayHaveChanged]);
}

pub(crate) async fn what_was_recorded_is_kept_under_another_booking(backend: &impl Backend) {
    let store = backend.open().await;
    let unknown = webhook(Trigger::Unspecified, 1, Some(Payload::Unknown(v1::UnknownPayload::default())));
    let first = commit(&store, std::slice::from_ref(&unknown)).await.remove(0);
    assert_eq!(first.outcome, Recorded);
    let meant = understood(&unknown, &recording("u1", 1), first.first.delivery_id);
    let again = replay(&store, meant, false).await.unwrap();
    assert_eq!((again.outcome, again.transitions.len()), (Recorded, 0));
    let entries = timeline(&store, "u1").await;
    assert_eq!(
        entries.iter().map(|entry| (entry.outcome(), entry.source())).collect::<Vec<_>>(),
        [(Recorded, TransitionSource::Replay)]
    );
    assert!(store.head().await.unwrap() > first.first.position, "the line has a place of its own");
}

pub(crate) async fn what_names_no_booking_any_more_keeps_its_line(backend: &impl Backend) {
    let store = backend.open().await;
    let webhook_of_it = created("u1", 1);
    let first = commit(&store, std::slice::from_ref(&webhook_of_it)).await.remove(0).first;
    let ping = webhook(Trigger::Ping, 1, Some(Payload::Ping(v1::PingPayload::default())));
    let meant = understood(&webhook_of_it, &ping, first.delivery_id);
    replay(&store, NewDelivery { leaves_siblings_silent: true, ..meant }, false).await.unwrap();
    let entries = timeline(&store, "u1").await;
    assert_eq!((entries.len(), entries[0].booking_uid.as_str(), &entries[0].notes[..]), (1, "", &[] as &[i32]));
    assert_eq!((entries[0].outcome(), entries[0].trigger()), (Applied, Trigger::Ping));
}

pub(crate) async fn a_replay_is_merged_by_its_own_time(backend: &impl Backend) {
    let store = backend.open().await;
    let kept = unparsed(b"an old word");
    let first = commit(&store, std::slice::from_ref(&kept)).await.remove(0).first;
    let newer = booking(Trigger::BookingCreated, "u1", 9, |payload| payload.title = "Newer".into());
    commit(&store, &[newer]).await;
    let older = booking(Trigger::BookingCreated, "u1", 2, |payload| payload.title = "Older".into());
    let done = replay(&store, understood(&kept, &older, first.delivery_id), false).await.unwrap();
    assert_eq!(done.outcome, NoChange);
    assert_eq!(read(&store, "u1").await.unwrap().title, "Newer");
    assert_eq!(timeline(&store, "u1").await.len(), 2, "its keys are news to the row");
}

pub(crate) async fn a_foreign_delivery_is_not_replayed(backend: &impl Backend) {
    let store = backend.open().await;
    let webhook = created("u1", 1);
    let first = commit(&store, std::slice::from_ref(&webhook)).await.remove(0).first;
    let foreign = Webhook { tenant: "other", ..webhook.clone() };
    assert!(replay(&store, understood(&foreign, &foreign, first.delivery_id), false).await.is_none());
    assert!(replay(&store, understood(&webhook, &webhook, fresh_id()), false).await.is_none());
}

pub(crate) async fn the_journal_and_the_rows_are_read_whole_and_in_order(backend: &impl Backend) {
    let store = backend.open().await;
    for n in 0..7 {
        let foreign = Webhook { tenant: "other", ..created(&format!("u{n}"), n) };
        commit(&store, &[rescheduled(&format!("v{n}"), &format!("u{n}"), n), foreign, unparsed(b"false")]).await;
    }
    for (tenant, deliveries, rows) in
        [(None, 21, 21), (Some("other"), 7, 7), (Some(TENANT), 14, 14), (Some("none"), 0, 0)]
    {
        let tenant = tenant.map(str::to_owned);
        let (mut read, mut after) = (Vec::new(), Position::default());
        while let Some(page) =
            Some(store.journal(tenant.clone(), after, 4).await.unwrap()).filter(|page| !page.is_empty())
        {
            after = page.last().unwrap().0;
            read.extend(page);
        }
        assert_eq!(read.len(), deliveries, "{tenant:?}");
        assert!(read.is_sorted_by(|(one, _), (next, _)| one < next));
        assert!(read.iter().all(|(_, delivery)| !delivery.raw_body.is_empty()));

        let (mut kept, mut after) = (Vec::new(), None);
        loop {
            let page = store.rows(tenant.clone(), after, 4).await.unwrap();
            after = page.rows.last().map(|row| row.key.clone());
            kept.extend(page.rows);
            if !page.more {
                break;
            }
        }
        assert_eq!(kept.len(), rows, "{tenant:?}");
        assert!(kept.is_sorted_by(|one, next| one.key < next.key));
        for row in kept {
            assert_eq!(store.row(row.key.clone()).await.unwrap().as_ref(), Some(&row));
            let told = store.timeline(&row.key.0, &row.key.1, Position::default(), 10).await.unwrap();
            assert_eq!(told.last().map(|(position, _)| *position), Some(row.mentioned));
        }
    }
    assert_eq!(store.row((Arc::from(TENANT), "nobody".to_owned())).await.unwrap(), None);
}
