//! What a watcher may not be told, and what it must be.

use super::{Entry, History, Plan, Position, Scope, Watcher, What, at, entry, is_found, is_sound, unread};

fn saw(position: u64) -> What {
    What::Saw(entry(position))
}

/// A watcher that wrote this down, line by line.
fn watched(filter: &str, told: impl IntoIterator<Item = What>) -> History {
    let scope = Scope { tenant: "t".to_owned(), filter: filter.to_owned(), recorded: false };
    let plan = Plan { watchers: vec![Watcher { name: "w".to_owned(), scope }], consumers: Vec::new() };
    let lines = told.into_iter().zip(0..).map(|(what, moment)| at(moment, what)).collect();
    History { plan, files: [("w".to_owned(), lines)].into(), ..unread() }
}

#[test]
fn each_once_and_in_order_over_all_lives_is_as_it_must_be() {
    let told = [What::Life(()), saw(1), saw(2), What::Life(()), What::Heartbeat(Position(2)), saw(3), saw(4)];
    is_sound(&watched("", told));
    is_sound(&watched("kind = APPEARED", [What::Life(()), saw(1), saw(2), What::Heartbeat(Position(4))]));
}

#[test]
fn one_that_is_lost_is_found() {
    is_found(&watched("", [saw(1), saw(2), saw(4)]), "never told 3 (t/u1");
    is_found(&watched("", [saw(1), saw(2), saw(3)]), "never told 4 (t/u2");
}

#[test]
fn one_that_comes_twice_is_found() {
    is_found(&watched("", [saw(1), saw(1), saw(2), saw(3), saw(4)]), "behind 1 it was told again");
    let lives = [saw(1), saw(2), What::Life(()), saw(2), saw(3), saw(4)];
    is_found(&watched("", lives), "behind 2 it was told again");
}

#[test]
fn two_that_are_swapped_are_found() {
    is_found(&watched("", [saw(1), saw(3), saw(2), saw(4)]), "behind 3 it was told again, or too late: 2");
}

#[test]
fn one_that_was_said_not_to_come_is_found() {
    let early = [saw(1), What::Heartbeat(Position(2)), saw(2), saw(3), saw(4)];
    is_found(&watched("", early), "behind 2 it was told again, or too late: 2");
    let back = [saw(1), saw(2), What::Heartbeat(Position(1)), saw(3), saw(4)];
    is_found(&watched("", back), "a heartbeat goes back from 2 to 1");
}

#[test]
fn one_that_is_not_meant_or_not_there_or_another_is_found() {
    is_found(&watched("kind = APPEARED", [saw(1), saw(2), saw(3)]), "which it does not mean");
    let there = Entry { position: Position(9), ..entry(1) };
    is_found(&watched("", [saw(1), saw(2), saw(3), saw(4), What::Saw(there)]), "which the store does not have");
    let other = Entry { to: 5, ..entry(3) };
    is_found(&watched("", [saw(1), saw(2), What::Saw(other), saw(4)]), "and the store has 3 (t/u1, kind 2, 3 to 7)");
}
