//! How Cal.com tells: one payload for each event, a copy of it for each subscription, a few milliseconds apart.
//!
//! Invariant: whatever sends a booking's payload tells all that the database holds of it, and so ends its silence.

use std::rc::Rc;

use calbridge_proto::v1::{BookingEvent, BookingPayload, PersonPayload, Trigger, booking_event::Payload};
use prost_types::Timestamp;

use super::{
    CalCom,
    rows::{Guest, HOSTS, Status, VIDEO},
    script::Generation,
};
use crate::tests::world::{IntoPayload, Told, answer, at, digest, person};

/// Milliseconds between two webhooks of one action; copies of the first may be sent after the second.
const APART: i64 = 40;

pub(super) fn minute(minute: i64) -> Timestamp {
    Timestamp { seconds: at(0).seconds + minute * 60, nanos: 0 }
}

/// A webhook as it was queued.
#[derive(Clone)]
pub(super) struct Task {
    trigger: Trigger,
    booking: usize,
    clock: i64,
    told_now: i64,
    status: String,
    change: Rc<dyn Fn(&mut BookingPayload)>,
}

impl CalCom {
    pub(super) fn is_queue(&self) -> bool {
        self.script.generation == Generation::Queue
    }

    /// To every subscription.
    pub(super) fn send(&mut self, trigger: Trigger, payload: impl IntoPayload) {
        let payload = payload.into_payload();
        for subscription in self.script.subscriptions.clone() {
            self.send_copy(trigger, subscription.lag, payload.clone());
        }
        self.told_now += 1;
    }

    pub(super) fn send_copy(&mut self, trigger: Trigger, lag: i64, payload: Payload) {
        let flat = matches!(&payload, Payload::Meeting(meeting) if !meeting.enveloped);
        let after = self.told_now * APART + lag;
        let created_at = Timestamp { nanos: i32::try_from(after * 1_000_000).unwrap(), ..minute(self.clock) };
        let event = BookingEvent {
            trigger: trigger.into(),
            event_time: (!flat).then_some(created_at),
            payload: Some(payload),
            ..Default::default()
        };
        self.sent.push(Told { hash: digest(&event), event });
    }

    /// Sends what the database holds of a booking, as `change` has it.
    pub(super) fn tell(&mut self, trigger: Trigger, place: usize, change: impl Fn(&mut BookingPayload) + 'static) {
        let mut payload = self.payload(place);
        change(&mut payload);
        let status = payload.status.clone();
        let change = Rc::new(change);
        self.tasks.push(Task { trigger, booking: place, clock: self.clock, told_now: self.told_now, status, change });
        self.send(trigger, payload);
        let booking = &mut self.bookings[place];
        booking.told = Some(booking.now.clone());
        booking.silent = false;
    }

    /// A task of the queue runs again: what it tells is read anew, `createdAt` and `status` stay. Left out is what
    /// changed without a word, for of two copies with one `createdAt` nobody knows the newer.
    pub(in crate::tests) fn run_again(&mut self, task: usize) {
        let Some(task) = self.tasks.get(task % self.tasks.len().max(1)).cloned() else { return };
        if !self.is_queue() || self.bookings[task.booking].silent {
            return;
        }
        let mut payload = self.payload(task.booking);
        (task.change)(&mut payload);
        payload.status = task.status;
        let (clock, told_now) = (self.clock, self.told_now);
        (self.clock, self.told_now) = (task.clock, task.told_now);
        self.send(task.trigger, payload);
        (self.clock, self.told_now) = (clock, told_now);
    }

    fn payload(&self, place: usize) -> BookingPayload {
        let booking = &self.bookings[place];
        let now = &booking.now;
        BookingPayload {
            uid: booking.uid.clone(),
            booking_id: Some(booking.id),
            status: now.status.spelled().into(),
            title: format!("Event {}", booking.kind.id),
            event_type_id: Some(booking.kind.id),
            start_time: Some(minute(now.start)),
            end_time: Some(minute(now.end)),
            location: self.place(place),
            organizer: Some(host(now.host)),
            attendees: now.guests.iter().map(|guest| self.person(guest)).collect(),
            ical_uid: booking.ical_uid.clone(),
            seats_per_time_slot: booking.is_seated().then_some(4),
            price_minor: booking.kind.priced.then_some(900),
            metadata: [("room".to_owned(), "4".to_owned())].into(),
            responses: [("name".to_owned(), answer("Guest"))].into(),
            ..Default::default()
        }
    }

