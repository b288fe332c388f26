use std::collections::BTreeSet;

use calbridge_calcom::type_body;
use calbridge_proto::v1::BookingEvent;

use super::*;

const ORIGIN: Timestamp = Timestamp::constant(1_790_000_000, 0);

fn bodies(mix: Mix, copies_per_thousand: u64) -> Bodies {
    Bodies::new(ORIGIN, Traffic { mix, copies_per_thousand })
}

fn body(bodies: &Bodies, number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    bodies.write(number, &mut out);
    out
}

#[test]
fn no_two_numbers_share_a_body() {
    for mix in [Mix::Created, Mix::Life] {
        let bodies = bodies(mix, 0);
        let all: BTreeSet<_> = (0..10_000).map(|number| body(&bodies, number)).collect();
        assert_eq!(all.len(), 10_000);
        assert_eq!(body(&bodies, 77), body(&bodies, 77));
    }
}

#[test]
fn every_body_is_typed_as_what_it_says() {
    let bodies = bodies(Mix::Life, 0);
    let mut triggers = BTreeSet::new();
    for number in (0..9_000).step_by(7) {
        let mut event = BookingEvent::default();
        type_body(&body(&bodies, number)).into_event(&mut event);
        let told = bodies.told(number);
        assert_eq!(event.trigger(), told.trigger, "webhook {number}");
        assert!(event.payload.is_some(), "webhook {number} says nothing of a booking");
        triggers.insert(event.trigger);
    }
    assert_eq!(triggers.len(), 4);
}

#[test]
fn a_booking_has_one_uid_over_its_life() {
    let bodies = bodies(Mix::Life, 0);
    let text = |number| String::from_utf8(body(&bodies, number)).unwrap();
    let (created, moved, ended, cancelled) = (text(8), text(STRIDE + 8), text(2 * STRIDE + 8), text(2 * STRIDE + 9));
    let mut uids = (Vec::new(), Vec::new());
    slot::uid(8, 0, &mut uids.0);
    slot::uid(8, 1, &mut uids.1);
    let uids = (String::from_utf8(uids.0).unwrap(), String::from_utf8(uids.1).unwrap());
    assert!(created.contains(&uids.0) && !created.contains(&uids.1));
    assert!(moved.contains(&uids.0) && moved.contains(&uids.1));
    assert!(ended.contains(&uids.1));
    assert!(!cancelled.contains(&uids.1));
}

#[test]
fn bodies_have_no_gap_left_and_the_size_of_cal_coms() {
    let bodies = bodies(Mix::Life, 0);
    for number in [0, 1, STRIDE, STRIDE + 1, 2 * STRIDE, 2 * STRIDE + 1] {
        let text = String::from_utf8(body(&bodies, number)).unwrap();
        let left: Vec<_> = slot::MARKERS.iter().filter(|(marker, _)| text.contains(marker)).collect();
        assert!(left.is_empty(), "{left:?} in {text}");
    }
    // The median of what Cal.com's own sender was recorded with is 2,407, 2,699, 2,154 and 1,876.
    let mean = |numbers: std::ops::Range<u64>| {
        let sizes: Vec<_> = numbers.step_by(2).take(100).map(|number| body(&bodies, number).len()).collect();
        sizes.iter().sum::<usize>() / sizes.len()
    };
    let (created, moved) = (mean(0..STRIDE), mean(STRIDE..STRIDE * 2));
    let (ended, cancelled) = (mean(STRIDE * 2..STRIDE * 3), mean(STRIDE * 2 + 1..STRIDE * 3));
    let sizes = [created, moved, ended, cancelled];
    let most = [2_900, 3_000, 2_600, 2_200];
    assert!(sizes.iter().zip(most).all(|(size, most)| (most - 500..=most).contains(size)), "{sizes:?} bytes");
}

#[test]
fn times_go_with_the_number() {
    let bodies = bodies(Mix::Created, 0);
    let text = String::from_utf8(body(&bodies, 25)).unwrap();
    assert!(text.contains(r#""createdAt":"2026-09-21T14:13:20.002Z""#), "{text}");
}

#[test]
fn copies_repeat_what_is_some_way_back() {
    let bodies = bodies(Mix::Created, 300);
    let copies: Vec<_> = (0..20_000).filter(|number| bodies.is_copy(*number)).collect();
    assert!((5_000..=6_000).contains(&copies.len()), "{} copies", copies.len());
    for number in copies {
        let original = bodies.told(number).booking;
        assert!(original + LEAST_LAG <= number && !bodies.is_copy(original));
    }
}
