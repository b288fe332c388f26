//! The adapters' disks: real files, of which a loss of power takes back what was not synced.
//!
//! A file is kept up to where it was long when it was last synced, and of what was added since any part; a name, if it
//! was there at the last sync of its directory. A file whose removal was not synced may be there again.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    time::Duration,
};

use calbridge_e2e::chance::Chance;

use crate::story;

/// Once in so many rounds of the spool its disk is slow.
const SLOW_ONCE_IN: usize = 12;

/// What a disk writes at once.
const SECTOR: u64 = 512;

thread_local! {
    static DISKS: RefCell<Disks> = RefCell::new(Disks::new(0));
}

/// All of them: an adapter's files are told by their directory.
struct Disks {
    chance: Chance,
    /// How long each file was when it was last synced.
    synced: HashMap<PathBuf, u64>,
    /// The next sync of a file in there is never done.
    failing: Option<PathBuf>,
    /// Such a sync was asked for: the file, and what stood in it.
    failed: Option<(PathBuf, Vec<u8>)>,
}

impl Disks {
    fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), synced: HashMap::new(), failing: None, failed: None }
    }
}

/// Begins the disks of a seed.
pub(crate) fn begin(seed: u64) {
    DISKS.set(Disks::new(seed ^ 0xD15C));
}

/// How long a round of a spool takes.
pub(crate) fn pace() -> Duration {
    DISKS.with_borrow_mut(|disks| {
        let most = if disks.chance.once_in(SLOW_ONCE_IN) { 400_000 } else { 8_000 };
        Duration::from_micros(u64::try_from(disks.chance.below(most)).unwrap_or(0))
    })
}

/// Keeps what is in the file, or the names in the directory.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    let (about, path) = (file.metadata()?, fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?);
    DISKS.with_borrow_mut(|disks| {
        if about.is_dir() {
            disks.synced.retain(|path, _| path.exists());
            return remember(&path);
        }
        let is_segment = path.extension().is_some_and(|extension| extension == "segment");
        if is_segment && disks.failing.is_some() && disks.failing.as_deref() == path.parent() {
            disks.failing = None;
            disks.failed = Some((path.clone(), fs::read(&path)?));
            return Err(io::Error::other("the power is gone"));
        }
        disks.synced.insert(path, about.len());
        Ok(())
    })
}

/// Has the next sync of a segment in there be the last thing that its machine does.
pub(crate) fn fail_in_sync(directory: &Path) {
    DISKS.with_borrow_mut(|disks| disks.failing = Some(directory.to_owned()));
}

/// It will not happen any more.
pub(crate) fn forget_failing() {
    DISKS.with_borrow_mut(|disks| disks.failing = None);
}

/// The directory whose machine is to lose its power now, in the middle of a sync.
pub(crate) fn has_failed() -> Option<PathBuf> {
    DISKS.with_borrow(|disks| disks.failed.as_ref().and_then(|(path, _)| path.parent().map(Path::to_owned)))
}

/// What a loss of power leaves of a directory. Nobody has a file of it open.
pub(crate) fn lose_power(directory: &Path) -> io::Result<()> {
    DISKS.with_borrow_mut(|disks| {
        if let Some((path, bytes)) = disks.failed.take() {
            // As it was at that moment, whatever the process took back before it died.
            fs::write(&path, bytes)?;
        }
        for (name, path) in files(directory)? {
            let about = fs::metadata(&path)?;
            let kept = disks.synced.get(&path).copied().unwrap_or(0).min(about.len());
            let more = usize::try_from(about.len() - kept).unwrap_or(usize::MAX);
            let left = kept + u64::try_from(disks.chance.below(more.saturating_add(1))).unwrap_or(0);
            // A sector is written as a whole, or not.
            let left = if left == about.len() { left } else { (left / SECTOR * SECTOR).max(kept) };
            if left == about.len() || name == "lock" {
                continue;
            }
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(left)?;
            // The length may reach the disk before what it is the length of.
            let has_length = disks.chance.once_in(3);
            if has_length {
                file.set_len(about.len())?;
            }
            let (length, behind) = (about.len(), if has_length { "nothing" } else { "the end" });
            story::say(&format!("{name} had {length} bytes and {kept} synced; behind {left} is {behind}"));
        }
        for (name, path) in files(&shadow(directory)).unwrap_or_default() {
            let gone = directory.join(name);
            if !gone.exists() && disks.chance.once_in(2) {
                fs::hard_link(path, gone)?;
            }
        }
        Ok(())
    })
}

/// Keeps what is called by these names, should one of them be taken away and the power go before that is synced.
fn remember(directory: &Path) -> io::Result<()> {
    let shadow = shadow(directory);
    if shadow.exists() {
        fs::remove_dir_all(&shadow)?;
    }
    fs::create_dir(&shadow)?;
    files(directory)?
        .into_iter()
        .filter(|(name, _)| name.ends_with(".segment"))
        .try_for_each(|(name, path)| fs::hard_link(path, shadow.join(name)))
}

fn shadow(directory: &Path) -> PathBuf {
    directory.with_extension("shadow")
}

/// In the order of their names: what a directory tells first is the file system's choice.
fn files(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    files.sort();
    Ok(files)
}
