//! What the programs are told: which word wins, and what they say of a word they can't use.

use std::{collections::BTreeMap, fs, path::PathBuf};

use calbridge_e2e::{
    metrics::Page,
    program::{Ended, Program, Start},
    system::{self, SECRET, TENANT, tenants},
    webhook::Sender,
};
use hyper::Method;
use tempfile::TempDir;

use super::created;

/// `EX_CONFIG`.
const CONFIG: Option<i32> = Some(78);

/// A folder with a config file in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("calbridge.toml"), text).unwrap();
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("calbridge.toml")
    }

    fn up(&self) -> Start {
        system::up(&self.folder.path().join("data")).flag("--config", self.file())
    }
}

fn adapter() -> Start {
    Start::new("calbridge-adapter")
        .flag("--http", "127.0.0.1:0")
        .flag("--admin", "127.0.0.1:0")
        .flag("--spool-dir", "none")
}

fn service(place: &Place) -> Start {
    Start::new("calbridge-service").flag("--admin", "127.0.0.1:0").flag("--data-dir", place.folder.path().join("data"))
}

fn is_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, CONFIG, "{parts:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "{parts:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_missing_secret_ends_the_start_with_the_line_to_add() {
    let place = Place::new("");
    let lines = ["CALCOM_WEBHOOK_SECRET=", "[tenants.default]", "secrets = [\"env:CALCOM_WEBHOOK_SECRET\"]"];
    is_refused(&place.up().run().await, &lines);
    is_refused(&adapter().run().await, &lines);
    is_refused(&adapter().env("CALCOM_WEBHOOK_SECRET", "").run().await, &lines);
    // The service needs none, not even one that the file promises.
    let file = Place::new("[tenants.acme]\nsecrets = [\"env:ONLY_THE_ADAPTER_HAS_IT\"]\n");
    let start = service(&file).flag("--grpc", "127.0.0.1:0").flag("--config", file.file());
    start.serve().stop().await;
}

#[tokio::test]
async fn a_word_that_can_not_be_used_is_named_with_its_mend() {
    let with_secret = |start: Start| start.env("CALCOM_WEBHOOK_SECRET", SECRET);
    let good = Place::new("");
    let file = |text: &str| {
        let place = Place::new(text);
        let start = with_secret(place.up());
        (place, start)
    };
    let unsigned = "[tenants.open]\nallow_unsigned = true\n";
    let files = [
        (file("htpp = \"127.0.0.1:0\"\n"), vec!["htpp", "line 1", "calbridge.toml"]),
        (file("[limits]\nbody_byte = 1\n"), vec!["body_byte", "line 2"]),
        (file(&format!("[tenants.default]\nsecert = [\"{SECRET}\"]\n")), vec!["secert", "line 2"]),
        (file("[tenants.acme]\nsecrets = []\n"), vec!["acme", "allow_unsigned = true"]),
        (file("[tenants.acme]\nsecrets = [\"env:ABSENT\"]\n"), vec!["acme", "ABSENT"]),
        (file("[tenants.acme]\nsecrets = [\"file:absent\"]\n"), vec!["acme", "absent"]),
        (
            file(&format!("[tenants.acme]\nallow_unsigned = true\nsecrets = [\"{SECRET}\"]\n")),
            vec!["acme", "allow_unsigned"],
        ),
        (file("[tenants.\"Not A Name\"]\nsecrets = [\"x\"]\n"), vec!["Not A Name"]),
        (file("not toml at all"), vec!["line 1"]),
        (file("[limits]\nshutdown_grace = \"1s\"\n"), vec!["--shutdown-grace", "--forward-deadline"]),
    ];
    for ((_place, start), parts) in files {
        is_refused(&start.run().await, &parts);
    }
    let data = good.folder.path().join("data");
    let open = Place::new(unsigned);
    let starts = [
        (with_secret(adapter().flag("--service", "127.0.0.1:50051")), vec!["--service", "http://HOST:PORT"]),
        (with_secret(adapter().flag("--config", "absent.toml")), vec!["absent.toml", "--config"]),
        (with_secret(adapter().flag("--body-timeout", "soon")), vec!["--body-timeout", "10s"]),
        (with_secret(adapter().env("CALBRIDGE_BODY_TIMEOUT", "soon")), vec!["--body-timeout", "10s"]),
        (
            with_secret(Start::new("calbridge-adapter").flag("--http", "nonsense").flag("--spool-dir", "none")),
            vec!["--http", "HOST:PORT"],
        ),
        (service(&good).flag("--grpc", "0.0.0.0:0"), vec!["--grpc", "--insecure"]),
        (
            service(&good).flag("--database-url", format!("mysql://me:{SECRET}@db/x")),
            vec!["--database-url", "sqlite://", "postgres://"],
        ),
        (service(&good).flag("--redis-url", format!("http://{SECRET}")), vec!["--redis-url", "redis://"]),
        (
            service(&good)
                .flag("--grpc", "127.0.0.1:0")
                .flag("--redis-url", "rediss://localhost")
                .flag("--redis-ca-file", good.file()),
            vec!["--redis-ca-file", "PEM", "-----BEGIN"],
        ),
        (
            service(&good)
                .flag("--grpc", "127.0.0.1:0")
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
                .env("OTEL_EXPORTER_OTLP_PROTOCOL", "pigeon"),
            vec!["OTEL_EXPORTER_OTLP_PROTOCOL", "pigeon"],
        ),
        (
            Start::new("calbridge-adapter")
                .flag("--http", "0.0.0.0:0")
                .flag("--admin", "127.0.0.1:0")
                .flag("--spool-dir", "none")
                .flag("--config", open.file()),
            vec!["open", "--insecure-unsigned"],
        ),
        (
            with_secret(
                Start::new("calbridge")
                    .arg("up")
                    .flag("--http", "127.0.0.1:0")
                    .flag("--admin", "127.0.0.1:0")
                    .flag("--grpc", "0.0.0.0:0")
                    .flag("--data-dir", &data),
            ),
            vec!["--grpc", "--insecure"],
        ),
    ];
    for (start, parts) in starts {
        is_refused(&start.run().await, &parts);
    }
    let unknown = with_secret(adapter().arg("--colour")).run().await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("--colour"), "{}", unknown.stderr);
}

