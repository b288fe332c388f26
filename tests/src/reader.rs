//! A reader of the log as a process of its own, `history_reader`, and what it has written down so far.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::program::{Program, Start};

/// One of them. It is killed when it is dropped.
#[derive(Debug)]
pub struct Reader {
    name: String,
    start: Start,
    program: Program,
    notebook: PathBuf,
    read: u64,
    seen: usize,
    cursor: String,
}

impl Reader {
    /// Starts it with an order, but for where it writes: a file of this name in the folder.
    #[must_use]
    pub fn start(folder: &Path, name: &str, order: Value) -> Self {
        let notebook = folder.join(format!("{name}.jsonl"));
        let Value::Object(mut order) = order else { panic!("an order is an object, not {order}") };
        order.insert("notebook".to_owned(), notebook.to_str().unwrap().into());
        let start = Start::new("history_reader").arg(Value::Object(order).to_string());
        let program = start.spawn();
        Self { name: name.to_owned(), start, program, notebook, read: 0, seen: 0, cursor: String::new() }
    }

    /// `kill -9`, and another life.
    pub fn kill(&mut self) {
        self.program.kill();
        self.program = self.start.spawn();
    }

    /// Another life, where it ended by itself; it may, but not in a panic.
    pub fn revive(&mut self) {
        if let Some(status) = self.program.ended() {
            assert!(status.success(), "{} ended with {status}: {}", self.name, self.program.stderr());
            self.program = self.start.spawn();
        }
    }

    /// How many entries it has seen.
    pub fn seen(&mut self) -> usize {
        self.look();
        self.seen
    }

    /// The position behind which it is to be told next.
    pub fn cursor(&mut self) -> &str {
        self.look();
        &self.cursor
    }

    /// Reads what it has written since; a line that it is about to write is left for the next time.
    fn look(&mut self) {
        let Ok(mut file) = File::open(&self.notebook) else { return };
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += u64::try_from(whole).unwrap();
        for line in text[..whole].lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            self.seen += usize::from(line.get("saw").is_some() || line.get("item").is_some());
            let cursor = line.pointer("/saw/position").or_else(|| line.get("heartbeat")).and_then(Value::as_str);
            self.cursor = cursor.map_or_else(|| std::mem::take(&mut self.cursor), str::to_owned);
        }
    }
}
