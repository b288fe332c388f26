//! The recorded webhooks of Cal.com's own sender, where a folder of them is named by `CALBRIDGE_CORPUS`.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

/// The variable that names the folder.
pub const FOLDER: &str = "CALBRIDGE_CORPUS";

/// One recorded request.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The file's name without `.json`.
    pub file: String,
    /// The trigger; empty where a template hides it.
    pub trigger: String,
    /// Names and values as they were sent.
    pub headers: Vec<(String, String)>,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// What it was signed with; nothing where it was not.
    pub secret: Option<String>,
    /// The lifecycle that it is a step of; nothing for a single request.
    pub sequence: Option<String>,
    /// Counted from one.
    pub step: i64,
}

impl Recording {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        // JSON.parse takes a lone surrogate, serde_json refuses it: what it stands for is not the point of a look-up.
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).or_else(|_| serde_json::from_str(&replace_surrogates(&text))).unwrap_or(Value::Null)
    }
}

/// Every recording, by file name. Without the folder: none, and a line that says so.
#[must_use]
pub fn load() -> Vec<Recording> {
    let Some(folder) = folder() else {
        println!("SKIPPED: {FOLDER} is not set, so no recorded webhook was tried");
        return Vec::new();
    };
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|why| panic!("{FOLDER}={folder} can't be read: {why}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{FOLDER}={folder} holds no recorded webhook");
    files.iter().map(|path| read(path)).collect()
}

#[expect(clippy::disallowed_methods, reason = "the folder is named by the environment of the test run")]
fn folder() -> Option<String> {
    std::env::var(FOLDER).ok()
}

fn read(path: &Path) -> Recording {
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let text = |field: &str| file[field].as_str().map(str::to_owned);
    let headers = file["headers"].as_object().unwrap().iter();
    Recording {
        file: path.file_stem().unwrap().to_string_lossy().into_owned(),
        trigger: text("trigger").unwrap_or_default(),
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
        body: BASE64_STANDARD.decode(file["body_base64"].as_str().unwrap()).unwrap(),
        secret: text("secret").filter(|secret| !secret.is_empty()),
        sequence: text("sequence"),
        step: file["step"].as_i64().unwrap_or_default(),
    }
}

/// Every escape of a surrogate becomes U+FFFD, also in pairs: enough for a look-up of other fields.
fn replace_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at..];
        let surrogate = escape.get(..6).filter(|escape| {
            escape.starts_with("\\u") && matches!(u32::from_str_radix(&escape[2..], 16), Ok(0xD800..=0xDFFF))
        });
        let (kept, length) = match surrogate {
            Some(_) => ("\u{FFFD}", 6),
            None => (escape.get(..2).unwrap_or(escape), escape.len().min(2)),
        };
        out.push_str(kept);
        rest = &escape[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_backslash_is_no_escape() {
        assert_eq!(replace_surrogates(r"a\ud83db\\ud83d\n"), "a\u{FFFD}b\\\\ud83d\\n");
    }
}
