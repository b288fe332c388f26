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
        committed: None,
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
    worker.probe(Instant::now()).unwrap();
    assert_eq!(worker.commit(&batch()).unwrap().len(), 1);
}

#[test]
fn a_probe_writes_unless_a_round_just_did() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = worker(folder.path());
    let begun = probes(&mut worker);
    worker.probe(Instant::now()).unwrap();
    assert_eq!(probes(&mut worker), begun + 1, "nothing was written before");
    worker.commit(&Batch::default()).unwrap();
    worker.probe(Instant::now()).unwrap();
    assert_eq!(probes(&mut worker), begun + 2, "an empty round says nothing of the disk");
    worker.commit(&batch()).unwrap();
    let at = worker.committed.unwrap();
    worker.probe(at).unwrap();
    worker.probe(at + PROBE_INTERVAL / 2).unwrap();
    assert_eq!(probes(&mut worker), begun + 2, "the round has shown it");
    worker.probe(at + PROBE_INTERVAL).unwrap();
    assert_eq!(probes(&mut worker), begun + 3);
    let failed: Result<(), _> = worker.with(|_, _| Err(StoreError::unavailable("told so by the test")));
    failed.unwrap_err();
    worker.probe(at).unwrap();
    assert_eq!(probes(&mut worker), begun + 4, "after a failure the round says nothing any more");
}
