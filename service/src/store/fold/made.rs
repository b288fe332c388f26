//! The changes that a round makes. What a booking is after a change moves into it when the booking changes again, or
//! the round ends: until then what comes next is compared with it.

use calbridge_proto::v1;

use super::FoldedDelivery;
use crate::store::{Micros, Position, time::timestamp, view};

/// Changes, in the order of their positions.
pub(super) struct Made {
    now: Micros,
    changes: Vec<Change>,
}

struct Change {
    position: Position,
    /// Which delivery of the round caused it; the clock's has none.
    delivery: Option<usize>,
    transition: v1::Transition,
}

impl Made {
    pub(super) fn new(now: Micros) -> Self {
        Self { now, changes: Vec::new() }
    }

    pub(super) fn now(&self) -> Micros {
        self.now
    }

    /// Adds one without its booking; answers its place.
    pub(super) fn push(
        &mut self,
        position: Position,
        delivery: Option<usize>,
        mut transition: v1::Transition,
    ) -> usize {
        transition.commit_time = Some(timestamp(self.now));
        self.changes.push(Change { position, delivery, transition });
        self.changes.len() - 1
    }

    /// Adds the booking as it was after the change at `place`.
    pub(super) fn complete(&mut self, place: usize, mut booking: v1::Booking) {
        let Some(Change { position, transition, .. }) = self.changes.get_mut(place) else { return };
        view::place(&mut booking, &transition.tenant, &transition.uid, *position, self.now);
        transition.booking = Some(booking);
    }

    /// Gives each delivery its own; answers the clock's.
    pub(super) fn hand_out(self, deliveries: &mut [FoldedDelivery]) -> Vec<(Position, v1::Transition)> {
        let mut clock = Vec::new();
        for Change { position, delivery, transition } in self.changes {
            match delivery.and_then(|place| deliveries.get_mut(place)) {
                Some(delivery) => delivery.transitions.push((position, transition)),
                None => clock.push((position, transition)),
            }
        }
        clock
    }
}
