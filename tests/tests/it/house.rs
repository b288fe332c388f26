//! The rules of the house that no compiler checks: who may use whom, and how a file looks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each package may use of the others. The left column is the whole house.
const MAY_USE: &[(&str, &[&str])] = &[
    ("calbridge-proto", &[]),
    ("calbridge-booking", &["calbridge-proto"]),
    ("calbridge-calcom", &["calbridge-proto"]),
    ("calbridge-telemetry", &[]),
    ("calbridge-process", &["calbridge-telemetry"]),
    ("calbridge-vfs", &[]),
    ("calbridge-client", &["calbridge-proto"]),
    ("calbridge-adapter", &["calbridge-proto", "calbridge-calcom", "calbridge-telemetry", "calbridge-process"]),
    (
        "calbridge-service",
        &[
            "calbridge-proto",
            "calbridge-booking",
            "calbridge-calcom",
            "calbridge-telemetry",
            "calbridge-process",
            "calbridge-vfs",
        ],
    ),
    (
        "calbridge",
        &[
            "calbridge-proto",
            "calbridge-client",
            "calbridge-calcom",
            "calbridge-telemetry",
            "calbridge-process",
            "calbridge-adapter",
            "calbridge-service",
        ],
    ),
    ("calbridge-e2e", &["calbridge-proto", "calbridge-calcom"]),
    // Services of others, as far as calbridge is concerned: what they need of it is in `client/`.
    ("calbridge-example-jobs", &["calbridge-client"]),
    ("calbridge-example-outreach", &["calbridge-client"]),
    (
        "calbridge-bench",
        &[
            "calbridge-proto",
            "calbridge-booking",
            "calbridge-calcom",
            "calbridge-process",
            "calbridge-service",
            "calbridge-e2e",
        ],
    ),
    // It has none but for its tests.
    ("calbridge-simulation", &[]),
    (
        "calbridge-fuzz",
        &[
            "calbridge-proto",
            "calbridge-booking",
            "calbridge-calcom",
            "calbridge-telemetry",
            "calbridge-process",
            "calbridge-adapter",
            "calbridge-service",
        ],
    ),
];

/// Packages that a pure room may not touch: no I/O, no runtime, no store.
const IMPURE: &[&str] = &["tokio", "tonic", "hyper", "rusqlite", "tokio-postgres", "redis", "tracing", "opentelemetry"];
/// What the HTTP edge may not know of.
const STORES: &[&str] = &["rusqlite", "tokio-postgres", "redis"];

/// Spans of a second `opentelemetry` would go nowhere, messages of a second `prost` would not fit.
const ONCE: &[&str] =
    &["opentelemetry", "opentelemetry_sdk", "prost", "redis", "rusqlite", "rustls", "tokio", "tonic", "tracing"];
/// With a second provider of cryptography rustls can't choose; a system library is one more thing to install.
const NEVER: &[&str] = &["aws-lc-rs", "native-tls", "openssl-sys"];

/// rustfmt breaks code at 120; this finds what it can't break.
const LINE: usize = 120;
/// A file that is longer does two things.
const LINES: usize = 500;
/// The languages of the house, and how a file of each begins to say its part.
const CODE: &[(&str, &str)] = &[("rs", "//!"), ("py", "\"\"\""), ("js", "//")];
/// What is built or fetched is not ours.
const FOREIGN: &[&str] = &["target", "node_modules", "__pycache__"];

#[test]
fn nobody_uses_whom_he_may_not() {
    let house: BTreeSet<_> = MAY_USE.iter().map(|(name, _)| *name).collect();
    let manifests = manifests();
    assert_eq!(manifests.keys().map(String::as_str).collect::<BTreeSet<_>>(), house, "the members of the workspace");
    for (name, allowed) in MAY_USE {
        let used: BTreeSet<_> = manifests[*name].iter().map(String::as_str).collect();
        for package in house.intersection(&used) {
            assert!(allowed.contains(package), "{name} uses {package}");
        }
    }
    for pure in ["calbridge-booking", "calbridge-calcom"] {
        assert_disjoint(pure, &manifests[pure], IMPURE);
    }
    assert_disjoint("calbridge-adapter", &manifests["calbridge-adapter"], STORES);
    assert_disjoint("calbridge-process", &manifests["calbridge-process"], STORES);
    assert_disjoint("calbridge-telemetry", &manifests["calbridge-telemetry"], STORES);
}

