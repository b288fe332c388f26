//! What people do with bookings without seats: each action changes the database, and then Cal.com tells of it or not.

use calbridge_proto::v1::{
    CalVideoNoShowPayload, InstantMeetingPayload, NoShowPayload, PaymentStatus, PersonPayload, Trigger,
};

use super::{
    CalCom,
    clock::Path,
    rows::{EVENT_TYPES, EventType, Form, GUESTS, Guest, HOSTS, Payment, State, Status},
    script::{Action, Step},
    sender::minute,
};
use crate::tests::world::{answer, person};

impl CalCom {
    pub(super) fn act(&mut self, step: &Step) {
        // `None` where Cal.com refuses.
        let _ = match step.action {
            Action::Book => self.book(step),
            Action::Wait => {
                self.wait(step);
                Some(())
            }
            Action::Approve => self.approve(step),
            Action::ApproveUnpaid => self.approve_unpaid(step),
            Action::Decline => self.decline(step),
            Action::Pay => self.pay(step),
            Action::AttendeeMoves => self.replace(step, GUESTS[0]),
            Action::MoveSeated => self.move_seated(step),
            Action::HostMoves => self.replace(step, HOSTS[0]),
            Action::AskAgain => self.ask_again(step),
            Action::Cancel => self.cancel(step),
            Action::TakeSeat => self.take_seat(step),
            Action::LeaveSeat => self.leave_seat(step),
            Action::MoveSeat => self.move_seat(step),
            Action::ApproveSeries => self.approve_series(step),
            Action::DeclineSeries => self.decline_series(step),
            Action::CancelSeries => self.cancel_series(step),
            Action::Mark => self.mark(step),
            Action::MissGuests => self.miss_guests(step),
            Action::MissHost => self.miss_host(step),
            Action::Relocate => self.relocate(step),
            Action::Reassign => self.reassign(step),
            Action::AddGuest => self.add_guest(step),
            Action::Join => self.join(step),
        };
    }

    /// Some hours, or until a meeting has just begun.
    fn wait(&mut self, step: &Step) {
        let clock = self.clock;
        let next = self.pick(step, |booking| booking.is_open(clock) && clock < booking.now.start);
        match next {
            Some(place) if step.twist => self.pass(self.bookings[place].now.start - clock + 5),
            _ => self.pass(step.hours * 30),
        }
    }

    fn fresh(&self, step: &Step, kind: &'static EventType) -> State {
        let start = self.clock + step.hours * 60;
        let mut guests = vec![Guest::new(GUESTS[step.who])];
        if step.twist && kind.form != Form::Seated {
            guests.push(Guest::new(GUESTS[(step.who + 1) % GUESTS.len()]));
        }
        State {
            status: if kind.approval || kind.priced { Status::Pending } else { Status::Accepted },
            replaced_by: None,
            asked_again: false,
            start,
            end: start + 60,
            host: step.who % HOSTS.len(),
            location: kind.place.into(),
            guests,
        }
    }

    fn book(&mut self, step: &Step) -> Option<()> {
        let offered = &self.script.kinds;
        let kind = EVENT_TYPES.get(offered[step.pick % offered.len()])?;
        let state = self.fresh(step, kind);
        match kind.form {
            Form::Single => self.made(kind, state, None),
            Form::Series => self.book_series(kind, &state),
            Form::Seated => self.book_seated(kind, state),
            Form::Instant => self.ask_instantly(kind, state),
        }
        Some(())
    }

    /// A new booking without seats, and what is told of it.
    pub(super) fn made(&mut self, kind: &'static EventType, state: State, series: Option<usize>) {
        let place = self.insert(kind, state);
        self.bookings[place].series = series;
        if kind.priced {
            self.bookings[place].payment.now = PaymentStatus::Initiated;
            self.bookings[place].payment.is_told();
            self.tell(Trigger::BookingPaymentInitiated, place, |payload| {
                // Not yet true.
                payload.status = "ACCEPTED".into();
                payload.payment_id = Some(5);
            });
        } else if kind.approval {
            self.tell(Trigger::BookingRequested, place, |_| {});
        } else {
            self.tell(Trigger::BookingCreated, place, |_| {});
            self.set_timers(place, Path::Direct);
        }
    }

