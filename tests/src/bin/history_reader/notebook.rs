//! The file in which a reader writes down what it saw: a line of JSON each, written whole in one go before the reader
//! acts on it. So what it wrote last is where it stands, whatever kills it; a line that is not whole was not written.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
};

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Where a reader stands, and what it did.
#[derive(Debug)]
pub(crate) struct Notebook {
    file: File,
    lives: u64,
    cursor: String,
}

impl Notebook {
    /// Goes on with what is there.
    pub(crate) fn open(path: &Path) -> Self {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(u64::try_from(whole).unwrap()).unwrap();
        let (mut lives, mut cursor) = (0, String::new());
        for line in text[..whole].lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let position = line.pointer("/saw/position").or_else(|| line.get("heartbeat"));
            if let Some(position) = position.and_then(Value::as_str) {
                position.clone_into(&mut cursor);
            }
            lives += u64::from(line.get("life").is_some());
        }
        let mut notebook = Self { file, lives, cursor };
        notebook.write("life", Value::Null);
        notebook
    }

    /// How often its reader has died.
    pub(crate) fn lives(&self) -> u64 {
        self.lives
    }

    /// The position that was seen last; empty where none was.
    pub(crate) fn cursor(&self) -> &str {
        &self.cursor
    }

    /// An entry that a watch has told, or how far it is.
    pub(crate) fn move_to(&mut self, position: String, what: &str, value: Value) {
        self.write(what, value);
        self.cursor = position;
    }

    /// Something that happened, or is about to.
    pub(crate) fn write(&mut self, what: &str, value: Value) {
        let line = Map::from_iter([("at".to_owned(), now().into()), (what.to_owned(), value)]);
        self.file.write_all(format!("{}\n", Value::Object(line)).as_bytes()).unwrap();
    }
}

/// In microseconds, by the clock that the services have, too.
#[expect(clippy::disallowed_methods, reason = "a history tells when things happened")]
fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
