use super::*;

const SECRET: &str = "whsec_not_to_be_seen";

fn environment(name: &str) -> Option<String> {
    (name == "CALCOM_WEBHOOK_SECRET").then(|| SECRET.to_owned())
}

fn file(text: &str) -> (tempfile::TempDir, Options) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calbridge.toml");
    fs::write(&path, text).unwrap();
    (folder, Options { config: Some(path), data_dir: Some("data".into()), ..Options::default() })
}

fn refused(text: &str, program: Program) -> String {
    let (_folder, options) = file(text);
    let why = resolve(options, program, &environment).unwrap_err().to_string();
    assert!(!why.contains(SECRET), "{why}");
    why
}

#[test]
fn an_option_stands_over_the_file_and_the_file_over_the_default() {
    let (_folder, mut options) = file("http = \"127.0.0.1:1\"\ngrpc = \"127.0.0.1:2\"\n[limits]\nbody_bytes = 4096\n");
    options.http = Some("127.0.0.1:3".to_owned());
    let config = resolve(options, Program::Up, &environment).unwrap();
    assert_eq!((config.http.as_str(), config.grpc.as_str()), ("127.0.0.1:3", "127.0.0.1:2"));
    assert_eq!(config.admin, "127.0.0.1:9090");
    assert_eq!(config.limits.body_bytes, 4096);
    assert!(matches!(config.database, Database::Sqlite(path) if path == Path::new("data/calbridge.db")));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_no_text_of_it() {
    let why = refused(&format!("http = \"127.0.0.1:0\"\n[tenants.default]\nsecert = [\"{SECRET}\"]\n"), Program::Up);
    assert!(why.contains("line 3") && why.contains("secert"), "{why}");
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let why = refused(&format!("[tenants]\ndefault = \"{SECRET}\"\n"), Program::Up);
    assert!(why.contains("line 2"), "{why}");
    let why = refused(&format!("[tenants.default]\nsecrets = \"{SECRET}\"\n"), Program::Up);
    assert!(why.contains("expected"), "{why}");
    for number in ["73049182650417", "-7304.9182650417", "true"] {
        let why = refused(&format!("[tenants.default]\nsecrets = [{number}]\n"), Program::Up);
        assert!(why.contains(", expected a string") && !why.contains(number), "{why}");
    }
}

#[test]
fn only_a_program_that_takes_webhooks_needs_a_secret() {
    let options = || Options { data_dir: Some("data".into()), ..Options::default() };
    let nothing = |_: &str| None;
    for program in [Program::Up, Program::Adapter] {
        let why = resolve(options(), program, &nothing).unwrap_err().to_string();
        assert!(why.contains("CALCOM_WEBHOOK_SECRET=") && why.contains("[tenants.default]"), "{why}");
    }
    let config = resolve(options(), Program::Service, &nothing).unwrap();
    assert_eq!(config.admin, "127.0.0.1:9091");
}

#[test]
fn one_file_serves_every_program() {
    let (_folder, options) = file("[tenants.acme]\nsecrets = [\"env:ONLY_THE_ADAPTER_HAS_IT\"]\n");
    let config = resolve(options, Program::Service, &|_| None).unwrap();
    assert!(config.tenants.is_empty());
}

#[test]
fn urls_are_checked_and_never_repeated_whole() {
    for (text, part) in [
        (format!("database_url = \"mysql://me:{SECRET}@db/x\""), "mysql://…"),
        (format!("database_url = \"me:{SECRET}@db/x?to=mysql://\""), "--database-url = …"),
        ("database_connections = 0".to_owned(), "--database-connections = 0"),
        (format!("redis_url = \"http://{SECRET}\""), "redis://HOST:PORT"),
        (format!("redis_url = \"redis://:{SECRET}@ho st:1\""), "redis://HOST:PORT"),
        ("http = \"nonsense\"".to_owned(), "--http = nonsense"),
        ("admin = \"localhost\"".to_owned(), "HOST:PORT"),
        ("redis_url = \"redis://a,rediss://b\"\nredis_ttl = \"1ms\"".to_owned(), "at least 1s"),
        ("redis_url = \"redis://a\"\nredis_ttl = \"91days\"".to_owned(), "--redis-ttl = 7862400 s"),
        ("redis_url = \"redis://a\"\nredis_ttl = \"91days\"".to_owned(), "at most 90days"),
    ] {
        let why = refused(&text, Program::Up);
        assert!(why.contains(part), "{why}");
    }
    let (_folder, options) = file("redis_url = \"redis://a:1, redis://b:2\"\nredis_ttl = \"2h\"");
    let redis = resolve(options, Program::Up, &environment).unwrap().redis.unwrap();
    assert_eq!((redis.urls.len(), redis.ttl), (2, Duration::from_hours(2)));
}

#[test]
fn the_files_of_redis_are_read_and_fit_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (ca, cert, key) = (path("ca", "authority"), path("cert", "certificate"), path("key", SECRET));
    let url = "redis_url = \"rediss://a:1\"";
    let all = format!("redis_ca_file = {ca:?}\nredis_cert_file = {cert:?}\nredis_key_file = {key:?}\n");
    let (_folder, options) = file(&format!("{url}\n{all}"));
    let redis = resolve(options, Program::Service, &environment).unwrap().redis.unwrap();
    assert!(!format!("{redis:?}").contains(SECRET));
    let tls = redis.tls.unwrap();
    assert_eq!(tls.ca.as_deref(), Some("authority"));
    assert_eq!(tls.client.unwrap().1.expose_secret(), SECRET);
    let large = path("large", &"x".repeat(2 * 1024 * 1024));
    for (text, part) in [
        (format!("{url}\nredis_cert_file = {cert:?}"), "say --redis-key-file"),
        (format!("{url}\nredis_key_file = {key:?}"), "say --redis-cert-file"),
        (format!("{url}\nredis_ca_file = \"absent.pem\""), "--redis-ca-file = absent.pem"),
        (format!("{url}\nredis_ca_file = {large:?}"), "2097152 bytes"),
        (format!("redis_url = \"rediss://a,redis://b\"\nredis_ca_file = {ca:?}"), "write rediss://HOST:PORT"),
    ] {
        let why = refused(&text, Program::Service);
        assert!(why.contains(part) && !why.contains(SECRET), "{why}");
    }
}

