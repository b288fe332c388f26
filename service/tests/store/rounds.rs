//! Rounds that are written while others are on their way.

use calbridge_proto::v1;
use calbridge_service::store::{Committed, Position, Store, memory::Memory};

use crate::{chance::Chance, support::*};

const ROUNDS: usize = 60;

/// Each round begins when the store lets it, and nobody waits for an answer in between.
pub(crate) async fn rounds_that_nobody_waits_for_end_as_one_by_one(backend: &impl Backend) {
    let (one_by_one, store) = (Memory::default().open(), backend.open().await);
    let (mut expected, mut written) = (Vec::new(), Vec::new());
    for round in lives_in_rounds() {
        expected.push(told(&commit(&one_by_one, &round).await));
        written.push(store.write(batch(&round)).await);
    }
    for (written, expected) in written.into_iter().zip(expected) {
        assert_eq!(told(&written.stored().await.unwrap()), expected);
    }
    for n in 0..5 {
        let key = || (TENANT.into(), format!("u{n}"));
        assert_eq!(store.row(key()).await.unwrap(), one_by_one.row(key()).await.unwrap());
    }
}

/// Lives of five bookings, in no order and with copies.
fn lives_in_rounds() -> Vec<Vec<Webhook>> {
    let mut chance = Chance::new(11);
    let mut webhook = |_| {
        let (uid, at) = (format!("u{}", chance.below(5)), chance.seconds(40));
        match chance.below(3) {
            0 => created(&uid, at),
            1 => cancelled(&uid, at),
            _ => booking(v1::Trigger::BookingCreated, &uid, at, |of| of.title = format!("told at {at}")),
        }
    };
    (0..ROUNDS).map(|round| (0..=round % 3).map(&mut webhook).collect()).collect()
}

/// All of the answers but ids.
fn told(round: &[Committed]) -> Vec<(v1::SubmitOutcome, Position)> {
    round.iter().map(|told| (told.outcome, told.first.position)).collect()
}
