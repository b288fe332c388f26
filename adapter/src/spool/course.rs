//! How the drain gets on: how many may go, when another try makes sense, and what gets out of the way of the others.
//! It waits for nothing and asks nobody.
//!
//! While the service is away one record at a time asks whether it is back. Where it answers and does not take what it
//! is given, that may be the store's fault or the record's own: only what becomes of others tells. So more and more are
//! tried at a time then, until one of them is taken or they are as many as a round of the service.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use calbridge_process::Ack;
use tokio::time::Instant;

use super::{
    backlog::Entry,
    compaction::Compacted,
    pace::{Load, Pace, Rush},
};
use crate::{
    forward::{Refused, pause, random},
    throttle::Throttle,
};

/// How long what the service will not take is left alone.
const ASIDE: Duration = Duration::from_mins(1);
/// How often it is looked what can be compacted.
const COMPACTION: Duration = Duration::from_secs(1);
/// Tries of one record in vain, from which on it is set aside after each. They take some ten seconds: a store that
/// restarts is back by then.
const TRIES_MOST: u32 = 16;
/// Records that are tried at a time while none is taken, a round of the service: so many bad ones that come first cost
/// the good ones behind them a second.
const PROBES_MOST: usize = 256;

/// How it goes.
pub(super) struct Course {
    pace: Pace,
    /// Records that are read or on their way, and their bytes.
    pub(super) out: usize,
    pub(super) out_bytes: u64,
    /// Rounds of tries in vain, one after the other, and how many may be in the next.
    failures: u32,
    probes: usize,
    /// When the next makes sense.
    not_before: Instant,
    /// What was tried in vain and may itself be why, until when it rests: for others it is on its way meanwhile.
    resting: BTreeMap<(Instant, (u64, u32)), Entry>,
    /// What the service will not take, and until when it is left alone.
    aside: VecDeque<(Instant, Entry)>,
    /// The same of what was tried in vain while nothing at all was taken, which may be the store's fault.
    unsure: VecDeque<(Instant, Entry)>,
    /// What was unsure until another was taken.
    cleared: VecDeque<Entry>,
    /// What was tried in vain and may itself be why, by segment and offset: at the most all records of the spool.
    in_vain: BTreeMap<(u64, u32), InVain>,
    /// Records that were taken.
    commits: u64,
    /// When it makes sense to look for what can be compacted.
    pub(super) next_compaction: Instant,
    pub(super) warnings: Throttle,
}

/// How a record was tried in vain.
#[derive(Debug, Clone, Copy)]
struct InVain {
    tries: u32,
    /// Records that were taken before the first of them.
    commits: u64,
}

/// What becomes of a record that was tried in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits where it stood.
    Again,
    /// It rests, and then waits behind the others of its tenant.
    Rest,
    /// It is left alone for a while.
    Aside,
}

impl Course {
    pub(super) fn begin(ack: Ack, now: Instant) -> Self {
        Self {
            pace: Pace::new(ack, now),
            out: 0,
            out_bytes: 0,
            failures: 0,
            probes: 1,
            not_before: now,
            resting: BTreeMap::new(),
            aside: VecDeque::new(),
            unsure: VecDeque::new(),
            cleared: VecDeque::new(),
            in_vain: BTreeMap::new(),
            commits: 0,
            next_compaction: now,
            warnings: Throttle::default(),
        }
    }

    /// How many may go now. `rush` looks at what has come.
    pub(super) fn room(&mut self, now: Instant, load: Load, rush: impl FnOnce() -> Rush) -> usize {
        if now < self.not_before {
            return 0;
        }
        if self.failures > 0 {
            return self.probes.saturating_sub(load.out);
        }
        self.pace.room(now, load, rush)
    }

    /// When there may be something to do.
    pub(super) fn wake(&self, now: Instant, waiting: usize) -> Option<Instant> {
        let next = if now < self.not_before {
            Some(self.not_before)
        } else if self.failures > 0 || waiting == 0 {
            // Where the probes are out, their answers are waited for, and where nothing waits, what comes.
            None
        } else {
            self.pace.next()
        };
        let rested = self.resting.keys().next().map(|(until, _)| *until);
        next.into_iter().chain(rested).min()
    }

