//! A watcher keeps its place by what it wrote down last. Over all its lives it sees each entry that it means once, in
//! the order of the log.

use std::collections::BTreeMap;

use crate::{
    Report,
    entry::Position,
    history::{Line, What},
    log::Log,
    plan::Watcher,
};

pub(crate) fn judge(watcher: &Watcher, files: &BTreeMap<String, Vec<Line>>, log: &Log, report: &mut Report) {
    let name = &watcher.name;
    let told = files.get(name).map_or(&[][..], Vec::as_slice);
    let mut missing = log.meant(&watcher.scope, report);
    let meant = missing.len();
    let mut cursor = Position(0);
    let (mut lives, mut heartbeats, mut streams) = (0, 0, 0);
    for line in told {
        match &line.what {
            What::Life(()) => lives += 1,
            What::Open(_) => streams += 1,
            What::Heartbeat(position) => {
                heartbeats += 1;
                if *position < cursor {
                    report.violation(format!("watcher {name}: a heartbeat goes back from {cursor} to {position}"));
                }
                cursor = cursor.max(*position);
            }
            What::Saw(entry) => {
                if entry.position <= cursor {
                    let what = if log.0.get(&entry.position) == Some(entry) { "again, or too late" } else { "wrongly" };
                    report.violation(format!("watcher {name}: behind {cursor} it was told {what}: {entry}"));
                }
                cursor = cursor.max(entry.position);
                match missing.remove(&entry.position) {
                    Some(truth) if truth != entry => {
                        report.violation(format!("watcher {name} was told {entry}, and the store has {truth}"));
                    }
                    None if log.0.get(&entry.position) != Some(entry) => {
                        report.violation(format!("watcher {name} was told {entry}, which the store does not have"));
                    }
                    None if !watcher.scope.means(entry).unwrap_or(false) => {
                        report.violation(format!("watcher {name} was told {entry}, which it does not mean"));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    for entry in missing.values() {
        report.violation(format!("watcher {name} was never told {entry}"));
    }
    report.checked(format!(
        "watcher {name}: {meant} entries, over {lives} lives, {streams} streams and {heartbeats} heartbeats"
    ));
}
