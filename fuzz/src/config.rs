//! The config file: whatever stands in it, the start goes on or ends with a word that repeats no secret.
//!
//! An input is a text in which two bytes that TOML does not have stand for a marked secret, as a text and as a number.
//! Where every one of them is in a place for secrets, no message may have it, nor may what is shown of a configuration.

use std::{fs, net::SocketAddr, time::Instant};

use calbridge_process::{Config, Options, Program, resolve};
use tempfile::TempDir;
use toml::{Table, Value};

use crate::cut::Cut;

/// What stands for the marked text in an input.
const TEXT_HERE: char = '\u{1}';
/// And for the marked number.
const NUMBER_HERE: char = '\u{2}';
const MARKS: [&str; 2] = ["Zq_7hN5~marked", "73049182650417"];

thread_local! {
    static FOLDER: TempDir = {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("secret"), MARKS[0]).expect("written");
        folder
    };
}

pub(crate) fn judge(input: &[u8]) {
    let mut cut = Cut(input);
    let wishes = cut.byte();
    let program = [Program::Up, Program::Adapter, Program::Service][usize::from(wishes % 3)];
    let text = String::from_utf8_lossy(cut.rest()).replace(TEXT_HERE, MARKS[0]).replace(NUMBER_HERE, MARKS[1]);
    FOLDER.with(|folder| {
        let path = folder.path().join("calbridge.toml");
        fs::write(&path, &text).expect("written");
        let options = Options { config: Some(path), data_dir: Some("data".into()), ..Options::default() };
        let has_secret = wishes & 4 == 0;
        let environment = |name: &str| (has_secret && name == "CALCOM_WEBHOOK_SECRET").then(|| MARKS[0].to_owned());
        let said = match resolve(options, program, &environment) {
            Ok(config) => shown(&config),
            Err(why) => vec![why.to_string(), format!("{why:?}")],
        };
        if is_secret_throughout(&text) {
            for (said, mark) in said.iter().flat_map(|said| MARKS.map(|mark| (said, mark))) {
                assert!(!said.contains(mark), "a secret of {text:?} is repeated: {said}");
            }
        }
    });
}

/// What a program may say of a configuration that it has read, and can use.
fn shown(config: &Config) -> Vec<String> {
    let limits = config.limits;
    for time in [limits.header_timeout, limits.body_timeout, limits.forward_deadline, limits.shutdown_grace] {
        assert!(Instant::now().checked_add(time).is_some(), "no clock goes on for {time:?}");
    }
    let anywhere = SocketAddr::from(([0, 0, 0, 0], 1));
    let checks = [
        calbridge_service::check_redis(config),
        calbridge_service::check_database(config),
        calbridge_service::check_exposure(config, anywhere),
        calbridge_adapter::check_exposure(config, anywhere),
    ];
    let mut shown: Vec<_> = checks.into_iter().filter_map(Result::err).map(|why| why.to_string()).collect();
    shown.push(format!("{config:?}"));
    shown
}

/// Whether each mark of a text is in a place for secrets. A text that is no TOML has no places: a key might be meant,
/// or a number beyond those of TOML, which a limit's reader takes all the same.
fn is_secret_throughout(text: &str) -> bool {
    let Ok(file) = text.parse::<Table>() else { return !text.lines().any(has_key_with_mark) && !is_in_number(text) };
    let mut secret = 0;
    for (key, value) in &file {
        secret += match (key.as_str(), value) {
            // A file's name is none.
            ("database_url", Value::String(url)) if url.starts_with("sqlite://") => 0,
            ("tenants", Value::Table(tenants)) => tenants.values().map(marks_of_tenant).sum(),
            ("redis_url" | "database_url" | "tenants", value) => marks_in(value),
            ("principal", Value::Array(principals)) => {
                principals.iter().filter_map(|one| one.get("token_sha256")).map(marks_in).sum()
            }
            _ => 0,
        };
    }
    secret == marks(text)
}

fn marks_of_tenant(tenant: &Value) -> usize {
    let secrets = match tenant {
        Value::Table(tenant) => tenant.get("secrets"),
        other => Some(other),
    };
    match secrets {
        // A variable's or a file's name is none.
        Some(Value::Array(secrets)) => {
            let named = |secret: &&Value| {
                secret.as_str().is_some_and(|text| ["env:", "file:"].iter().any(|way| text.starts_with(way)))
            };
            secrets.iter().filter(|secret| !named(secret)).map(marks_in).sum()
        }
        Some(secrets) => marks_in(secrets),
        None => 0,
    }
}

