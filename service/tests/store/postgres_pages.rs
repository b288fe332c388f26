//! How much `PostgreSQL` is asked for at a time where rows are large.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use calbridge_proto::v1::Trigger;
use calbridge_service::store::{
    BookingQuery, LogQuery, PAGE_BYTES_MAX, Position, Store,
    postgres::{Options, PostgresStore},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::{
    pages::{before_damage, behind_damage, noise},
    postgres::Server,
    support::*,
};

const MIB: usize = 1024 * 1024;

/// A way to the server on which what it says is counted.
async fn counted(server: SocketAddr, bytes: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut from_client, mut to_client) = listener.accept().await.unwrap().0.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
            tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
            let bytes = Arc::clone(&bytes);
            tokio::spawn(async move {
                let mut said = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = from_server.read(&mut said).await {
                    bytes.fetch_add(length, Ordering::SeqCst);
                    // However it ends.
                    let _ = to_client.write_all(&said[..length]).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn no_page_asks_for_more_bytes_than_it_may_need() {
    const BOOKINGS: i64 = 60;
    let server = Server::default();
    let said = Arc::new(AtomicUsize::new(0));
    let address = counted(server.0.address(), Arc::clone(&said)).await;
    let store = PostgresStore::open(&server.0.url_by(address), Options::default()).await.unwrap();
    // Each the successor of the one before it, and each changed by what the first is told again.
    for n in 0..BOOKINGS {
        let large = |uid: &str, from: &str| {
            booking(Trigger::BookingRescheduled, uid, n, |payload| {
                from.clone_into(&mut payload.reschedule_uid);
                payload.title = format!("told at {n}");
                payload.description = noise(n.unsigned_abs(), 300_000);
            })
        };
        commit(&store, &[large(&format!("u{:02}", n + 1), &format!("u{n:02}")), large("told", "")]).await;
    }
    let bytes = || said.swap(0, Ordering::SeqCst);
    bytes();

    let query = BookingQuery { limit: 2, ..by_start(Vec::new()) };
    assert_eq!(store.bookings(query.clone()).await.unwrap().bookings.len(), 2);
    let few = bytes();
    assert!(few < 5 * MIB, "two bookings took {few} bytes");
    let page = store.bookings(BookingQuery { limit: 1_000, ..query }).await.unwrap();
    assert!(page.next.is_some());
    let many = bytes();
    assert!(many < PAGE_BYTES_MAX + 2 * MIB, "a page took {many} bytes");

    let page = store.lineage(TENANT, "u30", 0).await.unwrap();
    assert!(page.more);
    let lineage = bytes();
    assert!(lineage < PAGE_BYTES_MAX + 2 * MIB, "a lineage took {lineage} bytes");

    let entries = store.timeline(TENANT, "told", Position::default(), 1_000).await.unwrap();
    assert!(entries.len() < 60);
    let timeline = bytes();
    assert!(timeline < PAGE_BYTES_MAX + 2 * MIB, "a timeline took {timeline} bytes");

    assert!(store.rows(None, None, 1_000).await.unwrap().more);
    let rows = bytes();
    assert!(rows < PAGE_BYTES_MAX + 2 * MIB, "rows took {rows} bytes");

    let query = LogQuery { tenant: TENANT.into(), after: Position::default(), filter: Arc::default(), recorded: false };
    assert!(store.log(query).await.unwrap().more);
    let log = bytes();
    assert!(log < 2 * MIB, "a page of the log took {log} bytes");
}

#[tokio::test]
async fn lists_leave_out_what_is_damaged() {
    // No row, and one that can't be unpacked.
    for state in ["'\\xff00ff'", "'\\x28b52ffd00'"] {
        let server = Server::default();
        let store = server.open().await;
        before_damage(&store).await;
        let _ = server.0.query(&format!("UPDATE bookings SET state = {state} WHERE uid IN ('u2', 'u4')"));
        behind_damage(&store).await;
    }
}
