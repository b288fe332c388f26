//! The clock on the wall of programs under test: it jumps when a test says so, forth and back, while they run. What
//! they measure by the clock that never jumps goes on as it does.

use std::{fs, os::unix::fs::FileExt as _, path::PathBuf, process::Command};

use tempfile::TempDir;

/// What is put before the C library's own functions.
const SHIM: &str = include_str!("clock/shim.c");

/// One clock, of as many programs as are told of it.
#[derive(Debug)]
pub struct Clock {
    folder: TempDir,
}

impl Clock {
    /// One that goes right.
    ///
    /// # Panics
    ///
    /// Without a C compiler: building the programs needs one as well.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self { folder: TempDir::new().unwrap() };
        let source = clock.folder.path().join("shim.c");
        fs::write(&source, SHIM).unwrap();
        clock.jump(0);
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(clock.shim()).arg(source);
        let built = compiler.output().unwrap_or_else(|why| panic!("cc does not start: {why}; install a C compiler"));
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        clock
    }

    /// The variables by which a program gets this clock.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        [("LD_PRELOAD", text(self.shim())), ("CALBRIDGE_TEST_CLOCK", text(self.ahead()))]
    }

    /// Sets it to so many seconds after the right time, or before it.
    pub fn jump(&self, ahead: i64) {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.ahead()).unwrap();
        file.write_all_at(&ahead.to_ne_bytes(), 0).unwrap();
    }

    fn shim(&self) -> PathBuf {
        self.folder.path().join("shim.so")
    }

    fn ahead(&self) -> PathBuf {
        self.folder.path().join("ahead")
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
