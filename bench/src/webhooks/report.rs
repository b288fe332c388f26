//! What a run showed, as tables for people and as JSON for programs.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde_json::{Value, json};

use super::{
    disk::PARTS,
    goals::{self, Goal, Reach},
    results::{Cell, Load, Results, Stored},
    sample::Sample,
};

/// The processes that may take part, in the order of the way.
const ROLES: [&str; 7] = ["server", "adapter", "service", "redis", "postgres", "sink", "generator"];

/// All tables of the run that compares.
#[must_use]
pub fn tables(results: &Results) -> String {
    let parts = [
        ("Closed loop: each connection sends its next webhook after the answer to the last", closed(results)),
        ("Open loop: webhooks at a fixed rate, timed from when they were due", open(results)),
        ("Memory, the most under load, and disk", storage(results)),
        ("Disk by part, bytes a webhook", parts(results)),
        ("The speed to reach", goals_table(&goals::of(results))),
    ];
    // Into a String nothing fails.
    let mut text = String::new();
    for (title, table) in parts {
        let _ = write!(text, "{title}\n\n{table}\n\n");
    }
    if let Some(why) = &results.no_postgres {
        let _ = writeln!(text, "PostgreSQL: not measured: {why}");
    }
    for cell in &results.cells {
        let mut faults = cell.samples.iter().filter_map(|sample| sample.pace?.fault());
        if let Some(fault) = faults.next_back() {
            let _ = writeln!(text, "not held: {}, {}: {fault}", cell.case.name(), cell.load.name());
        }
    }
    text
}

/// Goals beside what was measured.
#[must_use]
pub fn goals_table(goals: &[Goal]) -> Table {
    let mut table = table(&["what", "measured", "reach", ""], 1);
    for goal in goals {
        let reach = match goal.reach {
            Reach::AtLeast(least) => format!("at least {}", short(least)),
            Reach::Under(most) => format!("under {}", short(most)),
        };
        let word = match goal.reached() {
            Some(true) => "reached",
            Some(false) => "not reached",
            None => "",
        };
        let measured = goal.measured.map_or("not measured".to_owned(), short);
        table.add_row([goal.what.clone(), measured, reach, word.to_owned()]);
    }
    table
}

fn closed(results: &Results) -> Table {
    let head = ["case", "conn.", "webhooks/s", "of bare", "of plain"];
    let head: Vec<_> = head.into_iter().chain(ROLES.map(cpu_title)).chain(["p50 ms", "p99 ms", "p99.9 ms"]).collect();
    let mut table = table(&head, 1);
    for cell in &results.cells {
        let (name, connections) = match cell.load {
            Load::Closed(connections) => (cell.case.name(), connections),
            Load::Storm(connections) => (format!("{}, one body", cell.case.name()), connections),
            Load::Open(_) => continue,
        };
        let mut row = vec![name, connections.to_string(), format!("{:.0}", cell.median(Sample::rate))];
        let ratios = [results.of_bare(cell), results.of_plain(cell)];
        row.extend(ratios.map(|ratio| ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default()));
        row.extend(ROLES.map(|role| cpu(cell, role)));
        row.extend(percentiles(cell));
        table.add_row(row);
    }
    table
}

fn open(results: &Results) -> Table {
    let mut head = vec!["case", "meant/s", "webhooks/s"];
    head.extend(ROLES[1..].iter().map(|role| cpu_title(role)));
    head.extend(["p50 ms", "p99 ms", "p99.9 ms"]);
    let mut table = table(&head, 1);
    for cell in &results.cells {
        let Load::Open(rate) = cell.load else { continue };
        let mut row = vec![cell.case.name(), rate.to_string(), format!("{:.0}", cell.median(Sample::rate))];
        row.extend(ROLES[1..].iter().map(|role| cpu(cell, role)));
        row.extend(percentiles(cell));
        table.add_row(row);
    }
    table
}

fn storage(results: &Results) -> Table {
    let head = [
        "case",
        "adapter MiB",
        "(mapped files)",
        "service MiB",
        "(mapped files)",
        "webhooks stored",
        "bytes of file each",
    ];
    let mut table = table(&head, 1);
    for stored in &results.stored {
        let most = |role, part: fn(&super::meter::Memory) -> u64| {
            goals::most(results, stored.case, role, part).map(|mib| format!("{mib:.1}")).unwrap_or_default()
        };
        let each = goals::disk(results, stored.case).map(|bytes| format!("{bytes:.0}")).unwrap_or_default();
        table.add_row([
            stored.case.name(),
            most("adapter", |memory| memory.anonymous),
            most("adapter", |memory| memory.file),
            most("service", |memory| memory.anonymous),
            most("service", |memory| memory.file),
            stored.webhooks.to_string(),
            each,
        ]);
    }
    table
}

fn parts(results: &Results) -> Table {
    let head: Vec<_> = ["case"].into_iter().chain(PARTS).chain(["all"]).collect();
    let mut table = table(&head, 1);
    for Stored { case, webhooks, disk } in &results.stored {
        let each = disk.parts.iter().chain([&disk.bytes]).map(|bytes| bytes.checked_div(*webhooks).unwrap_or_default());
        table.add_row([case.name()].into_iter().chain(each.map(|bytes| bytes.to_string())));
    }
    table
}

