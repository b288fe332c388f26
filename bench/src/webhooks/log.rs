//! A plain log, which has a body on the disk before it is answered: one file, one thread, one sync for all who wait. No
//! records, no checks, no reading. What an edge with a spool is compared with on the same machine.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use bytes::Bytes;
use tokio::sync::oneshot;

/// A handle on the log.
#[derive(Debug)]
pub struct Log {
    bodies: Sender<Body>,
}

struct Body {
    bytes: Bytes,
    kept: oneshot::Sender<()>,
}

impl Log {
    /// Begins a file, which must not be there yet, and the thread that writes to it.
    ///
    /// # Errors
    ///
    /// The disk says no.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let file = File::create_new(path)?;
        let (bodies, asked) = mpsc::channel();
        thread::Builder::new().name("log".to_owned()).spawn(move || run(file, &asked))?;
        Ok(Self { bodies })
    }

    /// Whether the disk has it.
    pub async fn keep(&self, bytes: Bytes) -> bool {
        let (kept, answered) = oneshot::channel();
        self.bodies.send(Body { bytes, kept }).is_ok() && answered.await.is_ok()
    }
}

/// Ends with the first error: nobody is answered any more.
fn run(mut file: File, asked: &Receiver<Body>) {
    let (mut batch, mut bytes) = (Vec::new(), Vec::new());
    while let Ok(first) = asked.recv() {
        for body in std::iter::once(first).chain(asked.try_iter()) {
            bytes.extend_from_slice(&body.bytes);
            batch.push(body.kept);
        }
        if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
            return;
        }
        bytes.clear();
        for kept in batch.drain(..) {
            // Whoever has gone does not wait.
            let _ = kept.send(());
        }
    }
}
