//! A series: bookings that know of each other in the database alone. What is done to all is told of one.

use super::{
    CalCom,
    clock::Path,
    rows::{Booking, EventType, HOSTS, State, Status},
    script::Step,
};

const OCCURRENCES: i64 = 3;
const WEEK: i64 = 7 * 24 * 60;

impl CalCom {
    pub(super) fn book_series(&mut self, kind: &'static EventType, first: &State) {
        let series = self.bookings.len();
        for week in 0..OCCURRENCES {
            let (start, end) = (first.start + week * WEEK, first.end + week * WEEK);
            self.made(kind, State { start, end, ..first.clone() }, Some(series));
        }
    }

    pub(super) fn approve_series(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.change_series(step, Status::Accepted, |booking| booking.waits(clock))?;
        for other in place.others {
            self.set_timers(other, Path::Confirm);
        }
        self.tell_let_through(place.named, true);
        self.set_timers(place.named, Path::Confirm);
        Some(())
    }

    pub(super) fn decline_series(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.change_series(step, Status::Rejected, |booking| booking.waits(clock))?;
        self.tell_rejected(place.named, true);
        Some(())
    }

    pub(super) fn cancel_series(&mut self, step: &Step) -> Option<()> {
        let clock = self.clock;
        let place = self.change_series(step, Status::Cancelled, |booking| booking.is_open(clock))?;
        for other in place.others {
            self.drop_timers(other);
        }
        self.drop_timers(place.named);
        self.tell_cancelled(place.named, HOSTS[0], true);
        Some(())
    }

    /// Changes all of a series for which `legal` holds, all but one of them without a word.
    fn change_series(&mut self, step: &Step, status: Status, legal: impl Fn(&Booking) -> bool) -> Option<Changed> {
        let named = self.pick(step, |booking| booking.series.is_some() && legal(booking))?;
        let series = self.bookings[named].series;
        let mut others = Vec::new();
        for (place, booking) in self.bookings.iter_mut().enumerate() {
            if booking.series == series && legal(booking) {
                booking.now.status = status;
                if place != named {
                    booking.silent = true;
                    others.push(place);
                }
            }
        }
        Some(Changed { named, others })
    }
}

struct Changed {
    named: usize,
    others: Vec<usize>,
}
