//! What is past its retention goes, in bounded chunks, and takes nothing else along.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use calbridge_proto::v1::{self, SubmitOutcome::*, TransitionSource};
use calbridge_service::store::{
    Batch, CONSUMER_LAG_MAX, ClockPolicies, ClockRound, Committed, LogKeepers, LogPurge, LogPurged, NewDelivery,
    PURGE_ROWS_MAX, Position, Purge, Purgeable, Purged, Replay, Retention, RetentionPolicies, Store, Watermarks,
};

use crate::support::*;

/// Microseconds.
const DAY: i64 = 86_400_000_000;

/// Commits a round that the service takes in so many days ago.
pub(crate) async fn commit_aged(store: &impl Store, days: i64, webhooks: &[Webhook]) -> Vec<Committed> {
    let now = NOW - days * DAY;
    let aged = |webhook: &Webhook| NewDelivery { delivery_id: id_at(now), ..webhook.delivery() };
    let deliveries = webhooks.iter().map(aged).collect();
    store.commit(Batch { deliveries, now, ..Batch::default() }).await.unwrap()
}

fn past(tenant: &str, what: Purgeable, days: u64) -> Purge {
    Purge { tenant: tenant.into(), what, period: in_days(days), floor: None, now: NOW }
}

fn in_days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

/// A walk along the log behind a position, where one tenant keeps it for so many days and the others for ever.
pub(crate) fn log_past(tenant: &str, days: u64, after: Position, floors: &[(&str, Position)]) -> LogPurge {
    let own = Retention { transitions: Some(in_days(days)), ..Retention::default() };
    let tenants = [(tenant.to_owned(), own)].into();
    let policies = Arc::new(RetentionPolicies { otherwise: Retention::default(), tenants });
    let floors = floors.iter().map(|(tenant, floor)| ((*tenant).to_owned(), *floor)).collect();
    LogPurge { after, period: in_days(days), keepers: Arc::new(LogKeepers { policies, floors }), now: NOW }
}

/// Purges until nothing is left to be purged; the rows that went.
pub(crate) async fn purge(store: &impl Store, what: Purgeable, days: u64) -> usize {
    let mut rows = 0;
    loop {
        let chunk = store.purge(past(TENANT, what, days)).await.unwrap();
        assert!(chunk.rows <= PURGE_ROWS_MAX);
        rows += chunk.rows;
        if !chunk.more {
            return rows;
        }
    }
}

/// Walks along the log to where it is too young; the transitions that went.
pub(crate) async fn purge_log(store: &impl Store, days: u64) -> usize {
    let (mut rows, mut after) = (0, Position::default());
    loop {
        let chunk = store.purge_log(log_past(TENANT, days, after, &[])).await.unwrap();
        assert!(chunk.rows <= PURGE_ROWS_MAX && chunk.through >= after && chunk.held.is_none());
        rows += chunk.rows;
        after = chunk.through;
        if !chunk.more {
            return rows;
        }
    }
}

/// All that is older.
pub(crate) async fn purge_all(store: &impl Store, days: u64) {
    for what in Purgeable::ALL {
        purge(store, what, days).await;
    }
    purge_log(store, days).await;
}

async fn one(store: &impl Store, of: &Committed) -> Option<v1::Delivery> {
    store.delivery(TENANT, of.first.delivery_id, true).await.unwrap()
}

pub(crate) async fn what_is_past_its_retention_goes_and_no_more(backend: &impl Backend) {
    let store = backend.open().await;
    let mut kept = Vec::new();
    for (days, uid) in [(100, "u1"), (50, "u2"), (10, "u3")] {
        kept.extend(commit_aged(&store, days, &[created(uid, 1)]).await);
    }
    let before = read(&store, "u1").await.unwrap();
    assert_eq!(store.watermarks(TENANT).await.unwrap(), Watermarks::default());

    assert_eq!(purge(&store, Purgeable::Bodies, 30).await, 2);
    assert_eq!(purge(&store, Purgeable::Bodies, 30).await, 0, "once");
    let bodies = Position(kept[1].first.position.0);
    assert_eq!(store.watermarks(TENANT).await.unwrap(), Watermarks { bodies, ..Watermarks::default() });
    let told: Vec<_> = deliveries(&store).await.iter().map(|delivery| delivery.raw_body_purged).collect();
    assert_eq!(told, [true, true, false]);
    let (gone, there) = (one(&store, &kept[1]).await.unwrap(), one(&store, &kept[2]).await.unwrap());
    assert_eq!((gone.raw_body_purged, gone.raw_body.len(), gone.body_size > 0), (true, 0, true));
    assert_eq!((there.raw_body_purged, there.raw_body), (false, created("u3", 1).body));

    assert_eq!(purge(&store, Purgeable::Deliveries, 90).await, 1);
    assert!(one(&store, &kept[0]).await.is_none() && one(&store, &kept[1]).await.is_some());
    let line = timeline(&store, "u1").await.remove(0);
    assert_eq!((line.outcome(), line.delivery_id.as_str(), line.trigger), (Applied, "", 0), "as long as its change");
    assert_eq!(line.transition.unwrap().kind(), v1::TransitionKind::Appeared);

    assert_eq!(purge_log(&store, 90).await, 1);
    assert_eq!(timeline(&store, "u1").await, []);
    assert_eq!(timeline(&store, "u2").await.len(), 1);
    assert_eq!(read(&store, "u1").await.unwrap(), before, "bookings stay");
    let first = kept[0].first.position;
    assert_eq!(store.watermarks(TENANT).await.unwrap(), Watermarks { bodies, deliveries: first, transitions: first });
}

