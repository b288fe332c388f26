//! What must hold of whatever bytes come in, target by target: headers, bodies, tokens, filters, configuration, and
//! what a disk gives back.
//!
//! A [`Target`] takes any bytes and panics where a law of its is broken. It is hunted in two ways: briefly by an
//! ordinary test (`tests/it`: the kept corpus, and changes of it that a fixed seed makes), and for long by libFuzzer
//! (`libfuzzer/`, by `fuzz/run`), which is no member of the workspace. What the long hunt found worth keeping lies in
//! `corpus/`, a folder a target.
//!
//! Laws are written from what the documents promise, not from the code that they judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a target is there to panic")]

mod body;
mod config;
mod cut;
mod events;
mod filter;
mod head;
mod row;
mod seeds;
mod signature;
mod spool;
mod tokens;

/// One thing that takes bytes which others chose.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As its folder of the corpus and its program are called.
    pub name: &'static str,
    /// Panics where these bytes break a law.
    pub judge: fn(&[u8]),
    /// Bytes to begin with, where there is no corpus yet.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Inputs are at most so long: as much as the grammar needs to show all of itself.
    pub bytes_most: usize,
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    Target { name: "signature", judge: signature::judge, seeds: signature::seeds, bytes_most: 512 },
    Target { name: "body", judge: body::judge, seeds: body::seeds, bytes_most: 4096 },
    Target { name: "tokens", judge: tokens::judge, seeds: tokens::seeds, bytes_most: 160 },
    Target { name: "filter", judge: filter::judge, seeds: filter::seeds, bytes_most: 512 },
    Target { name: "spool", judge: spool::judge, seeds: spool::seeds, bytes_most: 1024 },
    Target { name: "config", judge: config::judge, seeds: config::seeds, bytes_most: 1024 },
    Target { name: "events", judge: events::judge, seeds: events::seeds, bytes_most: 4096 },
    Target { name: "row", judge: row::judge, seeds: row::seeds, bytes_most: 1024 },
    Target { name: "head", judge: head::judge, seeds: head::seeds, bytes_most: 512 },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}
