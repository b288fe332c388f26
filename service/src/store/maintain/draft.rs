//! A backup on its way: a file of its own beside its place, readable for its user alone, that gets its name when it is
//! whole, checked and on stable storage, and is gone in every other case.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use tempfile::{Builder, TempPath};

use super::MaintainError;
use crate::store::sqlite::sync_folder;

/// What a draft's name begins with: what is left of one after a power cut can be known by it, and removed.
const PREFIX: &str = ".calbridge-backup-";

/// A backup that has no name yet.
#[derive(Debug)]
pub(in crate::store) struct Draft {
    file: TempPath,
    to: PathBuf,
}

impl Draft {
    /// An empty one beside a place that nothing has yet.
    pub(in crate::store) fn beside(to: &Path) -> Result<Self, MaintainError> {
        let unwritable = |why| MaintainError::Unwritable { path: to.to_owned(), why };
        if to.symlink_metadata().is_ok() {
            return Err(MaintainError::Exists { path: to.to_owned() });
        }
        let place = std::path::absolute(to).map_err(unwritable)?;
        let draft = Builder::new().prefix(PREFIX).tempfile_in(folder(&place)).map_err(unwritable)?;
        Ok(Self { file: draft.into_temp_path(), to: place })
    }

    /// Where it is written; absolute.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.file
    }

    /// Gives it its name, unless somebody else has taken that meanwhile. Answers its bytes.
    pub(in crate::store) fn publish(self) -> Result<u64, MaintainError> {
        let Self { file, to } = self;
        let unwritable = |why| MaintainError::Unwritable { path: to.clone(), why };
        let written = File::open(&file).map_err(unwritable)?;
        written.sync_all().map_err(unwritable)?;
        let bytes = written.metadata().map_err(unwritable)?.len();
        file.persist_noclobber(&to).map_err(|refused| match refused.error.kind() {
            io::ErrorKind::AlreadyExists => MaintainError::Exists { path: to.clone() },
            _ => unwritable(refused.error),
        })?;
        sync_folder(folder(&to)).map_err(unwritable)?;
        Ok(bytes)
    }
}

fn folder(place: &Path) -> &Path {
    place.parent().unwrap_or(Path::new("/"))
}
