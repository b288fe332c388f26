//! What happened, in order: lines for people, and a digest of everything for the proof that a seed is one story.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    sync::Mutex,
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

thread_local! {
    static STORY: RefCell<Story> = RefCell::default();
}

/// What was told so far.
#[derive(Debug, Default)]
struct Story {
    is_loud: bool,
    lines: Digest,
}

/// FNV-1a, of 64 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest(u64);

/// Takes in every message of the network, and every line that adapter and service would log.
#[derive(Debug, Default)]
pub(crate) struct Everything(Mutex<Digest>);

/// Whose events count.
const TARGETS: [&str; 2] = ["turmoil", "calbridge"];

/// Has lines printed as they come.
pub(crate) fn be_loud() {
    STORY.with_borrow_mut(|story| story.is_loud = true);
}

/// Adds a line.
pub(crate) fn tell(line: &str) {
    let now = turmoil::sim_elapsed().unwrap_or_default();
    say(&format!("{:>9.3}  {line}", now.as_secs_f64()));
}

/// Adds a line of a time that is told in it.
pub(crate) fn say(line: &str) {
    STORY.with_borrow_mut(|story| {
        story.lines.take(line.as_bytes());
        if story.is_loud {
            println!("{line}");
        }
    });
}

/// The digest of all lines.
pub(crate) fn digest() -> u64 {
    STORY.with_borrow(|story| story.lines.0)
}

/// Begins to take in everything; what it came to is asked of the handle.
pub(crate) fn take_everything() -> impl Fn() -> u64 {
    let everything: &'static Everything = Box::leak(Box::default());
    // Set once: a process runs one seed.
    let _ = tracing::subscriber::set_global_default(everything);
    || everything.0.lock().map_or(0, |digest| digest.0)
}

impl Default for Digest {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Digest {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.take(text.as_bytes());
        Ok(())
    }
}

impl Visit for Digest {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to it can't fail.
        let _ = write!(self, "{}={value:?};", field.name());
    }
}

impl Subscriber for &'static Everything {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && TARGETS.iter().any(|target| metadata.target().starts_with(target))
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let Ok(mut digest) = self.0.lock() else { return };
        let now = turmoil::sim_elapsed().unwrap_or_default();
        let _ = write!(digest, "\n{now:?} {}: ", event.metadata().target());
        event.record(&mut *digest);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
