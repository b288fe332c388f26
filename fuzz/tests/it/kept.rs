//! What is kept of the long hunts is small, and there for each target; so is its program.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use calbridge_fuzz::TARGETS;

/// Files of one target.
const FILES: usize = 200;
/// Of one file.
const FILE_BYTES: u64 = 4096;
/// Of all.
const BYTES: u64 = 2 * 1024 * 1024;

pub(crate) fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

#[test]
fn the_corpus_is_small_and_there_for_every_target() {
    let mut bytes = 0;
    for target in TARGETS {
        let files: Vec<_> = fs::read_dir(corpus(target.name)).unwrap().map(|file| file.unwrap()).collect();
        assert!((1..=FILES).contains(&files.len()), "{} has {} files", target.name, files.len());
        let sizes: Vec<_> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
        assert!(sizes.iter().all(|size| *size <= FILE_BYTES), "{} has a long file", target.name);
        bytes += sizes.iter().sum::<u64>();
    }
    assert!(bytes <= BYTES, "{bytes} bytes in all");
}

#[test]
fn every_target_has_a_program_and_a_folder_and_there_are_no_others() {
    let names: BTreeSet<_> = TARGETS.map(|target| target.name.to_owned()).into();
    let folders = fs::read_dir(corpus("")).unwrap().map(|folder| folder.unwrap().file_name().into_string().unwrap());
    assert_eq!(folders.collect::<BTreeSet<_>>(), names, "folders of the corpus");
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/Cargo.toml")).unwrap();
    let programs =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""));
    assert_eq!(programs.map(str::to_owned).collect::<BTreeSet<_>>(), names, "programs");
}
