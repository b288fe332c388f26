//! How many files and sockets this process may have open at once.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the number to the most that the system lets us have, and says how many that are; `None` where the system
/// does not say. The lower number that a process starts with is for programs of another time, which could not count
/// further: nothing here minds.
#[must_use]
pub fn most_open_files() -> Option<usize> {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = now < most && setrlimit(Resource::RLIMIT_NOFILE, most, most).is_ok();
    Some(usize::try_from(if raised { most } else { now }).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_system_lets_us_have() {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(most_open_files(), Some(usize::try_from(most).unwrap_or(usize::MAX)));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (most, most));
    }
}
