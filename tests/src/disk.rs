//! A disk that fails when a test says so, and that loses what it was not told to keep when a test cuts the power.
//!
//! Between a program and its system stands a small library (`disk/shim.c`, built with `cc` where a test needs it, put
//! there by `LD_PRELOAD`). Below one folder it lets calls fail by the [`Fault`]s that are told, and writes down what
//! the program did. From that record it is known what the program was promised: what it waited for is on the disk, the
//! rest may be there or not, whole or in parts.

mod fault;
mod model;
mod record;

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use tempfile::TempDir;

use self::model::Model;
use crate::chance::Chance;

pub use self::{
    fault::{Call, Fault, Outcome},
    model::Lost,
};

/// The library's source.
const SHIM: &str = include_str!("disk/shim.c");
/// Where the record's end stands in the control file.
const END_AT: u64 = 0;
/// Where the rules begin in the control file: behind the record's end and the count of waits.
const RULES_AT: u64 = 16;
/// How many rules there are.
const RULES: usize = 8;

/// One disk: a folder that is watched.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
    control: File,
    record: File,
    /// Which rules are in use.
    used: Mutex<[bool; RULES]>,
    model: Model,
    chance: Chance,
}

/// A misfortune that lasts until this is dropped.
#[derive(Debug)]
pub struct Strike<'d> {
    disk: &'d Disk,
    slot: usize,
}

impl Disk {
    /// An empty one. What a power cut takes of it is left to this chance.
    #[must_use]
    pub fn new(chance: Chance) -> Self {
        let folder = TempDir::new().unwrap();
        build(folder.path());
        let root = folder.path().join("disk");
        fs::create_dir(&root).unwrap();
        let file = |name: &str, bytes: u64| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create_new(true).open(folder.path().join(name)).unwrap();
            file.set_len(bytes).unwrap();
            file
        };
        let control = file("control", RULES_AT + (RULES * fault::RULE_BYTES) as u64);
        let record = file("record", 0);
        let model = Model::of(&root);
        Self { folder, control, record, used: Mutex::default(), model, chance }
    }

    /// The folder that is watched. Its own name is durable.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// What puts the library into a program.
    #[must_use]
    pub fn environment(&self) -> [(String, String); 4] {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        [
            ("LD_PRELOAD".to_owned(), at("shim.so")),
            ("BAD_DISK_ROOT".to_owned(), at("disk")),
            ("BAD_DISK_CONTROL".to_owned(), at("control")),
            ("BAD_DISK_RECORD".to_owned(), at("record")),
        ]
    }

    /// Has a misfortune begin, for all programs that run on it.
    #[must_use]
    pub fn strike(&self, fault: &Fault) -> Strike<'_> {
        let mut used = self.used.lock().unwrap();
        let slot = used.iter().position(|used| !used).unwrap();
        used[slot] = true;
        let [calls, rest] = fault.encode();
        // What it is first: the calls that it meets make it one.
        self.control.write_all_at(&rest, rule_at(slot) + calls.len() as u64).unwrap();
        self.control.write_all_at(&calls, rule_at(slot)).unwrap();
        Strike { disk: self, slot }
    }

    /// How much is written down of what the programs did since, in bytes.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.word(END_AT)
    }

    /// Takes in what the programs did since. None of them may be running any more. Which files are not as the record
    /// says: those of a call that a kill cut in two, and those that are written through memory.
    pub fn catch_up(&mut self) -> Vec<PathBuf> {
        let end = self.word(END_AT);
        let mut bytes = vec![0; usize::try_from(end).unwrap()];
        self.record.read_exact_at(&mut bytes, 0).unwrap();
        for entry in record::entries(&bytes) {
            self.model.apply(&entry, &mut self.chance);
        }
        self.record.set_len(0).unwrap();
        self.control.write_all_at(&0_u64.to_le_bytes(), END_AT).unwrap();
        self.model.look()
    }

    /// Cuts the power: what the programs did not wait for is there or not, by chance. None of them may be running any
    /// more.
    pub fn cut_power(&mut self) -> Lost {
        self.catch_up();
        self.model.cut(&mut self.chance)
    }

    fn word(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        self.control.read_exact_at(&mut word, at).unwrap();
        u64::from_le_bytes(word)
    }
}

impl Strike<'_> {
    /// How often it came.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.disk.word(rule_at(self.slot) + fault::HITS_AT)
    }
}

impl Drop for Strike<'_> {
    fn drop(&mut self) {
        // A test that fails already has said why.
        let _ = self.disk.control.write_all_at(&[0; 8], rule_at(self.slot));
        if let Ok(mut used) = self.disk.used.lock() {
            used[self.slot] = false;
        }
    }
}

fn rule_at(slot: usize) -> u64 {
    RULES_AT + (slot * fault::RULE_BYTES) as u64
}

/// Builds the library into a folder.
fn build(folder: &Path) {
    let source = folder.join("shim.c");
    fs::write(&source, SHIM).unwrap();
    let mut command = Command::new("cc");
    command.args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-o"]);
    let built = command.arg(folder.join("shim.so")).arg(&source).output();
    let built =
        built.unwrap_or_else(|why| panic!("cc: {why}; a bad disk needs a C compiler: install one (gcc, clang)"));
    assert!(built.status.success(), "cc does not build the bad disk:\n{}", String::from_utf8_lossy(&built.stderr));
}
