use std::{path::Path, sync::Arc};

use calbridge_proto::v1;
use uuid::Uuid;

use super::*;
use crate::store::{DeliveryKey, Identity, NewDelivery, sqlite::file};

fn worker(folder: &Path) -> Worker {
    let claimed = file::claim(&folder.join("calbridge.db")).unwrap();
    let path = claimed.path.clone();
    let connection = Some(schema::open(&path, Options::default()).unwrap());
    let merger = Merger::start(path.clone(), |_| None).unwrap();
    let checkpointer = Checkpointer::start(path.clone(), Options::default()).unwrap();
    Worker {
        connection,
        path,
        options: Options::default(),
        packer: Packer::new(),
        log: None,
        syncer: Syncer::start().unwrap(),
        merger,
        checkpointer,
        claimed,
    }
}

fn batch() -> Batch {
    let identity = Identity::Request(Uuid::from_u128(1));
    let delivery = NewDelivery {
        key: DeliveryKey { tenant: Arc::from("acme"), time: 0, identity },
        delivery_id: Uuid::from_u128(2),
        event: v1::BookingEvent::default(),
        body_sha256: [0; 32],
        booking_uid: None,
        facts: Vec::new(),
        leaves_siblings_silent: false,
        trace_id: String::new(),
    };
    Batch { deliveries: vec![delivery], ..Batch::default() }
}

/// What the syncer says of what was done.
fn stored<T: Send + 'static>(worker: &mut Worker, done: Result<T, StoreError>) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    worker.answer(done, None, reply);
    answer.blocking_recv().unwrap()
}

fn commit(worker: &mut Worker, batch: &Batch) -> Result<Vec<Committed>, StoreError> {
    let done = worker.change(|connection, packer| commit::commit(connection, packer, batch));
    stored(worker, done)
}

fn probe(worker: &mut Worker, now: Instant) -> Result<(), StoreError> {
    let (reply, answer) = oneshot::channel();
    worker.probe(now, reply);
    answer.blocking_recv().unwrap()
}

fn number(worker: &mut Worker, select: &str) -> i64 {
    worker.with(|connection, _| Ok(connection.query_row(select, [], |row| row.get(0))?)).unwrap()
}

fn probes(worker: &mut Worker) -> i64 {
    number(worker, "SELECT count FROM probe")
}

#[test]
fn a_panic_costs_its_command_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let answer: Result<(), StoreError> = worker.with(|connection, _| {
        connection.execute_batch("BEGIN IMMEDIATE; UPDATE probe SET count = 4711").unwrap();
        panic!("told so by the test");
    });
    assert!(matches!(answer, Err(StoreError::Damaged { .. })), "{answer:?}");
    assert!(probes(&mut worker) < 4711, "what it had begun is undone");
    probe(&mut worker, Instant::now()).unwrap();
    assert_eq!(commit(&mut worker, &batch()).unwrap().len(), 1);
}

#[test]
fn a_probe_writes_unless_something_was_just_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let begun = probes(&mut worker);
    probe(&mut worker, Instant::now()).unwrap();
    assert_eq!(probes(&mut worker), begun + 1, "nothing was stored before");
    commit(&mut worker, &batch()).unwrap();
    let at = worker.syncer.stored_at().unwrap();
    probe(&mut worker, at).unwrap();
    probe(&mut worker, at + PROBE_INTERVAL / 2).unwrap();
    assert_eq!(probes(&mut worker), begun + 1, "the round has shown it");
    probe(&mut worker, at + PROBE_INTERVAL).unwrap();
    assert_eq!(probes(&mut worker), begun + 2);
    let failed: Result<(), _> = worker.with(|_, _| Err(StoreError::unavailable("told so by the test")));
    failed.unwrap_err();
    probe(&mut worker, at).unwrap();
    assert_eq!(probes(&mut worker), begun + 3, "after a failure the round says nothing any more");
}

/// A file for which there is nothing to wait: the system refuses.
fn unwaitable() -> Log {
    Arc::new(std::fs::File::open("/dev/null").unwrap())
}

#[test]
fn what_the_disk_did_not_take_is_not_answered_as_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    commit(&mut worker, &batch()).unwrap();
    worker.log = Some(unwaitable());
    let done = worker.change(|connection, packer| commit::commit(connection, packer, &batch()));
    let failed = stored(&mut worker, done).unwrap_err();
    assert!(failed.to_string().contains("the disk did not take the write-ahead log"), "{failed}");
    assert!(worker.syncer.has_failed() && worker.syncer.stored_at().is_none());
    // A wait that succeeds afterwards says nothing of what was lost.
    let log = syncer::open_log(&worker.path).unwrap();
    let (reply, answer) = oneshot::channel();
    worker.syncer.store(Arc::clone(&log), None, move |stored| reply.send(stored).unwrap());
    answer.blocking_recv().unwrap().unwrap_err();

    // The next command finds it so, and moves all of the log into the file first.
    worker.log = Some(log);
    let wal = file::log_path(&worker.path);
    assert!(wal.metadata().unwrap().len() > 0);
    worker.with(|_, _| Ok(())).unwrap();
    assert_eq!(wal.metadata().unwrap().len(), 0);
    assert!(!worker.syncer.has_failed());
    commit(&mut worker, &batch()).unwrap();
    assert!(worker.syncer.stored_at().is_some());
}

#[test]
fn the_log_belongs_to_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    commit(&mut worker, &batch()).unwrap();
    assert!(worker.log.is_some());
    let failed: Result<(), _> = worker.with(|_, _| Err(StoreError::unavailable("told so by the test")));
    failed.unwrap_err();
    assert!(worker.log.is_none(), "the next connection's log may be another file");
    commit(&mut worker, &batch()).unwrap();
}
