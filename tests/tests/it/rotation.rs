//! Rotation of secrets in the built programs: by an edit of the config file, while webhooks flow. There is a spool, so
//! that a service which is slow on a busy machine refuses none of them.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use calbridge_e2e::{
    program::Program,
    system::{self, Plan, SECRET, System, TENANT},
    wait,
    webhook::{Sender, created},
};
use hyper::StatusCode;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The secret after the rotation; the one before is [`SECRET`].
const NEXT: &str = "whsec_after_the_rotation_7b21";

/// An end that is near, and yet behind the look that finds it: two looks are less than 3 s apart.
const SHORTLY: Duration = Duration::from_secs(8);

/// Webhooks that one secret signs, one after the other, until it is told to stop.
struct Flow {
    stop: Arc<AtomicBool>,
    sending: JoinHandle<Vec<StatusCode>>,
}

impl Flow {
    fn start(edge: SocketAddr, secret: &'static str, prefix: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sending = tokio::spawn(async move {
            let (sender, mut statuses) = (Sender::new(edge), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let body = created(&format!("{prefix}{}", statuses.len()));
                statuses.push(sender.send(TENANT, secret, body).await.status);
            }
            statuses
        });
        Self { stop, sending }
    }

    /// What each was answered; there were some.
    async fn end(self) -> Vec<StatusCode> {
        self.stop.store(true, Ordering::Relaxed);
        let statuses = wait::within("the flow ends", self.sending).await.unwrap();
        assert!(!statuses.is_empty());
        statuses
    }
}

fn write(system: &System, secrets: &str) {
    let text = format!("[tenants.{TENANT}]\nsecrets = [{secrets}]\ncomplete_by_clock = false\n");
    fs::write(system.config(), text).unwrap();
}

/// Waits until a secret lets in.
async fn accepted(edge: SocketAddr, tenant: &str, secret: &str) {
    let sender = Sender::new(edge);
    let sent = || async { sender.send(tenant, secret, created("probe")).await.status.is_success().then_some(()) };
    wait::until("the secret lets in", sent).await;
}

/// Waits until it does not.
async fn refused(edge: SocketAddr, secret: &str) {
    let sender = Sender::new(edge);
    let sent = || async { (sender.send(TENANT, secret, created("probe")).await.status == 401).then_some(()) };
    wait::until("the secret lets in no more", sent).await;
}

async fn said(program: &Program, line: &str) {
    wait::until(line, || async { program.stderr().contains(line).then_some(()) }).await;
}

fn no_secret_is_shown(program: &Program) {
    for secret in [SECRET, NEXT] {
        assert!(!program.stderr().contains(secret) && !program.stdout().contains(secret));
    }
}

