//! Judges a history: what senders were answered and what each reader of the log wrote down while everything around them
//! crashed, against what the store has in the end.
//!
//! It shares no line with what it judges, and none with those who wrote the history: the standard library and a reader
//! of JSON are all it uses. It judges by what a client can know. An entry was handed out at some moment from the
//! beginning of its lease (its end, less the consumer's `ack_wait`) to when its client wrote it down; what a client
//! said was heard when it wrote that down, or later, or never. All times are of one machine's clock. A violation is
//! what no choice of these moments explains.
//!
//!     check_history FOLDER
//!
//! The exit code is 0 where nothing was violated, 1 where something was, 2 where the history can't be read.

mod booking;
mod consumer;
mod delivery;
mod entry;
mod flight;
mod history;
mod log;
mod plan;
mod state;
mod tale;
#[cfg(test)]
mod tests;
mod watcher;

use std::{fmt::Display, path::Path, process::ExitCode};

use self::{history::History, log::Log};

/// Violations that are printed; the others are counted.
const SHOWN: usize = 40;

/// What was found.
#[derive(Debug, Default)]
struct Report {
    /// What was looked at, in words.
    checked: Vec<String>,
    /// What must not be.
    violations: Vec<String>,
}

impl Report {
    fn checked(&mut self, what: impl Display) {
        self.checked.push(what.to_string());
    }

    fn violation(&mut self, what: impl Display) {
        self.violations.push(what.to_string());
    }
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: check_history FOLDER");
        return ExitCode::from(2);
    };
    let history = match History::read(Path::new(&folder)) {
        Ok(history) => history,
        Err(why) => {
            eprintln!("the history can't be read: {why}");
            return ExitCode::from(2);
        }
    };
    let report = judge(&history);
    for line in &report.checked {
        println!("{line}");
    }
    for line in report.violations.iter().take(SHOWN) {
        println!("VIOLATION: {line}");
    }
    println!("{} violations", report.violations.len());
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every law.
fn judge(history: &History) -> Report {
    let mut report = Report::default();
    let log = Log::of(history, &mut report);
    let kept = delivery::judge(history, &mut report);
    state::judge(history, &kept, &mut report);
    for watcher in &history.plan.watchers {
        watcher::judge(watcher, &history.files, &log, &mut report);
    }
    for consumer in &history.plan.consumers {
        consumer::judge(consumer, history, &log, &mut report);
    }
    report
}
