//! Seats: many attendees in one booking, who come, go and move one by one. Nobody sits twice in one booking.

use calbridge_proto::v1::Trigger;

use super::{
    CalCom,
    clock::Path,
    rows::{Booking, EventType, GUESTS, Guest, HOSTS, State, Status},
    script::Step,
};

const SEATS: usize = 4;

/// Others may still come.
fn is_free(booking: &Booking, clock: i64, email: &str) -> bool {
    let sits = booking.now.guests.iter().any(|guest| guest.email == email);
    let full = booking.now.guests.len() >= SEATS;
    booking.is_seated() && booking.now.status == Status::Accepted && clock < booking.now.start && !sits && !full
}

impl CalCom {
    fn seat(&mut self, email: &'static str) -> Guest {
        self.seats_given += 1;
        Guest { seat: format!("seat{}", self.seats_given), ..Guest::new(email) }
    }

    pub(super) fn book_seated(&mut self, kind: &'static EventType, mut state: State) {
        if kind.approval {
            let place = self.insert(kind, state);
            self.tell(Trigger::BookingRequested, place, |_| {});
        } else {
            let email = state.guests[0].email;
            state.guests = vec![self.seat(email)];
            let place = self.insert(kind, state);
            self.tell_seat_taken(place);
            self.set_timers(place, Path::Direct);
        }
    }

    /// Who waited for approval has a seat now; the confirm path of December 2025 does not name it.
    pub(super) fn name_seats(&mut self, place: usize) {
        if self.bookings[place].is_seated() && self.is_queue() {
            let emails: Vec<_> = self.bookings[place].now.guests.iter().map(|guest| guest.email).collect();
            self.bookings[place].now.guests = emails.into_iter().map(|email| self.seat(email)).collect();
        }
    }

    pub(super) fn take_seat(&mut self, step: &Step) -> Option<()> {
        let (clock, email) = (self.clock, GUESTS[step.who]);
        let place = self.pick(step, |booking| is_free(booking, clock, email))?;
        let seat = self.seat(email);
        self.bookings[place].now.guests.push(seat);
        self.tell_seat_taken(place);
        Some(())
    }

    fn tell_seat_taken(&mut self, place: usize) {
        let guests = &self.bookings[place].now.guests;
        let Some(newest) = guests.last() else { return };
        let change = self.only_seat(newest, guests.len() == 1);
        self.tell(Trigger::BookingCreated, place, change);
    }

    pub(super) fn leave_seat(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| {
            booking.is_seated() && booking.now.status == Status::Accepted && booking.is_open(clock)
        })?;
        if step.twist && self.bookings[place].now.guests.len() == 1 {
            // The last one cancels the whole, which lists everybody and so names who sat there.
            let by = self.bookings[place].now.guests[0].email;
            self.drop_timers(place);
            self.bookings[place].now.status = Status::Cancelled;
            self.tell_cancelled(place, by, false);
            return Some(());
        }
        let leaver = self.stand_up(place, step.who);
        if self.bookings[place].now.guests.is_empty() {
            self.drop_timers(place);
            self.bookings[place].now.status = Status::Cancelled;
        }
        let leaver_told = self.person(&Guest { seat: String::new(), ..leaver });
        self.tell(Trigger::BookingCancelled, place, move |payload| {
            // So it says although the booking may live on.
            payload.status = "CANCELLED".into();
            payload.metadata.clear();
            payload.attendees = vec![leaver_told.clone()];
            payload.cancellation_reason = "can't come".into();
        });
        Some(())
    }

    fn stand_up(&mut self, place: usize, who: usize) -> Guest {
        let booking = &mut self.bookings[place];
        booking.ever.left = true;
        let guests = &mut booking.now.guests;
        guests.remove(who % guests.len())
    }

    /// An attendee takes the seat to another booking, there already or new.
    pub(super) fn move_seat(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let old = self.pick(step, |booking| {
            let movable = booking.is_seated() && !booking.kind.approval && booking.now.status == Status::Accepted;
            movable && clock < booking.now.start
        })?;
        let sitting = &self.bookings[old].now.guests;
        let email = sitting[step.who % sitting.len()].email;
        let kind = self.bookings[old].kind;
        let there = self.pick(step, |booking| booking.kind.id == kind.id && is_free(booking, clock, email));
        let before = self.bookings[old].now.clone();
        self.stand_up(old, step.who);
        let seat = self.seat(email);
        let new = match there {
            Some(new) if step.twist => {
                self.bookings[new].now.guests.push(seat.clone());
                new
            }
            _ => {
                let start = clock + step.hours * 60;
                let state = State { start, end: start + 60, guests: vec![seat.clone()], ..before };
                let new = self.insert(kind, state);
                self.bookings[new].from = Some(self.bookings[old].uid.clone());
                self.set_timers(new, Path::Direct);
                new
            }
        };
        self.tell_seat_moved(new, old, &seat);
        Some(())
    }

    fn tell_seat_moved(&mut self, new: usize, old: usize, seat: &Guest) {
        if self.bookings[old].now.guests.is_empty() {
            self.drop_timers(old);
            self.bookings[old].now.status = Status::Cancelled;
        }
        let (of_seat, of_old) = (self.only_seat(seat, false), self.in_place_of(old, seat.email));
        self.tell(Trigger::BookingRescheduled, new, move |payload| {
            of_seat(payload);
            of_old(payload);
        });
        let old = &mut self.bookings[old];
        if let Some(told) = &mut old.told {
            told.status = old.now.status;
            told.guests.clone_from(&old.now.guests);
        }
    }

    /// The host moves a seated booking as a whole: it keeps its uid.
    pub(super) fn move_seated(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| {
            booking.is_seated() && booking.now.status == Status::Accepted && booking.is_open(clock)
        })?;
        self.drop_timers(place);
        let of_old = self.in_place_of(place, HOSTS[0]);
        let start = clock + step.hours * 60;
        self.bookings[place].now.start = start;
        self.bookings[place].now.end = start + 45;
        self.tell(Trigger::BookingRescheduled, place, move |payload| {
            of_old(payload);
            payload.reschedule_id = None;
        });
        self.set_timers(place, Path::Direct);
        Some(())
    }
}
