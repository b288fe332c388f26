//! Clients in Python and Node: the conformance script that both run, and the programs that examples show.
//!
//! What a step means is in `examples/conformance.json`; here is who calls, by which way, and that every step was done.

use std::{fmt::Write as _, fs, net::SocketAddr, path::PathBuf};

use calbridge_calcom::golden::{self, Golden};
use calbridge_e2e::{
    authority::{Authority, text},
    language::{self, Language},
    program::{Program, Start},
    system::{self, Plan, SECRET, System, TENANT},
    v1::Trigger,
    wait,
    webhook::sha256,
};
use jiff::Timestamp;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use tempfile::TempDir;

const HOST: &str = "127.0.0.1";
/// How a client comes to know the schema.
const SCHEMAS: [&str; 2] = ["proto", "reflection"];

/// A service with TLS that knows its callers: of each tenant one who may do everything, and one who may read.
struct House {
    folder: TempDir,
    authority: Authority,
}

impl House {
    fn new(tenants: &[String]) -> Self {
        let house = Self { folder: TempDir::new().unwrap(), authority: Authority::new() };
        let config = tenants.iter().fold(String::new(), |mut config, tenant| {
            let all = ["ingest", "read", "read.pii", "consume", "admin"];
            for (name, scopes) in [(tenant.clone(), &all[..]), (format!("{tenant}-reader"), &["read"][..])] {
                let token = format!("cbt_of_{name}_0123456789abcdef");
                let hash = hex::encode(sha256(token.as_bytes()));
                fs::write(house.path(&name), format!("{token}\n")).unwrap();
                writeln!(config, "[[principal]]\nname = {name:?}\ntoken_sha256 = [{hash:?}]").unwrap();
                writeln!(config, "certificate = \"dns:{name}.test\"\nscopes = {scopes:?}").unwrap();
                writeln!(config, "tenants = [{tenant:?}]").unwrap();
            }
            config
        });
        fs::write(house.path("calbridge.toml"), config).unwrap();
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&self) -> Program {
        let identity = self.authority.certify(HOST);
        Start::new("calbridge-service")
            .flag("--grpc", format!("{HOST}:0"))
            .flag("--admin", format!("{HOST}:0"))
            .flag("--data-dir", self.path("data"))
            .flag("--config", self.path("calbridge.toml"))
            .flag("--grpc-certificate", identity.certificate)
            .flag("--grpc-key", identity.key)
            .flag("--grpc-client-ca", self.authority.file())
            .serve()
    }

    /// Who read .proto files show a token, who ask the service a certificate.
    fn conformance(&self, language: &Language, schema: &str, service: &Program) -> Start {
        let tenant = tenant_of(language, schema);
        let start = language
            .example("conformance")
            .flag("--schema", schema)
            .flag("--protos", language::protos())
            .flag("--script", script())
            .flag("--service", format!("https://{}", service.listening().grpc()))
            .flag("--service-ca", self.authority.file())
            .flag("--tenant", &tenant)
            .flag("--reader-token-file", self.path(&format!("{tenant}-reader")));
        if schema == "proto" {
            return start.flag("--service-token-file", self.path(&tenant));
        }
        let identity = self.authority.certify(&format!("{tenant}.test"));
        start.flag("--service-certificate", text(&identity.certificate)).flag("--service-key", text(&identity.key))
    }
}

fn tenant_of(language: &Language, schema: &str) -> String {
    format!("{}-{schema}", language.name)
}

