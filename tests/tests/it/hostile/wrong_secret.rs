//! A wrong secret that stands for a while at Cal.com's usual rate, with its later tries and with forgers from
//! elsewhere, and is then set right in its file: one command brings in what was refused meanwhile.
//!
//! The while is short. `CALBRIDGE_WRONG_SECRET_SECONDS=300` makes it five minutes, as
//! `cargo nextest run --workspace -E 'test(wrong_secret)' --no-capture` shows them.

use std::{fs, net::IpAddr, sync::Arc, time::Duration};

use calbridge_e2e::{
    program::Start,
    system::{Plan, SECRET, TENANT},
    wait,
    webhook::{Sender, created, sha256},
};
use tempfile::TempDir;
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, interval, sleep, sleep_until},
};

use super::STRANGER;

/// How long the secret is the wrong one, in seconds.
const SECONDS: &str = "CALBRIDGE_WRONG_SECRET_SECONDS";
/// Where nobody says it.
const SECONDS_USUAL: u32 = 5;
/// Four authentic webhooks a second, of one tenant.
const AUTHENTIC: Duration = Duration::from_millis(250);
/// Twenty forged ones a second: twice of what is kept of one address.
const FORGED: Duration = Duration::from_millis(50);
/// When Cal.com tries again, of the time that the secret is the wrong one: within two minutes of five.
const AGAIN: [f64; 3] = [0.02, 0.1, 0.4];

/// What was sent, and answered 401 the first time.
#[derive(Default)]
struct Refused {
    authentic: Vec<Vec<u8>>,
    forged: usize,
    /// Authentic ones that a later try has brought in already.
    accepted: usize,
}

#[tokio::test]
async fn a_wrong_secret_that_is_set_right_has_lost_nothing() {
    let seconds = std::env::var_os(SECONDS).map_or(SECONDS_USUAL, |text| text.to_str().unwrap().parse().unwrap());
    let wrong_for = Duration::from_secs(seconds.into());
    let folder = TempDir::new().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "typed wrong").unwrap();
    let plan = Plan::new().tenant(TENANT, &format!("file:{}", secret.to_str().unwrap()));
    let mut system = plan.with_spool().start().await;
    let edge = system.adapter.listening().http();
    let refused = Arc::new(Mutex::new(Refused::default()));
    let (end, mut tries) = (Instant::now() + wrong_for, JoinSet::new());

    let (mut authentic, mut forged) = (interval(AUTHENTIC), interval(FORGED));
    let (cal_com, stranger) = (system.sender(), Sender::from(IpAddr::from(STRANGER), edge));
    for number in 0.. {
        tokio::select! {
            _ = authentic.tick() => {
                let (sender, refused) = (cal_com.clone(), Arc::clone(&refused));
                tries.spawn(send_authentic(sender, number, wrong_for, refused));
            }
            _ = forged.tick() => {
                let (sender, refused) = (stranger.clone(), Arc::clone(&refused));
                tries.spawn(async move {
                    let answer = sender.send(TENANT, "guessed", created(&format!("forged{number}"))).await;
                    assert_eq!(answer.status, 401);
                    refused.lock().await.forged += 1;
                });
            }
            () = sleep_until(end) => break,
        }
    }
    fs::write(&secret, SECRET).unwrap();
    let right = || async { (cal_com.send(TENANT, SECRET, created("right")).await.status == 200).then_some(()) };
    wait::until("the right secret is in force, without a restart", right).await;
    tries.join_all().await;
    let counted = system.adapter_metrics().await;
    let count = |result: &str| counted.sum("calbridge_quarantine_refused_total", &[&format!("=\"{result}\"")]);

    let replay = Start::new("calbridge").arg("quarantine").arg("replay");
    let replay = replay.flag("--spool-dir", system.spool()).flag("--config", system.config());
    let replay = replay.flag("--service", format!("http://{}", system.service.listening().grpc()));
    let began = Instant::now();
    let ended = replay.run().await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let Refused { authentic, forged, accepted } = &*refused.lock().await;
    println!(
        "{seconds} s: {} authentic webhooks refused at first, {accepted} of them taken in by a later try, {forged} \
         forged; kept {}, copies {}, over the budget {}; in {:?}: {}",
        authentic.len(),
        count("kept"),
        count("copy"),
        count("over_budget"),
        began.elapsed(),
        ended.stdout.trim()
    );
    let mut stored: Vec<_> = system.api().all_deliveries(TENANT).await;
    stored.retain(|delivery| delivery.body_sha256 != sha256(&created("right")));
    let mut stored: Vec<_> = stored.into_iter().map(|delivery| delivery.body_sha256).collect();
    let mut sent: Vec<_> = authentic.iter().map(|body| sha256(body)).collect();
    stored.sort_unstable();
    sent.sort_unstable();
    assert!(stored == sent, "{} are in the store, {} were authentic", stored.len(), sent.len());
    system.stop().await;
}

/// Sends one as Cal.com does: again, a few times, for as long as it is refused.
async fn send_authentic(sender: Sender, number: u32, wrong_for: Duration, refused: Arc<Mutex<Refused>>) {
    let body = created(&format!("authentic{number}"));
    let first = sender.send(TENANT, SECRET, body.clone()).await;
    assert_eq!(first.status, 401);
    refused.lock().await.authentic.push(body.clone());
    let mut waited = Duration::ZERO;
    for part in AGAIN {
        let due = wrong_for.mul_f64(part);
        sleep(due.saturating_sub(waited)).await;
        waited = due;
        let answer = sender.send(TENANT, SECRET, body.clone()).await;
        if answer.status == 200 {
            refused.lock().await.accepted += 1;
            return;
        }
        assert_eq!(answer.status, 401);
    }
}