fn cpu_title(role: &str) -> &'static str {
    match role {
        "server" => "CPU µs server",
        "adapter" => "adapter",
        "service" => "service",
        "redis" => "redis",
        "postgres" => "postgres",
        "sink" => "sink",
        _ => "generator",
    }
}

fn cpu(cell: &Cell, role: &str) -> String {
    let has = cell.samples.iter().any(|sample| sample.cpu.contains_key(role));
    if has { format!("{:.1}", cell.median(|sample| sample.cpu_of(&[role]))) } else { String::new() }
}

fn percentiles(cell: &Cell) -> [String; 3] {
    let percentiles = |read: fn(&Sample) -> f64| format!("{:.2}", cell.median(read));
    [
        percentiles(|sample| sample.latency.percentiles().p50),
        percentiles(|sample| sample.latency.percentiles().p99),
        percentiles(|sample| sample.latency.percentiles().p999),
    ]
}

/// A table whose columns are numbers from the column `numbers` on.
#[must_use]
pub fn table(head: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(head.iter().copied());
    table.column_iter_mut().skip(numbers).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// Three digits, and no more than are needed.
#[must_use]
pub fn short(value: f64) -> String {
    let steps = [(1.0, 3), (10.0, 2), (100.0, 1)];
    let digits = steps.into_iter().find(|(below, _)| value.abs() < *below).map_or(0, |(_, digits)| digits);
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Everything of the run that compares.
#[must_use]
pub fn json(results: &Results) -> Value {
    let cell = |cell: &Cell| {
        let mut all = super::latency::Latency::new();
        cell.samples.iter().for_each(|sample| all.add(&sample.latency));
        json!({
            "case": cell.case.name(),
            "load": load(cell.load),
            "webhooks_per_second": cell.median(Sample::rate),
            "of_bare_hyper": results.of_bare(cell),
            "of_plain_handler": results.of_plain(cell),
            "latency_median_of_windows": {
                "p50_ms": cell.median(|sample| sample.latency.percentiles().p50),
                "p99_ms": cell.median(|sample| sample.latency.percentiles().p99),
                "p999_ms": cell.median(|sample| sample.latency.percentiles().p999),
            },
            "latency_of_all_windows": all.percentiles().json(),
            "cpu_us_per_webhook": roles(cell),
            "windows": cell.samples.iter().map(sample_json).collect::<Vec<_>>(),
        })
    };
    let disk = |of: &Stored| {
        let mut disk = of.disk.json(of.webhooks);
        disk["case"] = of.case.name().into();
        disk
    };
    json!({
        "cells": results.cells.iter().map(cell).collect::<Vec<_>>(),
        "disks": results.stored.iter().map(disk).collect::<Vec<_>>(),
        "no_postgres": results.no_postgres,
        "goals": goals::of(results).iter().map(Goal::json).collect::<Vec<_>>(),
    })
}

fn load(load: Load) -> Value {
    match load {
        Load::Closed(connections) => json!({ "connections": connections }),
        Load::Storm(connections) => json!({ "connections": connections, "one_body": true }),
        Load::Open(rate) => json!({ "per_second": rate }),
    }
}

fn roles(cell: &Cell) -> Value {
    let present = ROLES.into_iter().filter(|role| cell.samples.iter().any(|sample| sample.cpu.contains_key(role)));
    present.map(|role| (role.to_owned(), json!(cell.median(|sample| sample.cpu_of(&[role]))))).collect()
}

/// One window.
#[must_use]
pub fn sample_json(sample: &Sample) -> Value {
    let memory = sample.memory.iter();
    let memory = memory.map(|(role, of)| {
        ((*role).to_owned(), json!({ "anonymous_bytes": of.anonymous, "mapped_file_bytes": of.file }))
    });
    json!({
        "seconds": sample.seconds,
        "answers": sample.answers,
        "duplicates": sample.duplicates,
        "latency": sample.latency.percentiles().json(),
        "cpu_us_per_webhook": sample.cpu,
        "memory": memory.collect::<Value>(),
        "generator_late_p99_ms": sample.pace.map(|pace| pace.late_p99),
        "waiting_at_end": sample.pace.map(|pace| pace.waiting),
        "fault": sample.pace.and_then(|pace| pace.fault()),
    })
}

/// Writes a report, with the folder that it lies in.
///
/// # Errors
///
/// It can't be written.
pub fn write(file: &Path, report: &Value) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(file, format!("{report:#}\n")).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_mean() {
        let shown = [0.151_9, 0.7, 5.0, 94.36, 2_712.4].map(short);
        assert_eq!(shown, ["0.152", "0.7", "5", "94.4", "2712"]);
    }

    #[test]
    fn goals_stand_beside_what_was_measured() {
        let goal = |measured| Goal { what: "speed".to_owned(), measured, reach: Reach::AtLeast(0.15) };
        let text = goals_table(&[goal(Some(0.2)), goal(Some(0.1)), goal(None)]).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[2].contains("0.2 |") && lines[2].ends_with("reached |"), "{text}");
        assert!(lines[3].contains("not reached") && lines[4].contains("not measured"), "{text}");
    }
}
