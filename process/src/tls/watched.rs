//! What some files say, as a value that is made anew whenever they change.
//!
//! Invariant: once there is a value there is always one. Files that can't be read or used leave the one before in
//! force, and that is said once for each state of the files. Contents are compared, not times: a file may be replaced,
//! written to, or reached by a link that moves.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

use crate::ConfigError;

/// Between two looks: so late at most is a new certificate or token in use. Whoever renews one has days.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
/// All authorities of the public web together have a quarter of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Read by anybody on the machine.
const OTHERS_READ: u32 = 0o004;

/// A file and the option that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The flag.
    pub option: &'static str,
    /// As given.
    pub path: PathBuf,
    /// Whoever reads it is whom it speaks of.
    pub secret: bool,
}

/// The newest value that the files were good for.
pub struct Watched<T> {
    current: RwLock<Arc<T>>,
}

/// The files, and how to make a value of what is in them. An error names the option at fault.
pub(crate) struct Source<T> {
    /// The option that log lines name.
    pub(crate) what: &'static str,
    pub(crate) files: Vec<NamedFile>,
    pub(crate) make: Make<T>,
}

/// What comes of the contents of the files, in their order.
pub(crate) type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, Fault> + Send + Sync>;

/// Which of the files can't be used, by its place, and why: never with what is in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: usize,
    pub(crate) why: String,
}

/// The last state of the files that was looked at.
#[derive(PartialEq, Eq)]
enum State {
    Read([u8; 32]),
    Unreadable(String),
}

impl<T> Watched<T> {
    /// The value in force.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, value: T) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Watched")
    }
}

impl<T: Send + Sync + 'static> Source<T> {
    /// Reads the files once.
    pub(crate) fn check(&self) -> Result<T, ConfigError> {
        self.read().and_then(|contents| (self.make)(&contents)).map_err(|fault| self.refused(&fault))
    }

    /// Reads the files, and again every [`RELOAD_INTERVAL`] for as long as somebody holds the value; inside a runtime.
    pub(crate) fn watch(self) -> Result<Arc<Watched<T>>, ConfigError> {
        let contents = self.read().map_err(|fault| self.refused(&fault))?;
        let value = (self.make)(&contents).map_err(|fault| self.refused(&fault))?;
        self.warn_of_readers();
        let watched = Arc::new(Watched { current: RwLock::new(Arc::new(value)) });
        if self.files.is_empty() {
            return Ok(watched);
        }
        tokio::spawn(watch(Arc::downgrade(&watched), self, State::Read(digest(&contents))));
        Ok(watched)
    }

    /// What is new in the files; nothing where they are as they were.
    fn look(&self, seen: &mut State) -> Option<Result<T, Fault>> {
        let (state, result) = match self.read() {
            Ok(contents) => (State::Read(digest(&contents)), Ok(contents)),
            Err(fault) => (State::Unreadable(fault.why.clone()), Err(fault)),
        };
        if state == *seen {
            return None;
        }
        *seen = state;
        Some(result.and_then(|contents| (self.make)(&contents)))
    }

    fn read(&self) -> Result<Vec<Vec<u8>>, Fault> {
        let read = |(place, file)| read(file).map_err(|why| Fault { place, why });
        self.files.iter().enumerate().map(read).collect()
    }

    fn refused(&self, Fault { place, why }: &Fault) -> ConfigError {
        let (option, path) = self.files.get(*place).map_or(("", None), |file| (file.option, Some(&file.path)));
        let value = path.map_or_else(String::new, |path| path.display().to_string());
        ConfigError::Value { option, value, mend: why.clone() }
    }

    fn warn_of_readers(&self) {
        for NamedFile { option, path, .. } in self.files.iter().filter(|file| file.secret) {
            // A file that is gone again is told by the next look.
            let open = path.metadata().is_ok_and(|found| found.permissions().mode() & OTHERS_READ != 0);
            if open {
                warn!(option, path = %path.display(), "every user of this machine may read this file; chmod o-rwx it");
            }
        }
    }
}

async fn watch<T: Send + Sync + 'static>(watched: Weak<Watched<T>>, mut source: Source<T>, mut seen: State) {
    loop {
        sleep(RELOAD_INTERVAL).await;
        if watched.strong_count() == 0 {
            return;
        }
        // Beside the reactor: the files may lie on a network.
        let looked = spawn_blocking(move || {
            let news = source.look(&mut seen);
            (source, seen, news)
        });
        // A panic in there was said where it happened; or the runtime is ending.
        let Ok((back, state, news)) = looked.await else { return };
        (source, seen) = (back, state);
        match (news, watched.upgrade()) {
            (Some(Ok(value)), Some(watched)) => {
                watched.set(value);
                info!("the files of {} changed, and what they hold is in use from here on", source.what);
            }
            (Some(Err(fault)), _) => {
                let why = source.refused(&fault);
                warn!(%why, "the files of {} can't be used any more; what was in use before stays so", source.what);
            }
            (_, None) => return,
            (None, _) => {}
        }
    }
}

fn read(file: &NamedFile) -> Result<Vec<u8>, String> {
    let unreadable = |why: std::io::Error| format!("it can't be read: {why}");
    let mut bytes = Vec::new();
    File::open(&file.path).map_err(unreadable)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE_BYTES) {
        return Ok(bytes);
    }
    Err(format!("it has more than the {MAX_FILE_BYTES} bytes that are read"))
}

/// Each content led by its length, so that no two lists look alike.
fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update(content.len().to_be_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
