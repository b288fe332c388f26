//! Which `pg_dump`: one that is not older than the server, for an older one does not know its tables.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::store::maintain::{MaintainError, Programs};

const NAME: &str = "pg_dump";
/// Debian keeps a folder for each release, beside what is on the path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A program that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PgDump {
    pub(super) path: PathBuf,
    pub(super) release: u32,
}

/// The one that is named, else the first that will do.
pub(super) async fn find(programs: Programs<'_>, server: u32) -> Result<PgDump, MaintainError> {
    let candidates = match programs.named {
        Some(path) => vec![path.to_owned()],
        None => found(programs.search),
    };
    let mut older = None;
    for path in &candidates {
        match release(path).await {
            Ok(release) if release >= server => return Ok(PgDump { path: path.clone(), release }),
            Ok(release) => older = older.or(Some(PgDump { path: path.clone(), release })),
            // What is named must be it; what only lies on the path may be anything.
            Err(why) if programs.named.is_some() => return Err(unusable(path, &format!("{why}; check --pg-dump"))),
            Err(_) => {}
        }
    }
    let mend = format!(
        "install the client programs of PostgreSQL {server} or newer (on Debian: apt install \
        postgresql-client-{server}), or name one by --pg-dump PATH"
    );
    Err(match older {
        Some(PgDump { path, release }) => unusable(
            &path,
            &format!(
                "it is of release {release}, older than the server, which is of {server}, and would refuse; {mend}"
            ),
        ),
        None => unusable(Path::new(NAME), &format!("it is neither on PATH nor in {DEBIAN}/*/bin; {mend}")),
    })
}

fn unusable(path: &Path, why: &str) -> MaintainError {
    MaintainError::Dump { program: path.display().to_string(), why: why.to_owned() }
}

/// On the path, then where Debian has them, the newest first.
fn found(search: &str) -> Vec<PathBuf> {
    let on_path = std::env::split_paths(search).map(|folder| folder.join(NAME));
    let mut releases: Vec<(u32, PathBuf)> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin").join(NAME))))
        .collect();
    releases.sort_unstable_by(|left, right| right.cmp(left));
    on_path.chain(releases.into_iter().map(|(_, path)| path)).filter(|path| path.is_file()).collect()
}

async fn release(path: &Path) -> io::Result<u32> {
    let told = Command::new(path).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&told.stdout);
    parse(&text).ok_or_else(|| io::Error::other("it does not say its version as pg_dump does"))
}

/// `pg_dump (PostgreSQL) 15.14 (Debian …)` is 15.
fn parse(version: &str) -> Option<u32> {
    let number = version.trim().strip_prefix("pg_dump (PostgreSQL) ")?;
    let end = number.find(|character: char| !character.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_off_its_version() {
        for (version, release) in [
            ("pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15)),
            ("pg_dump (PostgreSQL) 9.6.24", Some(9)),
            ("pg_dump (PostgreSQL) 19beta1", Some(19)),
            ("pg_dump (PostgreSQL) devel", None),
            ("something else 15", None),
            ("", None),
        ] {
            assert_eq!(parse(version), release, "{version}");
        }
    }

    #[tokio::test]
    async fn one_that_is_missing_or_older_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join(NAME);
        fs::write(&old, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n").unwrap();
        fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let named = |path| Programs { named: Some(path), search: "" };
        assert_eq!(find(named(&old), 9).await.unwrap(), PgDump { path: old.clone(), release: 9 });
        let refused = find(named(&old), 15).await.unwrap_err().to_string();
        assert!(refused.contains("release 9") && refused.contains("postgresql-client-15"), "{refused}");
        let missing = folder.path().join("nothing");
        let refused = find(named(&missing), 15).await.unwrap_err().to_string();
        assert!(refused.contains("nothing") && refused.contains("--pg-dump"), "{refused}");

        // The first on the path that will do, whatever stands before it.
        let search = folder.path().to_str().unwrap();
        assert_eq!(find(Programs { named: None, search }, 9).await.unwrap().path, old);
        let nowhere = find(Programs { named: None, search }, 999).await.unwrap_err().to_string();
        assert!(nowhere.contains("999"), "{nowhere}");
    }
}
