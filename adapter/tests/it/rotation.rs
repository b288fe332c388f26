//! Secrets that come and go while the adapter runs: by their times, and by the files that they are in.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use calbridge_adapter::{Moment, Reload, Settings};
use calbridge_e2e::wait;
use calbridge_process::{Options, Program, Secret, Tenant, resolve};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::support::{
    Adapter, created, limits,
    sender::{Answer, exchange, post},
    service::Service,
    settings, sign,
};

/// The moment that the adapter of one test knows, in seconds since 1970.
static NOW: AtomicU64 = AtomicU64::new(0);

fn moment() -> Moment {
    Moment { time: now(), ..Moment::now() }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW.load(Ordering::Relaxed))
}

async fn send(adapter: &Adapter, tenant: &str, secret: &str) -> Answer {
    let body = created("uid");
    let signature = sign(secret, &body);
    let path = format!("/webhooks/calcom/{tenant}");
    exchange(adapter.address, post(&path, &[("X-Cal-Signature-256", &signature)], &body)).await
}

/// Both at once may take a while: the files are looked at every few seconds.
async fn answered(adapter: &Adapter, tenant: &str, secret: &str, status: u16) {
    wait::holds(&format!("{status} for {tenant}"), async || send(adapter, tenant, secret).await.status == status).await;
}

#[tokio::test]
async fn each_secret_lets_in_within_its_time_alone() {
    let service = Service::start().await;
    let second = |second| Some(Timestamp::from_second(second).unwrap());
    let old = Secret { expires: second(1_000), ..Secret::always("old", "the old one") };
    let new = Secret { not_before: second(900), ..Secret::always("new", "the new one") };
    let tenants = [("acme".to_owned(), Tenant { secrets: vec![old, new], allow_unsigned: false })].into();
    let settings = settings(&[format!("http://{}", service.address)], limits());
    let adapter = Adapter::start_with(Settings { tenants, moment, ..settings }).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
    let mut accepted = Vec::new();
    for (now, old, new) in [(0, 200, 401), (899, 200, 401), (900, 200, 200), (999, 200, 200), (1_000, 401, 200)] {
        NOW.store(now, Ordering::Relaxed);
        for (id, secret, status) in [("old", "the old one", old), ("new", "the new one", new)] {
            let answer = send(&adapter, "acme", secret).await;
            assert_eq!(answer.status, status, "{id} at {now}");
            if status == 200 {
                accepted.push((id.to_owned(), now));
            } else {
                let stranger = send(&adapter, "nobody", secret).await.without_date();
                assert_eq!(answer.without_date(), stranger, "nobody can tell a secret that was one");
            }
        }
    }
    let seen = |event: calbridge_proto::v1::BookingEvent| {
        (event.secret_id, u64::try_from(event.receive_time.unwrap().seconds).unwrap())
    };
    assert_eq!(service.events().into_iter().map(seen).collect::<Vec<_>>(), accepted);
}

/// As the programs make them, of a config file.
fn of_file(path: &Path, service: &Service) -> Settings {
    let options = Options { config: Some(path.to_owned()), data_dir: Some("unused".into()), ..Options::default() };
    let config = resolve(options, Program::Adapter, &|_| None).unwrap();
    let whole = Settings::reloading(&config, Arc::new(|_| None));
    let reload: Option<Reload> = whole.reload;
    Settings { tenants: whole.tenants, reload, ..settings(&[format!("http://{}", service.address)], limits()) }
}

#[tokio::test]
async fn what_the_files_say_comes_into_force_and_what_is_broken_does_not() {
    let (service, folder) = (Service::start().await, TempDir::new().unwrap());
    let config = folder.path().join("calbridge.toml");
    let write = |text: &str| fs::write(&config, text).unwrap();
    fs::write(folder.path().join("acme"), "first\n").unwrap();
    write("[tenants.acme]\nsecrets = [\"file:acme\"]\n");
    let adapter = Adapter::start_with(of_file(&config, &service)).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
    assert_eq!(send(&adapter, "acme", "first").await.status, 200);

    fs::write(folder.path().join("acme"), "second\n").unwrap();
    answered(&adapter, "acme", "second", 200).await;
    assert_eq!(send(&adapter, "acme", "first").await.status, 401);

    write("[tenants.acme]\nsecrets = [\"file:acme\"\n");
    // What comes after it shows that it was looked at.
    fs::write(folder.path().join("acme"), "third\n").unwrap();
    write("[tenants.acme]\nsecrets = [\"file:acme\", \"second\"]\n[tenants.beta]\nallow_unsigned = true\n");
    answered(&adapter, "acme", "third", 200).await;
    assert_eq!(send(&adapter, "acme", "second").await.status, 200);
    assert_eq!(send(&adapter, "beta", "anything").await.status, 200, "on loopback unsigned webhooks may be let in");

    write("[tenants.beta]\nsecrets = [\"signed from now on\"]\n");
    answered(&adapter, "beta", "anything", 401).await;
    assert_eq!(send(&adapter, "beta", "signed from now on").await.status, 200);
    assert_eq!(send(&adapter, "acme", "third").await.status, 401, "a tenant that is gone is none");
}
