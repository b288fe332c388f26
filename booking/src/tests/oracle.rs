//! The same answers found another way: by looking through the whole set of events, which no service could keep.

use std::collections::{BTreeMap, BTreeSet};

use calbridge_proto::v1::{BookingPayload, BookingStatus, PaymentStatus, Trigger, booking_event::Payload};
use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};

use super::{
    laws::told,
    world::{Told, World},
};
use crate::register::{Entry, Key};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_register_holds_the_last_of_its_sorted_tellings(told in vec(told(), 1..10)) {
        each_register_is_the_last_of_its_tellings(&told)?;
    }

    #[test]
    fn status_and_payment_are_what_the_whole_set_says(told in vec(told(), 1..10)) {
        let told: Vec<Told> = told.into_iter().map(unseated).collect();
        let world = World::of(&told);
        for uid in world.rows.keys() {
            if let Some(derived) = world.find(uid) {
                let set = Set { uid, told: &told };
                prop_assert_eq!(derived.booking.status(), set.status(), "{}", uid);
                prop_assert_eq!(derived.booking.payment_status(), set.payment(), "{}", uid);
            }
        }
    }
}

/// Sorts all that was told of each register and looks at the last; that is what the rows must hold, and nothing else.
pub(super) fn each_register_is_the_last_of_its_tellings(told: &[Told]) -> Result<(), TestCaseError> {
    let mut tellings: BTreeMap<(String, Key), BTreeSet<Entry>> = BTreeMap::new();
    for fact in told.iter().flat_map(Told::facts) {
        for (key, entry) in fact.registers.registers_from(&Key::FIRST) {
            tellings.entry((fact.uid.clone(), key.clone())).or_default().insert(entry.clone());
        }
    }
    let world = World::of(told);
    let kept: usize = world.rows.values().map(|row| row.registers_from(&Key::FIRST).count()).sum();
    prop_assert_eq!(kept, tellings.len());
    for ((uid, key), mut told) in tellings {
        let last = told.pop_last();
        prop_assert_eq!(world.rows[&uid].get(&key), last.as_ref());
    }
    Ok(())
}

/// Seats have tests of their own.
fn unseated(mut told: Told) -> Told {
    if let Some(Payload::Booking(payload)) = &mut told.event.payload {
        payload.seats_per_time_slot = None;
    }
    told
}

/// All that was told, looked at for one booking.
struct Set<'a> {
    uid: &'a str,
    told: &'a [Told],
}

/// When an event was told, as far as its order goes.
type When = (i64, [u8; 32]);