#[test]
fn there_is_one_of_each_where_two_would_not_meet() {
    let lock: toml::Table = fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let versions = |wanted: &str| packages.iter().filter(|package| package["name"].as_str() == Some(wanted)).count();
    for name in ONCE {
        assert_eq!(versions(name), 1, "versions of {name} in the tree");
    }
    for name in NEVER {
        assert_eq!(versions(name), 0, "{name} is in the tree");
    }
}

#[test]
fn every_file_is_short_plain_and_finished() {
    let mut faults = Vec::new();
    let files = files(&root());
    assert!(files.len() > 50, "only {} files were found to look at", files.len());
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        let code = CODE.iter().any(|(extension, _)| path.extension().is_some_and(|own| own == *extension));
        if code && text.lines().count() > LINES {
            faults.push(format!("{shown} has {} lines", text.lines().count()));
        }
        for (number, line) in text.lines().enumerate() {
            if code && line.chars().count() > LINE {
                faults.push(format!("{shown}:{} is longer than {LINE}", number + 1));
            }
            faults.extend(unfinished(line).map(|what| format!("{shown}:{} has {what}", number + 1)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_module_has_one_place() {
    let old = files(&root()).into_iter().filter(|path| path.file_name().is_some_and(|name| name == "mod.rs"));
    assert_eq!(old.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "foo.rs stands beside foo/, never foo/mod.rs");
}

#[test]
fn every_file_of_code_says_its_part() {
    let silent = files(&root()).into_iter().filter(|path| {
        let header = CODE.iter().find(|(extension, _)| path.extension().is_some_and(|own| own == *extension));
        // A file of tests beside its code says it by its place.
        let own = !path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
        own && header.is_some_and(|(_, begin)| !fs::read_to_string(path).unwrap().starts_with(begin))
    });
    let silent: Vec<_> = silent.collect();
    let allowed = root().join("build.rs");
    assert_eq!(silent.iter().filter(|path| **path != allowed).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
}

fn assert_disjoint(name: &str, used: &BTreeSet<String>, banned: &[&str]) {
    let found: Vec<_> = banned.iter().filter(|package| used.contains(**package)).collect();
    assert!(found.is_empty(), "{name} uses {found:?}");
}

/// The package of each manifest and what it depends on when it is built; tests may use more.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let workspace: toml::Table = text.parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let read = |member: &toml::Value| {
        let path = root().join(member.as_str().unwrap()).join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let used = manifest.get("dependencies").and_then(toml::Value::as_table);
        (name, used.into_iter().flat_map(toml::Table::keys).cloned().collect())
    };
    members.iter().map(read).collect()
}

/// The tracked kinds of text, wherever they lie.
fn files(folder: &Path) -> Vec<PathBuf> {
    let ours = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        ["rs", "py", "js", "md", "toml", "proto", "sql", "yaml", "yml", "json", "service"].contains(&extension)
            || ["Dockerfile", "Caddyfile", "run", "test", "fetch", "build", "train"].contains(&name)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !FOREIGN.contains(&name.as_str()) && (!name.starts_with('.') || name == ".ci") {
            found.extend(files(&path));
        } else if path.is_file() && ours(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Words that mean "later", and paths that exist on one machine alone.
fn unfinished(line: &str) -> impl Iterator<Item = String> + '_ {
    // In halves, or this file would find itself.
    let marks = [("todo", "!("), ("unimplemented", "!("), ("FIX", "ME"), ("TO", "DO:"), ("#[igno", "re")];
    let paths = [("/ho", "me/"), ("/Us", "ers/"), ("/wo", "rk/"), ("/ro", "ot/")];
    let words = marks.into_iter().chain(paths).map(|(first, second)| format!("{first}{second}"));
    words.filter(|word| line.contains(word.as_str()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