pub(crate) async fn a_line_stays_as_long_as_its_delivery_or_its_transition(backend: &impl Backend) {
    let store = backend.open().await;
    let uid = "u1";
    commit_aged(&store, 100, &[created(uid, 1), created(uid, 2), recording(uid, 3)]).await;
    let clock = Arc::new(ClockPolicies { otherwise: Some(Duration::ZERO), ..ClockPolicies::default() });
    let round =
        ClockRound { keys: vec![(TENANT.into(), uid.to_owned())], now: NOW - 99 * DAY, clock, trace_id: String::new() };
    assert_eq!(store.hear_clock(round).await.unwrap().len(), 1);
    let told = async || -> Vec<_> {
        let entries = timeline(&store, uid).await;
        entries.iter().map(|line| (line.source(), line.outcome(), line.transition.is_some())).collect()
    };
    let (webhook, by_clock) = (TransitionSource::Webhook, TransitionSource::Clock);
    assert_eq!(
        told().await,
        [
            (webhook, Applied, true),
            (webhook, NoChange, false),
            (webhook, Recorded, false),
            (by_clock, v1::SubmitOutcome::Unspecified, true)
        ]
    );
    assert_eq!(purge_log(&store, 90).await, 2);
    assert_eq!(told().await, [(webhook, Applied, false), (webhook, NoChange, false), (webhook, Recorded, false)]);
    assert_eq!(purge(&store, Purgeable::Deliveries, 90).await, 3);
    assert_eq!(told().await, []);
}

pub(crate) async fn a_purge_comes_in_bounded_chunks_that_a_crash_may_part(backend: &impl Backend) {
    let mut store = backend.open().await;
    let webhooks: Vec<_> = (0..600).map(|n| created(&format!("u{n}"), n)).collect();
    for round in webhooks.chunks(100) {
        commit_aged(&store, 100, round).await;
    }
    commit_aged(&store, 1, &[created("young", 1)]).await;
    // Whatever ended the process, the next one goes on where the last chunk was committed.
    let again = async |store, chunks: &[usize]| {
        drop(store);
        let store = backend.open().await;
        commit_aged(&store, 0, &[created("meanwhile", i64::try_from(chunks.len()).unwrap())]).await;
        store
    };
    for what in Purgeable::ALL {
        let mut chunks = Vec::new();
        loop {
            let Purged { rows, more } = store.purge(past(TENANT, what, 90)).await.unwrap();
            chunks.push(rows);
            if !more {
                break;
            }
            store = again(store, &chunks).await;
        }
        assert_eq!(chunks, [PURGE_ROWS_MAX, PURGE_ROWS_MAX, 600 - 2 * PURGE_ROWS_MAX], "{what:?}");
    }
    let mut chunks = Vec::new();
    loop {
        // From its beginning: how far a walk had come, nobody knows any more.
        let purge = log_past(TENANT, 90, Position::default(), &[]);
        let LogPurged { rows, more, .. } = store.purge_log(purge).await.unwrap();
        chunks.push(rows);
        if !more {
            break;
        }
        store = again(store, &chunks).await;
    }
    assert_eq!(chunks, [PURGE_ROWS_MAX, PURGE_ROWS_MAX, 600 - 2 * PURGE_ROWS_MAX]);
    assert_eq!(timeline(&store, "u599").await, []);
    assert_eq!(timeline(&store, "young").await.len(), 1);
    assert!(read(&store, "u599").await.is_some());
}

