//! What consumers gave up on.

use calbridge_proto::v1;
use calbridge_service::store::{
    Consumer, ConsumerChoices, ConsumerCommand, ConsumerKey, ConsumerOutcome, LogEntry, Outgoing, Position, Purgeable,
    Said, Store,
};

use crate::{
    consume::*,
    retention::{commit_aged, purge, purge_all, purge_log},
    support::*,
};

pub(crate) async fn dead_letters_are_replayed_and_deleted(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    let webhooks: Vec<_> = (1..=5).map(|n| created(&format!("u{n}"), n)).collect();
    commit(&store, &webhooks).await;
    let parked = park(&store, "c", 4).await;
    let at = positions(&parked);
    let letters = store.dead_letters(key("c"), Position(0), 10).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.position).collect::<Vec<_>>(), at);
    assert!(letters.iter().all(|letter| letter.reason == "no\u{e9}"));

    let replay = |positions| ConsumerCommand::ReplayDeadLetters(positions, NOW);
    assert_eq!(command(&store, "c", replay(vec![at[1], at[2], Position(999)])).await, ConsumerOutcome::Counted(2));
    assert_eq!(command(&store, "c", replay(vec![at[1]])).await, ConsumerOutcome::Counted(0), "once");
    assert_eq!(counts(&store, "c").await, (0, 3, 2), "the fifth waits, too");
    let again = turn(&store, "c", Vec::new(), 2, NOW).await;
    assert_eq!((uids(&again.out), again.out[0].deliveries), (vec!["u2", "u3"], 1));
    assert_eq!(again.cursor, Position(at[1].0 - 1), "the cursor goes back for them");
    let said = vec![(again.out[0].delivery, Said::Ack), (again.out[1].delivery, Said::Park("never".to_owned()))];
    let fifth = turn(&store, "c", said, 10, NOW + 1).await;
    assert_eq!(uids(&fifth.out), ["u5"]);
    let letters = store.dead_letters(key("c"), Position(0), 10).await.unwrap();
    let told: Vec<_> = letters.iter().map(|letter| (letter.position, letter.reason.as_str())).collect();
    assert_eq!(told, [(at[0], "no\u{e9}"), (at[2], "never"), (at[3], "no\u{e9}")]);
    assert_eq!(letters[1].entry, parked[2].entry);

    let delete = |positions| ConsumerCommand::DeleteDeadLetters(positions);
    assert_eq!(command(&store, "c", delete(vec![at[0], at[1]])).await, ConsumerOutcome::Counted(1));
    assert_eq!(command(&store, "c", delete(Vec::new())).await, ConsumerOutcome::Counted(2));
    assert_eq!(counts(&store, "c").await, (1, 0, 0));
}

pub(crate) async fn a_dead_letter_holds_its_booking_where_it_is_to(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", ConsumerChoices { blocks: true, ..choices() }).await;
    commit(&store, &[created("u1", 1), created("u2", 2), cancelled("u1", 3)]).await;
    park(&store, "c", 1).await;
    let others = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!(uids(&others.out), ["u2"]);
    let _ = turn(&store, "c", say(&others.out, &Said::Ack), 10, NOW).await;
    let all = ConsumerCommand::ReplayDeadLetters(Vec::new(), NOW);
    assert_eq!(command(&store, "c", all).await, ConsumerOutcome::Counted(1));
    let again = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!(uids(&again.out), ["u1"]);
    let next = turn(&store, "c", say(&again.out, &Said::Ack), 10, NOW).await;
    assert_eq!(uids(&next.out), ["u1"], "the cancellation waited for it");
}

pub(crate) async fn a_dead_letter_holds_what_comes_later(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", ConsumerChoices { blocks: true, ..choices() }).await;
    commit(&store, &[created("u1", 1), created("u2", 2)]).await;
    park(&store, "c", 2).await;
    commit(&store, &[cancelled("u1", 3), created("u3", 4), cancelled("u2", 5)]).await;
    let others = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!(uids(&others.out), ["u3"], "as they are scanned");
    let none = turn(&store, "c", say(&others.out, &Said::Ack), 10, NOW).await;
    assert_eq!((uids(&none.out), counts(&store, "c").await), (vec![], (0, 2, 2)), "and when they have waited");
    let first = store.dead_letters(key("c"), Position(0), 1).await.unwrap()[0].position;
    let _ = command(&store, "c", ConsumerCommand::DeleteDeadLetters(vec![first])).await;
    assert_eq!(uids(&turn(&store, "c", Vec::new(), 10, NOW).await.out), ["u1"]);
}

