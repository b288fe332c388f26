use uuid::Uuid;

use super::*;
use crate::store::{ClockPolicies, Identity, PackedBody};

/// A delivery that is recorded and names nothing.
fn delivery(tenant: &str, body: u8) -> NewDelivery {
    let identity = Identity::Body([body; 32]);
    NewDelivery {
        key: DeliveryKey { tenant: tenant.into(), time: 0, identity },
        delivery_id: Uuid::from_u128(body.into()),
        event: Box::default(),
        is_typed: false,
        body_sha256: [body; 32],
        booking_uid: None,
        facts: Vec::new(),
        leaves_siblings_silent: false,
        packed: PackedBody::default(),
        trace_id: String::new(),
    }
}

fn batch(deliveries: Vec<NewDelivery>) -> Batch {
    Batch { deliveries, clock: ClockPolicies::default().into(), ..Batch::default() }
}

fn first(position: i64) -> FirstResult {
    FirstResult { delivery_id: Uuid::nil(), position: Position(position), booking_uid: None, copies: 0 }
}

#[test]
fn only_the_first_of_equal_keys_is_new() {
    let bodies = [("a", 1), ("a", 2), ("a", 1), ("b", 1), ("a", 2), ("a", 1)];
    let deliveries: Vec<_> = bodies.map(|(tenant, body)| delivery(tenant, body)).into();
    let repeats = repeats(deliveries.iter().map(|delivery| &delivery.key));
    assert_eq!(repeats, [None, None, Some(0), None, Some(1), Some(0)]);
}

#[test]
fn a_copy_is_counted_and_noted_wherever_its_first_is() {
    let mut batch = batch([1, 2, 1, 2, 1].map(|body| delivery("a", body)).into());
    let known = DuplicateNote {
        first: first(9),
        tenant: "a".into(),
        receive_time: 0,
        secret_id: String::new(),
        trace_id: String::new(),
    };
    batch.duplicates = vec![known.clone(), DuplicateNote { first: first(5), ..known }];
    let kept = |key: &DeliveryKey| Ok((key.identity == Identity::Body([2; 32])).then(|| first(7)));
    let sorted = sort_out(&batch, kept).unwrap();
    assert_eq!(sorted.repeated(), [Position(5), Position(7), Position(9)]);

    // The delivery at 5 is not kept any more.
    let copies = |count| Copies { count, uids: vec!["u".to_owned()] };
    let copies = HashMap::from([(Position(7), copies(DUPLICATE_NOTES_MAX - 1)), (Position(9), copies(3))]);
    let plan = sorted.plan(Position(20), &LoadedRows::new(), copies).unwrap();
    assert_eq!(
        plan.counts.iter().map(|(position, count)| (position.0, *count)).collect::<Vec<_>>(),
        [(7, DUPLICATE_NOTES_MAX + 1), (9, 4), (21, 2)]
    );
    let noted: Vec<_> = plan.notes.iter().map(|note| (note.position.0, note.copy.first.position.0)).collect();
    assert_eq!(noted, [(22, 7), (23, 9)], "one copy of the second is too many, and the new one speaks of no booking");
    let lines: Vec<_> = plan.mentions().map(|line| (line.uid.to_owned(), line.position.0, line.delivery.0)).collect();
    assert_eq!(lines, [("u".to_owned(), 22, 7), ("u".to_owned(), 23, 9)]);
    assert_eq!(plan.head, Position(23));

    let answers = plan.answers();
    let outcomes: Vec<_> = answers.iter().map(|answer| (answer.outcome, answer.first.position.0)).collect();
    let copy = v1::SubmitOutcome::Duplicate;
    assert_eq!(outcomes, [(v1::SubmitOutcome::Unparsed, 21), (copy, 7), (copy, 21), (copy, 7), (copy, 21)]);
}

#[test]
fn what_goes_with_each_delivery_stays_with_the_new_ones() {
    let batch = batch([1, 1, 2, 3].map(|body| delivery("a", body)).into());
    let kept = |key: &DeliveryKey| Ok((key.identity == Identity::Body([2; 32])).then(|| first(7)));
    let plan = sort_out(&batch, kept).unwrap().plan(Position(20), &LoadedRows::new(), HashMap::new()).unwrap();
    let new: Vec<_> = plan.changes.deliveries().map(|row| (row.position.0, row.delivery.body_sha256[0])).collect();
    assert_eq!(new, [(21, 1), (22, 3)]);
    assert_eq!(plan.new_of(vec!["1", "1 again", "2", "3"]).collect::<Vec<_>>(), ["1", "3"]);
}
