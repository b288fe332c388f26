use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use calbridge_e2e::wait;
use calbridge_process::{Secret, Tenant};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tempfile::TempDir;

use super::*;

fn settings(folder: &Path) -> QuarantineSettings {
    let directory = folder.join("quarantine");
    QuarantineSettings { directory, bytes: 64 << 20, age: Duration::from_hours(1), rate: 100 }
}

fn open(settings: &QuarantineSettings) -> (Quarantine, Keeping) {
    Quarantine::open(settings.clone(), Moment::now, Arc::new(Metrics::new())).unwrap()
}

fn sign(secret: &str, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// A webhook that somebody signed with this, for whom nobody had that secret.
fn offer(quarantine: &Quarantine, tenant: &str, secret: &str, body: &str) {
    let signature = sign(secret, body);
    quarantine.offer(Refused {
        tenant,
        is_known: tenant != "nobody",
        source: IpAddr::from([192, 0, 2, 1]),
        moment: Moment::now(),
        signature: ("x-cal-signature-256", signature.as_bytes()),
        webhook_version: "2021-10-20".to_owned(),
        content_type: "application/json".to_owned(),
        body: body.as_bytes(),
    });
}

fn kept(settings: &QuarantineSettings) -> usize {
    inspect_quarantine(&settings.directory).unwrap().count_all()
}

fn secrets(tenant: &str, secret: &str) -> BTreeMap<String, Tenant> {
    let secret = Secret { id: "literal:1".to_owned(), value: secret.into(), not_before: None, expires: None };
    BTreeMap::from([(tenant.to_owned(), Tenant { secrets: vec![secret], allow_unsigned: false })])
}

#[tokio::test]
async fn what_is_kept_is_judged_again_and_once() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let (quarantine, keeping) = open(&settings);
    for body in ["one", "two", "two"] {
        offer(&quarantine, "acme", "right", body);
    }
    offer(&quarantine, "acme", "forged", "two");
    offer(&quarantine, "other", "right", "three");
    offer(&quarantine, "nobody", "right", "four");
    keeping.stop().await;
    assert_eq!(kept(&settings), 4, "the sender's next try is no other webhook, and nobody has nothing");
    // The next process knows what is there.
    let (quarantine, keeping) = open(&settings);
    offer(&quarantine, "acme", "right", "one");
    offer(&quarantine, "acme", "right", "five");
    keeping.stop().await;
    assert_eq!(kept(&settings), 5);

    let verdicts = verify_quarantine(&settings.directory, &secrets("acme", "right")).await.unwrap();
    let of = |tenant: &str| {
        let verdicts = &verdicts.tenants[tenant];
        (verdicts.verified.get("literal:1").copied(), verdicts.unverified)
    };
    assert_eq!((of("acme"), of("other")), ((Some(3), 1), (None, 1)));
    let open_to_all = BTreeMap::from([("acme".to_owned(), Tenant { secrets: Vec::new(), allow_unsigned: true })]);
    let verdicts = verify_quarantine(&settings.directory, &open_to_all).await.unwrap();
    assert_eq!(verdicts.tenants["acme"].unverified, 4, "that a tenant lets everything in verifies nothing");
    assert_eq!(kept(&settings), 5, "nothing is changed by looking");
}

#[tokio::test]
async fn what_is_kept_is_the_adapters_alone() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let (quarantine, keeping) = open(&settings);
    offer(&quarantine, "acme", "right", "grace@example.com");
    keeping.stop().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&settings.directory), 0o700);
    let files: Vec<_> = fs::read_dir(&settings.directory).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() == 1 && files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[tokio::test]
async fn whatever_comes_the_disk_has_no_more_than_its_bytes() {
    let folder = TempDir::new().unwrap();
    let settings = QuarantineSettings { bytes: 1 << 20, rate: 1_000, ..settings(folder.path()) };
    let (quarantine, keeping) = open(&settings);
    for number in 0..64 {
        offer(&quarantine, "loud", "forged", &format!("{number}{}", "x".repeat(16 << 10)));
    }
    offer(&quarantine, "quiet", "right", "small");
    keeping.stop().await;
    let summary = inspect_quarantine(&settings.directory).unwrap();
    assert!(summary.bytes <= (1 << 20) / 8 + (1 << 10), "an address has its share: {}", summary.bytes);
    let of = |tenant: &str| summary.webhooks[&(tenant.to_owned(), "192.0.2.1".to_owned())].count;
    assert_eq!((of("loud"), of("quiet")), (7, 1));
}

#[test]
fn what_root_settles_stays_the_adapters() {
    const ADAPTER: u32 = 65_534;
    let folder = TempDir::new().unwrap();
    if std::os::unix::fs::chown(folder.path(), Some(ADAPTER), Some(ADAPTER)).is_err() {
        eprintln!("SKIPPED: only root can give a file away");
        return;
    }
    segment::settle(folder.path(), 1, [16]).unwrap();
    let mark = fs::metadata(segment::settled_path(folder.path(), 1)).unwrap();
    assert_eq!((mark.uid(), mark.gid()), (ADAPTER, ADAPTER));
}

