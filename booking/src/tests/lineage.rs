//! Which booking came before and which after: how each link is known, and that a chain holds when a link was lost.

use calbridge_proto::v1::{
    BookingPayload, LinkEvidence, MeetingPayload, TransitionKind,
    Trigger::{self, BookingCancelled, BookingCreated, BookingLocationUpdated, BookingRescheduled, MeetingStarted},
};
use proptest::{collection::vec, prelude::*};

use super::{
    histories::ends,
    seen::{Linked, seat, seen},
    world::{Told, World, at, cancel, moved, payload, person, tell, timer},
};
use crate::{link_back, transition};

/// How `u1` knows of `u2`, and `u2` of `u1`.
fn both_ends(world: &World) -> (Linked, Linked) {
    (seen(world, "u1").after, seen(world, "u2").before)
}

fn created() -> Told {
    tell(BookingCreated, 1, payload("u1"))
}

/// `u2` whose `iCalUID` is all that tells of `u1`.
fn hinted(hour: i64) -> Told {
    tell(BookingCreated, hour, BookingPayload { ical_uid: "u1@Cal.com".into(), ..payload("u2") })
}

/// The timer of `u2` whose row says where it came from.
fn frozen() -> Told {
    tell(MeetingStarted, 0, MeetingPayload { from_reschedule: "u1".into(), ..timer("u2") })
}

/// What names `u1` in the words of `hinted`: nothing else is new in it.
fn explicit(hour: i64) -> Told {
    let named = BookingPayload { reschedule_uid: "u1".into(), ical_uid: "u1@Cal.com".into(), ..payload("u2") };
    tell(BookingRescheduled, hour, named)
}

