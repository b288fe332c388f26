//! What there is to be named: the metrics on the programs' pages, their labels, and the options.

use std::collections::{BTreeMap, BTreeSet};

use calbridge_process::Options;
use clap::{Args as _, Command};

/// Of which everything in `deploy/` may speak.
pub(super) struct Names {
    /// Each metric as its page has it, with its type.
    pub(super) metrics: BTreeMap<String, &'static str>,
    /// What an expression may ask for: of a histogram its parts.
    pub(super) series: BTreeSet<String>,
    pub(super) labels: BTreeSet<String>,
}

/// What Prometheus has besides.
const SERIES: [&str; 3] = ["up", "target_info", "ALERTS"];
const LABELS: [&str; 5] = ["job", "instance", "le", "alertname", "alertstate"];

impl Names {
    /// Reads `telemetry/src/semconv.rs`, which spells every name there is.
    pub(super) fn read(semconv: &str) -> Self {
        let mut names = Self {
            metrics: BTreeMap::new(),
            series: SERIES.map(str::to_owned).into(),
            labels: LABELS.map(str::to_owned).into(),
        };
        let (mut comment, mut module) = (None, "");
        for line in semconv.lines() {
            let words = line.trim_start();
            if let Some(said) = words.strip_prefix("/// ") {
                comment = comment.or(Some(said));
            } else if let Some(opened) = words.strip_prefix("pub mod ") {
                (module, comment) = (opened.trim_end_matches(" {"), None);
            } else if line == "}" {
                module = "";
            } else if let Some(constant) = words.strip_prefix("pub const ") {
                let value = constant.split('"').nth(1).unwrap_or_default();
                let shown = value.replace('.', "_");
                match module {
                    "metric" => names.metric(shown, comment.unwrap_or_default()),
                    // The others are values.
                    "" if value.contains('.') => _ = names.labels.insert(shown),
                    _ => {}
                }
                comment = None;
            }
        }
        names
    }

    /// `Gauge by check, seconds: …`
    fn metric(&mut self, name: String, comment: &str) {
        let head = comment.split([':', '.', ';']).next().unwrap_or_default();
        let unit = [("seconds", "_seconds"), ("bytes", "_bytes")].into_iter().find(|(unit, _)| head.ends_with(unit));
        let name = name + unit.map_or("", |(_, suffix)| suffix);
        if head.starts_with("Counter") {
            self.series.insert(format!("{name}_total"));
            self.metrics.insert(name + "_total", "counter");
        } else if head.starts_with("Gauge") || head.starts_with("Up-down counter") {
            self.series.insert(name.clone());
            self.metrics.insert(name, "gauge");
        } else if head.starts_with("Histogram") {
            self.series.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            self.metrics.insert(name, "histogram");
        } else {
            panic!("the comment of {name} does not begin with its kind: {comment}");
        }
    }
}

/// The variables and the flags that the programs know.
pub(super) fn options() -> (BTreeSet<String>, BTreeSet<String>) {
    let command = Options::augment_args(Command::new("calbridge"));
    let variables = command.get_arguments().filter_map(|option| Some(option.get_env()?.to_str()?.to_owned()));
    let flags = command.get_arguments().filter_map(|option| Some(format!("--{}", option.get_long()?)));
    (variables.collect(), flags.collect())
}
