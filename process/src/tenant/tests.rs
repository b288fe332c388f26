use std::fs;

use proptest::prelude::*;

use super::*;

fn tenant(secrets: &[&str], allow_unsigned: bool) -> BTreeMap<String, TenantOptions> {
    of(secrets.iter().map(|secret| SecretOptions::from(*secret)).collect(), allow_unsigned)
}

fn of(secrets: Vec<SecretOptions>, allow_unsigned: bool) -> BTreeMap<String, TenantOptions> {
    BTreeMap::from([("default".to_owned(), TenantOptions { secrets, allow_unsigned, ..TenantOptions::default() })])
}

fn nothing(_: &str) -> Option<String> {
    None
}

fn values(tenants: &BTreeMap<String, Tenant>) -> Vec<(&str, &str)> {
    let secrets = tenants.values().flat_map(|tenant| &tenant.secrets);
    secrets.map(|secret| (secret.id.as_str(), secret.value.expose_secret())).collect()
}

#[test]
fn a_secret_comes_from_the_environment_a_file_or_the_list_itself() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old"), "from the file \n").unwrap();
    let environment = |name: &str| (name == "NEW").then(|| "from the environment".to_owned());
    let tenants =
        read(&tenant(&["env:NEW", "file:old", " as it stands "], false), folder.path(), &environment).unwrap();
    assert_eq!(
        values(&tenants),
        [("env:NEW", "from the environment"), ("file:old", "from the file "), ("literal:3", " as it stands ")]
    );
}

#[test]
fn the_default_secret_adds_to_those_of_the_file() {
    let environment = |name: &str| (name == "CALCOM_WEBHOOK_SECRET").then(|| "mine".to_owned());
    let added = read(&tenant(&["other"], false), Path::new("."), &environment).unwrap();
    assert_eq!(values(&added), [("literal:1", "other"), ("env:CALCOM_WEBHOOK_SECRET", "mine")]);
    let named = read(&tenant(&["env:CALCOM_WEBHOOK_SECRET"], false), Path::new("."), &environment).unwrap();
    assert_eq!(values(&named), [("env:CALCOM_WEBHOOK_SECRET", "mine")]);
    let alone = read(&BTreeMap::new(), Path::new("."), &environment).unwrap();
    assert_eq!(values(&alone), [("env:CALCOM_WEBHOOK_SECRET", "mine")]);
}

