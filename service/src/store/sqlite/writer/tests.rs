use std::{path::Path, sync::Arc};

use uuid::Uuid;

use super::*;
use crate::store::{
    DeliveryKey, Identity, NewDelivery, PackedBody,
    sqlite::{file, schema, syncer::Log},
};

fn worker(folder: &Path) -> Worker {
    let claimed = file::claim(&folder.join("calbridge.db")).unwrap();
    let path = claimed.path.clone();
    let connection = schema::open(&path, Options::default()).unwrap();
    let young = Arc::<Young>::default();
    let merger = Merger::start(path.clone(), |_| None).unwrap();
    let desk = Desk::of(connection, &path, Options::default(), &young).unwrap();
    let names = NameReader::start(path.clone(), Arc::clone(&young)).unwrap();
    let checkpointer = Checkpointer::start(path.clone(), Options::default(), Gate::default()).unwrap();
    Worker {
        desk: Some(desk),
        young,
        path,
        options: Options::default(),
        packer: Packer::new(),
        // A test outlives a disk that fails.
        syncer: Syncer::start(Position::default(), |_| {}).unwrap(),
        merger,
        checkpointer,
        names,
        claimed,
    }
}

fn batch() -> Batch {
    let identity = Identity::Request(Uuid::from_u128(1));
    let delivery = NewDelivery {
        key: DeliveryKey { tenant: Arc::from("acme"), time: 0, identity },
        delivery_id: Uuid::from_u128(2),
        event: Box::default(),
        is_typed: false,
        body_sha256: [0; 32],
        booking_uid: None,
        facts: Vec::new(),
        leaves_siblings_silent: false,
        packed: PackedBody::default(),
        trace_id: String::new(),
    };
    Batch { deliveries: vec![delivery], ..Batch::default() }
}

/// What the syncer says of what was done.
fn stored<T: Send + 'static>(worker: &Worker, done: Result<(T, Position), StoreError>) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    worker.answer(done, None, reply);
    answer.blocking_recv().unwrap()
}

fn commit(worker: &mut Worker, batch: &Batch) -> Result<Vec<Committed>, StoreError> {
    let done = worker.change(|desk, packer| commit::commit(desk, packer, batch));
    stored(worker, done)
}

fn probe(worker: &mut Worker, now: Instant) -> Result<(), StoreError> {
    let (reply, answer) = oneshot::channel();
    worker.probe(now, reply);
    answer.blocking_recv().unwrap()
}

fn number(worker: &mut Worker, select: &str) -> i64 {
    worker.with(|desk, _| Ok(desk.connection.query_row(select, [], |row| row.get(0))?)).unwrap()
}

fn probes(worker: &mut Worker) -> i64 {
    number(worker, "SELECT count FROM probe")
}

#[test]
fn a_panic_costs_its_command_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let answer: Result<(), StoreError> = worker.with(|desk, _| {
        desk.connection.execute_batch("BEGIN IMMEDIATE; UPDATE probe SET count = 4711").unwrap();
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
    let at = worker.syncer.stored().at().unwrap();
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

#[test]
fn what_failed_is_not_among_the_young() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let failed: Result<(), _> = worker.with(|desk, _| {
        desk.settler.add(&Arc::from("acme"), "u1");
        Err(StoreError::unavailable("told so by the test"))
    });
    failed.unwrap_err();
    let ((), young) = worker.young.at(|| Ok(())).unwrap();
    let found = worker.with(|desk, _| young.number(&desk.connection, "acme", "u1"));
    assert_eq!(found.unwrap(), None);
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
    let log = worker.desk.as_mut().unwrap().log.replace(unwaitable()).unwrap();
    let done = worker.change(|connection, packer| commit::commit(connection, packer, &batch()));
    let failed = stored(&worker, done).unwrap_err();
    assert!(failed.to_string().contains("the disk did not take the write-ahead log"), "{failed}");
    assert!(worker.syncer.stored().at().is_none());
    // A wait that would succeed says nothing of what was dropped before.
    worker.desk.as_mut().unwrap().log = Some(log);
    commit(&mut worker, &batch()).unwrap_err();
}

#[test]
fn what_is_on_its_way_to_the_disk_is_not_said_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let worker = worker(folder.path());
    let answer = |log| {
        let (reply, answer) = oneshot::channel();
        worker.syncer.store((log, Position(7)), None, move |stored| reply.send(stored).unwrap());
        answer.blocking_recv().unwrap()
    };
    answer(unwaitable()).unwrap_err();
    assert_eq!(worker.syncer.stored().through(), Position(0));

    let other = Syncer::start(Position(3), |_| {}).unwrap();
    let (reply, answer) = oneshot::channel();
    let log = syncer::open_log(&worker.path).unwrap();
    other.store((log, Position(7)), None, move |stored| reply.send(stored).unwrap());
    answer.blocking_recv().unwrap().unwrap();
    assert_eq!(other.stored().through(), Position(7));
}

#[test]
fn what_is_given_up_does_not_move_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    commit(&mut worker, &batch()).unwrap();
    let length = |path: &Path| std::fs::metadata(file::log_path(path)).map(|log| log.len()).unwrap_or_default();
    let before = length(&worker.path);
    assert!(before > 0);
    let failed: Result<(), _> = worker.with(|_, _| Err(StoreError::unavailable("told so by the test")));
    failed.unwrap_err();
    assert_eq!(length(&worker.path), before, "closing says nothing of a disk that refuses");
}

#[test]
fn the_log_belongs_to_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let log = |worker: &Worker| worker.desk.as_ref().and_then(|desk| desk.log.clone());
    let first = log(&worker).unwrap();
    commit(&mut worker, &batch()).unwrap();
    let failed: Result<(), _> = worker.with(|_, _| Err(StoreError::unavailable("told so by the test")));
    failed.unwrap_err();
    assert!(!Arc::ptr_eq(&first, &log(&worker).unwrap()), "the next connection's log may be another file");
}