impl Set<'_> {
    fn status(&self) -> BookingStatus {
        use Trigger as T;
        let accepted = self.any(&[
            T::BookingCreated,
            T::BookingRescheduled,
            T::InstantMeetingAccepted,
            T::MeetingStarted,
            T::MeetingEnded,
            T::BookingNoShowUpdated,
            T::AfterHostsCalVideoNoShow,
            T::AfterGuestsCalVideoNoShow,
        ]) || self.with_status(T::BookingPaid, &["ACCEPTED"])
            || [T::BookingLocationUpdated, T::BookingReassigned]
                .iter()
                .any(|trigger| self.with_status(*trigger, &["", "ACCEPTED", "CANCELLED", "REJECTED"]));
        let requested = self.any(&[T::BookingRequested, T::BookingPaymentInitiated])
            || self.with_status(T::BookingPaid, &["", "PENDING"])
            || [T::BookingLocationUpdated, T::BookingReassigned]
                .iter()
                .any(|trigger| self.with_status(*trigger, &["PENDING"]));
        let attendance = [T::BookingNoShowUpdated, T::AfterHostsCalVideoNoShow, T::AfterGuestsCalVideoNoShow];
        let (start, end) = self.times();
        if self.replaced() {
            BookingStatus::Rescheduled
        } else if self.any(&[T::BookingCancelled]) || self.with_status(T::BookingPaid, &["CANCELLED"]) {
            BookingStatus::Cancelled
        } else if self.any(&[T::BookingRejected]) || self.with_status(T::BookingPaid, &["REJECTED"]) {
            BookingStatus::Rejected
        } else if accepted && self.nobody_came() {
            BookingStatus::NoShow
        } else if self.rang(T::MeetingEnded, end) {
            BookingStatus::Completed
        } else if self.any(&attendance) || self.rang(T::MeetingStarted, start) {
            BookingStatus::InProgress
        } else if accepted {
            BookingStatus::Scheduled
        } else if requested {
            BookingStatus::Requested
        } else {
            BookingStatus::AwaitingHost
        }
    }

    fn payment(&self) -> PaymentStatus {
        let meeting_paid = self.own().any(
            |(told, _)| matches!(&told.event.payload, Some(Payload::Meeting(meeting)) if meeting.paid == Some(true)),
        );
        if meeting_paid || self.any(&[Trigger::BookingPaid]) {
            PaymentStatus::Paid
        } else if self.any(&[Trigger::BookingPaymentInitiated]) {
            PaymentStatus::Initiated
        } else {
            PaymentStatus::None
        }
    }

    /// The events that state facts about this booking as their own.
    fn own(&self) -> impl Iterator<Item = (&Told, Trigger)> {
        let own = |told: &&Told| told.facts().first().is_some_and(|fact| fact.uid == self.uid);
        self.told.iter().filter(own).map(|told| (told, told.event.trigger()))
    }

    fn bookings(&self) -> impl Iterator<Item = (Trigger, &BookingPayload)> {
        self.own().filter_map(|(told, trigger)| match &told.event.payload {
            Some(Payload::Booking(payload)) => Some((trigger, payload)),
            _ => None,
        })
    }

    fn any(&self, triggers: &[Trigger]) -> bool {
        self.own().any(|(_, trigger)| triggers.contains(&trigger))
    }

    fn with_status(&self, trigger: Trigger, statuses: &[&str]) -> bool {
        self.bookings().any(|(told, payload)| told == trigger && statuses.contains(&payload.status.as_str()))
    }

    fn replaced(&self) -> bool {
        self.told.iter().filter(|told| !told.facts().is_empty()).any(|told| {
            let (uid, old, ical) = match &told.event.payload {
                Some(Payload::Booking(payload)) => (&payload.uid, &payload.reschedule_uid, &payload.ical_uid),
                Some(Payload::Meeting(payload)) => (&payload.uid, &payload.from_reschedule, &payload.ical_uid),
                _ => return false,
            };
            uid != self.uid && (old == self.uid || *ical == format!("{}@Cal.com", self.uid))
        })
    }

    /// The newest pair of times; a pair that only fills a gap yields to any that was written.
    fn times(&self) -> (Option<i64>, Option<i64>) {
        let mut pairs: Vec<(u8, When, i64, i64)> = Vec::new();
        let mut halves: Vec<(u8, When, Option<i64>, Option<i64>)> = Vec::new();
        for told in self.told.iter().filter(|told| !told.facts().is_empty()) {
            let mut add = |rank, start: Option<_>, end: Option<_>| {
                let (start, end) = (start.map(micros), end.map(micros));
                match (start, end) {
                    (Some(start), Some(end)) => pairs.push((rank, when(told), start, end)),
                    (None, None) => {}
                    _ => halves.push((rank, when(told), start, end)),
                }
            };
            match &told.event.payload {
                Some(Payload::Booking(payload)) => {
                    if payload.uid == self.uid {
                        add(1, payload.start_time, payload.end_time);
                    } else if payload.reschedule_uid == self.uid {
                        add(0, payload.reschedule_start_time, payload.reschedule_end_time);
                    }
                }
                Some(Payload::Meeting(meeting)) if meeting.uid == self.uid => {
                    add(0, meeting.start_time, meeting.end_time);
                }
                Some(Payload::CalVideoNoShow(absence)) if absence.booking_uid == self.uid => {
                    add(0, absence.start_time, absence.end_time);
                }
                _ => {}
            }
        }
        let pair = pairs.into_iter().max().map(|(_, _, start, end)| (Some(start), Some(end)));
        pair.or_else(|| halves.into_iter().max().map(|(_, _, start, end)| (start, end))).unwrap_or_default()
    }

    fn rang(&self, timer: Trigger, present: Option<i64>) -> bool {
        self.own().filter(|(_, trigger)| *trigger == timer).any(|(told, _)| {
            let Some(Payload::Meeting(meeting)) = &told.event.payload else { return false };
            let own = if timer == Trigger::MeetingEnded { meeting.end_time } else { meeting.start_time };
            own.is_none() || present.is_none() || own.map(micros) >= present
        })
    }

    /// The newest list is known, and everybody in it and whoever a mark names besides was last marked as absent;
    /// members of the team count only where one of them booked or there is nobody else.
    fn nobody_came(&self) -> bool {
        let mut teams: Vec<(When, Vec<String>)> = Vec::new();
        let mut lists: Vec<(u8, When, Vec<String>)> = Vec::new();
        let mut marks: BTreeMap<String, BTreeSet<(When, bool)>> = BTreeMap::new();
        for (told, trigger) in self.own() {
            let (rank, list) = match &told.event.payload {
                Some(Payload::Booking(payload)) => {
                    let members = payload.team.iter().flat_map(|team| &team.members);
                    let members: Vec<String> = members.filter_map(|person| address(&person.email)).collect();
                    if !members.is_empty() {
                        teams.push((when(told), members));
                    }
                    (1, &payload.attendees)
                }
                Some(Payload::Meeting(meeting)) => (0, &meeting.attendees),
                Some(Payload::CalVideoNoShow(absence)) => {
                    if trigger == Trigger::AfterGuestsCalVideoNoShow {
                        let missing = absence.guests.iter().filter(|guest| guest.no_show != Some(false));
                        for email in missing.filter_map(|guest| address(&guest.email)) {
                            marks.entry(email).or_default().insert((when(told), true));
                        }
                    }
                    (0, &absence.attendees)
                }
                Some(Payload::NoShow(update)) => {
                    for person in &update.attendees {
                        if let (Some(email), Some(mark)) = (address(&person.email), person.no_show) {
                            marks.entry(email).or_default().insert((when(told), mark));
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            let mut people: Vec<String> = Vec::new();
            for email in list.iter().filter_map(|person| address(&person.email)) {
                if !people.contains(&email) {
                    people.push(email);
                }
            }
            if !people.is_empty() {
                lists.push((rank, when(told), people));
            }
        }
        let Some((_, _, list)) = lists.into_iter().max() else { return false };
        let absent = |email: &String| marks.get(email).and_then(BTreeSet::last).is_some_and(|(_, mark)| *mark);
        let team = teams.into_iter().max().map(|(_, team)| team).unwrap_or_default();
        let all: BTreeSet<&String> = list.iter().chain(marks.keys()).collect();
        let booked = |email: &String| list.first() == Some(email);
        let is_guest = |email: &&String| booked(email) || !team.contains(email);
        let guests: BTreeSet<&String> = all.iter().copied().filter(is_guest).collect();
        if guests.is_empty() { all } else { guests }.into_iter().all(absent)
    }
}

fn when(told: &Told) -> When {
    (told.event.event_time.map_or(0, micros), told.hash)
}

fn micros(time: prost_types::Timestamp) -> i64 {
    crate::time::micros(&time)
}

fn address(email: &str) -> Option<String> {
    let email = email.trim().to_lowercase();
    (!email.is_empty()).then_some(email)
}
