//! Much of it: the process stays as it was, and nobody who is in the right is refused.

use std::sync::Arc;

use bytes::Bytes;
use calbridge_e2e::{
    system::{Plan, SECRET, TENANT},
    webhook::{SIGNATURE, Sender},
};
use hyper::Method;
use tokio::task::JoinSet;

use super::{FILES, created, is_answered_as_documented, settle, table};

/// How often each line of the table is played before and while the process is watched.
const WARM_UP: usize = 10;
const ROUNDS: usize = 60;
const AT_ONCE: usize = 8;
/// What the allocator may keep; a leak of one body or one connection a round is far more.
const GROWTH: u64 = 24 * 1024 * 1024;
/// Each brings a body of 1 MiB: far more together than the process may hold.
const CONNECTIONS: u64 = 400;
/// What a connection reads ahead of the budget: a buffer that is being filled, and one that is given away.
const READ_BUFFER: u64 = 2 * 128 * 1024;

#[tokio::test]
async fn hundreds_of_rounds_of_bad_input_leave_nothing_behind() {
    let mut system = Plan::new().start().await;
    let edge = system.adapter.listening().http();
    let cases = Arc::new(table::quick());
    let play = |rounds: usize| {
        let cases = Arc::clone(&cases);
        async move {
            let mut players = JoinSet::new();
            for _ in 0..AT_ONCE {
                let cases = Arc::clone(&cases);
                players.spawn(async move {
                    for _ in 0..rounds {
                        // What is accepted is a duplicate from the second time on.
                        for case in cases.iter().filter(|case| !matches!(case.answer, table::Answer::Outcome(_))) {
                            is_answered_as_documented(edge, case).await;
                        }
                    }
                });
            }
            while let Some(player) = players.join_next().await {
                player.unwrap();
            }
        }
    };
    play(WARM_UP).await;
    settle(&system.adapter, usize::MAX).await;
    let (bytes, files) = (system.adapter.resident_bytes(), system.adapter.open_files());
    play(ROUNDS).await;
    settle(&system.adapter, files + FILES).await;
    let now = system.adapter.resident_bytes();
    assert!(now < bytes + GROWTH, "the adapter grew from {bytes} to {now} bytes");
    let good = system.sender().send(TENANT, SECRET, created("afterwards")).await;
    assert_eq!(good.outcome(), "applied");
    system.stop().await;
}

#[tokio::test]
async fn sixty_four_connections_at_full_speed_are_never_refused() {
    let mut system = Plan::new().start().await;
    let edge = system.adapter.listening().http();
    let mut senders = JoinSet::new();
    for connection in 0..64 {
        senders.spawn(async move {
            let sender = Sender::new(edge);
            for number in 0..20 {
                let answer = sender.send(TENANT, SECRET, created(&format!("full{connection}x{number}"))).await;
                assert_eq!(answer.outcome(), "applied", "connection {connection}, webhook {number}");
            }
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
    assert_eq!(system.api().all_deliveries(TENANT).await.len(), 64 * 20);
    system.stop().await;
}

#[tokio::test]
async fn a_flood_of_large_unsigned_bodies_is_bounded() {
    let budget = 8 * 1024 * 1024;
    let mut system = Plan::new().adapter("--in-flight-bytes", budget.to_string()).start().await;
    let edge = system.adapter.listening().http();
    let before = system.adapter.resident_bytes();
    let mut senders = JoinSet::new();
    let body = Bytes::from(vec![b'x'; 1024 * 1024]);
    let wrong = "0".repeat(64);
    for _ in 0..CONNECTIONS {
        let (body, wrong) = (body.clone(), wrong.clone());
        senders.spawn(async move {
            let headers = [(SIGNATURE, wrong.as_str())];
            let sent = Sender::new(edge).request(Method::POST, "/webhooks/calcom/default", &headers, body).await;
            // A refusal may close the connection while the body is still being written.
            sent.map_or(0, |answer| answer.status.as_u16())
        });
    }
    let (mut most, mut refused) = (before, 0);
    while let Some(status) = senders.join_next().await {
        let status = status.unwrap();
        assert!([0, 401, 503].contains(&status), "{status}");
        refused += u32::from(status == 401);
        most = most.max(system.adapter.resident_bytes());
    }
    let allowed = before + 2 * budget + CONNECTIONS * READ_BUFFER + GROWTH;
    assert!(most < allowed, "{CONNECTIONS} MiB of forged bodies took the adapter from {before} to {most} bytes");
    println!("{refused} of {CONNECTIONS} were read to their end; {before} to {most} bytes");
    assert_eq!(system.sender().send(TENANT, SECRET, created("afterwards")).await.outcome(), "applied");
    assert_eq!(system.api().all_deliveries(TENANT).await.len(), 1);
    system.stop().await;
}
