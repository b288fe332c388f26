//! `PostgreSQL` behind TLS, passwords and certificates: what works, and how the service says what does not. No password
//! is ever shown.

use std::time::{Duration, Instant};

use calbridge_e2e::{
    authority::{Authority, Identity, text},
    postgres::{Durability, Postgres},
    program::{Ended, Start},
    system::{Plan, SECRET, TENANT},
    webhook::sha256,
};
use tempfile::TempDir;

use super::created;

const PASSWORD: &str = "hunter2-of-the-tests";
/// For a start that can't succeed: far less than a database is waited for that does not answer.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Who comes by password, who by certificate, and we who look.
const HBA: &str = "local   all all                    trust
host    all postgres 127.0.0.1/32  trust
hostssl all keeper   127.0.0.1/32  scram-sha-256
hostssl all holder   127.0.0.1/32  cert
";

/// A server that asks who comes.
struct Guarded {
    postgres: Postgres,
    authority: Authority,
    clients: Authority,
}

impl Guarded {
    async fn start() -> Self {
        let (postgres, authority, clients) =
            (Postgres::start(Durability::Unsynced), Authority::new(), Authority::new());
        let Identity { certificate, key } = authority.certify("localhost");
        for (name, file) in [("server.cert", certificate), ("server.key", key), ("clients.pem", clients.file())] {
            let _ = postgres.keep_file(name, std::fs::read(file).unwrap());
        }
        let _ = postgres.keep_file("pg_hba.conf", HBA);
        let _ = postgres.query(&format!("CREATE ROLE keeper LOGIN PASSWORD '{PASSWORD}'"));
        let _ = postgres.query("CREATE ROLE holder LOGIN");
        for (database, owner) in [("kept", "keeper"), ("held", "holder")] {
            let _ = postgres.query(&format!("CREATE DATABASE {database} OWNER {owner}"));
        }
        let settings = [
            ("ssl_cert_file", "server.cert"),
            ("ssl_key_file", "server.key"),
            ("ssl_ca_file", "clients.pem"),
            ("ssl", "on"),
        ];
        postgres.set(&settings).await;
        Self { postgres, authority, clients }
    }

    /// By this name of the server, as this user, trusting this authority, with more of the query.
    fn url(&self, user: &str, host: &str, authority: &Authority, more: &str) -> String {
        let database = if user.starts_with("holder") { "held" } else { "kept" };
        let (port, root) = (self.postgres.port(), text(&authority.file()));
        format!("postgres://{user}@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={root}{more}")
    }

    fn by_password(&self, host: &str, authority: &Authority) -> String {
        self.url(&format!("keeper:{PASSWORD}"), host, authority, "")
    }
}

fn with(identity: &Identity) -> String {
    format!("&sslcert={}&sslkey={}", text(&identity.certificate), text(&identity.key))
}

/// The service takes a webhook in, and every connection of this user is encrypted.
async fn works(guarded: &Guarded, url: &str, user: &str) {
    let mut system = Plan::new().service("--database-url", url).start().await;
    let body = created(0, 0);
    let answer = system.sender().send(TENANT, SECRET, body.clone()).await;
    assert_eq!(answer.outcome(), "applied");
    let deliveries = system.api().all_deliveries(TENANT).await;
    assert_eq!(deliveries.iter().map(|one| one.body_sha256.clone()).collect::<Vec<_>>(), [sha256(&body)]);
    let ask = "SELECT count(*) > 0, bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)";
    assert_eq!(guarded.postgres.query(&format!("{ask} WHERE usename = '{user}'")), "t|t");
    system.stop().await;
    for output in [system.service.stdout(), system.service.stderr()] {
        assert!(!output.contains(PASSWORD), "{output}");
    }
}

/// The service ends at once, with a line that holds these words and no password.
async fn is_refused(url: &str, words: &[&str]) -> Ended {
    let folder = TempDir::new().unwrap();
    let began = Instant::now();
    let ended = Start::new("calbridge-service")
        .flag("--grpc", "127.0.0.1:0")
        .flag("--admin", "127.0.0.1:0")
        .flag("--data-dir", folder.path())
        .flag("--database-url", url)
        .run()
        .await;
    let took = began.elapsed();
    let line = ended.stderr.lines().last().unwrap_or_default().to_owned();
    println!("code {:?} after {took:?}: {line}", ended.code);
    assert!(ended.code.is_some_and(|code| code != 0), "{:?}", ended.code);
    assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {}", ended.stderr);
    assert!(took < AT_ONCE, "{took:?}");
    for output in [&ended.stdout, &ended.stderr] {
        assert!(!output.contains(PASSWORD) && !output.contains("listening"), "{output}");
    }
    ended
}

#[tokio::test]
async fn a_password_goes_to_the_server_that_it_is_meant_for() {
    let guarded = Guarded::start().await;
    works(&guarded, &guarded.by_password("localhost", &guarded.authority), "keeper").await;
    is_refused(&guarded.by_password("localhost", &Authority::new()), &["invalid peer certificate", "sslrootcert"])
        .await;
    is_refused(&guarded.by_password("127.0.0.1", &guarded.authority), &["127.0.0.1", "not valid for name"]).await;
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let guarded = Guarded::start().await;
    let wrong = guarded.url(&format!("keeper:{PASSWORD}x"), "localhost", &guarded.authority, "");
    is_refused(&wrong, &["password authentication failed", "keeper", "--database-url"]).await;
    let none = guarded.url("keeper", "localhost", &guarded.authority, "");
    is_refused(&none, &["password", "--database-url"]).await;
    let plain = guarded.by_password("localhost", &guarded.authority).replace("verify-full", "disable");
    is_refused(&plain, &["no encryption", "--database-url"]).await;
    let half = guarded.by_password("localhost", &guarded.authority).replace("verify-full", "prefer");
    is_refused(&half, &["sslmode", "verify-full"]).await;
}

#[tokio::test]
async fn a_certificate_of_the_clients_is_as_good_as_a_password() {
    let guarded = Guarded::start().await;
    let holder = |authority: &Authority| {
        guarded.url("holder", "localhost", &guarded.authority, &with(&authority.certify("holder")))
    };
    works(&guarded, &holder(&guarded.clients), "holder").await;
    let bare = guarded.url("holder", "localhost", &guarded.authority, "");
    is_refused(&bare, &["certificate", "--database-url"]).await;
    is_refused(&holder(&Authority::new()), &["--database-url"]).await;
    let missing = bare + "&sslcert=absent.pem&sslkey=absent.key";
    is_refused(&missing, &["absent"]).await;
}

#[tokio::test]
async fn a_server_without_tls_is_no_place_for_a_password() {
    let postgres = Postgres::start(Durability::Unsynced);
    let authority = Authority::new();
    let (port, root) = (postgres.port(), text(&authority.file()));
    let url = format!("postgres://keeper:{PASSWORD}@localhost:{port}/kept?sslmode=verify-full&sslrootcert={root}");
    is_refused(&url, &["TLS", "--database-url"]).await;
}
