use std::fs;

use calbridge_fuzz::{Target, target};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};

use crate::kept::corpus;

/// Changed inputs of each target: those of all take some ten seconds in a debug build.
const CASES: u32 = 4_000;
/// Changes of one input.
const CHANGES: usize = 6;
/// Bytes that are copied or taken out at once.
const BYTES: usize = 24;

/// One step away from an input.
#[derive(Debug, Clone)]
enum Change {
    /// Another byte stands there.
    Put(Index, u8),
    /// A bit of it is another.
    Flip(Index, u8),
    /// More stands before it.
    Insert(Index, Vec<u8>),
    /// So many bytes are gone.
    Remove(Index, usize),
    /// What stands elsewhere in it stands there as well.
    Copy(Index, Index, usize),
    /// The end of another input follows.
    Cross(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    // Bytes that mean something in one grammar or another.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"\0\x01\x02\x1e\xff\"'\\{}[]:,=.-+ \n09azAZ"[..])];
    let at = any::<Index>;
    prop_oneof![
        (at(), byte.clone()).prop_map(|(at, byte)| Change::Put(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), vec(byte, 1..4)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), 1..BYTES).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), at(), 1..BYTES).prop_map(|(from, to, count)| Change::Copy(from, to, count)),
        (at(), at(), at()).prop_map(|(other, from, to)| Change::Cross(other, from, to)),
    ]
}

/// An input with these changes.
fn changed(inputs: &[Vec<u8>], input: Index, changes: &[Change], bytes_most: usize) -> Vec<u8> {
    let mut bytes = inputs[input.index(inputs.len())].clone();
    for change in changes {
        let place = |index: &Index| index.index(bytes.len() + 1);
        match change {
            Change::Put(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Change::Flip(at, bit) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Change::Put(..) | Change::Flip(..) => {}
            Change::Insert(at, more) => {
                let at = place(at);
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Remove(at, count) => {
                let at = place(at);
                bytes.drain(at..bytes.len().min(at + count));
            }
            Change::Copy(from, to, count) => {
                let (from, to) = (place(from), place(to));
                let more = bytes[from..bytes.len().min(from + count)].to_vec();
                bytes.splice(to..to, more);
            }
            Change::Cross(other, from, to) => {
                let other = &inputs[other.index(inputs.len())];
                let to = place(to);
                bytes.truncate(to);
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
    }
    bytes.truncate(bytes_most);
    bytes
}

/// The seeds, and what is kept of the long hunts.
fn inputs(Target { name, seeds, .. }: Target) -> Vec<Vec<u8>> {
    let mut kept: Vec<_> = fs::read_dir(corpus(name)).unwrap().map(|file| file.unwrap().path()).collect();
    kept.sort();
    let kept = kept.into_iter().map(|path| fs::read(path).unwrap());
    seeds().into_iter().chain(kept).collect()
}

fn hunt(name: &str) {
    let target = target(name);
    let inputs = inputs(target);
    for input in &inputs {
        (target.judge)(input);
    }
    // What was found is kept as a file of the corpus, not as a seed of this runner; and it is a few changes from a file
    // that is short already.
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = (any::<Index>(), vec(change(), 1..=CHANGES));
    let hunted = runner.run(&strategy, |(input, changes)| {
        (target.judge)(&changed(&inputs, input, &changes, target.bytes_most));
        Ok(())
    });
    if let Err(TestError::Fail(why, (input, changes))) = hunted {
        let bytes = changed(&inputs, input, &changes, target.bytes_most);
        panic!("{name}: {why}\nThe bytes, to be kept in fuzz/corpus/{name}:\n{}", bytes.escape_ascii());
    }
    hunted.unwrap();
}

#[test]
fn signature_headers_let_in_whoever_signed() {
    hunt("signature");
}

#[test]
fn bodies_are_typed_whatever_they_are() {
    hunt("body");
}

#[test]
fn tokens_are_read_as_they_were_written() {
    hunt("tokens");
}

#[test]
fn filters_mean_what_they_say() {
    hunt("filter");
}

#[test]
fn a_spool_gives_back_what_is_whole() {
    hunt("spool");
}

#[test]
fn a_config_file_keeps_its_secrets() {
    hunt("config");
}

#[test]
fn events_merge_in_any_order() {
    hunt("events");
}

#[test]
fn rows_have_one_form() {
    hunt("row");
}

#[test]
fn heads_of_requests_name_what_they_name() {
    hunt("head");
}