#[tokio::test]
async fn what_is_settled_or_too_old_goes() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let (quarantine, keeping) = open(&settings);
    offer(&quarantine, "acme", "right", "one");
    keeping.stop().await;
    let place = look::places(&settings.directory).unwrap().0.remove(0);
    segment::settle(&settings.directory, place.segment, [place.offset]).unwrap();
    assert_eq!(kept(&settings), 0);
    let (quarantine, keeping) = open(&settings);
    offer(&quarantine, "acme", "right", "two");
    keeping.stop().await;
    assert_eq!(segment::numbers(&settings.directory).unwrap().len(), 1, "the file of the first is gone");
    assert!(!segment::settled_path(&settings.directory, place.segment).exists());
    assert_eq!(kept(&settings), 1);

    let young = QuarantineSettings { age: Duration::from_millis(1), ..settings };
    let (_quarantine, keeping) = open(&young);
    wait::holds("it is gone", async || kept(&young) == 0).await;
    keeping.stop().await;
}

/// A quarantine that nobody keeps any more, with two webhooks in one file.
async fn with_two(folder: &Path) -> QuarantineSettings {
    let settings = settings(folder);
    let (quarantine, keeping) = open(&settings);
    for body in ["one", "two"] {
        offer(&quarantine, "acme", "right", body);
    }
    keeping.stop().await;
    settings
}

#[tokio::test]
async fn a_torn_or_foreign_file_costs_what_was_torn() {
    let folder = TempDir::new().unwrap();
    let settings = with_two(folder.path()).await;
    let path = segment::path(&settings.directory, segment::numbers(&settings.directory).unwrap()[0]);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    fs::write(segment::path(&settings.directory, 7), b"of a later release, or none of ours").unwrap();
    assert_eq!(inspect_quarantine(&settings.directory).unwrap().unreadable, 1);
    let (quarantine, keeping) = open(&settings);
    for body in ["one", "two"] {
        offer(&quarantine, "acme", "right", body);
    }
    keeping.stop().await;
    let places = look::places(&settings.directory).unwrap().0;
    let body = |place| match look::read(&settings.directory, place).unwrap() {
        look::Again::There(webhook) => webhook.raw_body,
        look::Again::Gone | look::Again::Unreadable => panic!("{place:?} is not there"),
    };
    let bodies = places.iter().map(body);
    assert_eq!(bodies.collect::<Vec<_>>(), ["one", "two"], "the one was there, the other is kept again");
}

#[tokio::test]
async fn what_can_not_be_read_does_not_hide_the_others() {
    let folder = TempDir::new().unwrap();
    let settings = with_two(folder.path()).await;
    // As a bad sector has it: it opens, and can't be read.
    fs::create_dir(segment::path(&settings.directory, 7)).unwrap();
    let summary = inspect_quarantine(&settings.directory).unwrap();
    assert_eq!((summary.count_all(), summary.unreadable), (2, 1));
    let verified = verify_quarantine(&settings.directory, &secrets("acme", "right")).await.unwrap();
    assert_eq!((verified.tenants["acme"].count(), verified.unreadable), (2, 1));
    // And one that goes bad when it was seen.
    let (mut places, unreadable) = look::places(&settings.directory).unwrap();
    assert_eq!(unreadable, 1);
    places[0].segment = 7;
    assert!(matches!(look::read(&settings.directory, &places[0]).unwrap(), look::Again::Unreadable));
    places[0].segment = 8;
    assert!(matches!(look::read(&settings.directory, &places[0]).unwrap(), look::Again::Gone));
}

#[test]
fn only_who_may_not_read_it_is_told_who_may() {
    let said = |kind: io::ErrorKind| QuarantineError::of(Path::new("there"), kind.into()).to_string();
    assert!(said(io::ErrorKind::PermissionDenied).contains("run this as the user"));
    assert!(!said(io::ErrorKind::StorageFull).contains("run this as the user"));
}

#[tokio::test]
async fn a_disk_that_failed_is_tried_again() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let (quarantine, keeping) = open(&settings);
    fs::remove_dir_all(&settings.directory).unwrap();
    offer(&quarantine, "acme", "right", "lost");
    wait::holds("the keeper takes it", async || quarantine.queued.load(Ordering::Relaxed) == 0).await;
    // The keeper may be at it still; then this one is the first that can be kept.
    segment::make_directory(&settings.directory).unwrap();
    let mut number = 0;
    wait::holds("it is tried again", async || {
        number += 1;
        offer(&quarantine, "acme", "right", &format!("kept {number}"));
        kept(&settings) > 0
    })
    .await;
    keeping.stop().await;
}