pub(crate) async fn a_dead_letter_that_is_out_again_by_a_seek_goes_out_once(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    commit(&store, &[created("u1", 1), created("u2", 2)]).await;
    let parked = park(&store, "c", 2).await;
    let _ = command(&store, "c", ConsumerCommand::Seek(Position(0), NOW)).await;
    let out = turn(&store, "c", Vec::new(), 1, NOW).await.out;
    assert_eq!(uids(&out), ["u1"]);
    let replay = ConsumerCommand::ReplayDeadLetters(Vec::new(), NOW);
    assert_eq!(command(&store, "c", replay).await, ConsumerOutcome::Counted(2));
    assert_eq!(counts(&store, "c").await, (1, 1, 0), "the letters are what is out and waits");
    let acked = turn(&store, "c", say(&out, &Said::Ack), 10, NOW).await;
    assert_eq!((acked.lost, uids(&acked.out)), (vec![], vec!["u2"]));
    let done = turn(&store, "c", say(&acked.out, &Said::Ack), 10, NOW).await;
    assert_eq!((done.cursor, counts(&store, "c").await), (store.head().await.unwrap(), (0, 0, 0)));
    assert!(done.cursor >= parked[1].delivery.position);
}

pub(crate) async fn a_dead_letter_outlives_the_log(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", ConsumerChoices { recorded: true, ..choices() }).await;
    commit_aged(&store, 100, &[created("u1", 1), recording("u2", 2), created("u3", 3)]).await;
    let parked = park(&store, "c", 3).await;
    assert!(matches!(parked[1].entry, LogEntry::Recorded(_)));
    assert_eq!(purge_log(&store, 90).await, 2, "the deliveries are still there");
    let replay = || ConsumerCommand::ReplayDeadLetters(Vec::new(), NOW);
    assert_eq!(command(&store, "c", replay()).await, ConsumerOutcome::Counted(3));
    let entries = |out: &[Outgoing]| out.iter().map(|out| out.entry.clone()).collect::<Vec<_>>();
    let again = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!(entries(&again.out), entries(&parked));

    purge_all(&store, 90).await;
    let _ = turn(&store, "c", say(&again.out, &Said::Park("again".to_owned())), 0, NOW).await;
    let letters = store.dead_letters(key("c"), Position(0), 10).await.unwrap();
    let kept: Vec<_> = letters.into_iter().map(|letter| letter.entry).collect();
    assert_eq!(kept, entries(&parked));
    assert_eq!(command(&store, "c", replay()).await, ConsumerOutcome::Counted(3));
    let last = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!(entries(&last.out), entries(&parked), "with the body that is gone elsewhere");
    let done = turn(&store, "c", say(&last.out, &Said::Ack), 10, NOW).await;
    assert_eq!((done.cursor, counts(&store, "c").await), (store.head().await.unwrap(), (0, 0, 0)));
}

pub(crate) async fn what_was_purged_while_it_waited_holds_nothing_up(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", ConsumerChoices { recorded: true, max_deliveries: 1, ..choices() }).await;
    commit_aged(&store, 100, &[recording("u1", 1), recording("u2", 2), created("u3", 3), recording("u4", 4)]).await;
    let first = turn(&store, "c", Vec::new(), 1, NOW).await;
    assert_eq!(uids(&first.out), ["u1"]);
    assert_eq!(counts(&store, "c").await, (1, 3, 0));
    purge(&store, Purgeable::Bodies, 90).await;
    purge(&store, Purgeable::Deliveries, 90).await;
    let on = turn(&store, "c", Vec::new(), 10, NOW).await;
    assert_eq!(uids(&on.out), ["u3"], "transitions wait for their readers");
    // Out for the last time.
    let over = NOW + 30 * SECOND;
    let done = turn(&store, "c", say(&on.out, &Said::Ack), 10, over).await;
    assert_eq!((done.out.len(), done.cursor), (0, store.head().await.unwrap()));
    assert_eq!(counts(&store, "c").await, (0, 0, 0));
}