/// In values; a key is none.
fn marks_in(value: &Value) -> usize {
    match value {
        Value::String(text) => marks(text),
        Value::Integer(number) => marks(&number.to_string()),
        Value::Float(number) => marks(&number.to_string()),
        Value::Array(values) => values.iter().map(marks_in).sum(),
        Value::Table(values) => values.values().map(marks_in).sum(),
        Value::Boolean(_) | Value::Datetime(_) => 0,
    }
}

fn marks(text: &str) -> usize {
    MARKS.iter().map(|mark| text.matches(mark).count()).sum()
}

/// Whether a mark may be meant as a key, which a message names.
fn has_key_with_mark(line: &str) -> bool {
    let key = line.split_once('=').map_or(line, |(key, _)| key);
    marks(key) > 0 || line.matches('=').count() > 1
}

/// Whether the marked number is a part of a longer one.
fn is_in_number(text: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    text.match_indices(MARKS[1]).any(|(at, mark)| {
        is_digit(at.checked_sub(1).and_then(|before| bytes.get(before))) || is_digit(bytes.get(at + mark.len()))
    })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "",
        "http = \"0.0.0.0:8080\"\nredis_url = \"redis://:\u{1}@127.0.0.1:6379\"\n[limits]\nforward_deadline = \"1s\"\n\
         [retention]\nbodies = \"14days\"\n[tenants.acme]\nsecrets = [\"env:CALCOM_WEBHOOK_SECRET\", \"file:secret\", \
         \"\u{1}\"]\ncomplete_grace = \"10m\"\n[tenants.acme.retention]\ndeliveries = \"never\"\n",
        "database_url = \"postgres://me:\u{1}@127.0.0.1/db\"\ndatabase_connections = 4\nredis_ttl = \"7days\"\n\
         dedupe_keys = 10\nworkers = 2\nadmin = \"127.0.0.1:0\"\ngrpc = \"127.0.0.1:0\"\n\
         service = [\"http://a:1\", \"http://b:2\"]\n",
        "[[principal]]\nname = \"outreach\"\ntoken_sha256 = [\"\u{1}\"]\ncertificate = \"dns:a.internal\"\n\
         scopes = [\"read\", \"read.pii\", \"consume\", \"ingest\", \"admin\"]\ntenants = \"*\"\n",
        "[[principal]]\nname = \"x\"\ntoken_sha256 = \
         \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\nscopes = [\"read\"]\n\
         tenants = [\"acme\"]\n",
        "[limits]\nbody_bytes = 1048576\nheader_bytes = 16384\nheader_count = 100\nheader_timeout = \"10s\"\n\
         body_timeout = \"5s\"\nconnections = 4\nin_flight = 4\nin_flight_bytes = 268435456\n\
         shutdown_grace = \"8s\"\n",
        "[limits]\nheader_timeout = \"99999999999999999years\"\nshutdown_grace = \"18446744073709551615s\"\n",
        "spool_dir = \"none\"\nspool_bytes = 67108864\nspool_age = \"1day\"\nack = \"committed\"\ninsecure = true\n\
         insecure_unsigned = false\nlog = \"info\"\nlog_format = \"json\"\n[tenants.open]\nallow_unsigned = true\n\
         complete_by_clock = false\n",
        "[tenants.default]\nsecrets = \"\u{1}\"\n",
        "[tenants.default]\nsecrets = [\"\u{1}\", [\"\u{1}\"]]\n",
        "[tenants]\ndefault = \"\u{1}\"\n",
        "redis_url = \"rediss://\u{1}\"\nredis_ca_file = \"secret\"\nredis_cert_file = \"x\"\nredis_key_file = \"y\"\n",
        "[retention]\nbodies = \"1h\"\ndeliveries = \"1year\"\ntransitions = \"never\"\n",
        "http_certificate = \"a\"\nhttp_key = \"b\"\ngrpc_certificate = \"c\"\ngrpc_key = \"d\"\n\
         grpc_client_ca = \"e\"\nservice_ca = \"f\"\nservice_certificate = \"g\"\n\
         service_key = \"h\"\nservice_token_file = \"i\"\n",
    ];
    let of_each = |seed: &str| [0, 1, 2, 4].map(|wishes| [&[wishes], seed.as_bytes()].concat());
    seeds.iter().flat_map(|seed| of_each(seed)).collect()
}
