//! Time passes, and the timers ring: rows that were frozen when the booking was accepted.

use calbridge_proto::v1::{BookingStatus, MeetingPayload, PaymentStatus, Trigger, booking_event::Payload};

use super::{
    CalCom,
    rows::{HOSTS, Status, Timed},
    script::{Generation, Timers},
    sender::minute,
};
use crate::tests::world::person;

#[derive(Clone, Debug)]
pub(super) struct Timer {
    booking: usize,
    trigger: Trigger,
    rings: i64,
    frozen: MeetingPayload,
}

/// Which code set the timer: it decides which columns were frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Direct,
    Confirm,
}

impl CalCom {
    pub(super) fn pass(&mut self, minutes: i64) {
        let until = self.clock + minutes;
        self.timers.sort_by_key(|timer| timer.rings);
        while self.timers.first().is_some_and(|timer| timer.rings <= until) {
            let timer = self.timers.remove(0);
            self.clock = self.clock.max(timer.rings);
            self.told_now = 0;
            self.ring(&timer);
            self.remember();
        }
        self.clock = until;
        self.remember();
    }

    fn ring(&mut self, timer: &Timer) {
        let enveloped = self.script.generation == Generation::Queue;
        for subscription in self.script.subscriptions.clone() {
            let mut row = MeetingPayload { enveloped, ..timer.frozen.clone() };
            match subscription.timers {
                Timers::Unwanted => continue,
                Timers::Whole => {}
                Timers::Bare => row.attendees.clear(),
            }
            self.send_copy(timer.trigger, subscription.lag, Payload::Meeting(row));
        }
        self.tell_accepted(timer.booking);
        let booking = &mut self.bookings[timer.booking];
        // A timer that was not dropped rings for a meeting that is elsewhere by now, or off.
        let spoken =
            if timer.trigger == Trigger::MeetingEnded { BookingStatus::Completed } else { BookingStatus::InProgress };
        booking.ever.statuses.insert(spoken.into());
        if timer.frozen.paid == Some(true) {
            booking.payment.is_told();
        }
    }

    /// A timer or a mark speaks only of what was accepted.
    pub(super) fn tell_accepted(&mut self, place: usize) {
        if let Some(told) = &mut self.bookings[place].told
            && matches!(told.status, Status::Pending | Status::AwaitingHost)
        {
            told.status = Status::Accepted;
        }
    }

    /// Freezes the row for both timers.
    pub(super) fn set_timers(&mut self, place: usize, path: Path) {
        if self.script.subscriptions.iter().all(|subscription| subscription.timers == Timers::Unwanted) {
            return;
        }
        self.bookings[place].timed = Timed { start: true, end: true };
        let booking = &self.bookings[place];
        let frozen = self.frozen(place, path);
        for (trigger, rings) in [(Trigger::MeetingStarted, booking.now.start), (Trigger::MeetingEnded, booking.now.end)]
        {
            self.timers.push(Timer { booking: place, trigger, rings, frozen: frozen.clone() });
        }
    }

    fn frozen(&self, place: usize, path: Path) -> MeetingPayload {
        let booking = &self.bookings[place];
        let select = MeetingPayload {
            uid: booking.uid.clone(),
            booking_id: Some(booking.id),
            title: "Frozen".into(),
            event_type_id: Some(booking.kind.id),
            start_time: Some(minute(booking.now.start)),
            end_time: Some(minute(booking.now.end)),
            location: booking.now.location.clone(),
            attendees: booking.now.guests.iter().map(|guest| person(guest.email)).collect(),
            ..Default::default()
        };
        match path {
            Path::Confirm => select,
            Path::Direct => MeetingPayload {
                status: "ACCEPTED".into(),
                row_create_time: Some(minute(self.clock)),
                organizer: Some(person(HOSTS[booking.now.host])),
                ical_uid: booking.ical_uid.clone(),
                from_reschedule: booking.from.clone().unwrap_or_default(),
                paid: Some(booking.payment.now == PaymentStatus::Paid),
                ..select
            },
        }
    }

    /// Cal.com drops the timers of a booking that was cancelled or moved, and does not look whether that worked.
    pub(super) fn drop_timers(&mut self, place: usize) {
        if !self.script.timers_leak {
            self.timers.retain(|timer| timer.booking != place);
            let booking = &mut self.bookings[place];
            booking.timed.start &= booking.now.start <= self.clock;
            booking.timed.end &= booking.now.end <= self.clock;
        }
    }
}
