//! The rows that a fold writes, seen one by one and without a store: every store writes the same ones.

use calbridge_proto::v1::{self, TransitionSource};
use uuid::Uuid;

use super::{
    Identity, Micros, NewDelivery, Position,
    fold::{Folded, FoldedBooking, FoldedDelivery, Told},
    mentioned,
    time::micros,
};

/// What was folded, of whom, and where that is kept.
pub(crate) struct Changes<'a> {
    /// The folded deliveries, each with the place where it is kept: for a replay another place than that of what it
    /// makes.
    pub(crate) of: Vec<(&'a NewDelivery, Position)>,
    pub(crate) folded: Folded,
    /// Who speaks of the bookings beside the clock.
    pub(crate) source: TransitionSource,
    pub(crate) now: Micros,
}

/// A delivery that was not kept before.
pub(crate) struct DeliveryRow<'r> {
    pub(crate) position: Position,
    pub(crate) delivery: &'r NewDelivery,
    pub(crate) outcome: v1::SubmitOutcome,
    /// The bookings that it speaks of, where that is not its own alone.
    pub(crate) mentioned: Option<Vec<u8>>,
}

/// A change for the log.
pub(crate) struct TransitionRow<'r> {
    pub(crate) position: Position,
    /// Where the delivery that caused it is kept; the clock has none.
    pub(crate) delivery: Position,
    pub(crate) made: &'r Told,
    pub(crate) commit_time: Micros,
    /// A webhook's trace is its delivery's: there it is empty.
    pub(crate) trace_id: &'r str,
}

/// A line in the timeline of one booking.
pub(crate) struct MentionRow<'r> {
    pub(crate) tenant: &'r str,
    pub(crate) uid: &'r str,
    pub(crate) position: Position,
    /// Where the delivery is kept; the clock has none.
    pub(crate) delivery: Position,
    /// For this booking.
    pub(crate) outcome: v1::SubmitOutcome,
    pub(crate) source: TransitionSource,
}

impl<'a> Changes<'a> {
    /// Of deliveries that are kept where they are folded.
    pub(crate) fn of_new(new: Vec<&'a NewDelivery>, folded: Folded, now: Micros) -> Self {
        let of = new.into_iter().zip(&folded.deliveries).map(|(delivery, folded)| (delivery, folded.position));
        Self { of: of.collect(), folded, source: TransitionSource::Webhook, now }
    }

    /// Of the clock alone.
    pub(crate) fn of_clock(folded: Folded, now: Micros) -> Self {
        Self { of: Vec::new(), folded, source: TransitionSource::Clock, now }
    }

    pub(crate) fn deliveries(&self) -> impl Iterator<Item = DeliveryRow<'_>> {
        self.told().map(|(delivery, _, folded)| DeliveryRow {
            position: folded.position,
            delivery,
            outcome: folded.outcome,
            mentioned: mentioned::encode(delivery.booking_uid.as_deref(), &folded.mentions),
        })
    }

    pub(crate) fn transitions(&self) -> impl Iterator<Item = TransitionRow<'_>> {
        let told = self.told().flat_map(move |(_, kept_at, folded)| {
            folded.transitions.iter().map(move |made| self.transition(kept_at, made))
        });
        told.chain(self.folded.clock.iter().map(|made| self.transition(Position::default(), made)))
    }

    pub(crate) fn mentions(&self) -> impl Iterator<Item = MentionRow<'_>> {
        let source = self.source;
        let told = self.told().flat_map(move |(delivery, kept_at, folded)| {
            folded.mentions.iter().map(move |told| MentionRow {
                tenant: &delivery.key.tenant,
                uid: &told.uid,
                position: told.position,
                delivery: kept_at,
                outcome: told.outcome,
                source,
            })
        });
        let clock = self.folded.clock.iter().map(|made| MentionRow {
            tenant: &made.transition.tenant,
            uid: &made.transition.uid,
            position: made.position,
            delivery: Position::default(),
            outcome: v1::SubmitOutcome::Unspecified,
            source: TransitionSource::Clock,
        });
        told.chain(clock)
    }

    /// In the order of their keys.
    pub(crate) fn bookings(&self) -> &[FoldedBooking] {
        &self.folded.bookings
    }

    fn told(&self) -> impl Iterator<Item = (&'a NewDelivery, Position, &FoldedDelivery)> {
        let folded = self.folded.deliveries.iter();
        self.of.iter().zip(folded).map(|((delivery, kept_at), folded)| (*delivery, *kept_at, folded))
    }

    fn transition<'r>(&self, delivery: Position, made: &'r Told) -> TransitionRow<'r> {
        let is_webhook = made.transition.source() == TransitionSource::Webhook;
        let trace_id = if is_webhook { "" } else { &made.transition.trace_id };
        TransitionRow { position: made.position, delivery, made, commit_time: self.now, trace_id }
    }
}

impl DeliveryRow<'_> {
    pub(crate) fn body_sha256(&self) -> Option<&[u8]> {
        match self.delivery.key.identity {
            // The hash is the identity.
            Identity::Body(_) => None,
            Identity::Request(_) => Some(&self.delivery.body_sha256),
        }
    }

    pub(crate) fn body_size(&self) -> i64 {
        i64::try_from(self.delivery.event.raw_body.len()).unwrap_or(i64::MAX)
    }

    pub(crate) fn receive_time(&self) -> Micros {
        self.delivery.event.receive_time.as_ref().map_or(0, micros)
    }

    pub(crate) fn event_time(&self) -> Option<Micros> {
        self.delivery.event.event_time.as_ref().map(micros)
    }

    pub(crate) fn disposition(&self) -> v1::DeliveryDisposition {
        self.delivery.disposition()
    }

    /// `None` where the event carries no UUID.
    pub(crate) fn request_id(&self) -> Option<Uuid> {
        Uuid::parse_str(&self.delivery.event.request_id).ok()
    }
}
