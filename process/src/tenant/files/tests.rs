use std::fs;

use tempfile::TempDir;

use super::*;

const FIRST: &str = "[tenants.acme]\nsecrets = [\"file:secret\", \"second\"]\n";

struct Files {
    folder: TempDir,
    watch: TenantWatch,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("calbridge.toml");
        fs::write(folder.path().join("secret"), "first\n").unwrap();
        fs::write(&config, FIRST).unwrap();
        let options = config::parse(&config, FIRST).unwrap().tenants;
        let in_force = super::super::read(&options, folder.path(), &|_| None).unwrap();
        let files = TenantFiles { config: Some(config), environment: Arc::new(|_| None) };
        Self { watch: TenantWatch::new(files, &in_force), folder }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Looks until there is something settled to tell.
    fn settled(&mut self) -> TenantNews {
        match self.watch.look() {
            TenantNews::Unsettled => self.watch.look(),
            other => other,
        }
    }

    fn values(&mut self) -> Vec<String> {
        let TenantNews::Tenants(tenants) = self.settled() else { panic!("there are no new tenants") };
        let secrets = tenants.values().flat_map(|tenant| &tenant.secrets);
        secrets.map(|secret| secret.value.expose_secret().to_owned()).collect()
    }

    fn broken(&mut self) -> String {
        let TenantNews::Broken(why) = self.settled() else { panic!("it is not broken") };
        why.to_string()
    }

    fn is_quiet(&mut self) -> bool {
        matches!(self.watch.look(), TenantNews::Nothing)
    }
}

#[test]
fn what_is_in_force_is_no_news() {
    let mut files = Files::new();
    assert!(files.is_quiet());
    // Another text that says the same.
    files.write("calbridge.toml", &format!("# a comment\n{FIRST}"));
    assert!(files.is_quiet());
}

#[test]
fn a_change_of_either_file_is_told_once() {
    let mut files = Files::new();
    files.write("secret", "rotated");
    assert_eq!(files.values(), ["rotated", "second"]);
    assert!(files.is_quiet());
    files.write("calbridge.toml", "[tenants.acme]\nsecrets = [\"file:secret\"]\n[tenants.beta]\nsecrets = [\"b\"]\n");
    assert_eq!(files.values(), ["rotated", "b"]);
    assert!(files.is_quiet());
    let dated = "[tenants.acme]\nsecrets = [{ secret = \"file:secret\", expires = \"2026-12-01T00:00:00Z\" }]\n";
    files.write("calbridge.toml", dated);
    assert_eq!(files.values(), ["rotated"]);
    files.write("calbridge.toml", &dated.replace("2026", "2027"));
    assert_eq!(files.values(), ["rotated"], "another time is a change");
}

#[test]
fn what_is_being_written_is_not_taken() {
    let mut files = Files::new();
    // A good file, as far as it goes.
    files.write("calbridge.toml", "[tenants.acme]\nsecrets = [\"file:secret\"]\n");
    assert!(matches!(files.watch.look(), TenantNews::Unsettled));
    files.write("calbridge.toml", "");
    assert!(matches!(files.watch.look(), TenantNews::Unsettled));
    files.write("calbridge.toml", FIRST);
    assert!(files.is_quiet());
}

#[test]
fn a_broken_file_is_said_once_for_each_state_and_never_quoted() {
    let mut files = Files::new();
    files.write("calbridge.toml", "[tenants.acme]\nsecrets = [\"hunter2\"\n");
    let why = files.broken();
    assert!(why.contains("calbridge.toml, line") && !why.contains("hunter2"), "{why}");
    assert!(files.is_quiet());
    files.write("calbridge.toml", "");
    assert!(files.broken().contains("no webhook secret is configured"));
    assert!(files.is_quiet());
    files.write("calbridge.toml", FIRST);
    fs::remove_file(files.folder.path().join("secret")).unwrap();
    assert!(files.broken().contains("the secret file"));
    fs::remove_file(files.folder.path().join("calbridge.toml")).unwrap();
    assert!(files.broken().contains("can't be read"));
    assert!(files.is_quiet());
    files.write("calbridge.toml", FIRST);
    files.write("secret", "first");
    assert_eq!(files.values(), ["first", "second"], "that it is whole again is told, though nothing changed");
}

#[test]
fn without_a_file_there_is_the_environment() {
    let environment: Environment = Arc::new(|name| (name == "CALCOM_WEBHOOK_SECRET").then(|| "mine".to_owned()));
    let in_force = super::super::read(&BTreeMap::new(), Path::new(""), &*environment).unwrap();
    let files = TenantFiles { config: None, environment };
    assert!(!format!("{files:?}").contains("mine"));
    assert!(matches!(TenantWatch::new(files, &in_force).look(), TenantNews::Nothing));
}