#[tokio::test]
async fn a_secret_is_rotated_while_webhooks_flow() {
    let mut system = Plan::new().with_spool().start().await;
    let edge = system.adapter.listening().http();
    let before = Flow::start(edge, SECRET, "before");
    let both = format!(r#"{{ secret = "{SECRET}", id = "spring" }}, {{ secret = "{NEXT}", id = "autumn" }}"#);
    write(&system, &both);
    accepted(edge, TENANT, NEXT).await;
    let after = Flow::start(edge, NEXT, "after");

    // Somebody's slip: what was in force stays so, and it is said once.
    write(&system, &format!(r#"{both}, {{ secret = "{NEXT}", expires = "in autumn" }}"#));
    said(&system.adapter, "the tenants can't be read anew").await;
    accepted(edge, TENANT, SECRET).await;
    accepted(edge, TENANT, NEXT).await;
    fs::remove_file(system.config()).unwrap();
    let twice = || async { (system.adapter.stderr().matches("can't be read anew").count() == 2).then_some(()) };
    wait::until("the next state is said", twice).await;

    // Cal.com signs with the new one from here on; then the old one may go.
    let statuses = before.end().await;
    assert!(statuses.iter().all(StatusCode::is_success), "{statuses:?}");
    let page = system.adapter_metrics().await;
    for id in ["spring", "autumn"] {
        let label = format!("calbridge_secret_id=\"{id}\"");
        assert!(page.sum("calbridge_signature_verifications_total", &[&label, "\"valid\""]) > 0.0, "{}", page.text());
        assert!(page.text().contains(&format!("{label},calbridge_tenant_id=\"{TENANT}\"}}")), "{}", page.text());
    }
    write(&system, &format!(r#"{{ secret = "{NEXT}", id = "autumn", expires = "2999-12-01T00:00:00Z" }}"#));
    refused(edge, SECRET).await;
    let statuses = after.end().await;
    assert!(statuses.iter().all(StatusCode::is_success), "{statuses:?}");

    let page = system.adapter_metrics().await;
    let labels = ["calbridge_secret_id=\"autumn\"", "calbridge_tenant_id=\"default\""];
    assert!(page.has("calbridge_signature_secret_idle_seconds"), "{}", page.text());
    assert!(page.sum("calbridge_signature_secret_time_left_seconds", &labels) > 1e9, "{}", page.text());
    assert!(!page.text().contains("secret_idle_seconds{calbridge_secret_id=\"spring\""), "{}", page.text());
    let lines = system.adapter.stderr();
    assert!(lines.contains("spring") && lines.contains("autumn"), "{lines}");
    assert_eq!(lines.matches("can't be read anew").count(), 2, "{lines}");
    no_secret_is_shown(&system.adapter);
    system.stop().await;
}

#[tokio::test]
async fn the_end_of_the_last_secret_is_told_and_so_is_its_coming() {
    let mut system = Plan::new().with_spool().start().await;
    let edge = system.adapter.listening().http();
    let end = Timestamp::try_from(std::time::SystemTime::UNIX_EPOCH + since_1970() + SHORTLY).unwrap();
    write(&system, &format!(r#"{{ secret = "{SECRET}", id = "last", expires = "{end}" }}"#));
    said(&system.adapter, "a secret expires in less than 1 day").await;
    refused(edge, SECRET).await;
    said(&system.adapter, "the last active secret of this tenant has expired").await;
    let page = system.adapter_metrics().await;
    assert!(page.sum("calbridge_signature_secret_time_left_seconds", &["\"last\""]) < 0.0, "{}", page.text());
    assert!(!system.adapter.stderr().contains("less than 7 days"), "{}", system.adapter.stderr());

    write(&system, &format!(r#""{SECRET}""#));
    accepted(edge, TENANT, SECRET).await;
    said(&system.adapter, "a secret of this tenant is within its time again").await;
    no_secret_is_shown(&system.adapter);
    system.stop().await;
}

#[expect(clippy::disallowed_methods, reason = "the program's own clock is what it is about")]
fn since_1970() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap()
}

#[tokio::test]
async fn a_tenant_without_an_active_secret_is_warned_about_and_no_reason_not_to_start() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let config = folder.path().join("calbridge.toml");
    let text =
        format!("[tenants.{TENANT}]\nsecrets = [{{ secret = \"{NEXT}\", not_before = 2999-01-01T00:00:00Z }}]\n");
    fs::write(&config, text).unwrap();
    let mut up = system::up(data.path()).flag("--config", config).serve();
    said(&up, "no secret of this tenant is within its time").await;
    refused(up.listening().http(), NEXT).await;
    no_secret_is_shown(&up);
    up.stop().await;
}

#[tokio::test]
async fn both_programs_in_one_take_a_new_tenant_in_and_keep_the_demos_secret() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let config = folder.path().join("calbridge.toml");
    fs::write(&config, "[tenants.other]\nsecrets = [\"another\"]\n").unwrap();
    let mut up = system::up(data.path()).arg("--demo").flag("--config", &config).serve();
    let sender = Sender::new(up.listening().http());
    assert_eq!(sender.send("acme", NEXT, created("new")).await.status, 401);
    fs::write(&config, format!("[tenants.other]\nsecrets = [\"another\"]\n[tenants.acme]\nsecrets = [\"{NEXT}\"]\n"))
        .unwrap();
    accepted(up.listening().http(), "acme", NEXT).await;
    said(&up, "the tenants were read anew").await;
    let lines = up.stderr();
    assert_eq!(lines.matches("the secrets of this tenant changed").count(), 1, "that of the demo stays: {lines}");
    no_secret_is_shown(&up);
    up.stop().await;
}
