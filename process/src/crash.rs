//! Where a program can be made to die: a point at either side of each step that makes something durable, or tells
//! somebody that it is. Tests name one in [`VARIABLE`], and the program kills itself there as `kill -9` would.
//!
//! Only debug programs have it. In a release program [`at`] is an empty function, and the variable means nothing.

/// `POINT:TIME`: which point, and at which time that it is passed, counted from one.
pub const VARIABLE: &str = "CALBRIDGE_CRASH_AT";

macro_rules! points {
    ($($(#[$says:meta])+ $point:ident = $name:literal,)+) => {
        /// A place where a program can die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$says])+ $point,)+
        }

        impl Point {
            /// Every one, in the order in which an event meets them.
            pub const ALL: &[Self] = &[$(Self::$point),+];

            /// As [`VARIABLE`] says it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// A segment's file is there, with nothing in it.
    SegmentCreated = "segment.created",
    /// Records are about to be written to the spool's segment.
    SpoolWrite = "spool.write",
    /// They are written, and the disk was not asked to keep them.
    SpoolWritten = "spool.written",
    /// The disk keeps them, and nobody knows.
    SpoolSynced = "spool.synced",
    /// The spool has a webhook that is not answered yet.
    EdgeSpooled = "edge.spooled",
    /// The service has committed a webhook that is not answered yet.
    EdgeCommitted = "edge.committed",
    /// An event is about to go on a stream.
    ForwardSend = "forward.send",
    /// The service's answer is here, and whoever waits for it does not know.
    ForwardAnswered = "forward.answered",
    /// The service has committed, after its time, what is in the spool as well.
    LateAnswered = "late.answered",
    /// A record of the spool is about to be sent.
    DrainSend = "drain.send",
    /// The service has committed a record of the spool.
    DrainAnswered = "drain.answered",
    /// It is about to be written down that a record is settled.
    SpoolSettle = "spool.settle",
    /// It is written down, and the disk was not asked to keep it.
    SpoolSettled = "spool.settled",
    /// A segment that has done its service is about to go.
    SegmentRemove = "segment.remove",
    /// It is gone, and what is settled of it still stands beside it.
    SegmentRemoved = "segment.removed",
    /// What an earlier process left in the spool is found.
    SpoolRecovered = "spool.recovered",
    /// The service has committed a webhook of the quarantine.
    QuarantineAdmitted = "quarantine.admitted",
    /// And that is written down.
    QuarantineMarked = "quarantine.marked",
    /// A copy is recognised by the hint, and not answered yet.
    RoundKnown = "round.known",
    /// A round is about to be committed.
    StoreCommit = "store.commit",
    /// It is committed, in `SQLite` not on stable storage yet.
    StoreCommitted = "store.committed",
    /// `SQLite`'s log is about to be waited for.
    StoreSync = "store.sync",
    /// It is on stable storage, and nobody knows.
    StoreSynced = "store.synced",
    /// `SQLite`'s log is about to be moved into the file.
    StoreCheckpoint = "store.checkpoint",
    /// As much of it as no reader needs is.
    StoreCheckpointed = "store.checkpointed",
    /// A round is stored; neither Redis nor those who wait know.
    RoundStored = "round.stored",
    /// Redis is about to be told.
    RedisMark = "redis.mark",
    /// Redis knows.
    RedisMarked = "redis.marked",
    /// One of a round is about to be told.
    RoundAnswer = "round.answer",
    /// An answer is about to go on a stream.
    IngestAnswer = "ingest.answer",
    /// A client of a consumer has spoken, and the store has not heard.
    ConsumerHeard = "consumer.heard",
    /// A turn is about to be committed: its cursor, its leases.
    ConsumerCommit = "consumer.commit",
    /// It is, and the client does not know.
    ConsumerCommitted = "consumer.committed",
    /// A round of the clock's is about to be committed.
    ClockCommit = "clock.commit",
    /// It is committed, and nobody knows.
    ClockCommitted = "clock.committed",
    /// A chunk of what is past its retention is about to go.
    PurgeCommit = "purge.commit",
    /// It is gone.
    PurgeCommitted = "purge.committed",
}

/// Passes a point: the process dies here if this is the point, and the time, that it was started with.
#[inline]
pub fn at(point: Point) {
    at_torn(point, || {});
}

/// The same where something was written that the disk was not asked to keep: `tear` leaves as much of it as a power cut
/// may, for what is killed leaves all that it wrote.
#[cfg(not(debug_assertions))]
#[inline]
pub fn at_torn(_: Point, _: impl FnOnce()) {}

/// The same where something was written that the disk was not asked to keep: `tear` leaves as much of it as a power cut
/// may, for what is killed leaves all that it wrote.
#[cfg(debug_assertions)]
pub fn at_torn(point: Point, tear: impl FnOnce()) {
    if armed::is_here(point) {
        tear();
        armed::die(point);
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        io::{self, Write as _},
        process,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        thread,
    };

    use nix::sys::signal::{Signal, raise};

    use super::{Point, VARIABLE};
    use crate::frame::{EXIT_CONFIG, environment};

    /// What this process was started with. Read at the first point that is passed.
    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let said = environment(VARIABLE)?;
        let armed = Armed::read(&said);
        if armed.is_none() {
            let mend = "say a point and a time, as spool.write:1";
            let _ = writeln!(io::stderr(), "{VARIABLE} = {said}: no such point or time; {mend}, or unset it");
            process::exit(EXIT_CONFIG.into());
        }
        armed
    });

    /// A point that kills.
    #[derive(Debug)]
    pub(super) struct Armed {
        pub(super) point: Point,
        /// Times that it is still to be passed, this one included.
        pub(super) left: AtomicU64,
    }

    impl Armed {
        pub(super) fn read(said: &str) -> Option<Self> {
            let (name, time) = said.split_once(':')?;
            let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
            let left = time.parse().ok().filter(|time| *time > 0)?;
            Some(Self { point, left: AtomicU64::new(left) })
        }

        /// Whether this is the time.
        pub(super) fn is_due(&self, point: Point) -> bool {
            point == self.point && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    pub(super) fn is_here(point: Point) -> bool {
        ARMED.as_ref().is_some_and(|armed| armed.is_due(point))
    }

    pub(super) fn die(point: Point) -> ! {
        let _ = writeln!(io::stderr(), "killed at {}", point.name());
        let _ = raise(Signal::SIGKILL);
        // The signal is on its way to all threads: this one does nothing more.
        loop {
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests;
