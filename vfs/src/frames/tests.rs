//! By a file in memory, beside one to which everything is written at once.

use proptest::prelude::*;

use super::*;

const PAGE: usize = 4096;
const FRAME: usize = FRAME_HEADER + PAGE;

/// A file in memory, and how often it was written to.
#[derive(Debug, Default, Clone)]
struct File {
    bytes: Vec<u8>,
    writes: usize,
}

impl File {
    fn write(&mut self, bytes: &[u8], at: i64) {
        let at = usize::try_from(at).unwrap();
        self.bytes.resize(self.bytes.len().max(at + bytes.len()), 0);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.writes += 1;
    }
}

/// The log as it should be beside the one that is written by way of [`Frames`].
#[derive(Debug, Default)]
struct Both {
    frames: Frames,
    file: File,
    should_be: File,
    salts: [u8; 8],
    /// Where the next frame goes.
    end: i64,
}

impl Both {
    fn write(&mut self, bytes: &[u8], at: i64) {
        self.should_be.write(bytes, at);
        let mut out = |bytes: &[u8], at| {
            self.file.write(bytes, at);
            Ok(())
        };
        self.frames.write(bytes, at, &mut out).unwrap();
    }

    fn flush(&mut self) {
        let mut out = |bytes: &[u8], at| {
            self.file.write(bytes, at);
            Ok(())
        };
        self.frames.flush(&mut out).unwrap();
    }

    fn begin(&mut self, salts: [u8; 8]) {
        let mut header = [7; LOG_HEADER];
        header[16..24].copy_from_slice(&salts);
        self.salts = salts;
        self.write(&header, 0);
        self.end = behind(&header, 0);
    }

    fn header(&self, number: u8, is_last: bool) -> [u8; FRAME_HEADER] {
        let mut header = [number; FRAME_HEADER];
        header[4..8].copy_from_slice(&u32::from(is_last).to_be_bytes());
        header[8..16].copy_from_slice(&self.salts);
        header
    }

    fn append(&mut self, number: u8, is_last: bool) {
        self.write(&self.header(number, is_last), self.end);
        self.end += i64::try_from(FRAME_HEADER).unwrap();
        self.write(&[number; PAGE], self.end);
        self.end += i64::try_from(PAGE).unwrap();
    }

    fn transaction(&mut self, pages: u8) {
        for page in 1..=pages {
            self.append(page, page == pages);
        }
    }

    fn is_all_there(&self) -> bool {
        self.file.bytes == self.should_be.bytes
    }
}

#[test]
fn a_transaction_is_one_write() {
    let mut both = Both::default();
    both.begin([9; 8]);
    for (pages, writes) in [(1, 1), (31, 1), (32, 2), (1, 1), (62, 2), (63, 3)] {
        both.file.writes = 0;
        both.transaction(pages);
        assert!(both.is_all_there(), "{pages} pages");
        assert!(both.file.writes <= 2 * writes, "{} writes of {pages} pages", both.file.writes);
        assert!(writes > 1 || both.file.writes == 1, "{} writes of {pages} pages", both.file.writes);
    }
}

#[test]
fn of_a_log_that_another_began_nothing_is_held() {
    let mut both = Both { end: 32, ..Both::default() };
    both.append(1, false);
    assert!(both.is_all_there());
    both.begin([9; 8]);
    both.append(1, false);
    assert!(!both.is_all_there(), "it is held");
    both.transaction(2);
    assert!(both.is_all_there());
    // Another connection began it anew.
    both.salts = [8; 8];
    both.append(1, false);
    assert!(both.is_all_there());
}

#[test]
fn what_only_looks_like_a_header_is_not_held() {
    let mut both = Both::default();
    both.begin([9; 8]);
    both.transaction(3);
    // The rest of a page that was cut in two.
    both.write(&[1; FRAME_HEADER], both.end);
    assert!(both.is_all_there());
    // A header that is written anew, where the sums behind it have changed.
    let header = both.header(1, true);
    both.write(&header, 32);
    assert!(both.is_all_there());
    // The same behind a page that was written anew, too.
    both.write(&[1; PAGE], 32 + 24);
    both.write(&header, 32 + 24 + 4096);
    assert!(both.is_all_there());
}

