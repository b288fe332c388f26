//! What the system holds of a folder, what of it is on the disk, and what a power cut may leave.
//!
//! A page that was written is on the disk when a wait that began afterwards has succeeded; before that it may be, any
//! part of it. A wait that fails drops pages as Linux does: they count as written from then on, are not, and no later
//! wait brings them. A name is on the disk when its folder was waited for.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use self::file::{Begun, Content, Fate};
use super::record::{Entry, Synced};
use crate::chance::Chance;

/// How often, by chance, the system writes a page without being told: once in so many writes.
const WRITES_BACK: usize = 8;

/// The folder.
#[derive(Debug)]
pub(super) struct Model {
    root: PathBuf,
    /// By path, the root included.
    folders: BTreeMap<PathBuf, Names>,
    files: Vec<Content>,
    /// Which file has a number of the system's now.
    numbers: HashMap<u64, usize>,
    waits: HashMap<u64, Wait>,
}

/// What is in a folder.
#[derive(Debug, Default, Clone)]
struct Names {
    now: BTreeMap<OsString, Node>,
    kept: BTreeMap<OsString, Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder,
}

/// A wait for the disk that has begun.
#[derive(Debug)]
enum Wait {
    Folder(PathBuf, BTreeMap<OsString, Node>),
    File(usize, Begun),
}

/// What a power cut took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Files and folders that are gone, or are there again.
    pub names: usize,
    /// Files of which not all is there that was written.
    pub files: usize,
}

impl Model {
    /// A folder whose content is on the disk.
    pub(super) fn of(root: &Path) -> Self {
        let mut model = Self {
            root: root.to_owned(),
            folders: BTreeMap::new(),
            files: Vec::new(),
            numbers: HashMap::new(),
            waits: HashMap::new(),
        };
        model.read(root);
        model
    }

    /// Takes in what was done.
    pub(super) fn apply(&mut self, entry: &Entry<'_>, chance: &mut Chance) {
        match *entry {
            Entry::Created { path, file } => {
                let id = self.add(path, Content::default());
                self.numbers.insert(file, id);
            }
            Entry::MadeFolder { path } => {
                self.names_around(path).now.insert(name_of(path), Node::Folder);
                self.folders.insert(path.to_owned(), Names::default());
            }
            Entry::Gone { path } => {
                self.names_around(path).now.remove(&name_of(path));
            }
            Entry::Renamed { from, to } => {
                // The one name or the other: a power cut leaves a file that was replaced whole, or that which did it.
                let node = self.names_around(from).now.remove(&name_of(from)).unwrap();
                self.names_around(to).now.insert(name_of(to), node);
            }
            Entry::Written { file, at, bytes } => {
                let content = self.content(file);
                content.write(at, bytes);
                if chance.once_in(WRITES_BACK) {
                    content.write_back(chance);
                }
            }
            Entry::Cut { file, length } => self.content(file).cut(length),
            Entry::SyncBegun { of: Synced::File(file), token } => {
                let id = self.numbers[&file];
                self.waits.insert(token, Wait::File(id, self.files[id].begin()));
            }
            Entry::SyncBegun { of: Synced::Folder(path), token } => {
                // The folders above are there for as long as the test is.
                if let Some(names) = self.folders.get(path) {
                    self.waits.insert(token, Wait::Folder(path.to_owned(), names.now.clone()));
                }
            }
            Entry::SyncDone { token } => match self.waits.remove(&token) {
                Some(Wait::File(id, begun)) => self.files[id].keep(&begun),
                Some(Wait::Folder(path, names)) => self.folders.get_mut(&path).unwrap().kept = names,
                None => {}
            },
            Entry::SyncFailed { token } => {
                if let Some(Wait::File(id, begun)) = self.waits.remove(&token) {
                    self.files[id].drop_dirty(&begun, chance);
                }
            }
        }
    }

    /// Compares with what is there, which counts. Which files are otherwise than was written down.
    pub(super) fn look(&mut self) -> Vec<PathBuf> {
        // Whoever waited is not there any more to hear how it ended.
        self.waits.clear();
        let mut otherwise = Vec::new();
        for (folder, names) in self.folders.clone() {
            for (name, node) in names.now {
                let path = folder.join(&name);
                match (node, fs::read(&path)) {
                    (Node::File(id), Ok(bytes)) if self.files[id].become_now(&bytes) => otherwise.push(path),
                    (Node::File(_), Ok(_)) | (Node::Folder, _) => {}
                    (Node::File(_), Err(_)) => {
                        self.names_around(&path).now.remove(&name);
                        otherwise.push(path);
                    }
                }
            }
        }
        for (path, bytes) in files_below(&self.root) {
            if !self.names_around(&path).now.contains_key(&name_of(&path)) {
                let mut content = Content::default();
                content.write(0, &bytes);
                let id = self.add(&path, content);
                self.numbers.insert(fs::metadata(&path).unwrap().ino(), id);
                otherwise.push(path);
            }
        }
        otherwise
    }

    /// Leaves in the folder what a power cut leaves. It is on the disk then.
    pub(super) fn cut(&mut self, chance: &mut Chance) -> Lost {
        let fate = Fate::by(chance);
        let mut lost = Lost::default();
        let mut left = Vec::new();
        let mut folders = BTreeSet::from([self.root.clone()]);
        // A folder stands before what is in it.
        for (folder, names) in &self.folders {
            if !folders.contains(folder) {
                continue;
            }
            let all: BTreeSet<_> = names.now.keys().chain(names.kept.keys()).collect();
            for name in all {
                let (now, kept) = (names.now.get(name), names.kept.get(name));
                let node = if now == kept || fate.spares(chance) { now } else { kept };
                lost.names += usize::from(node != now);
                let path = folder.join(name);
                match node {
                    Some(Node::File(id)) => {
                        let bytes = self.files[*id].left(fate, chance);
                        lost.files += usize::from(bytes != self.files[*id].now());
                        left.push((path, bytes));
                    }
                    Some(Node::Folder) => drop(folders.insert(path)),
                    None => {}
                }
            }
        }
        fs::remove_dir_all(&self.root).unwrap();
        for folder in folders {
            fs::create_dir(folder).unwrap();
        }
        for (path, bytes) in left {
            fs::write(path, bytes).unwrap();
        }
        *self = Self::of(&self.root);
        lost
    }

    /// Takes in what is in a folder.
    fn read(&mut self, folder: &Path) {
        let mut names = Names::default();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let node = if path.is_dir() {
                self.read(&path);
                Node::Folder
            } else {
                self.files.push(Content::kept(fs::read(&path).unwrap()));
                self.numbers.insert(fs::metadata(&path).unwrap().ino(), self.files.len() - 1);
                Node::File(self.files.len() - 1)
            };
            names.now.insert(name_of(&path), node);
        }
        names.kept = names.now.clone();
        self.folders.insert(folder.to_owned(), names);
    }

    fn add(&mut self, path: &Path, content: Content) -> usize {
        self.files.push(content);
        let id = self.files.len() - 1;
        self.names_around(path).now.insert(name_of(path), Node::File(id));
        id
    }

    fn content(&mut self, number: u64) -> &mut Content {
        &mut self.files[self.numbers[&number]]
    }

    fn names_around(&mut self, path: &Path) -> &mut Names {
        self.folders.get_mut(path.parent().unwrap()).unwrap()
    }
}

fn name_of(path: &Path) -> OsString {
    path.file_name().unwrap().to_owned()
}

/// Each file, and what is in it.
fn files_below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                fs::read(&path).map(|bytes| (path, bytes)).into_iter().collect()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
