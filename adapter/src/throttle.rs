//! Lines about refusals that a flood would otherwise multiply: the first is written, the rest of its second is counted.

use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// At most one line in this time.
const PERIOD: Duration = Duration::from_secs(1);

/// Lets one line through in each period.
#[derive(Default)]
pub(crate) struct Throttle {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// Whether this line may be written, and how many were held back since the last one.
    pub(crate) fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| last.elapsed() < PERIOD) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(Instant::now());
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_line_a_second_that_says_how_many() {
        let throttle = Throttle::default();
        assert_eq!(throttle.pass(), Some(0));
        for _ in 0..41 {
            assert_eq!(throttle.pass(), None);
        }
        tokio::time::advance(PERIOD).await;
        assert_eq!(throttle.pass(), Some(41));
        assert_eq!(throttle.pass(), None);
    }
}
