use super::*;

fn tenant(secrets: &[&str], allow_unsigned: bool) -> BTreeMap<String, TenantOptions> {
    let secrets = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
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
