//! Slowloris: sockets beyond all places that say nothing, or little, or do not listen.

use std::{sync::Arc, time::Duration};

use calbridge_e2e::{
    siege::{attack, raise_open_files},
    system::{Plan, SECRET, TENANT},
    webhook::{SIGNATURE, sign},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{MARK, Siege, TIME};

/// More than twice as many as there are places.
const SOCKETS: usize = 2_400;
/// Ways to be slow; as many sockets of each.
const KINDS: usize = 4;
/// Between two bytes.
const PAUSE: Duration = Duration::from_secs(1);
/// Who was sent away comes back after it: the attack is of those who stay, and not of those who come.
const BACK: Duration = Duration::from_millis(500);
/// Connections that are being opened at once; the system's queue is the honest sender's as well.
const OPENING: usize = 64;
/// What one that is slow holds: its task, a small buffer, and what the allocator rounds up to.
const HELD_EACH: u64 = 48 * 1024;
/// The places that there are by default.
const PLACES: u64 = 1_024;

#[tokio::test]
async fn thousands_of_slow_sockets_shut_nobody_out() {
    raise_open_files();
    let siege = Siege::begin(Plan::new()).await;
    let edge = siege.system.adapter.listening().http();
    let opening = Arc::new(Semaphore::new(OPENING));
    attack(SOCKETS, TIME * 2, |attacker| {
        let opening = Arc::clone(&opening);
        async move {
            let place = opening.acquire_owned().await.unwrap();
            // Half of them are at the address of the honest sender, as behind one proxy.
            let connected =
                if attacker % 8 < KINDS { TcpStream::connect(edge).await } else { Siege::stranger(edge).await };
            drop(place);
            if let Ok(socket) = connected {
                dawdle(socket, attacker % KINDS).await;
            }
            sleep(BACK).await;
        }
    })
    .await;
    let page = siege.system.adapter_metrics().await;
    let closed = page.sum("calbridge_edge_refusals_total", &["calbridge_limit=\"connections\""]);
    assert!(closed > 500.0, "{closed} made room");
    siege.lift("thousands of slow sockets", PLACES * HELD_EACH).await.service.stop().await;
}

/// Until the other side has had enough.
async fn dawdle(mut socket: TcpStream, kind: usize) {
    let body = format!("{MARK} and nothing more comes");
    let signature = sign(SECRET, body.as_bytes());
    let head = format!(
        "POST /webhooks/calcom/{TENANT} HTTP/1.1\r\nHost: {MARK}\r\nContent-Length: 5000\r\n\
         {SIGNATURE}: {signature}\r\n"
    );
    match kind {
        // Never a word.
        0 => {}
        // A head that never ends.
        1 => trickle(&mut socket, head.as_bytes()).await,
        // A body that never ends.
        2 => {
            let _ = socket.write_all(format!("{head}\r\n").as_bytes()).await;
            trickle(&mut socket, body.as_bytes()).await;
        }
        // Answers that nobody reads: a request is small, and what the system keeps of answers is not.
        _ => {
            let request = format!("GET /{MARK} HTTP/1.1\r\nHost: {MARK}\r\n\r\n").repeat(8);
            while timeout(PAUSE, socket.write_all(request.as_bytes())).await.is_ok_and(|sent| sent.is_ok()) {
                sleep(PAUSE / 2).await;
            }
            return;
        }
    }
    let _ = socket.read(&mut [0]).await;
}

async fn trickle(socket: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if socket.write_all(&[*byte]).await.is_err() {
            return;
        }
        sleep(PAUSE).await;
    }
}