#[tokio::test]
async fn both_languages_pass_the_same_script_by_files_and_by_reflection() {
    let languages = Language::all();
    let ways: Vec<_> = languages.iter().flat_map(|language| SCHEMAS.map(|schema| (language, schema))).collect();
    let house = House::new(&ways.iter().map(|(language, schema)| tenant_of(language, schema)).collect::<Vec<_>>());
    let mut service = house.serve();
    let script: Value = serde_json::from_slice(&fs::read(script()).unwrap()).unwrap();
    let steps = script["steps"].as_array().unwrap().len();
    for (language, schema) in ways {
        let ended = house.conformance(language, schema, &service).run().await;
        let way = format!("{} by {schema}", language.name);
        assert_eq!(ended.code, Some(0), "{way}:\n{}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.contains(&format!("{steps} steps ok, 0 skipped")), "{way}:\n{}", ended.stdout);
        println!("{way}: {steps} steps");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_step_that_fails_names_itself_what_was_expected_and_what_was_seen() {
    let folder = TempDir::new().unwrap();
    let mut up = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET).serve();
    let get = |expected: &str| {
        format!(
            r#"{{"step": "no such consumer", "call": "ConsumerService.GetConsumer",
            "request": {{"tenant": "default", "name": "none"}}, {expected}}}"#
        )
    };
    let list = r#"{"step": "no consumer", "call": "ConsumerService.ListConsumers", "request": {"tenant": "default"},
        "expect": {"consumers": [{"name": "mails"}]}}"#;
    let cases = [
        (get(r#""expect": {}"#), "no such consumer", "NOT_FOUND/CONSUMER_NOT_FOUND"),
        (get(r#""refused": {"reason": "BOOKING_NOT_FOUND"}"#), "BOOKING_NOT_FOUND", "\"CONSUMER_NOT_FOUND\""),
        (list.to_owned(), "consumers: expected 1 of them", "seen 0: []"),
    ];
    for (number, (step, first, second)) in cases.into_iter().enumerate() {
        let script = folder.path().join(format!("{number}.json"));
        fs::write(&script, format!(r#"{{"values": {{}}, "steps": [{step}]}}"#)).unwrap();
        for language in Language::all() {
            let start = language.example("conformance").flag("--schema", "reflection").flag("--script", &script);
            let ended = start.flag("--service", plain(up.listening().grpc())).run().await;
            assert_eq!(ended.code, Some(1), "{}: {}{}", language.name, ended.stdout, ended.stderr);
            for part in ["FAILED", first, second] {
                assert!(ended.stdout.contains(part), "{}: {part} in {}", language.name, ended.stdout);
            }
        }
    }
    up.stop().await;
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was_whoever_of_the_two_ended() {
    let mut system = Plan::new().returning().start().await;
    let cursors = TempDir::new().unwrap();
    let languages = Language::all();
    let follow = |language: &Language| {
        let cursor = cursors.path().join(language.name);
        language.example("follow").flag("--service", plain(system_address(&system))).flag("--cursor", cursor)
    };
    book(&system, "one").await;
    let followers: Vec<_> = languages.iter().map(|language| follow(language).spawn()).collect();
    for follower in &followers {
        lines(follower, &["one"]).await;
    }
    let starts: Vec<_> = languages.iter().map(follow).collect();
    system.service.kill();
    system.restart_service();
    system.ready().await;
    book(&system, "two").await;
    for follower in &followers {
        lines(follower, &["one", "two"]).await;
    }
    // Whether the last entry was dealt with when it ends is a matter of chance; the one before it was.
    drop(followers);
    book(&system, "three").await;
    for start in starts {
        let ended = start.clone().arg("--stop-at-head").run().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let seen = uids(&ended.stdout);
        assert!(seen == ["two", "three"] || seen == ["three"], "{seen:?}");
        let again = start.arg("--stop-at-head").run().await;
        assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "{}", again.stderr);
    }
    system.stop().await;
}

#[tokio::test]
async fn a_follower_whose_cursor_is_past_the_retention_is_told_where_the_log_begins() {
    let mut system = Plan::new().start().await;
    let folder = TempDir::new().unwrap();
    let follow = |language: &Language| {
        let start = language.example("follow").flag("--service", plain(system_address(&system))).arg("--stop-at-head");
        start.flag("--cursor", folder.path().join(language.name))
    };
    let languages = Language::all();
    book(&system, "purged").await;
    for language in &languages {
        assert_eq!(uids(&follow(language).run().await.stdout), ["purged"]);
    }
    book(&system, "too").await;
    let earliest = position_of_the_head(&system).await;
    // What a purge leaves behind: nobody waits the hour that is the shortest retention.
    let store = rusqlite::Connection::open(system.data().join("calbridge.db")).unwrap();
    store.busy_timeout(wait::PATIENCE).unwrap();
    let purged = "INSERT INTO retention (tenant, bodies, deliveries, transitions) VALUES (?1, 0, 0, ?2)";
    store.execute(purged, (TENANT, i64::from_str_radix(&earliest, 16).unwrap())).unwrap();
    for language in &languages {
        let ended = follow(language).run().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
        assert!(ended.stderr.contains("OUT_OF_RANGE/CURSOR_EXPIRED"), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("earliest position: {earliest}")), "{}", ended.stderr);
    }
    system.stop().await;
}

#[tokio::test]
async fn workers_of_both_languages_share_a_consumer_and_outlive_the_service() {
    let languages = Language::all();
    if languages.is_empty() {
        return;
    }
    let mut system = Plan::new().returning().start().await;
    let service = plain(system_address(&system));
    let consumer = Start::new("calbridge").arg("consumer").arg("create").arg("mails").flag("--service", &service);
    assert_eq!(consumer.run().await.code, Some(0));
    let work = |language: &Language| language.example("work").flag("--service", &service).flag("--consumer", "mails");
    let workers: Vec<_> = languages.iter().map(|language| work(language).spawn()).collect();
    for number in 0..10 {
        book(&system, &format!("before{number}")).await;
    }
    done(&workers, 10).await;
    system.service.kill();
    system.restart_service();
    system.ready().await;
    for number in 0..10 {
        book(&system, &format!("after{number}")).await;
    }
    done(&workers, 20).await;
    drop(workers);
    let none = work(&languages[0]).flag("--tenant", "nobodys").run().await;
    assert_eq!(none.code, Some(1), "{}", none.stderr);
    assert!(none.stderr.contains("NOT_FOUND/CONSUMER_NOT_FOUND"), "{}", none.stderr);
    system.stop().await;
}

#[test]
fn every_grpcurl_line_of_the_readme_fits_the_schema() {
    let pool = DescriptorPool::decode(calbridge_proto::FILE_DESCRIPTOR_SET).unwrap();
    let readme = fs::read_to_string(language::protos().with_file_name("README.md")).unwrap();
    let mut streamed = None;
    let mut messages = 0;
    for line in readme.lines() {
        let (method, json) = match (line.strip_prefix("grpcurl "), streamed) {
            (Some(call), _) => {
                let method = call.split(' ').next_back().unwrap();
                streamed = call.contains(" -d @ ").then_some(method);
                let Some((_, data)) = call.split_once(" -d '") else { continue };
                (method, data.rsplit_once("' ").unwrap().0)
            }
            // What is typed while it runs.
            (None, Some(method)) if line.starts_with('{') => (method, line),
            (None, _) => {
                streamed = None;
                continue;
            }
        };
        let (service, name) = method.split_once('/').unwrap_or_else(|| panic!("{line} names no method"));
        let service = pool.get_service_by_name(service).unwrap_or_else(|| panic!("{line}: no such service"));
        let method = service.methods().find(|method| method.name() == name);
        let input = method.unwrap_or_else(|| panic!("{line}: no such method")).input();
        let mut json = serde_json::Deserializer::from_str(json);
        DynamicMessage::deserialize(input, &mut json).unwrap_or_else(|why| panic!("{line}: {why}"));
        messages += 1;
    }
    assert!(messages > 10, "only {messages} were found");
}

/// What both languages run.
fn script() -> PathBuf {
    language::examples().join("conformance.json")
}

fn plain(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn system_address(system: &System) -> SocketAddr {
    system.service.listening().grpc()
}

/// Where the last booking changed last.
async fn position_of_the_head(system: &System) -> String {
    let bookings = system.api().all_bookings(TENANT).await;
    bookings.into_iter().map(|booking| booking.position).max().unwrap()
}

/// One booking, hence one entry of the log.
async fn book(system: &System, uid: &str) {
    let second = |second| Timestamp::from_second(second).unwrap();
    let golden = Golden::new(uid, 7_001, second(1_790_000_000), second(1_790_090_000));
    let answer = system.sender().send(TENANT, SECRET, golden::body(Trigger::BookingCreated, &golden)).await;
    assert_eq!(answer.outcome(), "applied", "{uid}: {}", answer.status);
}

/// The second word of each line.
fn uids(output: &str) -> Vec<&str> {
    output.lines().filter_map(|line| line.split(' ').nth(1)).collect()
}

/// Waits until a follower has said exactly this.
async fn lines(follower: &Program, expected: &[&str]) {
    let what = format!("{expected:?} come");
    let seen = wait::until(&what, || {
        let output = follower.stdout();
        std::future::ready((uids(&output).len() >= expected.len()).then_some(output))
    });
    let seen = seen.await;
    assert_eq!(uids(&seen), expected, "{}", follower.stderr());
}

/// Waits until workers have done so many different things, together.
async fn done(workers: &[Program], count: usize) {
    let what = format!("{count} are done");
    wait::until(&what, || {
        let outputs: Vec<_> = workers.iter().map(Program::stdout).collect();
        let done: std::collections::BTreeSet<_> = outputs.iter().flat_map(|output| uids(output)).collect();
        std::future::ready((done.len() == count).then_some(()))
    })
    .await;
}
