//! How many threads a program's tasks run on.

use std::{num::NonZero, thread};

use crate::ConfigError;

const OPTION: &str = "--workers";
/// Beyond any machine; each has a stack of its own.
const MOST: usize = 1024;

/// What was said, else the program's share of the machine; `both`: it is adapter and service in one. A worker too many
/// is woken for tasks that the others would have come to in a few microseconds, and goes back to sleep: on two cores
/// that was a tenth of what a webhook costs.
pub(crate) fn resolve(said: Option<usize>, both: bool) -> Result<usize, ConfigError> {
    let Some(workers) = said else {
        return Ok(share(both, thread::available_parallelism().map_or(1, NonZero::get)));
    };
    if (1..=MOST).contains(&workers) {
        return Ok(workers);
    }
    Err(ConfigError::Value { option: OPTION, value: workers.to_string(), mend: format!("use 1 to {MOST}") })
}

/// The adapter and the service have half of the cores each: beside each other, or beside what else they need, a
/// database and the service's own threads that write to a disk. In one process they have all.
fn share(both: bool, cores: usize) -> usize {
    if both { cores } else { (cores / 2).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_programs_share_a_machine() {
        let shares = |both| [1, 2, 3, 8].map(|cores| share(both, cores));
        assert_eq!(shares(false), [1, 1, 1, 4]);
        assert_eq!(shares(true), [1, 2, 3, 8]);
    }

    #[test]
    fn what_was_said_holds_within_its_bounds() {
        assert_eq!(resolve(Some(3), false).unwrap(), 3);
        for workers in [0, MOST + 1] {
            let why = resolve(Some(workers), true).unwrap_err().to_string();
            assert!(why.contains(&format!("--workers = {workers}")) && why.contains("1 to 1024"), "{why}");
        }
    }
}
