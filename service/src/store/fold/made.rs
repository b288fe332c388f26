//! The changes that a round makes, in the order of their positions.

use calbridge_proto::v1;
use prost::Message as _;

use super::FoldedDelivery;
use crate::store::Position;

/// A change, and the booking after it.
pub(crate) struct Told {
    pub(crate) position: Position,
    /// Without the booking.
    pub(crate) transition: v1::Transition,
    /// Encoded as soon as it is made, while it is still in the processor's caches: nobody looks at it before it is
    /// written.
    pub(crate) booking: Vec<u8>,
}

impl Told {
    /// The change with its booking, as the log tells it.
    pub(crate) fn whole(&self) -> v1::Transition {
        v1::Transition { booking: v1::Booking::decode(&self.booking[..]).ok(), ..self.transition.clone() }
    }
}

/// The changes so far. Each has the place of the delivery that caused it; the clock's have none.
#[derive(Default)]
pub(super) struct Made(Vec<(Option<usize>, Told)>);

impl Made {
    pub(super) fn push(&mut self, delivery: Option<usize>, told: Told) {
        self.0.push((delivery, told));
    }

    /// Gives each delivery its own; answers the clock's.
    pub(super) fn hand_out(self, deliveries: &mut [FoldedDelivery]) -> Vec<Told> {
        let mut clock = Vec::new();
        for (delivery, told) in self.0 {
            match delivery.and_then(|place| deliveries.get_mut(place)) {
                Some(delivery) => delivery.transitions.push(told),
                None => clock.push(told),
            }
        }
        clock
    }
}
