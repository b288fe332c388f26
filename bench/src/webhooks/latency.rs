//! How long answers took.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Longer is counted as this: a sender has given up long before.
const LONGEST: Duration = Duration::from_mins(2);
/// Exact to one in a thousand.
const DIGITS: u8 = 3;

/// A histogram of times.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// Without a time in it.
    ///
    /// # Panics
    ///
    /// Never: its bounds are constants that a histogram can be made of.
    #[must_use]
    pub fn new() -> Self {
        let longest = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
        Self(Histogram::new_with_max(longest, DIGITS).expect("constant bounds"))
    }

    /// Adds one.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so no time of the one lies outside the other.
        let _ = self.0.add(&other.0);
    }

    /// Those times that are looked at.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let millis = |quantile| micros(self.0.value_at_quantile(quantile)) / 1_000.0;
        Percentiles { p50: millis(0.5), p99: millis(0.99), p999: millis(0.999), most: micros(self.0.max()) / 1_000.0 }
    }
}

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Percentiles {
    /// Half of all took no longer.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The longest.
    pub most: f64,
}

impl Percentiles {
    /// As the JSON report has it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "p50_ms": self.p50, "p99_ms": self.p99, "p999_ms": self.p999, "max_ms": self.most })
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of two minutes are exact")]
fn micros(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_threads_are_one() {
        let mut all = Latency::new();
        for part in 0..4 {
            let mut one = Latency::new();
            (1..=250).for_each(|step| one.record(Duration::from_micros(part * 250 + step)));
            all.add(&one);
        }
        let Percentiles { p50, p99, p999, most } = all.percentiles();
        assert!((p50 - 0.5).abs() < 0.002 && (p99 - 0.99).abs() < 0.002);
        assert!((p999 - 0.999).abs() < 0.002 && (most - 1.0).abs() < 0.002);
    }

    #[test]
    fn what_takes_forever_is_counted_too() {
        let mut latency = Latency::new();
        latency.record(Duration::from_hours(1));
        assert!(latency.percentiles().most >= 119_000.0);
    }
}
