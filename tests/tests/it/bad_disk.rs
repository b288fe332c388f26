//! Disks that are full, fail, become read-only or lose their power, under the spool and under `SQLite`, while webhooks
//! flow: each is answered with a 2xx that holds or with a 503, and what comes back needs nobody.

mod books;
mod flow;
mod power;
mod spool;
mod start;
mod store;

use calbridge_e2e::{program::Program, system::System};

use self::{books::Books, flow::Flow};

/// Answers after which something counts as going on.
const SOME: usize = 20;

/// Has webhooks flow to the edge.
fn flow(system: &System, prefix: &str) -> Flow {
    Flow::start(system.adapter.listening().http(), prefix)
}

/// What a program has said so far, which is nothing of a panic.
fn said(program: &Program) -> String {
    let said = program.stderr();
    assert!(!said.contains("panicked"), "{said}");
    said
}
