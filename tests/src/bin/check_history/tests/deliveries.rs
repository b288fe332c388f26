//! What senders were promised, and what bookings have become.

use super::{answer, body, faults, is_found, is_sound, kept, unread};
use crate::history::{Answer, Fact, History, Life};

fn booking(uid: &str, status: i32, payment: i32) -> Fact {
    Fact::Booking { tenant: "t".to_owned(), uid: uid.to_owned(), status, payment }
}

fn state(uid: &str, row: &str) -> Fact {
    Fact::State { tenant: "t".to_owned(), uid: uid.to_owned(), row: row.to_owned() }
}

/// Two webhooks tell of a booking that ends as cancelled.
fn with_a_life() -> History {
    let mut history = unread();
    let bodies = ["d1", "d3"].map(|delivery| body(delivery).body).to_vec();
    let ends = vec![("u1".to_owned(), 7, 0)];
    history.lives.push(Life { name: "cancelled".to_owned(), tenant: "t".to_owned(), bodies, ends });
    history.truth.push(booking("u1", 7, 0));
    history
}

#[test]
fn what_was_promised_is_kept_once() {
    let mut lost = unread();
    lost.truth.retain(|fact| !matches!(fact, Fact::Delivery { delivery, .. } if delivery == "d9"));
    is_found(&lost, "body of d9 was answered with a 2xx, and is not kept");
    let mut twice = unread();
    twice.truth.push(Fact::Delivery { body: body("d2"), delivery: "d22".to_owned() });
    is_found(&twice, "is kept 2 times: d2, d22");
    let mut other = unread();
    other.answers.push(Answer { body: body("d2"), ..answer("d4", "applied") });
    is_found(&other, "is kept as d2, and not as d4");
    // Kept on a disk of the edge's, and delivered later.
    let mut spooled = unread();
    let answer = Answer { body: body("d2"), delivery: String::new(), outcome: String::new() };
    spooled.answers.push(answer);
    is_sound(&spooled);
}

#[test]
fn nothing_is_kept_that_was_not_sent() {
    let mut invented = unread();
    invented.truth.push(kept("d7"));
    is_found(&invented, "body of d7 is kept, and nobody sent it");
    // Whoever gave up may have been heard all the same.
    let mut given_up = unread();
    given_up.sent.push(body("d8"));
    is_sound(&given_up);
}

#[test]
fn a_life_that_was_told_whole_ends_as_it_was_written() {
    is_sound(&with_a_life());
    let mut other = with_a_life();
    other.truth.push(booking("u1", 3, 0));
    is_found(&other, "t/u1 of cancelled ends with status and payment Some((3, 0)), not (7, 0)");
    let mut unpaid = with_a_life();
    unpaid.truth.push(booking("u1", 7, 2));
    is_found(&unpaid, "Some((7, 2)), not (7, 0)");
    let mut gone = with_a_life();
    gone.truth.pop();
    is_found(&gone, "None");
    // What was told in part ends where that part ends.
    let mut part = gone;
    part.truth.retain(|fact| !matches!(fact, Fact::Delivery { delivery, .. } if delivery == "d3"));
    is_sound(&part);
}

#[test]
fn all_that_is_known_is_what_a_calm_store_knows() {
    let mut history = unread();
    history.truth.extend([state("u1", "a"), state("u2", "b")]);
    is_sound(&history);
    history.calm = Some(vec![state("u1", "a"), state("u2", "b")]);
    is_sound(&history);
    history.calm = Some(vec![state("u1", "a"), state("u2", "c")]);
    is_found(&history, "t/u2 is not what it is");
    history.calm = Some(vec![state("u1", "a")]);
    is_found(&history, "t/u2 is known, and is not");
    history.calm = Some(vec![state("u1", "a"), state("u2", "b"), state("u3", "c")]);
    is_found(&history, "t/u3 is not known, and is");
    history.calm = Some(Vec::new());
    assert_eq!(faults(&history).len(), 2);
}
