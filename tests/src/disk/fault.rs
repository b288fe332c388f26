//! What may befall a call, as `shim.c` reads it from the control file: the layout of one rule is that of its
//! `struct rule`.

/// A rule: six words, then how a name ends.
pub(super) const RULE_BYTES: usize = 6 * 8 + ENDING_BYTES;
/// Where it is counted how often a rule was met.
pub(super) const HITS_AT: u64 = 5 * 8;
/// The longest ending, with a zero behind it.
const ENDING_BYTES: usize = 48;

/// A kind of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Writing to a file.
    Write = 1,
    /// Having the disk keep a file.
    SyncFile = 2,
    /// Having the disk keep the names in a folder.
    SyncFolder = 4,
    /// Opening a file to write to it, whether it is there or not.
    OpenToWrite = 8,
    /// Taking a name away, or making a folder.
    Rename = 16,
    /// Cutting a file, or making it longer.
    Truncate = 32,
    /// Reading from a file.
    Read = 64,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It does half of what it is asked for, and says so.
    Half,
    /// Files may grow by so many bytes more, then there is no space on the disk.
    Full(u64),
    /// It begins when the misfortune is over.
    Stall,
    /// It fails with this number.
    Error(nix::errno::Errno),
}

/// A misfortune: which calls it meets, where, how often, and what becomes of them.
#[derive(Debug, Clone)]
pub struct Fault {
    calls: u64,
    outcome: Outcome,
    times: u64,
    spared: u64,
    ending: &'static str,
}

impl Fault {
    /// Meets these calls until further notice.
    #[must_use]
    pub fn of(calls: &[Call], outcome: Outcome) -> Self {
        let calls = calls.iter().fold(0, |calls, call| calls | *call as u64);
        Self { calls, outcome, times: u64::MAX, spared: 0, ending: "" }
    }

    /// A disk of which nothing can be written any more.
    #[must_use]
    pub fn read_only() -> Self {
        let calls = [Call::Write, Call::OpenToWrite, Call::Rename, Call::Truncate];
        Self::of(&calls, Outcome::Error(nix::errno::Errno::EROFS))
    }

    /// Only files whose names end so.
    #[must_use]
    pub fn at(mut self, ending: &'static str) -> Self {
        assert!(ending.len() < ENDING_BYTES);
        self.ending = ending;
        self
    }

    /// Only so many calls.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Not the first so many calls.
    #[must_use]
    pub fn after(mut self, spared: u64) -> Self {
        self.spared = spared;
        self
    }

    /// The calls, which come last, and what stands behind them.
    pub(super) fn encode(&self) -> [Vec<u8>; 2] {
        let (outcome, room) = match self.outcome {
            Outcome::Half => (-1, 0),
            Outcome::Full(room) => (-2, room),
            Outcome::Stall => (-3, 0),
            Outcome::Error(number) => (i64::from(number as i32), 0),
        };
        let mut rest = outcome.to_le_bytes().to_vec();
        for word in [self.times, self.spared, room, 0] {
            rest.extend(word.to_le_bytes());
        }
        rest.extend(self.ending.as_bytes());
        rest.resize(RULE_BYTES - 8, 0);
        [self.calls.to_le_bytes().to_vec(), rest]
    }
}
