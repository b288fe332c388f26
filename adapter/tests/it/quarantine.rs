//! What of a refused webhook is kept: what some secret of a tenant that there is may have signed, and nothing else. The
//! sender learns nothing of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use calbridge_adapter::{Settings, inspect_quarantine, replay_quarantine};
use calbridge_e2e::wait;
use calbridge_process::{Access, QuarantineSettings, Secret, SpoolSettings, Tenant};
use calbridge_proto::v1::SubmitError;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{
    ACME, Adapter, SECRET, created, limits,
    sender::{exchange, post},
    service::Service,
    settings, sign,
};

/// For whom, with which headers, and how many more are kept then.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], usize);

/// An adapter with a quarantine, and where that is.
async fn start(service: &Service, folder: &Path) -> (Adapter, PathBuf) {
    let spool = SpoolSettings { directory: folder.join("spool"), bytes: 1 << 30, age: Duration::from_mins(1) };
    let directory = QuarantineSettings::directory(&spool.directory);
    let quarantine =
        QuarantineSettings { directory: directory.clone(), bytes: 64 << 20, age: Duration::from_hours(1), rate: 10 };
    let settings = Settings {
        spool: Some(spool),
        quarantine: Some(quarantine),
        ..settings(&[format!("http://{}", service.address)], limits())
    };
    let adapter = Adapter::start_with(settings).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
    (adapter, directory)
}

async fn stop(adapter: Adapter) {
    adapter.shutdown.cancel();
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn only_what_a_secret_may_have_signed_is_kept_and_every_answer_is_the_same() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let (adapter, directory) = start(&service, folder.path()).await;
    let body = created("uid");
    let (other, forged) = (sign("another secret", &body), sign(ACME[0], &body));
    let malformed = &forged[..62];
    let cases: &[Case<'_>] = &[
        ("default", &[("X-Cal-Signature-256", &other)], 1),
        ("default", &[("X-Cal-Signature-256", &other)], 0),
        ("default", &[("Cal-Signature", &format!("sha256={forged}"))], 1),
        ("acme", &[("X-Cal-Signature-256", &other)], 1),
        ("default", &[("X-Cal-Signature-256", malformed)], 0),
        ("default", &[("X-Cal-Signature-256", &other), ("X-Cal-Signature-256", &forged)], 0),
        ("default", &[("X-Cal-Signature-256", "no-secret-provided")], 0),
        ("default", &[], 0),
        ("nobody", &[("X-Cal-Signature-256", &other)], 0),
    ];
    let mut answers = Vec::new();
    for (tenant, headers, _) in cases {
        let request = post(&format!("/webhooks/calcom/{tenant}"), headers, &body);
        answers.push(exchange(adapter.address, request).await.without_date());
    }
    assert_eq!(answers[0].status, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let right = [("X-Cal-Signature-256", &*sign(SECRET, &body))];
    assert_eq!(exchange(adapter.address, post("/webhooks/calcom", &right, &body)).await.status, 200);
    stop(adapter).await;
    let kept = inspect_quarantine(&directory).unwrap();
    assert_eq!(kept.count_all(), cases.iter().map(|(_, _, kept)| kept).sum::<usize>());
    assert!(kept.webhooks.keys().all(|(tenant, source)| tenant != "nobody" && source == "127.0.0.1"));
    assert_eq!(service.arrivals().len(), 1, "nothing of it goes to the service");
}

/// As where a booking's row can't be read.
#[tokio::test]
async fn a_replay_ends_where_one_is_never_committed_and_says_why() {
    let (folder, service) = (TempDir::new().unwrap(), Service::start().await);
    let (adapter, directory) = start(&service, folder.path()).await;
    for uid in ["uid-bad", "uid-1", "uid-2"] {
        let headers = [("X-Cal-Signature-256", &*sign("another secret", &created(uid)))];
        assert_eq!(exchange(adapter.address, post("/webhooks/calcom", &headers, &created(uid))).await.status, 401);
    }
    stop(adapter).await;
    let unable = SubmitError { code: 14, reason: "STORE_UNAVAILABLE".to_owned(), ..SubmitError::default() };
    service.refuse_always(created("uid-bad"), unable);
    let secrets = vec![Secret::always("file:mended", "another secret")];
    let tenants = BTreeMap::from([("default".to_owned(), Tenant { secrets, allow_unsigned: false })]);
    let (services, stop) = (vec![format!("http://{}", service.address)], CancellationToken::new());
    let replay = replay_quarantine(&directory, tenants, services, Access::default(), stop, |_| {});
    let replayed = wait::within("the replay ends", replay).await.unwrap();
    assert_eq!((replayed.admitted, replayed.left), (2, 0));
    assert_eq!(replayed.refused, BTreeMap::from([("store_unavailable", 1)]));
    assert_eq!(inspect_quarantine(&directory).unwrap().count_all(), 1, "it stays");
}
