//! What `deploy/` says of the programs: every metric, label and option that it names is there, and what it builds is
//! what its profile was made of.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use calbridge_calcom::golden::{self, Golden};
use calbridge_e2e::{
    metrics::Page,
    system::{Plan, SECRET, TENANT},
    v1::Trigger,
};
use jiff::Timestamp;
use serde_json::Value;

use self::{names::Names, promql::Asked};

mod names;
mod promql;

/// Files that set variables or flags of the programs.
const SETTING: [&str; 5] = ["Dockerfile", "calbridge.env", "calbridge.service", "compose.yaml", "kubernetes.yaml"];

#[test]
fn alerts_ask_for_what_the_pages_show() {
    let (names, alerts) = (names(), deploy("alerts.yaml"));
    let expressions = expressions(&alerts);
    assert_eq!(expressions.len(), alerts.matches("- alert: ").count(), "an expression for each alert");
    let mut faults: Vec<_> = expressions.iter().flat_map(|one| unknown(&names, one)).collect();
    faults.extend(templated(&alerts, "$labels.").filter(|label| !names.labels.contains(*label)).map(str::to_owned));
    // What a description tells people to look at.
    let said = words(&uncommented(&alerts), "calbridge_");
    faults.extend(said.into_iter().filter(|word| !names.series.contains(word) && !names.labels.contains(word)));
    let (_, flags) = names::options();
    faults.extend(words(&alerts, "--").difference(&flags).cloned());
    assert_eq!(faults, Vec::<String>::new(), "neither on a page nor an option");
}

#[test]
fn each_alert_says_how_bad_it_is_and_is_tried() {
    let (alerts, tests) = (deploy("alerts.yaml"), deploy("alerts_test.yaml"));
    let mut all = BTreeSet::new();
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        all.insert(name.to_owned());
        let says = |what: &str| alert.contains(what);
        assert!(says("severity: page") || says("severity: ticket"), "{name} has no severity");
        assert!(says("summary: ") && says("description: "), "{name} says nothing");
    }
    let named = words(&tests, "Calbridge");
    assert_eq!(named, all, "alerts.yaml has these alerts, and alerts_test.yaml tries those");
}

#[test]
fn tests_of_alerts_play_what_the_pages_show() {
    let (names, tests) = (names(), deploy("alerts_test.yaml"));
    let series = tests.split("series: '").skip(1).map(|rest| rest.split('\'').next().unwrap());
    let mut faults: Vec<_> = series.flat_map(|one| unknown(&names, one)).collect();
    faults.dedup();
    assert_eq!(faults, Vec::<String>::new(), "on no page");
}

#[test]
fn the_dashboard_asks_for_what_the_pages_show() {
    let (names, text) = (names(), deploy("dashboard.json"));
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let mut faults = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
            faults.extend(unknown(&names, target["expr"].as_str().unwrap()));
            let legend = target["legendFormat"].as_str().unwrap();
            faults.extend(templated(legend, "").filter(|label| !names.labels.contains(*label)).map(str::to_owned));
        }
    }
    assert_eq!(faults, Vec::<String>::new(), "on no page");
}

#[test]
fn variables_are_those_of_options() {
    let (variables, _) = names::options();
    for file in SETTING {
        let named = words(&deploy(file), "CALBRIDGE_");
        assert_eq!(named.difference(&variables).collect::<Vec<_>>(), Vec::<&String>::new(), "{file}: no option's");
    }
    assert!(words(&deploy("kubernetes.yaml"), "CALBRIDGE_").len() > 10, "they are found");
}

/// The names above are worked out from comments; the pages are what they mean.
#[tokio::test]
async fn every_metric_of_the_pages_is_known() {
    let mut system = Plan::new().with_spool().start().await;
    let [made, begins] = [1_790_000_000, 1_790_090_000].map(|second| Timestamp::from_second(second).unwrap());
    let body = golden::body(Trigger::BookingCreated, &Golden::new("deployAA", 7_002, made, begins));
    assert_eq!(system.sender().send(TENANT, SECRET, body.clone()).await.status, 200);
    assert_eq!(system.sender().send(TENANT, "wrong", body).await.status, 401);
    let names = names();
    for (program, page) in [("adapter", system.adapter_metrics().await), ("service", system.service_metrics().await)] {
        let shown = types(&page);
        assert!(shown.contains(&("calbridge_ready", "gauge")), "the {program} shows {shown:?}");
        for (name, kind) in shown.into_iter().filter(|(name, _)| *name != "target_info") {
            assert_eq!(names.metrics.get(name).copied(), Some(kind), "{name} of the {program}");
        }
    }
    system.stop().await;
}

#[test]
fn what_is_released_is_what_was_trained() {
    let built = |script: &str| {
        let text = deploy(script);
        let command = text.lines().find(|line| line.contains("cargo build --profile trained")).map(str::to_owned);
        let packages = command.as_deref().unwrap_or_default().split(" -p ").skip(1);
        packages.map(|package| package.trim().to_owned()).collect::<Vec<_>>()
    };
    let programs = ["calbridge", "calbridge-adapter", "calbridge-service"];
    // Other packages would choose other features of what they share, and the profile would fit it no more.
    for script in ["build", "train"] {
        assert_eq!(built(script), programs, "deploy/{script}");
    }
    let image = deploy("Dockerfile");
    assert!(image.contains("    deploy/build \\\n"), "the image is built by deploy/build");
    for program in programs {
        assert!(image.contains(&format!("target/trained/{program}")), "{program} goes into the image");
    }
    let compiler = deploy("load.txt").lines().next().and_then(|line| line.split(' ').nth(1)).unwrap().to_owned();
    assert!(
        image.contains(&format!("FROM rust:{compiler}-")),
        "the profile is of rustc {compiler}, the image's is another"
    );
    let profile = fs::read(at("deploy/load.profdata")).unwrap();
    assert!(profile.starts_with(b"\xfflprofi\x81"), "an indexed profile of LLVM");
}

fn types(page: &Page) -> Vec<(&str, &str)> {
    page.text().lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

fn unknown(names: &Names, expression: &str) -> Vec<String> {
    let Asked { series, labels } = Asked::of(expression);
    series.difference(&names.series).chain(labels.difference(&names.labels)).cloned().collect()
}

/// What stands behind each `expr:` of a file: on its line, or in the lines below that lie deeper.
fn expressions(yaml: &str) -> Vec<String> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<_> = yaml.lines().collect();
    let begin = |(number, line): (usize, &&str)| {
        let said = line.trim_start().strip_prefix("expr: ")?;
        if said != "|" {
            return Some(said.to_owned());
        }
        let deeper = lines[number + 1..].iter().take_while(|below| depth(below) > depth(line));
        Some(deeper.copied().collect::<Vec<_>>().join("\n"))
    };
    lines.iter().enumerate().filter_map(begin).collect()
}

/// What stands in each `{{ … }}` behind these words.
fn templated<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    let inside = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    inside.filter_map(move |said| said.trim().strip_prefix(before))
}

/// The words of a text that begin so, and do not end there.
fn words(text: &str, begin: &str) -> BTreeSet<String> {
    let all = text.split(|next: char| !next.is_ascii_alphanumeric() && !"_-".contains(next));
    all.filter(|word| word.starts_with(begin) && word.len() > begin.len()).map(str::to_owned).collect()
}

fn uncommented(yaml: &str) -> String {
    yaml.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

fn names() -> Names {
    Names::read(&read("telemetry/src/semconv.rs"))
}

fn deploy(file: &str) -> String {
    read(&format!("deploy/{file}"))
}

fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap()
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