#[test]
fn a_program_looks_only_at_what_it_uses() {
    let text = "service = \"no address\"\n";
    for program in [Program::Up, Program::Service] {
        let (_folder, options) = file(text);
        resolve(options, program, &environment).unwrap();
    }
    for address in ["no address", "127.0.0.1:50051", "ftp://127.0.0.1:50051", "http://a b:50051", "https://host"] {
        let why = refused(&format!("service = {address:?}"), Program::Adapter);
        assert!(why.contains("http://HOST:PORT"), "{why}");
    }
    let (_folder, mut options) = file("database_url = \"postgres://db/x\"\nredis_url = \"nonsense\"\ngrpc = \"x\"\n");
    options.data_dir = None;
    resolve(options, Program::Adapter, &environment).unwrap();
}

#[test]
fn a_program_that_only_reads_finds_the_service_in_the_file() {
    let (_folder, options) = file("service = \"http://bookings.internal:50051\"\nhttp = \"elsewhere\"\n");
    let addresses = |said: Option<&str>, config| {
        let said = ServiceOptions { service: said.map(str::to_owned), config, ..ServiceOptions::default() };
        service_access(said).map(|(services, _)| services)
    };
    assert_eq!(addresses(None, options.config.clone()).unwrap(), ["http://bookings.internal:50051"]);
    assert_eq!(addresses(Some("https://[::1]:1"), options.config).unwrap(), ["https://[::1]:1"]);
    assert_eq!(addresses(None, None).unwrap(), ["http://127.0.0.1:50051"]);
}

#[test]
fn replicas_are_a_text_with_commas_or_an_array() {
    let three = ["http://a:1", "http://b:2", "http://[::1]:3"];
    for text in [
        r#"service = "http://a:1,http://b:2, http://[::1]:3,http://a:1""#,
        r#"service = ["http://a:1", "http://b:2", "http://[::1]:3"]"#,
    ] {
        let (_folder, options) = file(text);
        assert_eq!(resolve(options, Program::Adapter, &environment).unwrap().services, three, "{text}");
    }
    for text in [r#"service = "http://a:1,""#, "service = []", r#"service = ["http://a:1", "b:2"]"#] {
        assert!(refused(text, Program::Adapter).contains("http://HOST:PORT"), "{text}");
    }
    assert!(refused("service = 7", Program::Adapter).contains("a string or an array of strings"));
    let many = |count: u16| (0..count).map(|port| format!("http://a:{port}")).collect::<Vec<_>>().join(",");
    let said = |count| ServiceOptions { service: Some(many(count)), ..ServiceOptions::default() };
    assert_eq!(service_access(said(32)).unwrap().0.len(), crate::SERVICES_MOST);
    let why = service_access(said(33)).unwrap_err().to_string();
    assert!(why.contains("more than 32"), "{why}");
}

#[test]
fn retention_is_read_for_all_and_for_each_tenant() {
    let text = "[retention]\nbodies = \"7days\"\ntransitions = \"never\"\n\
        [tenants.acme]\nsecrets = [\"x\"]\n[tenants.acme.retention]\ndeliveries = \"2days\"\n";
    let (_folder, mut options) = file(text);
    options.retention.bodies = Some("9days".parse().unwrap());
    let config = resolve(options, Program::Service, &environment).unwrap();
    let day = Duration::from_hours(24);
    let common = Retention { bodies: Some(day * 9), deliveries: Some(day * 90), transitions: None };
    assert_eq!(config.retention, common);
    let own = Retention { bodies: Some(day * 2), deliveries: Some(day * 2), transitions: None };
    assert_eq!(config.tenant_retention, [("acme".to_owned(), own)].into());

    let torn = "[retention]\nbodies = \"never\"\n";
    assert!(refused(torn, Program::Up).contains("--retention-bodies = never"));
    let (_folder, options) = file(torn);
    resolve(options, Program::Adapter, &environment).unwrap();
    assert!(refused("[retention]\nbodies = \"soon\"\n", Program::Adapter).contains("or never"));
}
