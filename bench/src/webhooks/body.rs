//! Webhooks by number: the same number is always the same body, and no two numbers share one.
//!
//! The bodies are golden ones of Cal.com's direct path with other people, times and ids filled in. Each booking has a
//! uid, a guest and a time of its own; hosts and event types come from a pool, as a company's do.

mod slot;
mod template;

use calbridge_calcom::golden::{self, Golden, Person};
use calbridge_proto::v1::Trigger;
use jiff::{SignedDuration, Timestamp};

use self::{
    slot::{Slot, marker},
    template::Template,
};
use crate::numbers::mix;

/// Between the `createdAt` of two numbers that follow each other: about the rate at which they are sent.
const STEP: SignedDuration = SignedDuration::from_micros(100);

/// In a mix, the webhooks of one booking are so many webhooks apart: further than webhooks overtake each other.
const STRIDE: u64 = 1_000;

/// A copy repeats a webhook this far back: it is stored by then...
const LEAST_LAG: u64 = 1_000;
/// ...and at most this far, as a sender's retries are.
const MOST_LAG: u64 = 20_000;

/// Which webhooks are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mix {
    /// `BOOKING_CREATED` alone, each of a booking of its own.
    Created,
    /// Each booking is created and moved; then it is cancelled, or its meeting ends.
    Life,
}

/// What the webhooks of a run are.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// Which webhooks.
    pub mix: Mix,
    /// How many of a thousand are copies of an earlier one.
    pub copies_per_thousand: u64,
}

/// A webhook of a booking: which booking, and what is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Counted from zero.
    pub booking: u64,
    /// `triggerEvent`.
    pub trigger: Trigger,
}

/// All bodies of a run.
#[derive(Debug)]
pub struct Bodies {
    origin: Timestamp,
    traffic: Traffic,
    created: Template,
    moved: Template,
    cancelled: Template,
    ended: Template,
}

impl Mix {
    /// What is sent, for whoever reads what was measured.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::Created => "BOOKING_CREATED alone, each of a booking of its own: what costs a store most",
            Self::Life => "lives of bookings: created, then moved, then cancelled or held; three webhooks, two rows",
        }
    }
}

impl Traffic {
    /// How many webhooks, from the first on, tell of so many bookings in all.
    #[must_use]
    pub fn webhooks_of(self, bookings: u64) -> u64 {
        match self.mix {
            Mix::Created => bookings,
            // Of three webhooks the second makes another booking of the first one's.
            Mix::Life => bookings.div_ceil(STRIDE * 2) * STRIDE * 3,
        }
    }
}

impl Bodies {
    /// `origin` is when the first webhook was created, and before all bookings' starts.
    #[must_use]
    pub fn new(origin: Timestamp, traffic: Traffic) -> Self {
        let first = first_booking();
        let second = second_booking(&first);
        let template = |trigger, golden: &Golden| Template::new(golden::body(trigger, golden));
        Self {
            origin,
            traffic,
            created: template(Trigger::BookingCreated, &first),
            moved: template(Trigger::BookingRescheduled, &second),
            // Only the webhook of the move itself names the booking before.
            cancelled: template(Trigger::BookingCancelled, &unlinked(&second)),
            ended: template(Trigger::MeetingEnded, &second),
        }
    }

    /// What a webhook tells. A copy tells what its original does.
    #[must_use]
    pub fn told(&self, number: u64) -> Told {
        let number = self.original(number);
        if self.traffic.mix == Mix::Created {
            return Told { booking: number, trigger: Trigger::BookingCreated };
        }
        let (block, place) = (number / (STRIDE * 3), number % (STRIDE * 3));
        let booking = block * STRIDE + place % STRIDE;
        let trigger = match place / STRIDE {
            0 => Trigger::BookingCreated,
            1 => Trigger::BookingRescheduled,
            _ if booking.is_multiple_of(2) => Trigger::MeetingEnded,
            _ => Trigger::BookingCancelled,
        };
        Told { booking, trigger }
    }

    /// Writes a webhook's body behind what `out` holds.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        let number = self.original(number);
        let told = self.told(number);
        let template = match told.trigger {
            Trigger::BookingRescheduled => &self.moved,
            Trigger::BookingCancelled => &self.cancelled,
            Trigger::MeetingEnded => &self.ended,
            _ => &self.created,
        };
        let values = slot::Values { booking: told.booking, origin: self.origin, created: self.origin + passed(number) };
        template.write(&values, out);
    }

    /// How long a body is on average.
    #[must_use]
    pub fn mean_bytes(&self) -> usize {
        // All parts of a life come in so many.
        let numbers = STRIDE * 3;
        let mut all = Vec::new();
        (0..numbers).for_each(|number| self.write(number, &mut all));
        all.len() / usize::try_from(numbers).unwrap_or(1)
    }

    /// When a webhook was created.
    #[must_use]
    pub fn created(&self, number: u64) -> Timestamp {
        self.origin + passed(self.original(number))
    }

    /// Whether a webhook repeats an earlier one.
    #[must_use]
    pub fn is_copy(&self, number: u64) -> bool {
        self.original(number) != number
    }

    fn original(&self, number: u64) -> u64 {
        let mut number = number;
        while number >= LEAST_LAG && mix(number) % 1_000 < self.traffic.copies_per_thousand {
            let furthest = number.min(MOST_LAG);
            number -= LEAST_LAG + mix(number ^ u64::MAX) % (furthest - LEAST_LAG + 1);
        }
        number
    }
}

/// How long so many webhooks take to be created.
#[must_use]
pub fn passed(webhooks: u64) -> SignedDuration {
    STEP.saturating_mul(i32::try_from(webhooks).unwrap_or(i32::MAX))
}

/// A half-hour with one guest, who left a note and came by a campaign: bodies of 2.0 to 2.9 KB, where Cal.com's own
/// were recorded with 1.8 to 2.9.
fn first_booking() -> Golden {
    let host = Person {
        id: slot::HOST_ID,
        username: marker(Slot::HostUser).to_owned(),
        time_zone: "Europe/Lisbon".to_owned(),
        ..Person::new(marker(Slot::HostName), marker(Slot::HostEmail))
    };
    let guest = Person {
        time_zone: "America/Sao_Paulo".to_owned(),
        utc_offset_minutes: -180,
        ..Person::new(marker(Slot::GuestName), marker(Slot::GuestEmail))
    };
    let golden = Golden::new(marker(Slot::Uid), slot::BOOKING_ID, slot::CREATED, slot::START);
    Golden {
        event_type: golden::EventType {
            id: slot::EVENT_TYPE_ID,
            slug: marker(Slot::EventSlug).to_owned(),
            title: marker(Slot::EventTitle).to_owned(),
        },
        organizer: host,
        attendees: vec![guest],
        notes: marker(Slot::Notes).to_owned(),
        metadata: [("campaign", marker(Slot::Campaign)), ("crm_id", marker(Slot::CrmId))]
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .into(),
        ..golden
    }
}

fn second_booking(first: &Golden) -> Golden {
    first.moved(marker(Slot::MovedUid), slot::MOVED_BOOKING_ID, slot::CREATED, slot::MOVED_START)
}

fn unlinked(golden: &Golden) -> Golden {
    Golden { reschedule_uid: None, reschedule_id: None, previous_start: None, ..golden.clone() }
}

#[cfg(test)]
mod tests;