#[tokio::test]
async fn who_insists_may_listen_anywhere() {
    let place = Place::new("[tenants.open]\nallow_unsigned = true\n");
    let mut service = service(&place).flag("--grpc", "0.0.0.0:0").arg("--insecure").serve();
    let mut adapter = Start::new("calbridge-adapter")
        .flag("--http", "0.0.0.0:0")
        .flag("--admin", "0.0.0.0:0")
        .flag("--spool-dir", "none")
        .flag("--service", format!("http://127.0.0.1:{}", service.listening().grpc().port()))
        .flag("--config", place.file())
        .env("CALBRIDGE_INSECURE_UNSIGNED", "true")
        .serve();
    assert!(adapter.listening().http().ip().is_unspecified());
    adapter.stop().await;
    service.stop().await;
}

#[tokio::test]
async fn an_unsigned_tenant_is_let_in_and_never_goes_unnoticed() {
    let place = Place::new(&format!("[tenants.open]\nallow_unsigned = true\n{}", tenants(&closed())));
    let mut up = place.up().serve();
    let sender = Sender::new(up.listening().http());
    let send = async |tenant: &str, headers: &[(&str, &str)], uid: &str| {
        let path = format!("/webhooks/calcom/{tenant}");
        sender.request(Method::POST, &path, headers, created(uid)).await.unwrap()
    };
    assert_eq!(send("open", &[], "openAAAA").await.outcome(), "applied");
    assert_eq!(send("open", &[("X-Cal-Signature-256", "no-secret-provided")], "openBBBB").await.outcome(), "applied");
    assert_eq!(send("closed", &[], "openCCCC").await.status, 401);
    let api = calbridge_e2e::api::Api::new(up.listening().grpc());
    assert_eq!(api.all_deliveries("open").await[0].secret_id, "unsigned");
    let page = Page::read(up.listening().admin()).await;
    assert!((page.sum("calbridge_signature_unsigned_tenants", &[]) - 1.0).abs() < f64::EPSILON);
    assert!(
        (page.sum("calbridge_signature_verifications_total", &["calbridge_result=\"unsigned\""]) - 2.0).abs()
            < f64::EPSILON
    );
    let warned =
        up.stderr().lines().any(|line| line.contains("WARN") && line.contains("open") && line.contains("unsigned"));
    assert!(warned, "{}", up.stderr());
    up.stop().await;
}

