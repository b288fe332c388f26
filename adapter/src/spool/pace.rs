//! How eagerly what waits is sent. Pure.
//!
//! Behind the commit the spool holds what is late already: a few go out at a time, beside what goes straight through.
//! Where every webhook is answered when the spool has it (`--ack spooled`), nobody waits for what goes out. There it is
//! gathered, which costs the service a fraction of what as many small rounds would; and a burst that has whoever sends
//! it wait for the disk goes first, for a while.

use std::time::Duration;

use calbridge_process::Ack;
use tokio::time::Instant;

/// On their way at once where they are late: enough for whole rounds of the service, and little beside what comes in
/// meanwhile.
const LATE: usize = 32;
/// On their way at once where they were gathered: a large round of the service.
const GATHERED: usize = 256;
/// How long is gathered at the most: so much later does the service hear of a webhook.
const GATHER: Duration = Duration::from_millis(20);
/// So many that wait for the disk at a time are a burst.
const BURST: usize = 16;
/// How long a burst goes first. Then the service hears of it while it goes on: what it has not heard of nobody can
/// read.
const BURST_MOST: Duration = Duration::from_secs(5);

/// What is in the spool now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Records that wait for their turn.
    pub(super) waiting: usize,
    /// Records on their way.
    pub(super) out: usize,
}

/// When how many may go.
#[derive(Debug)]
pub(super) struct Pace {
    ack: Ack,
    /// When it is looked next.
    next: Instant,
    burst: Option<Instant>,
}

impl Pace {
    pub(super) fn new(ack: Ack, now: Instant) -> Self {
        Self { ack, next: now, burst: None }
    }

    /// How many more may go now. `crowd` answers the most that have waited for the disk at a time since it was asked
    /// last.
    pub(super) fn room(&mut self, now: Instant, load: Load, crowd: impl FnOnce() -> usize) -> usize {
        if self.ack == Ack::Committed {
            return LATE.saturating_sub(load.out);
        }
        let is_due = self.next <= now;
        if is_due {
            self.next = now + GATHER;
            self.burst = (crowd() >= BURST).then(|| self.burst.unwrap_or(now));
        }
        if self.burst.is_some_and(|since| now < since + BURST_MOST) || !is_due && load.waiting < GATHERED {
            return 0;
        }
        GATHERED.saturating_sub(load.out)
    }

    /// When it is to be asked again where nothing else happens; none where only something else changes its answer.
    pub(super) fn next(&self) -> Option<Instant> {
        (self.ack == Ack::Spooled).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(waiting: usize, out: usize) -> Load {
        Load { waiting, out }
    }

    /// Nobody may be asked.
    fn nobody() -> usize {
        unreachable!("it is not due")
    }

    #[test]
    fn what_is_late_goes_at_once_a_few_at_a_time() {
        let now = Instant::now();
        let mut pace = Pace::new(Ack::Committed, now);
        assert_eq!(pace.room(now, load(1, 0), nobody), LATE);
        assert_eq!(pace.room(now, load(1_000, LATE), nobody), 0);
        assert_eq!(pace.next(), None);
    }

    #[test]
    fn what_nobody_waits_for_is_gathered() {
        let began = Instant::now();
        let mut pace = Pace::new(Ack::Spooled, began);
        assert_eq!(pace.room(began, load(1, 0), || 1), GATHERED);
        let soon = began + GATHER / 2;
        assert_eq!(pace.room(soon, load(GATHERED - 1, 0), nobody), 0);
        assert_eq!(pace.room(soon, load(GATHERED, 200), nobody), GATHERED - 200, "a whole round is there");
        assert_eq!(pace.next(), Some(began + GATHER));
        assert_eq!(pace.room(began + GATHER, load(1, 10), || 0), GATHERED - 10);
    }

    #[test]
    fn a_burst_goes_first_for_a_while() {
        let began = Instant::now();
        let mut pace = Pace::new(Ack::Spooled, began);
        let mut now = began;
        while now < began + BURST_MOST {
            assert_eq!(pace.room(now, load(10_000, 0), || BURST), 0);
            now += GATHER;
        }
        assert_eq!(pace.room(now, load(10_000, 0), || BURST), GATHERED, "it is heard of while it goes on");
        now += GATHER;
        assert_eq!(pace.room(now, load(10_000, 0), || BURST - 1), GATHERED);
        now += GATHER;
        assert_eq!(pace.room(now, load(10_000, 0), || BURST), 0, "the next one goes first again");
    }
}
