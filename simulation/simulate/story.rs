//! What happened, in order: lines for people, and a digest of everything for the proof that a seed is one story.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    sync::Mutex,
};

use tokio::runtime::Handle;
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
pub(crate) struct Everything {
    digest: Mutex<Digest>,
    /// Prints those lines.
    is_loud: bool,
}

/// One of them.
#[derive(Debug)]
struct Line(String);

/// Whose events are messages.
const NETWORK: &str = "turmoil";
/// And whose are lines.
const PRODUCT: &str = "calbridge";

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
pub(crate) fn take_everything(is_loud: bool) -> impl Fn() -> u64 {
    let everything: &'static Everything = Box::leak(Box::new(Everything { is_loud, ..Everything::default() }));
    // Set once: a process runs one seed.
    let _ = tracing::subscriber::set_global_default(everything);
    || everything.digest.lock().map_or(0, |digest| digest.0)
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

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string can't fail.
        let _ = write!(self.0, "  {}={value:?}", field.name());
    }
}

impl Subscriber for &'static Everything {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && [NETWORK, PRODUCT].iter().any(|target| metadata.target().starts_with(target))
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // Outside of a host's turn it would be read off the clock of the machine.
        let now = Handle::try_current().ok().and_then(|_| turmoil::sim_elapsed());
        let (now, target) = (now.unwrap_or_default(), event.metadata().target());
        let mut line = Line(format!("{:>9.3}    {target}", now.as_secs_f64()));
        event.record(&mut line);
        if self.is_loud && target.starts_with(PRODUCT) {
            println!("{}", line.0);
        }
        if let Ok(mut digest) = self.digest.lock() {
            digest.take(line.0.as_bytes());
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