#[test]
fn each_link_says_at_both_ends_how_it_is_known() {
    for (told, evidence) in [
        (explicit(2), Linked::Named as fn(&'static str) -> Linked),
        (frozen(), Linked::ByColumn),
        (hinted(2), Linked::ByIcalUid),
    ] {
        let world = ends(&[created(), told]);
        assert_eq!(both_ends(&world), (evidence("u2"), evidence("u1")));
        assert_eq!((seen(&world, "u1").before, seen(&world, "u2").after), (Linked::Not, Linked::Not));
    }
}

#[test]
fn the_best_evidence_holds_whichever_is_newer() {
    let (named, column) = (Linked::Named, Linked::ByColumn);
    for (hint, naming) in [(2, 3), (3, 2)] {
        let world = ends(&[created(), hinted(hint), explicit(naming)]);
        assert_eq!(both_ends(&world), (named("u2"), named("u1")));
        let world = ends(&[created(), hinted(hint), frozen()]);
        assert_eq!(both_ends(&world), (column("u2"), column("u1")));
        let world = ends(&[created(), hinted(hint), frozen(), explicit(naming)]);
        assert_eq!(both_ends(&world), (named("u2"), named("u1")));
    }
}

#[test]
fn an_explicit_link_that_comes_late_upgrades_the_evidence() {
    for naming in [1, 9] {
        let before = World::of(&[created(), hinted(2)]);
        let after = World::of(&[created(), hinted(2), explicit(naming)]);
        for uid in ["u1", "u2"] {
            let change = transition(before.find(uid).as_ref(), &after.get(uid)).unwrap();
            assert_eq!((change.kind, change.from), (TransitionKind::DetailsChanged, change.to), "{uid}");
        }
        assert_eq!(both_ends(&before), (Linked::ByIcalUid("u2"), Linked::ByIcalUid("u1")));
        assert_eq!(both_ends(&after), (Linked::Named("u2"), Linked::Named("u1")));
    }
}

#[test]
fn a_hint_that_comes_late_is_no_change() {
    let before = World::of(&[created(), explicit(2)]);
    for late in [hinted(9), hinted(0)] {
        let after = World::of(&[created(), explicit(2), late]);
        for uid in ["u1", "u2"] {
            assert_eq!(transition(before.find(uid).as_ref(), &after.get(uid)), None, "{uid}");
        }
    }
}

#[test]
fn an_explicit_naming_outranks_the_hint_of_another_booking() {
    let third = BookingPayload { ical_uid: "u1@Cal.com".into(), ..payload("u3") };
    let world = ends(&[created(), explicit(2), tell(BookingCreated, 9, third)]);
    assert_eq!(both_ends(&world), (Linked::Named("u2"), Linked::Named("u1")));
    assert_eq!(seen(&world, "u3").before, Linked::ByIcalUid("u1"), "it descends from the first all the same");
}

#[test]
fn a_chain_leads_through_a_booking_that_is_not_shown() {
    let third = MeetingPayload { from_reschedule: "u2".into(), ical_uid: "u1@Cal.com".into(), ..timer("u3") };
    let world = ends(&[tell(MeetingStarted, 0, third), created()]);
    assert!(world.find("u2").is_none());
    assert_eq!(link_back(&world.rows["u2"]), Some(("u1", LinkEvidence::IcalUid)));
    assert_eq!(link_back(&world.rows["u3"]), Some(("u2", LinkEvidence::FromReschedule)));
    assert_eq!(link_back(&world.rows["u1"]), None);
}

#[test]
fn the_ical_uids_of_seats_join_nothing() {
    // The sender mints them; here they even name bookings that exist.
    let sits = |uid, email, id, ical_uid: &str| BookingPayload { ical_uid: ical_uid.into(), ..seat(uid, email, id) };
    let second = sits("u2", "b@a.example", "s2", "u1@Cal.com");
    let mover = BookingPayload { reschedule_uid: "u3".into(), ..sits("u2", "c@a.example", "s3", "u1@Cal.com") };
    let owner = BookingPayload {
        seats_per_time_slot: Some(12),
        attendees: vec![person("a@a.example"), person("b@a.example"), person("c@a.example")],
        ical_uid: "u1@Cal.com".into(),
        ..moved("u2", "u2")
    };
    let world = ends(&[
        created(),
        tell(BookingCreated, 2, sits("u2", "a@a.example", "s1", "u2@Cal.com")),
        tell(BookingCreated, 3, second),
        tell(BookingRescheduled, 4, mover),
        tell(BookingRescheduled, 5, owner),
    ]);
    assert_eq!(world.get("u1"), World::of(&[created()]).get("u1"), "nothing was said of it");
    for uid in ["u2", "u3"] {
        assert_eq!((seen(&world, uid).before, seen(&world, uid).after), (Linked::Not, Linked::Not), "{uid}");
    }
    assert_eq!(world.get("u2").booking.ical_uid, "u2@Cal.com");
}

/// The uid of a chain's booking, by its place.
fn uid(place: usize) -> String {
    format!("c{place}")
}

/// A chain: a first booking and those that replaced one another, all with the first one's `iCalUID`.
fn chain(length: usize) -> Vec<Told> {
    let mut told = vec![tell(BookingCreated, 0, payload(&uid(0)))];
    for (place, hour) in (1..=length).zip(1..) {
        let next = BookingPayload { ical_uid: format!("{}@Cal.com", uid(0)), ..moved(&uid(place), &uid(place - 1)) };
        told.push(tell(BookingRescheduled, hour, next));
    }
    told
}

/// The first of the lineage, found as the service finds it: by walking on from what each booking says.
fn origin(world: &World, place: usize) -> String {
    let mut at = uid(place);
    for _ in 0..=world.rows.len() {
        let Some(derived) = world.find(&at) else { break };
        if derived.booking.origin_uid == at {
            break;
        }
        at = derived.booking.origin_uid;
    }
    at
}

/// Every booking of the chain that anything was told of leads to the first.
fn leads_to_the_first(world: &World, length: usize) -> bool {
    (0..=length).filter(|place| world.find(&uid(*place)).is_some()).all(|place| origin(world, place) == uid(0))
}

#[test]
fn a_chain_of_twelve_links_stands_without_any_one_of_them() {
    const LENGTH: usize = 12;
    let told = chain(LENGTH);
    for lost in 0..=LENGTH {
        let rest: Vec<_> = (0..=LENGTH).filter(|place| *place != lost).map(|place| &told[place]).collect();
        let world = World::of(rest);
        assert!(leads_to_the_first(&world, LENGTH), "without link {lost}");
        for place in 0..=LENGTH {
            let shown = world.find(&uid(place));
            assert_eq!(shown.is_some(), (place, lost) != (LENGTH, LENGTH), "the last one's own word is all there is");
            let Some(booking) = shown.map(|derived| derived.booking) else { continue };
            // An `iCalUID` names the first booking alone, so the one before the gap is not known to be replaced,
            // save where it is the first itself.
            let after = match place {
                LENGTH => String::new(),
                0 if lost == 1 => uid(LENGTH),
                _ if place + 1 == lost => String::new(),
                _ => uid(place + 1),
            };
            assert_eq!(booking.rescheduled_to_uid, after, "{place} without link {lost}");
            let before = match place {
                0 => String::new(),
                _ if place == lost => uid(0),
                _ => uid(place - 1),
            };
            assert_eq!(booking.rescheduled_from_uid, before, "{place} without link {lost}");
        }
    }
}

#[test]
fn any_later_event_of_the_last_booking_joins_it_where_its_own_link_was_lost() {
    let of_chain = |payload: BookingPayload| BookingPayload { ical_uid: format!("{}@Cal.com", uid(0)), ..payload };
    let told = chain(3);
    let told: Vec<_> = told.into_iter().take(3).collect();
    let later: [(Trigger, BookingPayload); 2] =
        [(BookingLocationUpdated, payload(&uid(3))), (BookingCancelled, cancel(&uid(3)))];
    for (trigger, payload) in later {
        let mut told = told.clone();
        told.push(tell(trigger, 9, of_chain(payload)));
        let world = ends(&told);
        assert_eq!(seen(&world, "c3").before, Linked::ByIcalUid("c0"));
        assert!(leads_to_the_first(&world, 3));
        assert_eq!(seen(&world, "c0").after, Linked::Named("c1"), "known better than by the hint");
    }
    let row = MeetingPayload { ical_uid: "c0@Cal.com".into(), start_time: Some(at(12)), ..timer("c3") };
    let world = ends(&[&told[..], &[tell(MeetingStarted, 0, row.clone())]].concat());
    assert_eq!(seen(&world, "c3").before, Linked::ByIcalUid("c0"));
    let row = MeetingPayload { from_reschedule: "c2".into(), ..row };
    let world = ends(&[&told[..], &[tell(MeetingStarted, 0, row)]].concat());
    assert_eq!((seen(&world, "c3").before, seen(&world, "c2").after), (Linked::ByColumn("c2"), Linked::ByColumn("c3")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_chain_of_any_length_leads_to_its_first_whatever_was_lost(
        (length, order) in (1usize..=16).prop_flat_map(|length| {
            (Just(length), Just((0..=length).collect::<Vec<_>>()).prop_shuffle())
        }),
        lost in vec(any::<bool>(), 17),
    ) {
        let told = chain(length);
        let kept = order.iter().filter(|place| !lost[**place]);
        let world = World::of(kept.map(|place| &told[*place]));
        prop_assert!(leads_to_the_first(&world, length));
        let whole = World::of(order.iter().map(|place| &told[*place]));
        prop_assert_eq!(whole.bytes(), World::of(&told).bytes());
    }
}
