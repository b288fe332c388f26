//! Floods of webhooks that nobody signed, that are signed with another secret, or that are for nobody: small ones by
//! the hundred a second, and the largest that are read.

use std::{fs, path::Path, time::Duration};

use calbridge_e2e::{
    siege::attack,
    system::{Plan, SECRET, TENANT},
    webhook::{SIGNATURE, sign},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

use super::{MARK, Siege, TIME};

/// At once.
const SENDERS: usize = 16;
/// Of these send as much as is read of one body.
const LARGE: usize = 4;
const LARGE_BODY: usize = 1024 * 1024;
/// After each: the edge is tested here, and not who gets more of the processor.
const REST: Duration = Duration::from_millis(20);
/// What may be kept of what is refused: the least that can be said.
const KEPT: u64 = 64 * 1024 * 1024;
/// What one address may have of it.
const SHARE: u64 = 8;
/// A file is removed when it is full, or old: one of it may be beyond what is kept.
const SLACK: u64 = 4 * 1024 * 1024;

#[tokio::test]
async fn floods_of_forged_webhooks_cost_what_they_may() {
    let siege = Siege::begin(Plan::new().adapter("--quarantine-bytes", KEPT.to_string())).await;
    let edge = siege.system.adapter.listening().http();
    attack(SENDERS, TIME, |attacker| async move {
        let Ok(mut socket) = Siege::stranger(edge).await else { return };
        for number in 0.. {
            if socket.write_all(&forged(attacker, number)).await.is_err() || !is_refused(&mut socket).await {
                return;
            }
            sleep(REST).await;
        }
    })
    .await;
    let refused = siege.system.adapter_metrics().await;
    let counted = |result: &str| refused.sum("calbridge_quarantine_refused_total", &[&format!("=\"{result}\"")]);
    assert!(counted("kept") > 10.0 && counted("over_budget") > 10.0, "{}", refused.text());
    assert!(counted("unknown_tenant") > 10.0, "{}", refused.text());
    let spool = siege.system.spool();
    let mut system = siege.lift("floods of forged webhooks", 0).await;
    let kept = bytes_below(&spool);
    assert!(kept < KEPT / SHARE + SLACK, "{kept} bytes are left on the disk");
    assert!(system.service.ended().is_none());
    system.service.stop().await;
}

/// One of a kind.
fn forged(attacker: usize, number: u64) -> Vec<u8> {
    let mut body = format!("{{\"triggerEvent\":\"{MARK}\",\"n\":[{attacker},{number}]}}").into_bytes();
    if attacker < LARGE {
        body.resize(LARGE_BODY, b' ');
    }
    let (tenant, header) = match number % 3 {
        0 => (TENANT, String::new()),
        1 => (TENANT, format!("{SIGNATURE}: {}\r\n", sign("another secret", &body))),
        _ => ("nobody", format!("{SIGNATURE}: {}\r\n", sign(SECRET, &body))),
    };
    let length = body.len();
    let head =
        format!("POST /webhooks/calcom/{tenant} HTTP/1.1\r\nHost: {MARK}\r\nContent-Length: {length}\r\n{header}\r\n");
    [head.as_bytes(), &body].concat()
}

/// Whether it was answered as a forged one is, and the connection goes on.
async fn is_refused(socket: &mut tokio::net::TcpStream) -> bool {
    let mut answer = [0; 1024];
    let Ok(count) = socket.read(&mut answer).await else { return false };
    let text = String::from_utf8_lossy(&answer[..count]);
    assert!(text.is_empty() || ["401", "503"].iter().any(|status| text.starts_with(&format!("HTTP/1.1 {status} "))));
    text.starts_with("HTTP/1.1 401 ")
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let size = |entry: fs::DirEntry| match entry.metadata().unwrap() {
        about if about.is_dir() => bytes_below(&entry.path()),
        about => about.len(),
    };
    entries.map(size).sum()
}