    /// The direct path says where Cal Video meets, and not that it is Cal Video.
    fn place(&self, place: usize) -> String {
        let booking = &self.bookings[place];
        let told = &booking.now.location;
        if self.is_queue() && told == VIDEO { format!("https://meet.example/{}", booking.uid) } else { told.clone() }
    }

    /// The queue lists the seat beside its attendee.
    pub(super) fn person(&self, guest: &Guest) -> PersonPayload {
        let seat_uid = if self.is_queue() { guest.seat.clone() } else { String::new() };
        PersonPayload { seat_uid, ..person(guest.email) }
    }

    /// One seat and who sits there; from the second on, and when it moves, with an `iCalUID` that was never stored.
    pub(super) fn only_seat(&self, guest: &Guest, is_first: bool) -> impl Fn(&mut BookingPayload) + 'static {
        let (person, seat) = (self.person(guest), guest.seat.clone());
        move |payload| {
            payload.attendees = vec![person.clone()];
            payload.attendee_seat_id.clone_from(&seat);
            if !is_first {
                payload.ical_uid = format!("neverStored{seat}xyz@Cal.com");
            }
        }
    }

    /// `BOOKING_CREATED` when the host or a payment lets a booking through: less is sent than when it is made. Nothing
    /// says that there are seats; the queue sends the same as ever.
    pub(super) fn tell_let_through(&mut self, place: usize, recurring: bool) {
        let queue = self.is_queue();
        self.tell(Trigger::BookingCreated, place, move |payload| {
            if !queue {
                payload.ical_uid.clear();
                payload.seats_per_time_slot = None;
            }
            payload.recurring = recurring;
        });
    }

    pub(super) fn tell_rejected(&mut self, place: usize, recurring: bool) {
        self.tell(Trigger::BookingRejected, place, move |payload| {
            payload.ical_uid.clear();
            payload.metadata.clear();
            payload.rejection_reason = "no time".into();
            payload.recurring = recurring;
        });
    }

    /// A cancel of the whole.
    pub(super) fn tell_cancelled(&mut self, place: usize, by: &str, recurring: bool) {
        let (request_reschedule, by) = (self.is_queue().then_some(false), by.to_owned());
        self.tell(Trigger::BookingCancelled, place, move |payload| {
            payload.metadata.clear();
            payload.cancelled_by.clone_from(&by);
            payload.cancellation_reason = "ill".into();
            payload.request_reschedule = request_reschedule;
            payload.recurring = recurring;
        });
    }

    pub(super) fn tell_asked_again(&mut self, place: usize) {
        let queue = self.is_queue();
        self.tell(Trigger::BookingCancelled, place, move |payload| {
            payload.metadata.clear();
            payload.cancelled_by = HOSTS[0].into();
            payload.request_reschedule = queue.then_some(true);
            if !queue {
                payload.status.clear();
                payload.event_type_id = None;
            }
        });
    }

    pub(super) fn tell_paid(&mut self, place: usize) {
        self.tell(Trigger::BookingPaid, place, |payload| {
            payload.ical_uid.clear();
            payload.payment_id = Some(5);
            payload.metadata = [("identifier".to_owned(), "cal.com".to_owned())].into();
        });
        self.bookings[place].payment.is_told();
    }

    /// The new booking tells that the old one is gone, and nothing else of it that changed without a word.
    pub(super) fn tell_moved(&mut self, trigger: Trigger, new: usize, old: usize, by: &'static str) {
        let before = self.bookings[old].now.clone();
        self.tell(trigger, new, self.in_place_of(old, by));
        if let Some(told) = &mut self.bookings[old].told {
            told.status = Status::Cancelled;
            told.replaced_by = before.replaced_by;
        }
    }

    /// What a payload says of the booking that was there before.
    pub(super) fn in_place_of(&self, old: usize, by: &'static str) -> impl Fn(&mut BookingPayload) + 'static {
        let old = &self.bookings[old];
        let (uid, id, start, end) = (old.uid.clone(), old.id, minute(old.now.start), minute(old.now.end));
        move |payload| {
            payload.reschedule_uid.clone_from(&uid);
            payload.reschedule_id = Some(id);
            payload.reschedule_start_time = Some(start);
            payload.reschedule_end_time = Some(end);
            payload.rescheduled_by = by.into();
        }
    }
}

pub(super) fn host(place: usize) -> PersonPayload {
    PersonPayload { id: i64::try_from(place).ok(), ..person(HOSTS[place]) }
}