#[test]
fn a_write_that_fails_is_told_and_so_is_each_behind_it() {
    let mut frames = Frames::default();
    let mut both = Both { salts: [9; 8], ..Both::default() };
    both.begin([9; 8]);
    let mut log = [7; LOG_HEADER];
    log[16..24].copy_from_slice(&[9; 8]);
    frames.write(&log, 0, &mut |_, _| Ok(())).unwrap();
    let full = &mut |_: &[u8], _| Err(13);
    frames.write(&both.header(1, true), 32, full).unwrap();
    assert_eq!(frames.write(&[1; PAGE], 56, full), Err(13));
    // The disk has room again, and a part of the transaction is lost: the rest must not be taken for all of it.
    let mut written = 0;
    let mut out = |_: &[u8], _| {
        written += 1;
        Ok(())
    };
    assert_eq!(frames.write(&both.header(2, true), 32, &mut out), Err(13));
    assert_eq!(frames.write(&[2; PAGE], 56, &mut out), Err(13));
    assert_eq!(frames.flush(&mut out), Err(13));
    assert_eq!(written, 0);
}

#[derive(Debug, Clone)]
enum Act {
    Transaction(u8),
    /// Frames of a transaction that has not ended, and is taken back where `is_undone`.
    Spill {
        pages: u8,
        is_undone: bool,
    },
    /// A frame that is there is written again: its page, or its header.
    Again {
        frame: usize,
        header: bool,
    },
    Begin([u8; 8]),
    Flush,
    /// Whatever else.
    Other {
        size: usize,
        back: i64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1_u8..80).prop_map(Act::Transaction),
        2 => (1_u8..80, any::<bool>()).prop_map(|(pages, is_undone)| Act::Spill { pages, is_undone }),
        2 => (0_usize..100, any::<bool>()).prop_map(|(frame, header)| Act::Again { frame, header }),
        1 => any::<[u8; 8]>().prop_map(Act::Begin),
        1 => Just(Act::Flush),
        1 => (prop::sample::select(vec![1_usize, 24, 32, 512, 4096, 5_000]), 0_i64..3)
            .prop_map(|(size, back)| Act::Other { size, back }),
    ]
}

proptest! {
    #[test]
    fn the_file_is_as_if_nothing_were_held(acts in prop::collection::vec(act(), 1..30)) {
        let mut both = Both::default();
        both.begin([1; 8]);
        for act in acts {
            match act {
                Act::Transaction(pages) => {
                    both.transaction(pages);
                    prop_assert!(both.is_all_there());
                }
                Act::Spill { pages, is_undone } => {
                    let before = both.end;
                    for page in 0..pages {
                        both.append(page, false);
                    }
                    if is_undone {
                        both.end = before;
                    }
                }
                Act::Again { frame, header } => {
                    let at = LOG_HEADER + frame * FRAME;
                    let whole = i64::try_from(at + FRAME).unwrap();
                    if whole > both.end {
                        continue;
                    }
                    let at = i64::try_from(at).unwrap();
                    if header {
                        both.write(&both.header(200, true), at);
                    } else {
                        both.write(&[201; PAGE], at + 24);
                    }
                    // A transaction ends only with a header that is appended, or that was there.
                    prop_assert!(both.is_all_there());
                }
                Act::Begin(salts) => {
                    both.begin(salts);
                    prop_assert!(both.is_all_there());
                }
                Act::Flush => {
                    both.flush();
                    prop_assert!(both.is_all_there());
                }
                Act::Other { size, back } => both.write(&vec![202; size], both.end - back.min(both.end)),
            }
        }
        both.flush();
        prop_assert!(both.is_all_there());
    }
}
