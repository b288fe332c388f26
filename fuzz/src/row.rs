//! Rows of bookings as a store gives them back: what is no row is refused, and what is one is written
//! and read the same.

use calbridge_booking::{Horizon, Row, derive, facts};

use crate::{events, seeds};

/// Between two rows of one input. Where it is missing, or part of the first, there is one.
const BETWEEN: &[u8] = b"\xff\xfe\xff";

pub(crate) fn judge(input: &[u8]) {
    let between = input.windows(BETWEEN.len()).position(|bytes| bytes == BETWEEN);
    let parts = between.map_or((input, &[][..]), |at| (&input[..at], &input[at + BETWEEN.len()..]));
    let [one, other] = [parts.0, parts.1].map(row);
    let Some(one) = one else { return };
    assert_eq!(merged(&one, &one), one, "idempotent");
    let _ = [Horizon::NONE, Horizon::ALL].map(|horizon| derive("u1", &one, horizon));
    let Some(other) = other else { return };
    let both = merged(&one, &other);
    assert_eq!(both, merged(&other, &one), "commutative");
    assert_eq!(both, merged(&both, &one), "absorbing");
    assert_eq!(Row::decode(&both.encode()).as_ref(), Ok(&both), "what is merged can be kept");
    let _ = derive("u1", &both, Horizon::NONE);
}

fn row(bytes: &[u8]) -> Option<Row> {
    let row = Row::decode(bytes).ok()?;
    let encoded = row.encode();
    assert!(encoded.len() <= bytes.len(), "nothing is written at greater length than it was read");
    assert_eq!(Row::decode(&encoded).as_ref(), Ok(&row));
    Some(row)
}

fn merged(one: &Row, other: &Row) -> Row {
    let mut merged = one.clone();
    merged.merge(other);
    merged
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for life in seeds::lives() {
        let mut whole = Row::default();
        for body in life {
            let (event, sha256) = events::typed(&body);
            for fact in facts(&event, &sha256) {
                seeds.push(fact.registers.encode());
                whole.merge(&fact.registers);
            }
        }
        seeds.push(whole.encode());
    }
    seeds.sort();
    seeds.dedup();
    let pairs: Vec<_> = seeds.windows(2).step_by(5).map(|pair| pair.join(BETWEEN)).collect();
    seeds.extend(pairs);
    seeds.retain(|seed| seed.len() <= 1024);
    seeds
}
