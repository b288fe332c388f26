//! What everybody outside has seen so far, and every law that was broken meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use calbridge_proto::v1::Transition;

use crate::story;

/// Shared by all hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Inner>>);

/// What there is to see.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    /// Of each webhook, by its number.
    pub(crate) answers: BTreeMap<usize, Answers>,
    /// Of each watcher, the transitions in the order in which they came.
    pub(crate) watched: BTreeMap<usize, Vec<Transition>>,
    /// Each watcher's cursor, which outlives it: how far it has heard, heartbeats included.
    pub(crate) heard: BTreeMap<usize, String>,
    /// What the worker was handed.
    pub(crate) worked: Vec<Transition>,
    /// All webhooks were sent as often as they will be.
    pub(crate) is_sent: bool,
    /// Most bytes that a spool held.
    pub(crate) spooled_most: u64,
    broken: Vec<String>,
}

/// What Cal.com heard of one webhook.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Answers {
    /// Requests that went out, or may have.
    pub(crate) tried: usize,
    /// 200: the service has it.
    pub(crate) committed: usize,
    /// 202: the spool has it.
    pub(crate) spooled: usize,
}

impl Answers {
    pub(crate) fn kept(self) -> usize {
        self.committed + self.spooled
    }
}

impl Seen {
    pub(crate) fn with<T>(&self, see: impl FnOnce(&mut Inner) -> T) -> T {
        see(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A law does not hold.
    pub(crate) fn broken(&self, law: String) {
        story::tell(&format!("BROKEN: {law}"));
        self.with(|seen| seen.broken.push(law));
    }

    /// The first that was broken.
    pub(crate) fn first_broken(&self) -> Option<String> {
        self.with(|seen| seen.broken.first().cloned())
    }
}
