//! Room for the next segment, made while the one before it fills: a file of zeros that the disk has kept already.
//!
//! A file that grows has its file system write down at each sync how long it is now and where its bytes are, in a
//! journal of its own: that takes the disk longer, and the machine more, than the records do. In a spare nothing
//! changes but its bytes. It is a convenience: without one a segment is a file that grows.

use std::{
    fs::File,
    io, mem,
    path::PathBuf,
    sync::mpsc::{self, Receiver, Sender, TryRecvError},
    thread,
};

use tracing::debug;

use crate::segment::{self, Sync};

/// Of the next segment, and of the thread that makes it.
#[derive(Debug)]
pub(super) struct Spares {
    orders: Sender<()>,
    made: Receiver<io::Result<File>>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody has asked.
    Wanted,
    /// It is being made.
    Ordered,
    Ready(File),
    /// The disk had no room for it, say.
    Failed,
}

impl Spares {
    /// Begins the thread, which makes spares of so many bytes when it is asked to.
    pub(super) fn begin(directory: PathBuf, bytes: u64, sync: Sync) -> io::Result<Self> {
        let (orders, ordered) = mpsc::channel();
        let (hand, made) = mpsc::channel();
        let work = move || {
            while let Ok(()) = ordered.recv() {
                // Where nobody takes it any more, the next process takes it away.
                let _ = hand.send(segment::make_spare(&directory, bytes, sync));
            }
        };
        thread::Builder::new().name("spool-spare".to_owned()).spawn(work)?;
        Ok(Self { orders, made, state: State::Wanted })
    }

    /// Has one made, unless there is one or was no room for one.
    pub(super) fn order(&mut self) {
        if matches!(self.state, State::Wanted) && self.orders.send(()).is_ok() {
            self.state = State::Ordered;
        }
    }

    /// Whether there is one.
    pub(super) fn is_ready(&mut self) -> bool {
        if matches!(self.state, State::Ordered) {
            self.state = match self.made.try_recv() {
                Ok(Ok(file)) => State::Ready(file),
                Ok(Err(why)) => {
                    debug!(%why, "no room was made for the spool's next segment");
                    State::Failed
                }
                Err(TryRecvError::Empty) => State::Ordered,
                Err(TryRecvError::Disconnected) => State::Failed,
            };
        }
        matches!(self.state, State::Ready(_))
    }

    /// The one that is there, for a segment that begins. Where none could be made, the next may be asked for.
    pub(super) fn take(&mut self) -> Option<File> {
        self.is_ready();
        match mem::replace(&mut self.state, State::Wanted) {
            State::Ready(file) => Some(file),
            State::Wanted | State::Failed => None,
            State::Ordered => {
                self.state = State::Ordered;
                None
            }
        }
    }
}
