//! What processes cost, as the kernel counts it: time on a core, and memory apart by whether a file stands behind it.

use std::{collections::BTreeMap, fs, time::Duration};

use calbridge_e2e::postgres::children;

/// The unit of `/proc/PID/stat` is the same on every Linux that there is.
const TICK: Duration = Duration::from_millis(10);

/// A process whose costs are looked at.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What it is in the case: adapter, service, …
    pub role: &'static str,
    /// Its id.
    pub id: u32,
    /// Whether its children count as part of it.
    pub family: bool,
}

impl Watched {
    /// One process alone.
    #[must_use]
    pub fn alone(role: &'static str, id: u32) -> Self {
        Self { role, id, family: false }
    }

    /// This process.
    #[must_use]
    pub fn generator() -> Self {
        Self::alone("generator", std::process::id())
    }
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// What no file stands behind: the heap, stacks, and pages that were written to.
    pub anonymous: u64,
    /// Mapped files, the program's own among them; the kernel takes these pages back when it needs them.
    pub file: u64,
}

/// Time on a core since each process's start, by role.
#[must_use]
pub fn times(watched: &[Watched]) -> BTreeMap<&'static str, Duration> {
    watched.iter().map(|process| (process.role, time_of(process))).collect()
}

/// Resident memory by role.
#[must_use]
pub fn memory(watched: &[Watched]) -> BTreeMap<&'static str, Memory> {
    let read = |process: &Watched| {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id)).ok()?;
        Some((process.role, memory_in(&status)))
    };
    watched.iter().filter_map(read).collect()
}

fn time_of(process: &Watched) -> Duration {
    let stat = |id: u32| fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    if !process.family {
        return time_in(&stat(process.id)).own;
    }
    // Of the children that ended the parent knows the sum.
    let first = time_in(&stat(process.id));
    let living = children(process.id).into_iter().map(|child| time_in(&stat(child)).own);
    first.own + first.ended_children + living.sum::<Duration>()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Time {
    own: Duration,
    ended_children: Duration,
}

fn time_in(stat: &str) -> Time {
    // The name in brackets may hold anything; utime is the twelfth field behind it, then stime, cutime, cstime.
    let Some((_, fields)) = stat.rsplit_once(") ") else { return Time::default() };
    let ticks: Vec<u32> = fields.split(' ').skip(11).take(4).map(|field| field.parse().unwrap_or_default()).collect();
    let &[user, system, children_user, children_system] = ticks.as_slice() else { return Time::default() };
    Time { own: TICK * (user + system), ended_children: TICK * (children_user + children_system) }
}

fn memory_in(status: &str) -> Memory {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or_default() * 1_024
    };
    Memory { anonymous: bytes("RssAnon:"), file: bytes("RssFile:") + bytes("RssShmem:") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_call_itself_anything() {
        let stat = "71 (a) b (c) S 1 71 71 0 -1 4194560 9 0 0 0 250 50 7 3 20 0 9 0 100 1 1";
        let ended_children = Duration::from_millis(100);
        assert_eq!(time_in(stat), Time { own: Duration::from_secs(3), ended_children });
        assert_eq!(time_in(""), Time::default());
    }

    #[test]
    fn memory_is_parted() {
        let status =
            "Name:\tx\nVmRSS:\t  60 kB\nRssAnon:\t      40 kB\nRssFile:\t      16 kB\nRssShmem:\t       4 kB\n";
        assert_eq!(memory_in(status), Memory { anonymous: 40 * 1_024, file: 20 * 1_024 });
    }

    #[test]
    fn this_process_has_costs() {
        let me = [Watched { family: true, ..Watched::generator() }];
        let before = times(&me)["generator"];
        let end = std::time::Instant::now() + calbridge_e2e::wait::PATIENCE;
        while times(&me)["generator"] == before {
            assert!(std::time::Instant::now() < end, "a process that works costs nothing");
        }
        assert!(memory(&me)["generator"].anonymous > 0);
    }
}
