//! `PostgreSQL` servers that are set otherwise than we would, or fall silent where nobody expects it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use calbridge_e2e::wait;
use calbridge_proto::v1::SubmitOutcome::*;
use calbridge_service::store::{
    Store, StoreError,
    postgres::{Options, PostgresStore},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::{postgres::Server, support::*};

/// From now on the server refuses this where a setting has another value.
fn demand(server: &Server, what: &str, (setting, value): (&str, &str)) {
    let _ = server.0.query(&format!(
        "CREATE FUNCTION demand() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('{setting}') <> '{value}' THEN RAISE '{setting} is not {value}'; END IF;
            RETURN NEW; END $$;
        CREATE TRIGGER demand BEFORE {what} FOR EACH ROW EXECUTE FUNCTION demand()"
    ));
}

#[tokio::test]
async fn commits_are_synchronous_where_the_database_says_otherwise() {
    let server = Server::default();
    let _ = server.0.query("ALTER DATABASE postgres SET synchronous_commit = off");
    let store = server.open().await;
    demand(&server, "INSERT ON deliveries", ("synchronous_commit", "on"));
    assert_eq!(outcomes(&commit(&store, &[created("u1", 1)]).await), [Applied]);
}

#[tokio::test]
async fn commits_stay_synchronous_when_the_server_changes_its_mind() {
    let server = Server::default();
    let store = server.open().await;
    commit(&store, &[created("u1", 1)]).await;
    server.0.set(&[("synchronous_commit", "off")]).await;
    demand(&server, "INSERT ON deliveries", ("synchronous_commit", "on"));
    assert_eq!(outcomes(&commit(&store, &[created("u2", 1)]).await), [Applied], "on a connection of before");
}

#[tokio::test]
async fn a_probe_writes_as_a_round_does() {
    let server = Server::default();
    let store = server.open().await;
    demand(&server, "UPDATE ON probe", ("transaction_isolation", "read committed"));
    let _ = server.0.query(
        "ALTER DATABASE postgres SET default_transaction_isolation = serializable;
        ALTER DATABASE postgres SET default_transaction_read_only = on",
    );
    // What is said of a database holds for new connections.
    server.0.cut_connections();
    commit(&store, &[created("u1", 1)]).await;
    store.probe().await.unwrap();
}

#[tokio::test]
async fn a_role_that_may_make_no_tables_is_enough_for_those_that_are_there() {
    let server = Server::default();
    drop(server.open().await);
    let _ = server.0.query(
        "CREATE ROLE worker LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker;
        REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    );
    let url = server.0.url().replacen("postgres://postgres", "postgres://worker", 1);
    assert!(url.contains("worker"), "{url}");
    let store = PostgresStore::open(&url, Options::default()).await.unwrap();
    assert_eq!(outcomes(&commit(&store, &[created("u1", 1)]).await), [Applied]);
}

/// Carries connections to a server. While it stalls, a new one is let in, and what its client says then is heard by
/// nobody.
async fn stalling(server: SocketAddr, stalls: Arc<AtomicBool>) -> SocketAddr {
    const READY: &[u8] = b"Z\0\0\0\x05I";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut there = TcpStream::connect(server).await.unwrap();
            let stalls = stalls.load(Ordering::SeqCst);
            tokio::spawn(async move {
                if stalls {
                    let mut said = [0; 8_192];
                    let length = client.read(&mut said).await.unwrap();
                    there.write_all(&said[..length]).await.unwrap();
                    loop {
                        let length = there.read(&mut said).await.unwrap();
                        client.write_all(&said[..length]).await.unwrap();
                        if said[..length].ends_with(READY) {
                            return std::future::pending().await;
                        }
                    }
                }
                // However it ends.
                let _ = copy_bidirectional(&mut client, &mut there).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_lets_in_and_says_nothing_more_holds_nobody_up_for_long() {
    let server = Server::default();
    let stalls = Arc::new(AtomicBool::new(false));
    let address = stalling(server.0.address(), Arc::clone(&stalls)).await;
    let store = PostgresStore::open(&server.0.url_by(address), Options::default()).await.unwrap();
    commit(&store, &[created("u1", 1)]).await;
    stalls.store(true, Ordering::SeqCst);
    server.0.cut_connections();
    for _ in 0..2 {
        let failed = wait::within("the round is given up", store.commit(batch(&[cancelled("u1", 2)]))).await;
        assert!(matches!(failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
    }
    stalls.store(false, Ordering::SeqCst);
    assert_eq!(outcomes(&commit(&store, &[cancelled("u1", 2)]).await), [Applied]);
}

#[tokio::test]
async fn a_host_that_falls_silent_is_left_for_the_next() {
    let server = Server::default();
    let silent = [false, true].map(|stalls| Arc::new(AtomicBool::new(stalls)));
    let first = stalling(server.0.address(), Arc::clone(&silent[0])).await;
    let second = stalling(server.0.address(), Arc::clone(&silent[1])).await;
    let url = server.0.url_by(first).replacen(&first.to_string(), &format!("{first},{second}"), 1);
    let store = PostgresStore::open(&url, Options::default()).await.unwrap();
    commit(&store, &[created("u1", 1)]).await;
    for (time, which) in (2..).zip([0, 1, 0]) {
        silent[which].store(true, Ordering::SeqCst);
        silent[1 - which].store(false, Ordering::SeqCst);
        server.0.cut_connections();
        // The first round may meet the end of its connection.
        let _ = store.commit(batch(&[created(&format!("cut{time}"), time)])).await;
        let uid = format!("u{time}");
        assert_eq!(outcomes(&commit(&store, &[created(&uid, time)]).await), [Applied], "{which} is silent");
    }
}

#[tokio::test]
async fn telemetry_names_the_schema_that_is_worked_in() {
    let server = Server::default();
    let _ = server.0.query("CREATE SCHEMA bookings; ALTER DATABASE postgres SET search_path = bookings");
    let shown = format!("{:?}", server.open().await);
    assert!(shown.contains("namespace: \"postgres|bookings\""), "{shown}");
}
