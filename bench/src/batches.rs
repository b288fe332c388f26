//! How calls within a process are measured: many small batches, all cases in turn, and the median of each.
//!
//! Invariant: cases that are compared take their batches round by round, one after the other, so that a busy moment of
//! the machine falls on all of them alike and their ratios hold where their times don't.

use std::{hint::black_box, time::Instant};

/// Calls that are timed as one: the clock costs about as much as the cheapest of them.
const BATCH: u32 = 8;
const ROUNDS: usize = 2_000;
/// Rounds that are not counted: caches, branch predictors and the allocator get to know the work.
const WARM_UP: usize = 200;

/// Something that is timed.
pub struct Case<'a> {
    sample: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Case<'a> {
    /// Times `call` alone: neither `prepare` nor the dropping of what `call` returns.
    pub fn new<I, O>(mut prepare: impl FnMut() -> I + 'a, mut call: impl FnMut(I) -> O + 'a) -> Self {
        let sample = move || {
            let inputs: Vec<I> = (0..BATCH).map(|_| prepare()).collect();
            let mut outputs = Vec::with_capacity(inputs.len());
            let started = Instant::now();
            outputs.extend(inputs.into_iter().map(|input| call(black_box(input))));
            let micros = started.elapsed().as_secs_f64() * 1e6;
            black_box(&outputs);
            micros / f64::from(BATCH)
        };
        Self { sample: Box::new(sample) }
    }
}

/// What one call of a case takes, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The median.
    pub p50: f64,
    /// What 99 of 100 batches stayed below.
    pub p99: f64,
}

/// Measures all `cases` in turn.
#[must_use]
pub fn measure(cases: Vec<Case<'_>>) -> Vec<Cost> {
    let mut timed: Vec<_> = cases.into_iter().map(|case| (case, Vec::with_capacity(ROUNDS))).collect();
    for round in 0..WARM_UP + ROUNDS {
        for (case, samples) in &mut timed {
            let micros = (case.sample)();
            if round >= WARM_UP {
                samples.push(micros);
            }
        }
    }
    timed.into_iter().map(|(_, samples)| Cost::of(samples)).collect()
}

impl Cost {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { p50: samples[samples.len() / 2], p99: samples[samples.len() * 99 / 100] }
    }
}
