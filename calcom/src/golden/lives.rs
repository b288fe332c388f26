//! Lives of bookings: what Cal.com sends in the course of each, and where each ends.
//!
//! Every end was written by hand from the sender's rules, and none was computed: tests compare with them. A life of
//! 2025 is told by the handlers of that year, one of 2026 by the builders and the queue. Triggers and sequences that
//! one of the two does not have are told by the other alone.

mod attended;
mod moved;
mod paid;
mod plain;
mod seated;
mod whole;

use calbridge_proto::v1::{BookingStatus as Status, PaymentStatus as Payment, Trigger};
use jiff::{SignedDuration, Timestamp};

use super::{Golden, Path, Person};

/// One story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Lower-case words and the sender's year, joined by hyphens; no other life has it.
    pub name: String,
    /// The webhooks in the order in which Cal.com sends them, each with a later [`Golden::created_at`] than the one
    /// before it.
    pub steps: Vec<(Trigger, Golden)>,
    /// Where each booking ends that the webhooks speak of: by uid, every one of them, and each once.
    pub ends: Vec<(&'static str, Status, Payment)>,
}

/// Every life, always the same.
#[must_use]
pub fn all() -> Vec<Life> {
    let parts = [plain::lives, paid::lives, moved::lives, attended::lives, seated::lives, whole::lives];
    parts.iter().flat_map(|lives| lives()).collect()
}

/// A time that all lives are near to, and so many minutes later.
#[must_use]
pub fn minute(number: i64) -> Timestamp {
    const FIRST: Timestamp = Timestamp::constant(1_790_000_000 / 60 * 60, 0);
    FIRST.saturating_add(SignedDuration::from_mins(number)).unwrap_or(FIRST)
}

type Step = (Trigger, Golden);
type End = (&'static str, Status, Payment);

/// A booking as it is first made.
fn golden(uid: &str) -> Golden {
    Golden::new(uid, 9_001, minute(0), minute(600))
}

/// Somebody who attends.
fn guest(name: &str) -> Person {
    let local = name.split(' ').next().unwrap_or_default().to_lowercase();
    Person::new(name, &format!("{local}@lighthouse.example"))
}

/// Without the link to the booking that this one replaced: only the webhook of the move itself prints it.
fn unlinked(golden: &Golden) -> Golden {
    Golden { reschedule_uid: None, reschedule_id: None, previous_start: None, ..golden.clone() }
}

/// Whose webhooks a life is told by.
#[derive(Clone, Copy)]
enum Sender {
    /// The handlers of December 2025.
    Y2025,
    /// The builders and the queue of 2026.
    Y2026,
}

use Sender::{Y2025, Y2026};

const BOTH: [Sender; 2] = [Y2025, Y2026];

impl Sender {
    fn life(self, name: &str, steps: impl Into<Vec<Step>>, ends: impl Into<Vec<End>>) -> Life {
        let year = match self {
            Y2025 => 2025,
            Y2026 => 2026,
        };
        let numbered = steps.into().into_iter().zip(1..);
        let steps = numbered.map(|((trigger, told), number)| (trigger, Golden { created_at: minute(number), ..told }));
        Life { name: format!("{name}-{year}"), steps: steps.collect(), ends: ends.into() }
    }

    /// Told by the handler of a user's request, or by a timer that it set.
    fn tells(self, trigger: Trigger, golden: &Golden) -> Step {
        self.on(Path::Direct, trigger, golden)
    }

    /// Told when the host has answered a request, or by a timer that the approval set.
    fn answers(self, trigger: Trigger, golden: &Golden) -> Step {
        self.on(Path::Confirm, trigger, &unlinked(golden))
    }

    /// Told when the payment was made.
    fn settles(self, trigger: Trigger, golden: &Golden) -> Step {
        self.on(Path::Payment, trigger, golden)
    }

    fn on(self, path: Path, trigger: Trigger, golden: &Golden) -> Step {
        let path = match self {
            Y2025 => path,
            Y2026 => Path::Queue,
        };
        (trigger, Golden { path, ..golden.clone() })
    }
}

#[cfg(test)]
mod tests;
