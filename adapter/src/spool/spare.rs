//! Room for the next segment, made while the one before it fills: a file of zeros that the disk has kept already.
//!
//! A file that grows has its file system write down at each sync how long it is now and where its bytes are, in a
//! journal of its own: that takes the disk longer, and the machine more, than the records do. In a spare nothing
//! changes but its bytes. It is a convenience: without one a segment is a file that grows.

use std::{
    fs::File,
    io, mem,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender, TryRecvError},
    },
    thread::{self, JoinHandle},
};

use tracing::debug;

use crate::segment::{self, Sync};

/// Of the next segment, and of the thread that makes it.
#[derive(Debug)]
pub(super) struct Spares {
    directory: PathBuf,
    /// Nobody will take one any more.
    over: Arc<AtomicBool>,
    /// Until it is dropped.
    thread: Option<(Sender<()>, JoinHandle<()>)>,
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
    /// The disk has no room for it, say. The next segment may ask again.
    Failed,
}

impl Spares {
    /// Begins the thread, which makes spares of so many bytes when it is asked to.
    pub(super) fn begin(directory: PathBuf, bytes: u64, sync: Sync) -> io::Result<Self> {
        let (orders, ordered) = mpsc::channel();
        let (hand, made) = mpsc::channel();
        let (within, over) = (directory.clone(), Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&over);
        let work = move || {
            while let Ok(()) = ordered.recv() {
                let spare = segment::make_spare(&within, bytes, sync, || is_over.load(Ordering::Relaxed));
                if hand.send(spare).is_err() {
                    return;
                }
            }
        };
        let making = thread::Builder::new().name("spool-spare".to_owned()).spawn(work)?;
        Ok(Self { directory, over, thread: Some((orders, making)), made, state: State::Wanted })
    }

    /// Has one made, unless there is one or was no room for one.
    pub(super) fn order(&mut self) {
        if matches!(self.state, State::Wanted)
            && let Some((orders, _)) = &self.thread
            && orders.send(()).is_ok()
        {
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

    /// Gives back the room of one that is there: on a disk that is full it is what others lack.
    pub(super) fn give_up(&mut self) {
        if self.is_ready() {
            segment::remove_spare(&self.directory);
            self.state = State::Failed;
        }
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

impl Drop for Spares {
    /// Waits for the thread: it writes into a directory that is another process's next.
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some((orders, making)) = self.thread.take() {
            drop(orders);
            // A panic of it was said where it happened.
            let _ = making.join();
        }
        segment::remove_spare(&self.directory);
    }
}
