//! The examples in other languages, with what `tests/fetch` has fetched for them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::program::{self, Start};

/// The variable that names the folder of what was fetched.
pub const FETCHED: &str = "CALBRIDGE_FETCHED";

/// A language that has examples, ready to run.
#[derive(Debug)]
pub struct Language {
    /// As its folder is called.
    pub name: &'static str,
    program: PathBuf,
    extension: &'static str,
    scripts: PathBuf,
    /// Node looks for packages beside a script and above: the scripts are copied to where those are.
    _copy: Option<TempDir>,
}

impl Language {
    /// Python and Node. What was not fetched for is left out, and a line says so; where the folder is named it must be
    /// whole.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let all = [Self::python(), Self::node()];
        if all.iter().any(Option::is_none) {
            let (folder, is_named) = fetched();
            assert!(!is_named, "{FETCHED}={} is not whole: run tests/fetch", folder.display());
            println!("SKIPPED: not everything is in {}, so run tests/fetch once", folder.display());
        }
        all.into_iter().flatten().collect()
    }

    /// An example, by its name.
    #[must_use]
    pub fn example(&self, name: &str) -> Start {
        let start = Start::foreign(self.name, self.program.clone());
        // Nothing is written into the repository.
        let start = start.env("PYTHONDONTWRITEBYTECODE", "1");
        start.arg(self.scripts.join(format!("{name}.{}", self.extension)))
    }

    fn python() -> Option<Self> {
        let folder = filled("python")?;
        let scripts = examples().join("python");
        Some(Self { name: "python", program: folder.join("bin/python"), extension: "py", scripts, _copy: None })
    }

    fn node() -> Option<Self> {
        let folder = filled("node")?;
        let copy = TempDir::new().unwrap();
        copy_sources(&examples().join("node"), copy.path());
        symlink(folder.join("node_modules"), copy.path().join("node_modules")).unwrap();
        let scripts = copy.path().to_owned();
        Some(Self { name: "node", program: PathBuf::from("node"), extension: "js", scripts, _copy: Some(copy) })
    }
}

/// The folder of the examples.
#[must_use]
pub fn examples() -> PathBuf {
    root().join("examples")
}

/// The folder of the schema's files.
#[must_use]
pub fn protos() -> PathBuf {
    root().join("proto")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folder, and whether somebody named it.
fn fetched() -> (PathBuf, bool) {
    match std::env::var_os(FETCHED) {
        Some(named) => (PathBuf::from(named), true),
        // …/target/<profile>/fetched
        None => (program::place("fetched").parent().unwrap().with_file_name("fetched"), false),
    }
}

/// A language's part of it, if it is whole.
fn filled(name: &str) -> Option<PathBuf> {
    let folder = fetched().0.join(name);
    folder.join("filled-by").is_file().then_some(folder)
}

fn copy_sources(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        } else if name != "node_modules" {
            copy_sources(&path, &to.join(name));
        }
    }
}