#[test]
fn what_can_not_be_used_is_refused_with_its_mend_and_without_the_secret() {
    let many = vec!["hunter2"; MAX_SECRETS + 1];
    for (options, part) in [
        (tenant(&[], false), "allow_unsigned = true"),
        (tenant(&["hunter2"], true), "remove one of the two"),
        (tenant(&["env:ABSENT"], false), "ABSENT is not set"),
        (tenant(&["file:absent"], false), "absent can't be read"),
        (tenant(&[""], false), "literal:1 is empty"),
        (tenant(&many, false), "at most 32"),
    ] {
        let why = read(&options, Path::new("."), &nothing).unwrap_err().to_string();
        assert!(why.contains(part) && why.contains("default"), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }
}

/// An entry as the file says it.
fn said(text: &str) -> Result<SecretOptions, String> {
    #[derive(serde::Deserialize)]
    struct File {
        entry: SecretOptions,
    }
    toml::from_str::<File>(&format!("entry = {text}")).map(|file| file.entry).map_err(|why| why.message().to_owned())
}

#[test]
fn an_entry_may_say_its_id_and_its_time() {
    let (id, start) = (r#"id = "2026-autumn""#, r#"not_before = "2026-09-01T02:00:00+02:00""#);
    let whole = format!(r#"{{ secret = "s", {id}, {start}, expires = 2026-12-01T00:00:00Z }}"#);
    let tenants =
        read(&of(vec![said(&whole).unwrap(), said("'t'").unwrap()], false), Path::new("."), &nothing).unwrap();
    let [dated, other] = &tenants["default"].secrets[..] else { panic!("two secrets") };
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!((dated.id.as_str(), dated.value.expose_secret()), ("2026-autumn", "s"));
    assert_eq!(dated.not_before, Some(time("2026-09-01T00:00:00Z")));
    assert_eq!(dated.expires, Some(time("2026-12-01T00:00:00Z")));
    assert_eq!((other.id.as_str(), other.not_before, other.expires), ("literal:2", None, None));
    for (moment, active) in [
        ("2026-08-31T23:59:59.999999999Z", false),
        ("2026-09-01T00:00:00Z", true),
        ("2026-11-30T23:59:59.999999999Z", true),
        ("2026-12-01T00:00:00Z", false),
    ] {
        assert_eq!(dated.is_active(time(moment)), active, "{moment}");
        assert!(other.is_active(time(moment)));
    }
}

#[test]
fn an_entry_that_can_not_be_read_is_not_repeated() {
    for (text, part) in [
        (
            r#"{ secert = "hunter2" }"#,
            "unknown field `secert`, expected one of `secret`, `id`, `not_before`, `expires`",
        ),
        (r#"{ id = "hunter2" }"#, "missing field `secret`"),
        (r#"{ secret = "s", expires = "hunter2" }"#, "no RFC 3339 time"),
        (r#"{ secret = "s", not_before = "2026-09-01" }"#, "\"2026-09-01T00:00:00Z\""),
        (r#"{ secret = "s", not_before = 2026-09-01 }"#, "no RFC 3339 time"),
        (r#"{ secret = "s", not_before = 17 }"#, "expected an RFC 3339 time"),
        ("[]", "expected a string, or a table"),
    ] {
        let why = said(text).unwrap_err();
        assert!(why.contains(part) && !why.contains("hunter2"), "{text}: {why}");
    }
}

#[test]
fn an_id_names_one_secret_of_its_tenant() {
    let named = |id: &str| SecretOptions { id: Some(id.to_owned()), ..SecretOptions::from("hunter2") };
    for (secrets, part) in [
        (vec![named("a"), named("a")], "two secrets have the id a"),
        (vec![named("a b")], "1 to 64 characters"),
        (vec![named("")], "1 to 64 characters"),
        (vec![named(&"x".repeat(65))], "1 to 64 characters"),
        (vec![named("hunter2")], "a secret itself"),
        (vec![named("fine"), named("hunter2"), named("x")], "a secret itself"),
    ] {
        let why = read(&of(secrets, false), Path::new("."), &nothing).unwrap_err().to_string();
        assert!(why.contains(part) && why.contains("default"), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }
    let environment = |name: &str| (name == "CALCOM_WEBHOOK_SECRET").then(|| "mine".to_owned());
    let taken = of(vec![named("env:CALCOM_WEBHOOK_SECRET")], false);
    let why = read(&taken, Path::new("."), &environment).unwrap_err().to_string();
    assert!(why.contains("two secrets have the id env:CALCOM_WEBHOOK_SECRET"), "{why}");
    // Two files of one name, and a name that somebody gave to another.
    let folder = tempfile::tempdir().unwrap();
    for name in ["old", "new"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("acme"), name).unwrap();
    }
    let secrets = vec!["file:old/acme".into(), "file:new/acme".into(), "x".into(), named("literal:3")];
    let tenants = read(&of(secrets, false), folder.path(), &nothing).unwrap();
    let ids: Vec<_> = values(&tenants).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["file:acme", "file:acme:2", "literal:3:3", "literal:3"]);
}

#[test]
fn a_time_that_never_comes_is_refused() {
    let mut entry = SecretOptions::from("hunter2");
    entry.not_before = Some("2026-09-01T00:00:00Z".parse().unwrap());
    for expires in ["2026-09-01T00:00:00Z", "2026-01-01T00:00:00Z"] {
        entry.expires = Some(expires.parse().unwrap());
        let why = read(&of(vec![entry.clone()], false), Path::new("."), &nothing).unwrap_err().to_string();
        assert!(why.contains(&format!("literal:1 has expires = {expires}")), "{why}");
        assert!(why.contains("not_before = 2026-09-01T00:00:00Z") && !why.contains("hunter2"), "{why}");
    }
}

#[test]
fn the_default_secret_with_times_is_not_added_without_them() {
    let environment = |name: &str| (name == "CALCOM_WEBHOOK_SECRET").then(|| "mine".to_owned());
    let mut entry = SecretOptions::from("env:CALCOM_WEBHOOK_SECRET");
    (entry.id, entry.expires) = (Some("old".to_owned()), Some("2026-09-01T00:00:00Z".parse().unwrap()));
    let tenants = read(&of(vec![entry], false), Path::new("."), &environment).unwrap();
    assert_eq!(values(&tenants), [("old", "mine")]);
}

#[test]
fn a_secret_file_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("large"), "x".repeat(65_537)).unwrap();
    let why = read(&tenant(&["file:large"], false), folder.path(), &nothing).unwrap_err().to_string();
    assert!(why.contains("more than the 65536 bytes"), "{why}");
}

proptest! {
    #[test]
    fn a_secret_holds_exactly_within_its_time(
        now in -1_000_i64..1_000,
        start in proptest::option::of(-1_000_i64..1_000),
        end in proptest::option::of(-1_000_i64..1_000),
    ) {
        let time = |nanos: i64| Timestamp::from_nanosecond(nanos.into()).unwrap();
        let secret = Secret { not_before: start.map(time), expires: end.map(time), ..Secret::always("id", "value") };
        let within = start.unwrap_or(i64::MIN) <= now && now < end.unwrap_or(i64::MAX);
        prop_assert_eq!(secret.is_active(time(now)), within);
    }
}

#[test]
fn a_name_fits_into_a_url() {
    for name in ["", "Caps", "a/b", "a b", "é", &"x".repeat(65)] {
        assert!(check_name(name).is_err(), "{name}");
    }
    for name in ["default", "acme-2", "a_b", &"x".repeat(64)] {
        assert!(check_name(name).is_ok(), "{name}");
    }
}

#[test]
fn the_clock_waits_ten_minutes_unless_its_tenant_says_otherwise() {
    let minutes = |minutes| Some(Duration::from_mins(minutes));
    let options = |complete_by_clock, complete_grace: Option<&str>| TenantOptions {
        complete_by_clock,
        complete_grace: complete_grace.map(|grace| grace.parse().unwrap()),
        ..TenantOptions::default()
    };
    for (said, expected) in [
        (options(None, None), minutes(10)),
        (options(Some(true), None), minutes(10)),
        (options(None, Some("1h")), minutes(60)),
        (options(Some(true), Some("0s")), minutes(0)),
        (options(Some(false), None), None),
    ] {
        let found = completion(&[("acme".to_owned(), said)].into()).unwrap();
        assert_eq!(found, [("acme".to_owned(), expected)].into());
    }
    assert_eq!(completion(&BTreeMap::new()).unwrap(), BTreeMap::new());
    let torn = completion(&[("acme".to_owned(), options(Some(false), Some("5m")))].into()).unwrap_err().to_string();
    for part in ["acme", "complete_grace = \"5m\"", "complete_by_clock", "remove one"] {
        assert!(torn.contains(part), "{part}: {torn}");
    }
    let strange = completion(&[("Acme".to_owned(), options(None, None))].into()).unwrap_err().to_string();
    assert!(strange.contains("a-z, 0-9"), "{strange}");
}