pub(crate) async fn pages_of_consumers_and_dead_letters_skip_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let names = ["A", "a", "a-b", "b", "\u{e9}"];
    for name in names {
        create(&store, name, choices()).await;
    }
    // Before and behind those of the tenant, in the order of all.
    let others: Vec<ConsumerKey> = ["aaa", "zzz"].map(|tenant| (tenant.into(), "a".to_owned())).into();
    for key in &others {
        let other = Consumer { key: key.clone(), ..new("a", choices()) };
        store.command_consumer(key.clone(), ConsumerCommand::Create(Box::new(other))).await.unwrap();
    }
    let mut all: Vec<ConsumerKey> = names.map(key).into_iter().chain(others).collect();
    all.sort();
    for (tenant, wanted) in [(Some(TENANT.to_owned()), names.map(key).to_vec()), (None, all)] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.consumers(tenant.clone(), after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.consumer.key.clone());
            seen.extend(page.into_iter().map(|status| status.consumer.key));
        }
        assert_eq!(seen, wanted);
    }
    assert_eq!(store.consumers(Some("nobody".to_owned()), None, 10).await.unwrap(), []);

    let large = |n: i64| {
        booking(v1::Trigger::BookingCreated, &format!("u{n:03}"), n, |payload| {
            payload.description = "d".repeat(250_000);
        })
    };
    let small = |n: i64| created(&format!("u{n:03}"), n);
    for round in 0..15 {
        let webhooks: Vec<_> = (round * 10..round * 10 + 10).map(if round < 4 { large } else { small }).collect();
        commit(&store, &webhooks).await;
    }
    let mut parked = Vec::new();
    while parked.len() < 150 {
        let out = turn(&store, "a", Vec::new(), 100, NOW).await.out;
        let _ = turn(&store, "a", say(&out, &Said::Park(String::new())), 0, NOW).await;
        parked.extend(positions(&out));
    }
    for limit in [50, 200] {
        let (mut seen, mut after, mut pages) = (Vec::new(), Position(0), 0);
        loop {
            let page = store.dead_letters(key("a"), after, limit).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.position;
            pages += 1;
            seen.extend(page.into_iter().map(|letter| letter.position));
        }
        assert_eq!(seen, parked);
        assert!(pages > 150_usize.div_ceil(limit), "large ones make short pages: {pages} of {limit}");
    }
}

pub(crate) async fn a_consumer_says_since_when_it_is_behind(backend: &impl Backend) {
    let store = backend.open().await;
    create(&store, "c", choices()).await;
    create(&store, "all", ConsumerChoices { recorded: true, ..choices() }).await;
    let since = async |name: &str| status(&store, name).await.behind_since;
    assert_eq!((since("c").await, since("all").await), (None, None));
    for (days, uid) in [(3, "u1"), (2, "u2")] {
        commit_aged(&store, days, &[created(uid, 1)]).await;
    }
    let days_ago = |days| Some(NOW - days * DAY);
    assert_eq!(since("c").await, days_ago(3), "nobody has looked yet");
    let out = turn(&store, "c", Vec::new(), 2, NOW).await.out;
    assert_eq!(since("c").await, days_ago(3), "what is out is not settled");
    let _ = turn(&store, "c", say(&out[1..], &Said::Ack), 0, NOW).await;
    assert_eq!(since("c").await, days_ago(3), "nor is the first where only the second is");
    let _ = turn(&store, "c", say(&out[..1], &Said::Ack), 0, NOW).await;
    assert_eq!(since("c").await, None);

    let out = turn(&store, "all", Vec::new(), 2, NOW).await.out;
    let _ = turn(&store, "all", say(&out, &Said::Ack), 0, NOW).await;
    commit_aged(&store, 1, &[recording("u1", 9)]).await;
    let received = since("all").await.unwrap();
    assert_eq!(since("c").await, None, "what it does not ask for is nothing to it");
    let out = turn(&store, "all", Vec::new(), 2, NOW).await.out;
    assert_eq!((out.len(), since("all").await), (1, Some(received)));
    let parked = turn(&store, "all", say(&out, &Said::Park(String::new())), 0, NOW).await;
    assert_eq!((parked.parked, since("all").await), (1, None), "a dead letter is settled");
}
