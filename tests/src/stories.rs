//! What Cal.com tells in a while: the lives of many bookings side by side, a webhook here and there twice or out of its
//! place. The same seed tells the same.

use std::collections::BTreeSet;

use calbridge_calcom::golden::{
    self, Golden,
    lives::{self, minute},
};
use serde_json::{Value, json};

use crate::{chance::Chance, v1::Trigger, webhook::sha256};

/// A webhook is sent twice, or out of its place, once in so many times.
const COPIED: usize = 8;
const MISPLACED: usize = 6;
/// Webhooks of others between two of one life: at times they come one upon the other, at times not.
const GAPS: [usize; 3] = [3, 40, 250];

/// How much is told.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Each hears all of it, of bookings of its own.
    pub tenants: &'static [&'static str],
    /// How often each golden life is told, of other bookings each time.
    pub tellings: usize,
    /// Bookings that change all the time, and how often each does.
    pub restless: (usize, i64),
    /// Forms, which speak of no booking.
    pub forms: i64,
}

/// A webhook, and whose.
#[derive(Debug, Clone)]
pub struct Post {
    /// Whom it is sent to.
    pub tenant: &'static str,
    /// The bytes.
    pub body: Vec<u8>,
}

/// Everything that is told.
#[derive(Debug, Default)]
pub struct Stories {
    /// All webhooks, in the order in which they are sent.
    pub posts: Vec<Post>,
    /// A line of a history for each life: whose it is, the bodies that tell it, and where each of its bookings ends
    /// when all of them are known. The ends were written by hand, with the lives.
    pub lives: Vec<Value>,
}

/// The uid of a booking that changes all the time.
#[must_use]
pub fn restless(number: usize) -> String {
    format!("restless{number}")
}

/// Webhooks that one telling of every life has, for each tenant, but for copies.
#[must_use]
pub fn steps() -> usize {
    lives::all().iter().map(|life| life.steps.len()).sum()
}

/// Tells all of it.
#[must_use]
pub fn tell(plan: Plan, chance: &mut Chance) -> Stories {
    let (lives, all) = (lives::all(), plan.tenants.len() * plan.tellings * steps());
    let mut stories = Stories::default();
    let mut placed: Vec<(usize, Post)> = Vec::new();
    for tenant in plan.tenants.iter().copied() {
        for telling in 0..plan.tellings {
            for (number, life) in lives.iter().enumerate() {
                let (begin, gap) = (chance.below(all), GAPS[chance.below(GAPS.len())]);
                let end = format!("{telling}x{number}");
                let mut bodies = Vec::new();
                for (step, (trigger, told)) in life.steps.iter().enumerate() {
                    let body = golden::body(*trigger, &renamed(told, &end));
                    bodies.push(hex::encode(sha256(&body)));
                    place(&mut placed, begin + step * gap, 2 * gap, Post { tenant, body }, chance);
                }
                let ends: Vec<Value> = life
                    .ends
                    .iter()
                    .map(|(uid, status, payment)| json!([format!("{uid}{end}"), *status as i32, *payment as i32]))
                    .collect();
                stories.lives.push(json!({"name": life.name, "tenant": tenant, "bodies": bodies, "ends": ends}));
            }
        }
        let (restless_ones, changes) = plan.restless;
        for number in 0..restless_ones {
            for change in 0..changes {
                let at = all * usize::try_from(change).unwrap() / usize::try_from(changes).unwrap();
                let body = change_of(&restless(number), change);
                placed.push((at + chance.below(GAPS[0]), Post { tenant, body }));
            }
        }
        for number in 0..plan.forms {
            let told = Golden { created_at: minute(number), ..Golden::new("", 0, minute(0), minute(0)) };
            let body = golden::body(Trigger::FormSubmitted, &told);
            placed.push((chance.below(all), Post { tenant, body }));
        }
    }
    placed.sort_by_key(|(at, _)| *at);
    stories.posts = placed.into_iter().map(|(_, post)| post).collect();
    stories
}

impl Stories {
    /// A line of a history for each body that is sent, once.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        let bodies: BTreeSet<_> = self.posts.iter().map(|post| (post.tenant, sha256(&post.body))).collect();
        bodies.iter().map(|(tenant, body)| json!({"tenant": tenant, "body": hex::encode(body)})).collect()
    }
}

fn place(placed: &mut Vec<(usize, Post)>, at: usize, far: usize, post: Post, chance: &mut Chance) {
    let at = if chance.once_in(MISPLACED) { at + chance.below(far) } else { at };
    if chance.once_in(COPIED) {
        placed.push((at + chance.below(far), post.clone()));
    }
    placed.push((at, post));
}

/// The same of other bookings: their uids have this end.
#[must_use]
pub fn renamed(told: &Golden, end: &str) -> Golden {
    let other = |uid: &Option<String>| uid.as_ref().map(|uid| format!("{uid}{end}"));
    Golden {
        uid: format!("{}{end}", told.uid),
        ical_uid_of: other(&told.ical_uid_of),
        reschedule_uid: other(&told.reschedule_uid),
        ..told.clone()
    }
}

/// The host sets the mark of an attendee, and takes it back.
fn change_of(uid: &str, number: i64) -> Vec<u8> {
    let booking = Golden::new(uid, 9_100, minute(number), minute(600));
    if number == 0 {
        return golden::body(Trigger::BookingCreated, &booking);
    }
    let marks = vec![(booking.attendees[0].email.clone(), number % 2 == 1)];
    golden::body(Trigger::BookingNoShowUpdated, &Golden { no_shows: marks, ..booking })
}
