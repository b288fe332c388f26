//! `signature` of `fuzz/src`, hunted by libFuzzer.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<calbridge_fuzz::Target> = LazyLock::new(|| calbridge_fuzz::target("signature"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.judge)(bytes));
