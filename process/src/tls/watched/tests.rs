use std::{fs, os::unix::fs::symlink};

use super::*;

/// A number in a file.
fn source(path: &std::path::Path) -> Source<u32> {
    Source {
        what: "--number",
        files: vec![NamedFile { option: "--number", path: path.to_owned(), secret: false }],
        make: Box::new(|contents| {
            let parsed = std::str::from_utf8(&contents[0]).ok().and_then(|text| text.trim().parse().ok());
            parsed.ok_or(Fault { place: 0, why: "holds no number".to_owned() })
        }),
    }
}

/// Waits for one look more than enough.
async fn look() {
    sleep(RELOAD_INTERVAL * 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_changes_is_followed_and_what_breaks_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number");
    fs::write(&path, "1").unwrap();
    let number = source(&path).watch().unwrap();
    for (content, expected) in [("1", 1), ("2", 2), ("two", 2), ("", 2), ("3\n", 3), ("3", 3)] {
        fs::write(&path, content).unwrap();
        look().await;
        assert_eq!(*number.get(), expected, "{content:?}");
    }
    fs::remove_file(&path).unwrap();
    look().await;
    assert_eq!(*number.get(), 3, "the file is gone");
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "4").unwrap();
    symlink(&elsewhere, &path).unwrap();
    look().await;
    assert_eq!(*number.get(), 4, "a link counts by what it leads to");
}

#[test]
fn a_state_of_the_files_is_news_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number");
    fs::write(&path, "1").unwrap();
    let source = source(&path);
    let mut seen = State::Read(digest(&source.read().unwrap()));
    assert!(source.look(&mut seen).is_none());
    fs::write(&path, "bad").unwrap();
    assert_eq!(source.look(&mut seen).unwrap().unwrap_err().why, "holds no number");
    assert!(source.look(&mut seen).is_none(), "said already");
    fs::remove_file(&path).unwrap();
    assert!(source.look(&mut seen).unwrap().unwrap_err().why.contains("can't be read"));
    assert!(source.look(&mut seen).is_none(), "said already");
    fs::write(&path, "1").unwrap();
    assert_eq!(source.look(&mut seen).unwrap(), Ok(1));
}

#[tokio::test]
async fn a_start_needs_files_that_are_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("number");
    for (content, part) in
        [(None, "can't be read"), (Some("bad".to_owned()), "no number"), (Some("1".repeat(2 << 20)), "1048576 bytes")]
    {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let why = source(&path).watch().unwrap_err().to_string();
        assert!(why.starts_with("--number = ") && why.contains(part), "{why}");
    }
}
