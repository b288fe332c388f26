//! A small Cal.com, written from its contract and not from our merge: people act on bookings, its own database changes,
//! and it tells its subscribers about that as well or as badly as the real one does.
//!
//! Invariant: `Booking::now` is what the database holds, `Booking::told` what the webhooks have said of it. Where an
//! action changes the first without a word it sets `silent`; only then may the two differ.

mod act;
mod clock;
mod rows;
mod script;
mod seats;
mod sender;
mod series;
mod truth;

use std::fmt;

use calbridge_proto::v1::booking_event::Payload;

use super::world::Told;

pub(super) use self::{
    rows::{Booking, Form},
    script::{Script, script},
    truth::{Details, Shown},
};
use self::{
    rows::{EventType, State},
    script::Step,
};

/// Cal.com with all that happened to it.
#[derive(Clone)]
pub(super) struct CalCom {
    pub(super) bookings: Vec<Booking>,
    /// Every webhook, in the order of sending.
    pub(super) sent: Vec<Told>,
    /// Minutes since the tests' day began.
    pub(super) clock: i64,
    script: Script,
    timers: Vec<clock::Timer>,
    tasks: Vec<sender::Task>,
    /// How many webhooks the present action has sent, before the copies for each subscription.
    told_now: i64,
    seats_given: usize,
}

/// The script and what was sent, a line for each: what one reads when a test fails.
impl fmt::Debug for CalCom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:?}, {:?}, leak: {}",
            self.script.generation, self.script.subscriptions, self.script.timers_leak
        )?;
        self.script.steps.iter().try_for_each(|step| writeln!(f, "{step:?}"))?;
        self.sent.iter().try_for_each(|told| {
            let uid = told.event.payload.as_ref().and_then(Payload::booking_uid).unwrap_or_default();
            writeln!(f, "{:?} of {uid}", told.event.trigger())
        })
    }
}

impl CalCom {
    /// All that `script` does; steps that are not legal as things stand are passed over, as Cal.com refuses them.
    pub(super) fn play(script: &Script) -> Self {
        let mut cal_com = Self {
            bookings: Vec::new(),
            sent: Vec::new(),
            clock: 0,
            script: script.clone(),
            timers: Vec::new(),
            tasks: Vec::new(),
            told_now: 0,
            seats_given: 0,
        };
        for step in &script.steps {
            cal_com.pass(1);
            cal_com.told_now = 0;
            cal_com.act(step);
            cal_com.remember();
        }
        cal_com
    }

    /// Of the bookings for which `legal` holds, the one that the step means.
    fn pick(&self, step: &Step, legal: impl Fn(&Booking) -> bool) -> Option<usize> {
        let legal: Vec<usize> = (0..self.bookings.len()).filter(|place| legal(&self.bookings[*place])).collect();
        (!legal.is_empty()).then(|| legal[step.pick % legal.len()])
    }

    fn insert(&mut self, kind: &'static EventType, now: State) -> usize {
        let number = self.bookings.len() + 1;
        self.bookings.push(Booking::new(number, kind, now));
        number - 1
    }

    fn remember(&mut self) {
        let clock = self.clock;
        self.bookings.iter_mut().for_each(|booking| booking.remember(clock));
    }
}