    fn approve(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| booking.waits(clock))?;
        self.bookings[place].now.status = Status::Accepted;
        self.name_seats(place);
        self.tell_let_through(place, false);
        self.set_timers(place, Path::Confirm);
        Some(())
    }

    /// Approving what is not paid yet is stored and not told.
    fn approve_unpaid(&mut self, step: &Step) -> Option<()> {
        let place = self.pick(step, |booking| {
            booking.kind.approval
                && booking.payment.now == PaymentStatus::Initiated
                && booking.now.status == Status::Pending
        })?;
        self.bookings[place].now.status = Status::Accepted;
        self.bookings[place].silent = true;
        Some(())
    }

    fn decline(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| booking.waits(clock))?;
        self.bookings[place].now.status = Status::Rejected;
        self.tell_rejected(place, false);
        Some(())
    }

    fn pay(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| {
            booking.payment.now == PaymentStatus::Initiated && booking.now.status.is_live() && clock < booking.now.start
        })?;
        let payment = &mut self.bookings[place].payment;
        payment.now = PaymentStatus::Paid;
        payment.silent = true;
        let waits = self.bookings[place].now.status == Status::Pending;
        if waits && !self.bookings[place].kind.approval {
            self.bookings[place].now.status = Status::Accepted;
            if self.is_queue() {
                self.tell_paid(place);
                self.tell_let_through(place, false);
            } else {
                self.tell_let_through(place, false);
                self.tell_paid(place);
            }
            self.set_timers(place, Path::Confirm);
            return Some(());
        }
        // In December 2025 nothing says that an event with approval was paid.
        if self.is_queue() {
            self.tell_paid(place);
        }
        if waits {
            self.tell(Trigger::BookingRequested, place, |payload| {
                payload.status.clear();
                payload.ical_uid.clear();
                payload.event_type_id = None;
            });
        }
        Some(())
    }

    /// A booking under a new uid takes the place of the old one.
    fn replace(&mut self, step: &Step, by: &'static str) -> Option<()> {
        let clock = self.clock;
        let old = self.pick(step, |booking| {
            let unseated = matches!(booking.kind.form, Form::Single | Form::Series);
            let asked = booking.now.asked_again && booking.now.replaced_by.is_none();
            unseated && booking.payment.now != PaymentStatus::Initiated && (booking.is_open(clock) || asked)
        })?;
        let kind = self.bookings[old].kind;
        let before = self.bookings[old].now.clone();
        let at_once = by == HOSTS[0] || !(kind.approval || kind.priced);
        let guests = before.guests.iter().map(|guest| Guest::new(guest.email)).collect();
        let start = self.clock + step.hours * 60;
        let status = if at_once { Status::Accepted } else { Status::Pending };
        let state = State { status, asked_again: false, start, end: start + 30, guests, ..before };
        let new = self.insert(kind, state);
        self.bookings[new].from = Some(self.bookings[old].uid.clone());
        self.bookings[new].ical_uid = self.bookings[old].ical_uid.clone();
        // Nobody pays twice, and nobody says that it is paid.
        let now = self.bookings[old].payment.now;
        self.bookings[new].payment = Payment { now, silent: now != PaymentStatus::None, ..Payment::default() };
        let uid = self.bookings[new].uid.clone();
        let now = &mut self.bookings[old].now;
        now.status = Status::Cancelled;
        now.replaced_by = Some(uid);
        self.drop_timers(old);
        self.tell_moved(if at_once { Trigger::BookingRescheduled } else { Trigger::BookingRequested }, new, old, by);
        if at_once {
            self.set_timers(new, Path::Direct);
        }
        Some(())
    }

    fn ask_again(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| {
            !booking.is_seated() && booking.now.status == Status::Accepted && booking.is_open(clock)
        })?;
        self.bookings[place].now.status = Status::Cancelled;
        self.bookings[place].now.asked_again = true;
        self.drop_timers(place);
        self.tell_asked_again(place);
        Some(())
    }

    fn cancel(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| booking.is_open(clock))?;
        self.bookings[place].now.status = Status::Cancelled;
        self.drop_timers(place);
        // Who cancelled is not always said. Of a seated booking with one attendee that would mean that one seat left.
        let booking = &self.bookings[place];
        let is_said = step.twist || (booking.is_seated() && booking.now.guests.len() < 2);
        self.tell_cancelled(place, if is_said { HOSTS[0] } else { "" }, false);
        Some(())
    }

    fn relocate(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| booking.is_open(clock))?;
        self.bookings[place].now.location = format!("Side Street {}", step.hours);
        self.tell_update(Trigger::BookingLocationUpdated, place);
        Some(())
    }

    fn reassign(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| booking.is_open(clock))?;
        let host = &mut self.bookings[place].now.host;
        *host = (*host + 1) % HOSTS.len();
        self.tell_update(Trigger::BookingReassigned, place);
        Some(())
    }

    /// Older senders say nothing of another place or host.
    fn tell_update(&mut self, trigger: Trigger, place: usize) {
        if self.is_queue() {
            self.tell(trigger, place, |_| {});
        } else {
            self.bookings[place].silent = true;
        }
    }

    /// No sender says anything of a guest who comes later.
    fn add_guest(&mut self, step: &Step) -> Option<()> {
        let (clock, email) = (self.clock, GUESTS[step.who]);
        let place = self.pick(step, |booking| {
            let known = booking.now.guests.iter().any(|guest| guest.email == email);
            !booking.is_seated() && booking.is_open(clock) && !known
        })?;
        self.bookings[place].now.guests.push(Guest::new(email));
        self.bookings[place].silent = true;
        Some(())
    }

    fn ask_instantly(&mut self, kind: &'static EventType, state: State) {
        let (start, end) = (self.clock, self.clock + 30);
        let place = self.insert(kind, State { status: Status::AwaitingHost, start, end, ..state });
        let ask = InstantMeetingPayload {
            uid: self.bookings[place].uid.clone(),
            event_type_id: Some(kind.id),
            responses: [("name".to_owned(), answer("Guest"))].into(),
            ..Default::default()
        };
        self.send(Trigger::InstantMeeting, ask);
    }

    fn join(&mut self, step: &Step) -> Option<()> {
        let place = self.pick(step, |booking| booking.now.status == Status::AwaitingHost)?;
        self.bookings[place].now.status = Status::Accepted;
        self.tell_update(Trigger::InstantMeetingAccepted, place);
        Some(())
    }

    /// The host marks attendees as missing, or takes that back; the webhook names them and nobody else.
    fn mark(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| booking.has_begun(clock) && !booking.now.guests.is_empty())?;
        let guests = &mut self.bookings[place].now.guests;
        let one = step.who % guests.len();
        let mut named = Vec::new();
        for (place, guest) in guests.iter_mut().enumerate() {
            if step.twist || place == one {
                guest.absent = !guest.absent;
                named.push(PersonPayload {
                    email: guest.email.to_uppercase(),
                    no_show: Some(guest.absent),
                    ..Default::default()
                });
            }
        }
        let booking_uid = self.bookings[place].uid.clone();
        self.send(Trigger::BookingNoShowUpdated, NoShowPayload { booking_uid, attendees: named, ..Default::default() });
        self.tell_marks(place);
        Some(())
    }

    fn miss_guests(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| booking.is_watched(clock))?;
        for (number, guest) in self.bookings[place].now.guests.iter_mut().enumerate() {
            guest.absent |= step.twist || number == 0;
        }
        let mut missed = self.missed(place);
        let guests = &self.bookings[place].now.guests;
        missed.guests =
            guests.iter().map(|guest| PersonPayload { no_show: Some(guest.absent), ..person(guest.email) }).collect();
        self.send(Trigger::AfterGuestsCalVideoNoShow, missed);
        self.tell_marks(place);
        Some(())
    }

    fn miss_host(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.pick(step, |booking| booking.is_watched(clock))?;
        let host = self.bookings[place].now.host;
        self.bookings[place].absent_hosts.push(host);
        let missed = CalVideoNoShowPayload { host_email: HOSTS[host].into(), ..self.missed(place) };
        self.send(Trigger::AfterHostsCalVideoNoShow, missed);
        self.bookings[place].attended = true;
        self.tell_accepted(place);
        Some(())
    }

    fn missed(&self, place: usize) -> CalVideoNoShowPayload {
        let booking = &self.bookings[place];
        CalVideoNoShowPayload {
            booking_uid: booking.uid.clone(),
            booking_id: Some(booking.id),
            start_time: Some(minute(booking.now.start)),
            end_time: Some(minute(booking.now.end)),
            // Rows of the database: the mark in them is a leaked column.
            attendees: booking
                .now
                .guests
                .iter()
                .map(|guest| PersonPayload { no_show: Some(guest.absent), ..person(guest.email) })
                .collect(),
            ..Default::default()
        }
    }

    /// All marks have been told, and with them whom they name.
    fn tell_marks(&mut self, place: usize) {
        self.tell_accepted(place);
        let booking = &mut self.bookings[place];
        booking.attended = true;
        let Some(told) = &mut booking.told else { return };
        for guest in &booking.now.guests {
            match told.guests.iter_mut().find(|known| known.email == guest.email) {
                Some(known) => known.absent = guest.absent,
                None if guest.absent => told.guests.push(guest.clone()),
                None => {}
            }
        }
    }
}
