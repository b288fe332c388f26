use std::{fs, path::Path};

use super::*;

#[test]
fn a_head_moves_forward_and_by_no_more_than_leaves_room() {
    assert_eq!(step(Position(7), 5).unwrap(), Advanced { from: Position(7), to: Position(12) });
    assert_eq!(step(Position(0), HEAD_STEP_MAX).unwrap().to, Position(1 << 49));
    for (head, by) in [(7, 0), (7, HEAD_STEP_MAX + 1), (7, u64::MAX), (i64::MAX - 1, 2)] {
        let refused = step(Position(head), by).unwrap_err().to_string();
        assert!(refused.contains(&format!("--by = {by}")) && refused.contains(&head.to_string()), "{refused}");
    }
}

#[test]
fn a_difference_is_as_exact_as_both() {
    assert_eq!(Count::exact(5).without(Count::exact(2)), Count::exact(3));
    assert_eq!(Count::exact(5).without(Count::estimate(7)), Count::estimate(0));
    assert_eq!(Count::at_least(5).without(Count::exact(2)), Count::estimate(3));
}

#[test]
fn a_draft_gets_its_name_whole_or_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let names = || fs::read_dir(folder.path()).unwrap().count();
    let to = folder.path().join("backup");
    drop(Draft::beside(&to).unwrap());
    assert_eq!(names(), 0, "given up");

    let draft = Draft::beside(&to).unwrap();
    fs::write(draft.path(), "whole").unwrap();
    assert!(!to.exists());
    assert_eq!(draft.publish().unwrap(), 5);
    assert_eq!(fs::read(&to).unwrap(), b"whole");
    assert_eq!(names(), 1);
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&to).unwrap()) & 0o777, 0o600);
}

#[test]
fn a_draft_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    let late = Draft::beside(&to).unwrap();
    fs::write(&to, "somebody else's").unwrap();
    assert!(matches!(Draft::beside(&to), Err(MaintainError::Exists { .. })));
    assert!(matches!(late.publish(), Err(MaintainError::Exists { .. })));
    assert_eq!(fs::read(&to).unwrap(), b"somebody else's");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = Draft::beside(Path::new("/nowhere/at/all")).unwrap_err().to_string();
    assert!(nowhere.contains("/nowhere/at/all"), "{nowhere}");
}
