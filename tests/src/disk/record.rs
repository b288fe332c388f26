//! What a program did, as `shim.c` writes it down: entries of a head of 32 bytes, a path and data.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

const HEAD_BYTES: usize = 32;

/// One thing that was done. Files go by the number that the system gives them: it is given again when one is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry<'r> {
    /// A new file.
    Created { path: &'r Path, file: u64 },
    /// A new folder.
    MadeFolder { path: &'r Path },
    /// A name was taken away.
    Gone { path: &'r Path },
    /// A file goes by another name, and whatever had that is gone.
    Renamed { from: &'r Path, to: &'r Path },
    /// These bytes were written here.
    Written { file: u64, at: usize, bytes: &'r [u8] },
    /// A file has this length from now on.
    Cut { file: u64, length: usize },
    /// Somebody waits for the disk.
    SyncBegun { of: Synced<'r>, token: u64 },
    /// And was told that it has all that was there when he began.
    SyncDone { token: u64 },
    /// Or that it has not.
    SyncFailed { token: u64 },
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Synced<'r> {
    /// What a file holds.
    File(u64),
    /// The names in a folder.
    Folder(&'r Path),
}

/// All entries, in the order in which they were written down.
pub(super) fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let short = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let (path, rest) = rest.split_at(usize::try_from(short(4)).unwrap());
        let (data, rest) = rest.split_at(usize::try_from(word(24)).unwrap());
        bytes = rest;
        let (is_file, path) = (path.is_empty(), Path::new(OsStr::from_bytes(path)));
        let (file, token, at) = (word(8), word(16), usize::try_from(word(16)).unwrap());
        Some(match short(0) {
            1 => Entry::Created { path, file },
            2 => Entry::MadeFolder { path },
            3 => Entry::Gone { path },
            4 => Entry::Written { file, at, bytes: data },
            5 => Entry::Cut { file, length: at },
            6 => Entry::SyncBegun { of: if is_file { Synced::File(file) } else { Synced::Folder(path) }, token },
            7 => Entry::SyncDone { token },
            8 => Entry::SyncFailed { token },
            9 => Entry::Renamed { from: path, to: Path::new(OsStr::from_bytes(data)) },
            kind => panic!("the record of a bad disk has an entry of kind {kind}"),
        })
    })
}
