//! What was sent and what was promised, and the comparison with what is stored.

use std::{collections::BTreeMap, path::Path};

use calbridge_e2e::{
    program::Start,
    system::{System, TENANT},
    wait,
};
use rusqlite::{Connection, OpenFlags};

use super::{
    flow::{Answered, Sent},
    said,
};

/// What each body was answered, by its SHA-256; with it the uid.
#[derive(Debug, Default)]
pub(super) struct Books {
    sent: BTreeMap<Vec<u8>, (String, Answered)>,
}

/// What is stored: how often each body is.
type Stored = BTreeMap<Vec<u8>, i64>;

impl Books {
    pub(super) fn enter(&mut self, sent: Vec<Sent>) {
        self.sent.extend(sent.into_iter().map(|(body, uid, answered)| (body, (uid, answered))));
    }

    pub(super) fn count(&self, answered: Answered) -> usize {
        self.sent.values().filter(|(_, found)| *found == answered).count()
    }

    /// Compares with the store as it is now; it may run.
    pub(super) fn compare(&self, data: &Path, when: &str) {
        let stored = stored(data);
        let (lost, kept) = (self.missing(&stored), self.count(Answered::Kept));
        assert!(lost.is_empty(), "{} of {kept} that were promised are lost {when}: {lost:?}", lost.len());
        assert!(stored.values().all(|count| *count == 1), "a body is stored twice {when}");
        assert!(stored.keys().all(|body| self.sent.contains_key(body)), "what nobody sent is stored {when}");
    }

    /// Waits until all that was promised is stored.
    pub(super) async fn arrive(&self, data: &Path) {
        let arrived = || std::future::ready(self.missing(&stored(data)).is_empty().then_some(()));
        wait::until("all that was promised is stored", arrived).await;
    }

    /// Waits until all that was promised is stored, ends both programs, and looks at everything that they leave.
    pub(super) async fn close(&self, mut system: System) {
        self.arrive(&system.data()).await;
        let spool = system.spool();
        if spool.is_dir() {
            let depth = || async { system.adapter_metrics().await.sum("calbridge_spool_depth", &[]) };
            wait::until("the spool is empty", || async { (depth().await == 0.0).then_some(()) }).await;
        }
        let bookings = system.api().all_bookings(TENANT).await.len();
        system.stop().await;
        said(&system.adapter);
        said(&system.service);
        self.compare(&system.data(), "in the end");
        assert_eq!(bookings, stored(&system.data()).len(), "each body has a booking of its own");
        let damage: String = open(&system.data()).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(damage, "ok");
        if spool.is_dir() {
            let status = Start::new("calbridge").arg("spool").arg("status").flag("--output", "json");
            let status = status.flag("--spool-dir", &spool).run().await;
            let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
            assert_eq!((&status["events"], &status["unreadable"]), (&0.into(), &0.into()), "{status}");
        }
        let [kept, refused, not] = [Answered::Kept, Answered::Refused, Answered::Not].map(|what| self.count(what));
        println!("{kept} kept, {refused} refused, {not} without an answer");
    }

    /// The uids of what was promised and is not stored.
    fn missing(&self, stored: &Stored) -> Vec<&str> {
        let promised = self.sent.iter().filter(|(_, (_, answered))| *answered == Answered::Kept);
        promised.filter(|(body, _)| !stored.contains_key(*body)).map(|(_, (uid, _))| uid.as_str()).collect()
    }
}

fn open(data: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(data.join("calbridge.db"), flags).unwrap();
    database.busy_timeout(wait::PATIENCE).unwrap();
    database
}

fn stored(data: &Path) -> Stored {
    // A delivery whose identity is its body's sum has that sum once.
    const SELECT: &str = "SELECT coalesce(body_sha256, identity) AS body, count(*) FROM deliveries GROUP BY body";
    let database = open(data);
    let mut select = database.prepare(SELECT).unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}