    /// The next that has rested, or was aside, for long enough: it waits behind the others of its tenant.
    pub(super) fn bring_back(&mut self, now: Instant) -> Option<Entry> {
        if let Some(rested) = self.resting.first_entry().filter(|rested| rested.key().0 <= now) {
            return Some(rested.remove());
        }
        let due = |aside: &mut VecDeque<(Instant, Entry)>| {
            aside.pop_front_if(|(until, _)| *until <= now).map(|(_, entry)| entry)
        };
        self.cleared.pop_front().or_else(|| due(&mut self.unsure)).or_else(|| due(&mut self.aside))
    }

    /// A record was taken.
    pub(super) fn committed(&mut self, entry: Entry) {
        self.commits += 1;
        // Now it is worth to try again what may have met a store that took nothing.
        self.cleared.extend(self.unsure.drain(..).map(|(_, entry)| entry));
        self.forget(entry);
    }

    /// A record is no more.
    pub(super) fn forget(&mut self, entry: Entry) {
        self.in_vain.remove(&entry.place());
        (self.failures, self.probes) = (0, 1);
    }

    /// A record will not be taken until somebody changes something.
    pub(super) fn set_aside(&mut self, entry: Entry, now: Instant) {
        self.aside.push_back((now + ASIDE, entry));
    }

    /// A record was tried in vain.
    pub(super) fn failed(&mut self, entry: Entry, refused: &Refused, now: Instant) -> Next {
        if !refused.may_be_its_own() {
            self.pause(now, 1);
            return Next::Again;
        }
        let none = InVain { tries: 0, commits: self.commits };
        let in_vain = self.in_vain.entry(entry.place()).or_insert(none);
        in_vain.tries = in_vain.tries.saturating_add(1);
        let (tries, others_were_taken) = (in_vain.tries, in_vain.commits < self.commits);
        if tries < TRIES_MOST {
            self.resting.insert((now + pause(tries, random()), entry.place()), entry);
            self.pause(now, 2 * self.probes);
            return Next::Rest;
        }
        if others_were_taken {
            // It is no news, and none of the others' business.
            self.set_aside(entry, now);
        } else {
            self.unsure.push_back((now + ASIDE, entry));
            self.pause(now, 2 * self.probes);
        }
        Next::Aside
    }

    /// Some records that are aside stand elsewhere now. Where they stood before is known to nobody else any more.
    pub(super) fn compacted(&mut self, Compacted { moved, has_failed }: Compacted, now: Instant) {
        self.next_compaction = now
            + match (has_failed, moved.is_empty()) {
                (true, _) => ASIDE,
                (false, true) => COMPACTION,
                (false, false) => Duration::ZERO,
            };
        for (from, to) in moved {
            self.set_aside(to, now);
            if let Some(in_vain) = self.in_vain.remove(&from.place()) {
                self.in_vain.insert(to.place(), in_vain);
            }
        }
    }

