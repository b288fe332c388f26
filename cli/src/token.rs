//! `calbridge token`: a new token for a caller of the service, and the hash of it that the configuration keeps.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use calbridge_process::{new_token, token_sha256};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use crate::output::print;

/// Its owner alone.
const MODE: u32 = 0o600;

/// `calbridge token`.
#[derive(Args)]
pub(crate) struct Token {
    /// Write the token to this new file, which only its owner may read, and print the hash alone
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Token {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let token = new_token()?;
        let hash = hex::encode(token_sha256(token.expose_secret().as_bytes()));
        match self.file {
            Some(path) => write(&path, &token)?,
            None => print(format_args!("token = \"{}\"", token.expose_secret()))?,
        }
        print(format_args!("token_sha256 = \"{hash}\""))
    }
}

fn write(path: &Path, token: &SecretString) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path);
    let mut file = file.with_context(|| {
        format!("--file = {} can't be made; name one that is not there yet, in a folder that is", path.display())
    })?;
    writeln!(file, "{}", token.expose_secret())?;
    file.sync_all()?;
    Ok(())
}
