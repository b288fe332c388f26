//! The config file: read whole, within a bound, and never quoted.

use std::{fs, path::Path};

use crate::{ConfigError, Options};

/// A config file is read whole; the longest that makes sense is far shorter.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The options, with what the file says below them.
pub(crate) fn with_file(options: Options) -> Result<Options, ConfigError> {
    match options.config.clone() {
        Some(path) => Ok(options.over(parse(&path, &read_text(&path)?)?)),
        None => Ok(options),
    }
}

/// Where relative paths in the file start.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// What is in it.
pub(crate) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |why| ConfigError::Unreadable { path: path.to_owned(), why };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_FILE_BYTES {
        let why = format!("the file has {size} bytes; at most {MAX_FILE_BYTES} are read");
        return Err(unreadable(std::io::Error::other(why)));
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// What it says.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Options, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1),
        why: without_value(error.message()),
    })
}

/// serde quotes the value of a wrong type, and that value may be a secret in the wrong place.
fn without_value(message: &str) -> String {
    let quoted = |said: &str| said.contains(['"', '`']);
    for (prefix, said) in ["invalid type: ", "invalid value: "].map(|prefix| (prefix, message.strip_prefix(prefix))) {
        if let Some((said, expected)) =
            said.and_then(|said| said.rsplit_once(", expected ")).filter(|(said, _)| quoted(said))
        {
            let kind = said.split(['"', '`']).next().unwrap_or_default().trim_end();
            return format!("{prefix}{kind}, expected {expected}");
        }
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_value_is_told_and_not_the_value() {
        for (message, told) in [
            ("invalid type: string \"a, expected b\", expected a map", "invalid type: string, expected a map"),
            ("invalid type: integer `17`, expected a string", "invalid type: integer, expected a string"),
            ("invalid value: floating point `1.5`, expected u16", "invalid value: floating point, expected u16"),
            ("invalid type: map, expected a string", "invalid type: map, expected a string"),
            ("unknown field `secert`, expected `secret`", "unknown field `secert`, expected `secret`"),
        ] {
            assert_eq!(without_value(message), told);
        }
    }
}
