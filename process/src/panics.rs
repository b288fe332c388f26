//! What is said of a panic: a line on stderr and one in the log, which is exported, so that whoever is woken by a
//! program that ended finds why where everything else is.
//!
//! Invariant: nothing that was made at run time is repeated. A message that was put together (of a text that was cut
//! between two characters, of an error that was unwrapped) may hold anybody's data; one that the source has does not.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, Write as _},
    panic::{self, Location},
};

/// Said in place of a message that was put together.
const WITHHELD: &str = "its message may hold personal data and is not shown";

/// Has panics told this way from now on, under the program's name.
pub(crate) fn tell(program: &'static str) {
    panic::set_hook(Box::new(move |panic| {
        let (place, message) = (place(panic.location()), message(panic.payload()));
        // The names of functions, where `RUST_BACKTRACE` asks for them.
        let backtrace = Backtrace::capture();
        let backtrace =
            if backtrace.status() == BacktraceStatus::Captured { backtrace.to_string() } else { String::new() };
        // The filter of the log, or its very writer, may be what is broken: stderr comes first.
        let _ = writeln!(io::stderr(), "{program}: panicked at {place}: {message}");
        let _ = io::stderr().write_all(backtrace.as_bytes());
        tracing::error!(place, message, backtrace, "a task has panicked");
    }));
}

fn place(location: Option<&Location<'_>>) -> String {
    location.map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
}

fn message(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or(WITHHELD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_source_says_is_repeated() {
        let caught = |panics: fn()| message(&*panic::catch_unwind(panics).unwrap_err());
        assert_eq!(caught(|| panic!("as it is written")), "as it is written");
        assert_eq!(caught(|| panic!("{}", std::hint::black_box("somebody@a.example"))), WITHHELD);
        let cut = caught(|| {
            let name = std::hint::black_box("Zoë");
            let _ = &name[..3];
        });
        assert_eq!(cut, WITHHELD);
    }
}
