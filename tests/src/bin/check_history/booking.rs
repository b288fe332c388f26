//! Of one booking an entry goes out only when those before it are settled; a dead letter counts as settled until it is
//! replayed, but where it is to hold its booking back: there it must be settled then, or deleted.

use std::collections::BTreeMap;

use crate::{
    Report,
    entry::{Entry, Micros, Position},
    plan::Consumer,
    tale::{Delivery, NEVER, Passage, Said, Tale},
};

/// From the first moment to before the second an entry was certainly not settled.
type Unsettled = (Micros, Micros);

pub(crate) fn judge(consumer: &Consumer, tale: &Tale, meant: &BTreeMap<Position, &Entry>, report: &mut Report) {
    let mut bookings: BTreeMap<&str, Vec<(Position, &Passage)>> = BTreeMap::new();
    for (position, entry) in meant {
        // What speaks of no booking waits for nothing.
        if let (false, Some(passage)) = (entry.uid.is_empty(), tale.entries.get(position)) {
            bookings.entry(&entry.uid).or_default().push((*position, passage));
        }
    }
    for passages in bookings.values() {
        let unsettled: Vec<_> = passages.iter().map(|(_, passage)| unsettled(consumer, passage)).collect();
        for (number, (_, passage)) in passages.iter().enumerate() {
            for delivery in &passage.deliveries {
                let held = unsettled[..number].iter().position(|before| is_within(delivery, before));
                if let Some(before) = held {
                    let (entry, before) = (&delivery.item.entry, passages[before].0);
                    let client = &tale.sessions[delivery.session].client;
                    report.violation(format!(
                        "consumer {}: {entry} was handed to {client} before {before} of the same booking was settled",
                        consumer.name
                    ));
                }
            }
        }
    }
}

/// Whenever it was handed out, the other was not settled.
fn is_within(delivery: &Delivery, unsettled: &[Unsettled]) -> bool {
    unsettled.iter().any(|(from, until)| *from < delivery.handed && delivery.seen < *until)
}

fn unsettled(consumer: &Consumer, passage: &Passage) -> Vec<Unsettled> {
    if consumer.blocks {
        let deleted = passage.deleted.map_or(NEVER, |(asked, _)| asked);
        let settled = passage.deliveries.last().and_then(settled).unwrap_or(NEVER);
        return vec![(Micros::MIN, deleted.min(settled))];
    }
    let rounds = 0..=passage.replays.len();
    rounds
        .map(|round| {
            // It stood in the log before whatever came behind it, and it was back once its replay was answered.
            let from = round.checked_sub(1).map_or(Micros::MIN, |replay| passage.replays[replay].1);
            let given_up = passage.letters.keys().find(|created| passage.replays_before(**created) == round);
            let said = passage.round(round).last().and_then(Delivery::settled).map(|(at, _)| at);
            (from, given_up.copied().unwrap_or(NEVER).min(said.unwrap_or(NEVER)))
        })
        .collect()
}

/// By its client; a dead letter is not, where it blocks.
fn settled(delivery: &Delivery) -> Option<Micros> {
    delivery.settled().filter(|(_, said)| *said != Said::Park).map(|(at, _)| at)
}
