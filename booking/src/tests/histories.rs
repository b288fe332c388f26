//! Every history of a sequence: each order of its events, without and with one of them told twice.

use super::world::{Told, World};
use crate::Fact;

/// The state in which `told` ends, after every history was seen to end in it; with the number of histories.
pub(super) fn converge(told: &[Told]) -> (World, usize) {
    let expected = World::of(told);
    let facts: Vec<Vec<Fact>> = told.iter().map(Told::facts).collect();
    let bytes = expected.bytes();
    let mut histories = 0;
    let mut check = |order: &[usize]| {
        let mut world = World::default();
        for place in order {
            world.merge(&facts[*place]);
        }
        assert!(world == expected && world.bytes() == bytes, "the order {order:?} shows");
        histories += 1;
    };
    let once: Vec<usize> = (0..told.len()).collect();
    permute(&once, &mut check);
    for twice in 0..told.len() {
        let mut with_duplicate = once.clone();
        with_duplicate.push(twice);
        permute(&with_duplicate, &mut check);
    }
    (expected, histories)
}

/// `converge` without the number of histories.
pub(super) fn ends(told: &[Told]) -> World {
    converge(told).0
}

/// Calls `visit` with every different order of `items`.
pub(super) fn permute(items: &[usize], visit: &mut impl FnMut(&[usize])) {
    let mut sorted = items.to_vec();
    sorted.sort_unstable();
    loop {
        visit(&sorted);
        let Some(pivot) = (1..sorted.len()).rev().find(|place| sorted[place - 1] < sorted[*place]) else { return };
        let Some(next) = (pivot..sorted.len()).rev().find(|place| sorted[*place] > sorted[pivot - 1]) else { return };
        sorted.swap(pivot - 1, next);
        sorted[pivot..].reverse();
    }
}

#[test]
fn every_order_is_visited_once() {
    let mut orders = std::collections::BTreeSet::new();
    let mut visits = 0;
    permute(&[0, 1, 2, 3, 3], &mut |order| {
        orders.insert(order.to_vec());
        visits += 1;
    });
    assert_eq!((orders.len(), visits), (60, 60));
}