fn closed() -> BTreeMap<String, String> {
    BTreeMap::from([("closed".to_owned(), SECRET.to_owned())])
}

#[tokio::test]
async fn a_flag_stands_over_the_environment_over_the_file_over_the_default() {
    let silent = Place::new(&tenants(&closed()));
    let spoken = Place::new(&format!("[limits]\nbody_bytes = 3000\n{}", tenants(&closed())));
    let levels = [
        (silent.up(), 1024 * 1024),
        (spoken.up(), 3000),
        (spoken.up().env("CALBRIDGE_BODY_BYTES", "2000"), 2000),
        (spoken.up().env("CALBRIDGE_BODY_BYTES", "2000").flag("--body-bytes", "1000"), 1000),
    ];
    for (start, limit) in levels {
        let mut up = start.serve();
        assert_eq!(status_of(&up, limit).await, 401, "{limit} bytes are read");
        assert_eq!(status_of(&up, limit + 1).await, 413, "{limit} bytes and one are not");
        up.stop().await;
    }
    // The file may be named by the environment as well.
    let named = system::up(&spoken.folder.path().join("data"));
    let mut up = named.env("CALBRIDGE_CONFIG", spoken.file().display().to_string()).serve();
    assert_eq!(status_of(&up, 3001).await, 413);
    up.stop().await;
}

/// What a body of this size is answered that nobody signed.
async fn status_of(up: &Program, bytes: usize) -> u16 {
    let sender = Sender::new(up.listening().http());
    sender.request(Method::POST, "/webhooks/calcom/closed", &[], vec![b'x'; bytes]).await.unwrap().status.as_u16()
}

#[tokio::test]
async fn every_active_secret_signs() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("old"), "kept in a file\n").unwrap();
    let mut many: Vec<String> = (3..=31).map(|number| format!("\"literal {number}\"")).collect();
    many.extend(["\"env:NEW\"".to_owned(), "\"file:old\"".to_owned(), "\"  \"".to_owned()]);
    assert_eq!(many.len(), 32);
    let text =
        format!("[tenants.acme]\nsecrets = [{}]\n[tenants.default]\nsecrets = [\"of the file\"]\n", many.join(", "));
    let file = folder.path().join("calbridge.toml");
    fs::write(&file, text).unwrap();
    let mut up = system::up(&folder.path().join("data"))
        .flag("--config", &file)
        .env("NEW", "from the environment")
        .env("CALCOM_WEBHOOK_SECRET", SECRET)
        .serve();
    let sender = Sender::new(up.listening().http());
    let good = [
        ("acme", "literal 3", "literal:1"),
        ("acme", "literal 31", "literal:29"),
        ("acme", "from the environment", "env:NEW"),
        ("acme", "kept in a file", "file:old"),
        ("acme", "  ", "literal:32"),
        (TENANT, "of the file", "literal:1"),
        (TENANT, SECRET, "env:CALCOM_WEBHOOK_SECRET"),
    ];
    let api = calbridge_e2e::api::Api::new(up.listening().grpc());
    for (number, (tenant, secret, id)) in good.into_iter().enumerate() {
        let answer = sender.send(tenant, secret, created(&format!("secret{number}"))).await;
        assert_eq!(answer.outcome(), "applied", "{secret}");
        assert_eq!(api.delivery(tenant, &answer.delivery_id()).await.unwrap().secret_id, id);
    }
    for (tenant, secret) in [("acme", SECRET), (TENANT, "literal 3"), ("acme", "literal 3 "), ("acme", " ")] {
        assert_eq!(sender.send(tenant, secret, created("no")).await.status, 401, "{secret}");
    }
    up.stop().await;
    assert!(!up.stderr().contains("literal 3") && !up.stderr().contains(SECRET));
}
