//! Which writes to the write-ahead log are held back, and until when.
//!
//! By `SQLite`'s file format the log begins with a header of 32 bytes, whose bytes 16 to 24 are two random numbers, the
//! *salts*. Each frame is a header of 24 bytes and a page. Bytes 8 to 16 of a frame's header are the log's salts; bytes
//! 4 to 8 are not zero in the last frame of a transaction. Nobody else looks at a frame before its transaction has
//! ended, and after the last frame `SQLite` calls nothing before others may look: so what is held goes out with it.

/// Of the log.
const LOG_HEADER: usize = 32;
/// Of a frame.
const FRAME_HEADER: usize = 24;
/// The smallest page there is.
const PAGE_LEAST: usize = 512;

/// How much is held at most, in bytes: 31 frames. `SQLite` writes no more at once (it looks at the lowest 17 bits of a
/// size alone).
const HELD_MOST: usize = 128 * 1024 - 1;

/// A write went wrong: a code of `SQLite`'s.
type Failed = std::ffi::c_int;

/// What is appended to the log and not written yet.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    held: Vec<u8>,
    /// Where in the file it begins.
    at: i64,
    log: Option<Generation>,
    due: Due,
    /// Some of what was appended is lost. `SQLite` may have heard of it in a call that does not end its transaction, so
    /// no other call succeeds: whoever has the connection gives it up.
    failed: Option<Failed>,
}

/// The log from one header on, which this connection has written. Of another's nothing is held back.
#[derive(Debug, Clone, Copy)]
struct Generation {
    salts: [u8; 8],
    /// Where the next frame begins that is appended.
    end: i64,
}

/// What comes next, if what is held goes on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Due {
    #[default]
    Header,
    Page {
        is_last: bool,
    },
}

impl Frames {
    /// Takes one write of `SQLite`'s; `out` writes to the file.
    ///
    /// # Errors
    ///
    /// What `out` says, maybe of what was held before, and the same from then on: what was held is lost.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        at: i64,
        out: &mut impl FnMut(&[u8], i64) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let is_last = match self.due {
            Due::Page { is_last } => is_last,
            Due::Header => false,
        };
        let next = match self.due {
            Due::Page { .. } if at == self.end() && is_page(bytes) => Due::Header,
            Due::Header if self.is_appended(bytes, at) => Due::Page { is_last: bytes[4..8] != [0; 4] },
            _ => return self.pass(bytes, at, out),
        };
        if !self.hold(bytes, at) {
            return self.pass(bytes, at, out);
        }
        self.due = next;
        if is_last { self.flush(out) } else { Ok(()) }
    }

    /// Writes what is held.
    ///
    /// # Errors
    ///
    /// As for [`Frames::write`].
    pub(crate) fn flush(&mut self, out: &mut impl FnMut(&[u8], i64) -> Result<(), Failed>) -> Result<(), Failed> {
        self.due = Due::Header;
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if self.held.is_empty() {
            return Ok(());
        }
        let written = out(&self.held, self.at);
        self.held.clear();
        written.inspect_err(|failed| self.lose(*failed))
    }

    fn lose(&mut self, failed: Failed) {
        self.log = None;
        self.failed = Some(failed);
    }

    /// Where what is held ends, and else the log.
    fn end(&self) -> i64 {
        self.log.map_or(0, |log| log.end)
    }

    /// The header of the frame that comes next. One that is written anew stands before the end.
    fn is_appended(&self, bytes: &[u8], at: i64) -> bool {
        let is_ours = |log: Generation| log.end == at && bytes[8..16] == log.salts;
        bytes.len() == FRAME_HEADER && self.log.is_some_and(is_ours)
    }

    /// Holds it, where there is room, behind what is held.
    fn hold(&mut self, bytes: &[u8], at: i64) -> bool {
        let room = HELD_MOST - self.held.len();
        let has_room = bytes.len() <= room && self.held.try_reserve_exact(room).is_ok();
        if let (true, Some(log)) = (has_room, &mut self.log) {
            if self.held.is_empty() {
                self.at = at;
            }
            self.held.extend_from_slice(bytes);
            log.end = behind(bytes, at);
        }
        has_room
    }

    /// Writes it at once, behind what is held.
    fn pass(
        &mut self,
        bytes: &[u8],
        at: i64,
        out: &mut impl FnMut(&[u8], i64) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        self.flush(out)?;
        if at == 0 && bytes.len() == LOG_HEADER {
            let salts = bytes[16..24].try_into().ok();
            self.log = salts.map(|salts| Generation { salts, end: behind(bytes, at) });
        } else if let Some(log) = &mut self.log {
            log.end = log.end.max(behind(bytes, at));
        }
        out(bytes, at).inspect_err(|failed| self.lose(*failed))
    }
}

fn is_page(bytes: &[u8]) -> bool {
    bytes.len() >= PAGE_LEAST && bytes.len().is_power_of_two()
}

/// Where it ends.
fn behind(bytes: &[u8], at: i64) -> i64 {
    at.saturating_add(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
