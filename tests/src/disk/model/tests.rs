use super::*;

/// Cuts are many: each has a fate of its own.
const CUTS: u64 = 128;

/// Does what is told, then cuts the power many times; what is left each time of a file, if it is.
fn left(entries: &[Entry<'_>], name: &str) -> Vec<Option<Vec<u8>>> {
    let cut = |seed| {
        let folder = tempfile::TempDir::new().unwrap();
        let mut chance = Chance::new(seed);
        let mut model = Model::of(folder.path());
        for entry in entries {
            model.apply(&rooted(entry, folder.path()).as_entry(), &mut chance);
        }
        model.cut(&mut chance);
        fs::read(folder.path().join(name)).ok()
    };
    (0..CUTS).map(cut).collect()
}

/// An entry below a folder.
struct Rooted<'e>(Entry<'e>, PathBuf);

fn rooted<'e>(entry: &Entry<'e>, root: &Path) -> Rooted<'e> {
    let path = match entry {
        Entry::Created { path, .. }
        | Entry::MadeFolder { path }
        | Entry::Gone { path }
        | Entry::SyncBegun { of: Synced::Folder(path), .. } => root.join(path),
        _ => PathBuf::new(),
    };
    // A folder's path ends without a slash.
    Rooted(*entry, path.components().collect())
}

impl Rooted<'_> {
    fn as_entry(&self) -> Entry<'_> {
        let Self(entry, path) = self;
        match *entry {
            Entry::Created { file, .. } => Entry::Created { path, file },
            Entry::MadeFolder { .. } => Entry::MadeFolder { path },
            Entry::Gone { .. } => Entry::Gone { path },
            Entry::SyncBegun { of: Synced::Folder(_), token } => Entry::SyncBegun { of: Synced::Folder(path), token },
            other => other,
        }
    }
}

fn created(name: &str) -> Entry<'_> {
    Entry::Created { path: Path::new(name), file: 7 }
}

fn wait(of: Synced<'_>, token: u64) -> [Entry<'_>; 2] {
    [Entry::SyncBegun { of, token }, Entry::SyncDone { token }]
}

fn names() -> Synced<'static> {
    Synced::Folder(Path::new(""))
}

const WRITTEN: Entry<'_> = Entry::Written { file: 7, at: 0, bytes: b"kept" };
const MORE: Entry<'_> = Entry::Written { file: 7, at: 4, bytes: b"more" };

#[test]
fn what_was_waited_for_is_there_and_the_rest_may_be() {
    let begun = [created("a"), WRITTEN];
    let all = [&begun[..], &wait(Synced::File(7), 1), &wait(names(), 2), &[MORE]].concat();
    let left = left(&all, "a");
    assert!(left.iter().flatten().all(|bytes| bytes.starts_with(b"kept")) && left.iter().all(Option::is_some));
    for length in [4, 5, 8] {
        assert!(left.iter().flatten().any(|bytes| bytes.len() == length), "{length}");
    }
    assert!(left.iter().flatten().any(|bytes| bytes == b"keptmore"));
}

#[test]
fn a_name_that_nobody_waited_for_may_be_gone() {
    let all = [&[created("a"), WRITTEN][..], &wait(Synced::File(7), 1)].concat();
    let left = left(&all, "a");
    assert!(left.iter().any(Option::is_none) && left.iter().flatten().any(|bytes| bytes == b"kept"));
}

#[test]
fn a_wait_covers_what_was_there_when_it_began() {
    let begun = [Entry::SyncBegun { of: Synced::File(7), token: 1 }, MORE, Entry::SyncDone { token: 1 }];
    let left = left(&[&[created("a"), WRITTEN][..], &begun, &wait(names(), 2)].concat(), "a");
    assert!(left.iter().flatten().any(|bytes| bytes == b"kept"));
}

#[test]
fn what_a_wait_that_failed_has_dropped_no_later_wait_brings() {
    let failed = [Entry::SyncBegun { of: Synced::File(7), token: 1 }, Entry::SyncFailed { token: 1 }];
    let waits = [&wait(Synced::File(7), 2)[..], &wait(names(), 3)].concat();
    let dropped = left(&[&[created("a"), WRITTEN][..], &failed, &waits].concat(), "a");
    assert!(dropped.iter().flatten().any(|bytes| bytes == &[0; 4]));
    let again = left(&[&[created("a"), WRITTEN][..], &failed, &[WRITTEN], &waits].concat(), "a");
    assert!(again.iter().flatten().all(|bytes| bytes == b"kept"));
}

#[test]
fn what_was_taken_away_may_be_back_and_a_cut_may_not_have_come() {
    let there = [&[created("a"), WRITTEN][..], &wait(Synced::File(7), 1), &wait(names(), 2)].concat();
    let gone = left(&[&there[..], &[Entry::Gone { path: Path::new("a") }]].concat(), "a");
    assert!(gone.iter().any(Option::is_none) && gone.iter().any(Option::is_some));
    let cut = left(&[&there[..], &[Entry::Cut { file: 7, length: 1 }]].concat(), "a");
    assert!(cut.iter().flatten().any(|bytes| bytes == b"k") && cut.iter().flatten().any(|bytes| bytes == b"kept"));
    let waited = left(&[&there[..], &[Entry::Cut { file: 7, length: 1 }], &wait(Synced::File(7), 3)].concat(), "a");
    assert!(waited.iter().flatten().all(|bytes| bytes == b"k"));
}