pub(crate) async fn rounds_are_committed_while_a_purge_runs(backend: &impl Backend) {
    let store = backend.open().await;
    for n in 0..10 {
        let round: Vec<_> = (0..100).map(|m| created(&format!("u{}", 100 * n + m), 1)).collect();
        commit_aged(&store, 100, &round).await;
    }
    // Copies of what is being purged among them.
    let rounds = async {
        let mut told = BTreeSet::new();
        for n in 0..60 {
            let copy = created(&format!("u{}", 15 * n), 1);
            let round = commit_aged(&store, 0, &[created(&format!("v{n}"), n), copy, cancelled("u999", n)]).await;
            told.extend(round.iter().map(|committed| committed.first.position));
            assert!([Duplicate, NoChange].contains(&round[1].outcome), "{:?}", round[1].outcome);
        }
        told
    };
    let (told, ()) = tokio::join!(rounds, purge_all(&store, 90));
    assert!(told.len() > 60);
    assert_eq!(purge(&store, Purgeable::Deliveries, 90).await, 0);
    for n in 0..60 {
        assert_eq!(timeline(&store, &format!("v{n}")).await.len(), 1);
    }
}

pub(crate) async fn tenants_are_purged_apart(backend: &impl Backend) {
    let store = backend.open().await;
    for n in 0..5 {
        let foreign = Webhook { tenant: "other", ..created(&format!("u{n}"), n) };
        commit_aged(&store, 100, &[created(&format!("u{n}"), n), foreign]).await;
    }
    let ping = webhook(v1::Trigger::Ping, 5, Some(v1::booking_event::Payload::Ping(v1::PingPayload::default())));
    commit_aged(&store, 1, &[Webhook { tenant: "zoo", ..ping }]).await;
    let (mut tenants, mut behind) = (Vec::new(), String::new());
    while let Some(next) = store.next_tenant(&behind).await.unwrap() {
        behind.clone_from(&next);
        tenants.push(next);
    }
    assert_eq!(tenants, [TENANT, "other", "zoo"]);

    purge_all(&store, 90).await;
    assert_eq!(deliveries(&store).await, []);
    assert_eq!(store.watermarks("other").await.unwrap(), Watermarks::default());
    let kept = store.deliveries("other", None, 10).await.unwrap();
    assert!(kept.len() == 5 && kept.iter().all(|(_, delivery)| !delivery.raw_body_purged));
    for n in 0..5 {
        let lines = store.timeline("other", &format!("u{n}"), Position::default(), 10).await.unwrap();
        assert!(lines.len() == 1 && lines[0].1.transition.is_some());
    }
}

pub(crate) async fn a_late_copy_of_a_purged_delivery_is_no_change(backend: &impl Backend) {
    let store = backend.open().await;
    let life = [created("u1", 1), rescheduled("u2", "u1", 2), cancelled("u2", 3), recording("u2", 4), unparsed(b"?")];
    let first = commit_aged(&store, 100, &life).await;
    assert_eq!(outcomes(&first), [Applied, Applied, Applied, Recorded, Unparsed]);
    purge(&store, Purgeable::Bodies, 30).await;
    purge(&store, Purgeable::Deliveries, 90).await;
    let seen = async |store: &_| (read(store, "u1").await, read(store, "u2").await);
    let before = seen(&store).await;
    let changes = async |store: &_| {
        let entries = [timeline(store, "u1").await, timeline(store, "u2").await].concat();
        entries.into_iter().filter_map(|line| line.transition).collect::<Vec<_>>()
    };
    let log = changes(&store).await;
    assert_eq!(log.len(), 4);
    store.close().await;
    drop(store);
    let states = backend.states().await;

    let store = backend.open().await;
    let again = commit(&store, &life).await;
    assert_eq!(outcomes(&again), [NoChange, NoChange, NoChange, Recorded, Unparsed]);
    assert!(again.iter().all(|late| late.transitions.is_empty()));
    assert_eq!((seen(&store).await, changes(&store).await), (before, log));
    assert_eq!(outcomes(&commit(&store, &life).await), [Duplicate; 5], "and is known from then on");
    store.close().await;
    drop(store);
    assert_eq!(backend.states().await, states, "byte for byte");
}

