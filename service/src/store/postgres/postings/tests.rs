use std::collections::BTreeMap;

use calbridge_e2e::{
    postgres::{Durability, Postgres},
    wait,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tokio_postgres::types::ToSql;

use super::{
    merge::{Claim, Left, claim, remove, work},
    source, walk, write,
};
use crate::store::{
    Micros,
    postgres::{
        Options, PostgresStore,
        connection::{Address, Connections, Lease, Role},
        head::Marks,
    },
    postings::{self, Direction, Entry, FAN, From, Met, Posting},
};

use super::*;

const TERMS: std::ops::Range<i64> = -3..4;
/// Blocks of no run.
const ORPHANS: &str = "SELECT count(*) FROM posting_blocks WHERE run NOT IN (SELECT run FROM posting_runs)";

/// A database whose store merges nothing by itself.
struct Rig {
    server: Postgres,
    _store: PostgresStore,
    connections: Connections,
}

impl Rig {
    async fn start() -> Self {
        let server = Postgres::start(Durability::Unsynced);
        let store = PostgresStore::open(&server.url(), Options::default()).await.unwrap();
        store.merger.close();
        let connections = Address::read(&server.url()).unwrap().connections(Role::Reader, 2).unwrap();
        Self { server, _store: store, connections }
    }

    async fn lease(&self) -> Lease {
        self.connections.lease().await.unwrap()
    }

    /// Runs of one level, one more than are merged; what they tell together.
    async fn fill(&self) -> BTreeMap<Posting, bool> {
        let (client, mut expected) = (self.lease().await, BTreeMap::new());
        for run in 0..=FAN {
            let told = entries(run);
            expected.extend(told.iter().map(|entry| (entry.posting.clone(), entry.finds)));
            fill(&client, told).await.unwrap();
        }
        client.give_back();
        expected
    }

    /// What lists tell, in each direction.
    async fn told(&self) -> BTreeMap<Posting, bool> {
        let client = self.lease().await;
        let lists = Lists::new(&client);
        let mut told = BTreeMap::new();
        for term in TERMS {
            let onward = all(&lists, term, From::Onward(Micros::MIN, None)).await;
            let mut backward = all(&lists, term, From::Backward(Micros::MAX, None)).await;
            backward.reverse();
            assert_eq!(onward, backward);
            told.extend(onward.into_iter().map(|Met { time, uid, finds }| (Posting { term, time, uid }, finds)));
        }
        drop(lists);
        client.give_back();
        told
    }

    fn query(&self, sql: &str) -> String {
        self.server.query(sql)
    }
}

async fn all(lists: &Lists<'_>, term: i64, from: From) -> Vec<Met> {
    let mut walk = lists.walk(term, from).await.unwrap();
    let mut met = Vec::new();
    while let Some(next) = walk.next().await.unwrap() {
        met.push(next);
    }
    met
}

/// Some blocks of them; every third is of each run, and found by every third one.
fn entries(run: usize) -> Vec<Entry> {
    let entry = |n: usize| {
        let shared = n.is_multiple_of(3);
        let term = TERMS.start + i64::try_from(n % 7).unwrap();
        // Some begin with another's name.
        let uid = if shared { format!("u{}", n / 10) } else { format!("u{}.{run}", n / 10) };
        let time = match n / 7 % 41 {
            0 => Micros::MIN,
            40 => Micros::MAX,
            time => Micros::try_from(time).unwrap(),
        };
        let posting = Posting { term, time, uid };
        Entry { posting, finds: !shared || (n / 3 + run).is_multiple_of(3), is_first: false }
    };
    (0..1_200).map(entry).collect()
}

#[tokio::test]
async fn every_statement_of_a_list_walks_an_index_from_its_place_on() {
    let rig = Rig::start().await;
    let client = rig.lease().await;
    let plan = async |sql: &str, values: &[&(dyn ToSql + Sync)]| -> String {
        let lines = client.query(&format!("EXPLAIN {sql}"), values).await.unwrap();
        lines.iter().map(|line| line.get::<_, String>(0) + "\n").collect()
    };
    let none: Vec<i64> = Vec::new();
    let place: [&(dyn ToSql + Sync); 3] = [&1_i64, &2_i64, &"u"];
    for direction in [Direction::Onward, Direction::Backward] {
        let first = plan(&walk::first(direction), &[place[0], place[1], place[2], &1_i64, &none]).await;
        let beyond = if direction == Direction::Onward { "<=" } else { "<" };
        let found = format!("Index Cond: ((run = r.run) AND (ROW(term, start_time, uid) {beyond} ROW(");
        assert!(first.contains(&found), "{first}");
        assert!(!first.contains("Seq Scan on posting_blocks"), "{first}");
        let more = plan(&source::more(direction), &[&7_i64, place[0], place[1], place[2], &8_i64]).await;
        assert!(
            more.contains("using posting_blocks_pkey") && more.contains("AND (ROW(term, start_time, uid) "),
            "{more}"
        );
        assert!(!more.contains("Sort"), "{more}");
    }
    let tail = plan(write::TAIL, &[&none]).await;
    assert!(tail.contains("using posting_tail_pkey") && tail.contains("Index Cond"), "{tail}");
}

#[tokio::test]
async fn merged_runs_tell_what_the_newest_of_them_told() {
    let rig = Rig::start().await;
    let mut expected = rig.fill().await;
    assert_eq!(rig.told().await, expected);
    work(&rig.connections).await.unwrap();
    // The newest was one too many.
    assert_eq!(rig.query("SELECT level, count(*) FROM posting_runs GROUP BY level ORDER BY level"), "1|1\n2|1");
    assert_eq!(rig.query(ORPHANS), "0");
    // No older run is left in which anything could be hidden: what finds nothing is gone from the merged one, and
    // stands in the one that is not merged.
    let newest: Vec<Posting> = entries(FAN).into_iter().map(|entry| entry.posting).collect();
    expected.retain(|posting, finds| *finds || newest.contains(posting));
    assert_eq!(rig.told().await, expected);
}

/// Whatever place it begins at, and while what it reads is merged and removed.
#[tokio::test]
async fn a_walk_begins_at_its_place_and_stays_in_its_state() {
    let rig = Rig::start().await;
    let expected = rig.fill().await;
    let client = rig.lease().await;
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1 FROM head").await.unwrap();
    let lists = Lists::new(&client);
    let name = prop_oneof![
        Just(None),
        Just(Some(String::new())),
        Just(Some("v".to_owned())),
        (0..120_usize).prop_map(|n| Some(format!("u{n}"))),
        (0..120_usize, 0..9_usize).prop_map(|(n, run)| Some(format!("u{n}.{run}"))),
    ];
    let time = prop_oneof![Just(Micros::MIN), Just(Micros::MAX), -1..41_i64];
    let place = (TERMS, time, name, any::<bool>());
    let mut runner = TestRunner::deterministic();
    for n in 0..120 {
        if n == 40 {
            work(&rig.connections).await.unwrap();
            assert_eq!(rig.query("SELECT count(*) FROM posting_runs"), "2", "the others are gone");
        }
        let (term, time, uid, onward) = place.new_tree(&mut runner).unwrap().current();
        let is_wanted = |posting: &&Posting| {
            let place = (posting.time, posting.uid.as_str());
            posting.term == term
                && match (&uid, onward) {
                    (Some(uid), true) => place > (time, uid),
                    (Some(uid), false) => place < (time, uid),
                    (None, true) => posting.time >= time,
                    (None, false) => posting.time <= time,
                }
        };
        let mut wanted: Vec<&Posting> = expected.keys().filter(is_wanted).collect();
        if !onward {
            wanted.reverse();
        }
        let from = if onward { From::Onward(time, uid.clone()) } else { From::Backward(time, uid.clone()) };
        let met = all(&lists, term, from.clone()).await;
        let met: Vec<Posting> = met.into_iter().map(|Met { time, uid, .. }| Posting { term, time, uid }).collect();
        assert_eq!(met.iter().collect::<Vec<_>>(), wanted, "{term}, {from:?}");
    }
}

#[tokio::test]
async fn who_removes_a_run_beside_another_leaves_nothing_of_it() {
    const WAITING: &str = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let rig = Rig::start().await;
    let (one, other) = (rig.lease().await, rig.lease().await);
    let entry =
        |n: i64| Entry { posting: Posting { term: n, time: 0, uid: format!("u{n}") }, finds: true, is_first: true };
    fill(&one, (0..40_000).map(entry).collect()).await.unwrap();
    let _ = rig.query("UPDATE posting_runs SET level = -2");
    // The other has come so far, and dies behind it.
    let removed = "DELETE FROM posting_blocks WHERE (term, start_time, uid) IN
        (SELECT term, start_time, uid FROM posting_blocks ORDER BY run, term, start_time, uid LIMIT 64)";
    other.batch_execute(&format!("BEGIN; {removed}")).await.unwrap();
    let dies = async {
        wait::until("it is waited for", async || other.query_opt(WAITING, &[]).await.unwrap()).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (done, ()) = tokio::join!(remove(&one, 1), dies);
    done.unwrap();
    let left = "SELECT (SELECT count(*) FROM posting_runs), (SELECT count(*) FROM posting_blocks)";
    assert_eq!(rig.query(left), "0|0");
}

#[tokio::test]
async fn defaults_of_the_database_do_not_reach_a_merge() {
    let rig = Rig::start().await;
    rig.fill().await;
    for default in ["default_transaction_isolation = 'serializable'", "default_transaction_read_only = on"] {
        let _ = rig.query(&format!("ALTER DATABASE postgres SET {default}"));
    }
    let connections = Address::read(&rig.server.url()).unwrap().connections(Role::Reader, 1).unwrap();
    assert_eq!(work(&connections).await.unwrap(), Left::Nothing);
    let levels = "SELECT level, count(*) FROM posting_runs GROUP BY level ORDER BY level";
    assert_eq!(rig.query(levels), "1|1\n2|1");
}

#[tokio::test]
async fn what_a_run_hides_in_an_older_one_stays_hidden_when_it_is_merged() {
    let rig = Rig::start().await;
    let mut expected = rig.fill().await;
    let _ = rig.query("UPDATE posting_runs SET level = 5 WHERE run = 1");
    work(&rig.connections).await.unwrap();
    assert_eq!(rig.query("SELECT level, count(*) FROM posting_runs GROUP BY level ORDER BY level"), "2|1\n5|1");
    let told = rig.told().await;
    expected.retain(|posting, _| told.contains_key(posting));
    assert_eq!(told, expected);
    assert!(told.values().any(|finds| !finds), "what hides is kept");
}

#[tokio::test]
async fn of_what_was_first_and_is_no_more_a_merge_leaves_nothing() {
    let rig = Rig::start().await;
    let client = rig.lease().await;
    let posting = |n: i64| Posting { term: 1, time: n, uid: format!("u{n}") };
    for run in 0..=i64::try_from(FAN).unwrap() {
        // The oldest run is of another level: something might be hidden in it.
        let new = (0..100).map(|n| Entry { posting: posting(1_000 * run + n), finds: true, is_first: true });
        let over = (0..100 * run.min(1)).map(|n| Entry {
            posting: posting(1_000 * run - 1_000 + n),
            finds: false,
            is_first: false,
        });
        fill(&client, new.chain(over).collect()).await.unwrap();
    }
    client.give_back();
    let _ = rig.query("UPDATE posting_runs SET level = 5 WHERE run = 1");
    work(&rig.connections).await.unwrap();
    let told = rig.told().await;
    // The last hundred is found, the first is hidden, and of the others nothing is left.
    let expected = (0..100).map(|n| (posting(n), false)).chain((0..100).map(|n| (posting(8_000 + n), true)));
    assert_eq!(told, expected.collect());
}

#[tokio::test]
async fn services_that_merge_at_once_make_one_run_of_each() {
    let rig = Rig::start().await;
    let before = rig.fill().await;
    let (one, other) = tokio::join!(work(&rig.connections), work(&rig.connections));
    one.and(other).unwrap();
    assert_eq!(rig.query("SELECT level, count(*) FROM posting_runs GROUP BY level ORDER BY level"), "1|1\n2|1");
    assert_eq!(rig.query("SELECT run FROM head"), (FAN + 2).to_string(), "one was made");
    assert_eq!(rig.query(ORPHANS), "0");
    let told = rig.told().await;
    assert!(before.iter().filter(|(_, finds)| **finds).all(|(posting, _)| told.contains_key(posting)));
}

#[tokio::test]
async fn whoever_has_written_nothing_for_a_while_is_given_up_and_shows_nothing() {
    let rig = Rig::start().await;
    let expected = rig.fill().await;
    let (slow, finds) = (rig.lease().await, |told: &BTreeMap<Posting, bool>| {
        told.iter().filter(|(_, finds)| **finds).map(|(posting, _)| posting.clone()).collect::<Vec<_>>()
    });
    let Claim::Merge(merge) = claim(&slow).await.unwrap() else { panic!("there is enough to merge") };
    assert_eq!(work(&rig.connections).await.unwrap(), Left::ToAnother);
    let levels = "SELECT level, count(*) FROM posting_runs GROUP BY level ORDER BY level";
    assert_eq!(rig.query(levels), format!("-1|1\n1|{}", FAN + 1), "it is left to the slow one");
    let _ = rig.query("UPDATE posting_runs SET touch_time = now() - INTERVAL '11 s' WHERE level = -1");
    work(&rig.connections).await.unwrap();
    assert_eq!(rig.query(levels), "1|1\n2|1");
    let told = rig.told().await;
    merge.make(&slow).await.unwrap();
    assert_eq!(rig.query(levels), "1|1\n2|1");
    assert_eq!(rig.query(ORPHANS), "0");
    assert_eq!(rig.told().await, told);
    assert_eq!(finds(&told), finds(&expected));
    slow.give_back();
}

#[tokio::test]
async fn whoever_writes_at_this_moment_is_not_given_up() {
    let rig = Rig::start().await;
    rig.fill().await;
    let (slow, writing) = (rig.lease().await, rig.lease().await);
    let Claim::Merge(_) = claim(&slow).await.unwrap() else { panic!("there is enough to merge") };
    let _ = rig.query(
        "UPDATE posting_runs SET touch_time = now() - INTERVAL '11 s' WHERE level = -1;
        INSERT INTO posting_blocks SELECT 10, term, start_time, uid, entries FROM posting_blocks WHERE run = 1",
    );
    let blocks = "SELECT count(*) > 0 FROM posting_blocks WHERE run = 10";
    writing.batch_execute("BEGIN; SELECT 1 FROM posting_runs WHERE level = -1 FOR UPDATE").await.unwrap();
    slow.give_back();
    assert_eq!(work(&rig.connections).await.unwrap(), Left::ToAnother);
    assert_eq!(rig.query(blocks), "t");
    writing.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(work(&rig.connections).await.unwrap(), Left::Nothing);
    assert_eq!(rig.query(blocks), "f");
}

#[tokio::test]
async fn a_merge_whose_runs_are_no_more_what_they_were_is_not_shown() {
    let rig = Rig::start().await;
    rig.fill().await;
    let lease = rig.lease().await;
    let Claim::Merge(merge) = claim(&lease).await.unwrap() else { panic!("there is enough to merge") };
    let _ = rig.query("UPDATE posting_runs SET level = 2 WHERE run = 1");
    merge.make(&lease).await.unwrap();
    let levels = "SELECT level, count(*) FROM posting_runs GROUP BY level ORDER BY level";
    assert_eq!(rig.query(levels), format!("-1|1\n1|{FAN}\n2|1"));
    lease.give_back();
}

#[tokio::test]
async fn a_full_tail_becomes_a_run_and_is_gone() {
    let rig = Rig::start().await;
    let lease = rig.lease().await;
    let mut marks = Marks { start: 0, end: 0, entries: 0, run: 0 };
    let mut expected = BTreeMap::new();
    for run in 0..4 {
        let mut told = entries(run);
        postings::sort(&mut told);
        expected.extend(told.iter().map(|entry| (entry.posting.clone(), entry.finds)));
        let postings = Postings::plan(&lease, marks, told).await.unwrap();
        assert_eq!(postings.has_sorted(), run == 3, "4 times 1,200 are more than {TAIL_MAX}");
        postings.write_run(&lease).await.unwrap();
        for (number, entries) in (marks.end + 1..).zip(&postings.tail) {
            let insert = "INSERT INTO posting_tail (number, entries) VALUES ($1, $2)";
            lease.execute(insert, &[&number, entries]).await.unwrap();
        }
        marks = postings.marks;
        let update = "UPDATE head SET tail_start = $1, tail_end = $2, tail_entries = $3, run = $4";
        lease.execute(update, &[&marks.start, &marks.end, &marks.entries, &marks.run]).await.unwrap();
        assert_eq!(rig.told().await, expected);
    }
    assert_eq!((marks.start, marks.entries, marks.run), (marks.end, 0, 1));
    assert_eq!(rig.query("SELECT count(*) FROM posting_tail"), "0");
    lease.give_back();
}
