//! How eagerly what waits is sent. Pure.
//!
//! Behind the commit the spool holds what is late already: a few go out at a time, beside what goes straight through.
//! Where every webhook is answered when the spool has it (`--ack spooled`), nobody waits for what goes out. There it is
//! gathered, which costs the service a fraction of what as many small rounds would; and a burst goes first, for a
//! while.

use std::time::Duration;

use calbridge_process::Ack;
use tokio::time::Instant;

use crate::segment::record::{RECORD_BYTES_MOST, RECORD_HEAD_BYTES};

/// On their way at once where they are late: enough for whole rounds of the service, and little beside what comes in
/// meanwhile.
const LATE: usize = 32;
/// On their way at once where they were gathered: a large round of the service.
const GATHERED: usize = 256;
/// And no more bytes of them as they are on the disk: they are in memory until the service has committed them, and
/// those that are typed on the way, which are small, grow a few times. One of the largest has room.
pub(super) const OUT_BYTES_MOST: u64 = 64 * 1024 * 1024;
const _: () = assert!(OUT_BYTES_MOST >= RECORD_BYTES_MOST as u64 + RECORD_HEAD_BYTES as u64);
/// How long is gathered at the most: so much later does the service hear of a webhook.
const GATHER: Duration = Duration::from_millis(20);
/// So many that wait for the disk at a time are a burst,
const BURST_CROWD: usize = 16;
/// and so many from one look to the next.
const BURST_CAME: usize = 40;
/// How long a burst goes first. Then the service hears of it while it goes on: what it has not heard of nobody can
/// read.
const BURST_MOST: Duration = Duration::from_secs(5);
/// After so long without one, the next burst is another.
const CALM: Duration = Duration::from_secs(1);

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
    burst: Option<Burst>,
}

/// What comes in faster than what goes out should.
#[derive(Debug, Clone, Copy)]
struct Burst {
    since: Instant,
    seen: Instant,
}

/// What has come to the disk since somebody looked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rush {
    /// The most that waited for it at a time.
    pub(super) crowd: usize,
    /// How many have come.
    pub(super) came: usize,
}

impl Pace {
    pub(super) fn new(ack: Ack, now: Instant) -> Self {
        Self { ack, next: now, burst: None }
    }

    /// How many more may go now. `rush` looks at what has come.
    pub(super) fn room(&mut self, now: Instant, load: Load, rush: impl FnOnce() -> Rush) -> usize {
        if self.ack == Ack::Committed {
            return LATE.saturating_sub(load.out);
        }
        let is_due = self.next <= now;
        if is_due {
            self.next = now + GATHER;
            let Rush { crowd, came } = rush();
            self.burst = self.burst.filter(|burst| now < burst.seen + CALM);
            if crowd >= BURST_CROWD || came >= BURST_CAME {
                self.burst = Some(Burst { since: self.burst.map_or(now, |burst| burst.since), seen: now });
            }
        }
        // Where it is over as soon as it began, nobody waits for it to be calm.
        let goes_first = self.burst.is_some_and(|burst| now < (burst.since + BURST_MOST).min(burst.seen + GATHER));
        if goes_first || !is_due && load.waiting < GATHERED {
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
    fn nobody() -> Rush {
        unreachable!("it is not due")
    }

    fn rush(crowd: usize, came: usize) -> Rush {
        Rush { crowd, came }
    }

    fn calm() -> Rush {
        rush(BURST_CROWD - 1, BURST_CAME - 1)
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
        assert_eq!(pace.room(began, load(1, 0), calm), GATHERED);
        let soon = began + GATHER / 2;
        assert_eq!(pace.room(soon, load(GATHERED - 1, 0), nobody), 0);
        assert_eq!(pace.room(soon, load(GATHERED, 200), nobody), GATHERED - 200, "a whole round is there");
        assert_eq!(pace.next(), Some(began + GATHER));
        assert_eq!(pace.room(began + GATHER, load(1, 10), calm), GATHERED - 10);
    }

    #[test]
    fn a_burst_goes_first_for_a_while() {
        for burst in [rush(BURST_CROWD, 0), rush(0, BURST_CAME)] {
            let began = Instant::now();
            let (mut pace, mut now) = (Pace::new(Ack::Spooled, began), began);
            while now < began + BURST_MOST {
                assert_eq!(pace.room(now, load(10_000, 0), || burst), 0);
                now += GATHER;
            }
            // Now it is heard of while it goes on, and a moment of calm makes no other burst of it.
            for came in [burst, calm(), burst, burst] {
                assert_eq!(pace.room(now, load(10_000, 0), || came), GATHERED);
                now += GATHER;
            }
            now += CALM;
            assert_eq!(pace.room(now, load(10_000, 0), || burst), 0, "the next one goes first again");
            assert_eq!(pace.room(now + GATHER, load(10_000, 0), calm), GATHERED, "and is over when it is over");
        }
    }
}
