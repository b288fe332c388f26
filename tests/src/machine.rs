//! On what it was measured: without this a number says nothing.

use std::{fs, num::NonZero, path::Path, thread};

use serde_json::{Value, json};

/// File systems whose files lie in memory: what is durable there costs nothing.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// The machine and the disk that the data lies on.
#[derive(Debug, Clone)]
pub struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    file_system: String,
}

impl Machine {
    /// Looks at it.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            processor: processor(&read("/proc/cpuinfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&read("/proc/mounts"), data),
        }
    }

    /// Whether durable means nothing there.
    #[must_use]
    pub fn keeps_nothing(&self) -> bool {
        IN_MEMORY.contains(&self.file_system.as_str())
    }

    /// In one line.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { cores, processor, kernel, file_system } = self;
        format!("{cores} cores ({processor}) shared with the load generator, Linux {kernel}, data on {file_system}")
    }

    /// As the JSON report has it.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self { cores, processor, kernel, file_system } = self;
        json!({ "cores": cores, "processor": processor, "kernel": kernel, "file_system": file_system })
    }
}

fn processor(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name.trim()).to_owned()
}

/// That of the mount whose path is the longest that `path` begins with; a later mount hides an earlier one.
fn file_system(mounts: &str, path: &Path) -> String {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let holding = mounted.filter(|(at, _)| path.starts_with(at));
    holding.max_by_key(|(at, _)| at.len()).map_or("an unknown file system", |(_, kind)| kind).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_holds_a_file() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/srv/data")), "ext4");
        assert_eq!(file_system(mounts, Path::new("/tmp/data")), "tmpfs");
        assert_eq!(file_system(mounts, Path::new("/tmp/disk/data")), "xfs");
        assert_eq!(file_system(mounts, Path::new("/tmpx")), "ext4");
    }

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"), "Some CPU @ 2 GHz");
        assert_eq!(processor(""), "unknown");
    }
}