pub(crate) async fn transitions_wait_for_their_readers(backend: &impl Backend) {
    let store = backend.open().await;
    let first = commit_aged(&store, 400, &[created("u1", 1)]).await[0].first.position;
    let foreign = Webhook { tenant: "other", ..created("u1", 1) };
    commit_aged(&store, 120, &[foreign]).await;
    let second = commit_aged(&store, 100, &[cancelled("u1", 2)]).await[0].first.position;
    commit_aged(&store, 80, &[created("u2", 2)]).await;
    assert_eq!(store.floors(None).await.unwrap(), BTreeMap::new());
    let start = Position::default();
    let unread = |floor| log_past(TENANT, 90, start, &[(TENANT, floor)]);
    let year = LogPurge { period: CONSUMER_LAG_MAX, ..unread(start) };
    let held = store.purge_log(unread(start)).await.unwrap();
    assert_eq!((held.rows, held.held, held.through, held.more), (0, Some(first), second, false));
    assert_eq!(store.purge_log(year.clone()).await.unwrap().rows, 1, "for a year at the most");
    assert_eq!(store.watermarks(TENANT).await.unwrap().transitions, first);
    assert_eq!(store.purge_log(year).await.unwrap().rows, 0);
    assert_eq!(store.purge_log(unread(first)).await.unwrap().held, Some(second));
    assert_eq!(store.purge_log(unread(second)).await.unwrap().rows, 1);
    let lines = store.timeline("other", "u1", start, 10).await.unwrap();
    assert!(lines.len() == 1 && lines[0].1.transition.is_some());
}

pub(crate) async fn deliveries_wait_for_who_reads_them(backend: &impl Backend) {
    let store = backend.open().await;
    let first = commit_aged(&store, 400, &[recording("u1", 1)]).await[0].first.position;
    let second = commit_aged(&store, 100, &[recording("u2", 2)]).await[0].first.position;
    commit_aged(&store, 95, &[created("u3", 3)]).await;
    let with = |floor| Purge { floor: Some(floor), ..past(TENANT, Purgeable::Deliveries, 90) };
    let purged = |rows| Purged { rows, more: false };
    assert_eq!(store.purge(with(Position(0))).await.unwrap(), purged(1), "for a year at the most");
    assert_eq!(store.watermarks(TENANT).await.unwrap().deliveries, first);
    assert_eq!(store.purge(with(first)).await.unwrap(), purged(0));
    assert_eq!(store.purge(with(second)).await.unwrap(), purged(1));
    assert_eq!(store.watermarks(TENANT).await.unwrap().deliveries, second);
    assert_eq!(purge(&store, Purgeable::Deliveries, 90).await, 1, "and for nobody where nobody reads");
}

pub(crate) async fn the_journal_goes_on_behind_what_was_purged(backend: &impl Backend) {
    let store = backend.open().await;
    let foreign = Webhook { tenant: "other", ..created("w", 1) };
    commit_aged(&store, 100, &(0..20).map(|n| created(&format!("u{n}"), n)).collect::<Vec<_>>()).await;
    commit_aged(&store, 100, &[foreign]).await;
    commit_aged(&store, 100, &(20..40).map(|n| created(&format!("u{n}"), n)).collect::<Vec<_>>()).await;
    commit_aged(&store, 1, &[created("young", 1)]).await;
    purge(&store, Purgeable::Bodies, 30).await;
    for (tenant, expected) in [(None, vec!["w", "young"]), (Some(TENANT), vec!["young"]), (Some("other"), vec!["w"])] {
        let (mut read, mut after) = (Vec::new(), Position::default());
        loop {
            let page = store.journal(tenant.map(str::to_owned), after, 4).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            after = *last;
            read.extend(page.into_iter().map(|(_, delivery)| {
                assert!(!delivery.raw_body.is_empty());
                delivery.booking_uid
            }));
        }
        assert_eq!(read, expected, "{tenant:?}");
    }
    purge(&store, Purgeable::Bodies, 0).await;
    assert_eq!(store.journal(Some(TENANT.to_owned()), Position::default(), 4).await.unwrap(), []);
}

pub(crate) async fn a_row_knows_before_which_delivery_nothing_spoke_of_it(backend: &impl Backend) {
    let store = backend.open().await;
    let kept = unparsed(b"an old word");
    let first = commit(&store, std::slice::from_ref(&kept)).await.remove(0).first;
    commit(&store, &[created("u0", 1)]).await;
    commit(&store, &[created("u1", 1)]).await;
    let began = async |uid: &str| store.row((TENANT.into(), uid.to_owned())).await.unwrap().unwrap().first;
    assert!(began("u1").await > first.position);
    // It spoke of it before anybody understood it.
    let meant = rescheduled("u2", "u1", 5).delivery();
    let delivery = NewDelivery { delivery_id: first.delivery_id, ..meant };
    let replay = Replay { delivery, dry_run: false, now: NOW + 5, clock: Arc::default() };
    assert_eq!(store.replay(replay).await.unwrap().unwrap().outcome, Applied);
    assert_eq!((began("u1").await, began("u2").await), (first.position, first.position));
    assert!(began("u0").await > first.position);
}