    /// Lets pass a while before the next tries, so many. What was on its way when the while began makes it no longer.
    fn pause(&mut self, now: Instant, probes: usize) {
        if now >= self.not_before {
            self.failures = self.failures.saturating_add(1);
            self.not_before = now + pause(self.failures, random());
            self.probes = probes.min(PROBES_MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: u32) -> Entry {
        Entry { segment: 1, offset, length: 1, time: 0 }
    }

    fn begin() -> (Course, Instant) {
        let now = Instant::now();
        (Course::begin(Ack::Committed, now), now)
    }

    fn unable() -> Refused {
        Refused::busy("store_unavailable")
    }

    /// How many may go, where as many wait as may.
    fn room(course: &mut Course, now: Instant) -> usize {
        course.room(now, Load { waiting: usize::MAX, out: 0 }, || unreachable!("nothing is gathered"))
    }

    /// Tries a record in vain until it is set aside.
    fn wear_out(course: &mut Course, entry: Entry, now: &mut Instant) {
        for _ in 1..TRIES_MOST {
            assert_eq!(course.failed(entry, &unable(), *now), Next::Rest);
            assert_eq!(course.bring_back(*now), None);
            *now = course.wake(*now, 0).unwrap().max(*now + Duration::from_secs(1));
            assert_eq!(course.bring_back(*now), Some(entry));
        }
        assert_eq!(course.failed(entry, &unable(), *now), Next::Aside);
    }

    #[test]
    fn what_is_tried_in_vain_again_and_again_gets_out_of_the_way() {
        let (mut course, mut now) = begin();
        for away in ["service_away", "overloaded", "shutting_down"].map(Refused::busy) {
            for _ in 0..=TRIES_MOST {
                assert_eq!(course.failed(entry(7), &away, now), Next::Again, "that is no fault of its own");
            }
        }
        wear_out(&mut course, entry(0), &mut now);
        course.committed(entry(9));
        assert_eq!(course.bring_back(now), Some(entry(0)), "it may have been the store's fault");
        assert_eq!(course.failed(entry(0), &unable(), now), Next::Aside);
        assert_eq!(course.failures, 0, "others are taken: it makes nobody wait");
        course.committed(entry(9));
        assert_eq!(course.bring_back(now + ASIDE - Duration::from_millis(1)), None, "it was its own");
        assert_eq!(course.bring_back(now + ASIDE), Some(entry(0)));
        course.committed(entry(0));
        assert_eq!(course.failed(entry(0), &unable(), now), Next::Rest, "another that stands there begins anew");
    }

    #[test]
    fn what_was_moved_is_tried_where_it_stands() {
        let (mut course, mut now) = begin();
        wear_out(&mut course, entry(0), &mut now);
        let to = Entry { segment: 2, ..entry(9) };
        course.compacted(Compacted { moved: vec![(entry(0), to)], has_failed: false }, now);
        assert_eq!(course.next_compaction, now, "there may be more");
        course.committed(entry(5));
        now += ASIDE;
        assert_eq!([course.bring_back(now), course.bring_back(now)], [Some(entry(0)), Some(to)]);
        assert_eq!(course.failed(to, &unable(), now), Next::Aside, "its tries count");
        course.compacted(Compacted { moved: vec![], has_failed: true }, now);
        assert_eq!(course.next_compaction, now + ASIDE);
    }

    #[test]
    fn however_many_are_bad_the_others_are_tried_within_seconds() {
        let (mut course, began) = begin();
        let (mut now, mut tried) = (began, 0);
        course.failed(entry(0), &unable(), now);
        while tried < 2_000 {
            now = course.not_before;
            let room = room(&mut course, now);
            for offset in tried..tried + room {
                course.failed(entry(u32::try_from(offset).unwrap()), &unable(), now);
            }
            tried += room;
        }
        assert!(now - began < Duration::from_secs(15), "{:?}", now - began);
        now = course.not_before;
        assert_eq!(room(&mut course, now), PROBES_MOST);
    }

    #[test]
    fn while_the_service_is_away_one_is_the_probe() {
        let (mut course, began) = begin();
        let mut now = began;
        for offset in 0..100 {
            course.failed(entry(offset), &unable(), now);
            now += Duration::from_secs(1);
        }
        // Some that were on their way say the same, and are no more tries.
        for _ in 0..10 {
            course.failed(entry(0), &Refused::away("service_away"), now);
        }
        let later = course.not_before;
        assert_eq!((room(&mut course, now), room(&mut course, later)), (0, 1));
        course.committed(entry(0));
        assert!(room(&mut course, later) > 1);
    }

    #[test]
    fn nothing_wakes_it_where_nothing_waits() {
        let now = Instant::now();
        let course = Course::begin(Ack::Spooled, now);
        assert_eq!((course.wake(now, 1), course.wake(now, 0)), (Some(now), None));
    }

    #[test]
    fn a_probe_that_is_out_is_waited_for_and_nothing_else() {
        let (now, soon) = (Instant::now(), Duration::from_secs(1));
        for ack in [Ack::Committed, Ack::Spooled] {
            let mut course = Course::begin(ack, now);
            (course.failures, course.not_before) = (1, now + soon);
            assert_eq!(course.wake(now, 1), Some(now + soon));
            assert_eq!(course.wake(now + soon, 1), None, "{ack:?}: what has passed would wake it for ever");
        }
    }
}
