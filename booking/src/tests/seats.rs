//! Seats: many attendees under one uid, who come, move and go one by one.

use calbridge_proto::v1::{
    BookingPayload, BookingStatus, MeetingPayload, PersonPayload, TeamPayload,
    Trigger::{
        BookingCancelled, BookingCreated, BookingLocationUpdated, BookingNoShowUpdated, BookingPaid, BookingRequested,
        BookingRescheduled, MeetingEnded, MeetingStarted,
    },
};

use super::{
    histories::ends,
    seen::{Seen, cancelled, leave, seat, seen},
    world::{Told, World, at, cancel, marks, moved, payload, person, tell, timer},
};

fn seats(world: &World, uid: &str) -> Vec<(String, String)> {
    world.get(uid).booking.attendees.into_iter().map(|attendee| (attendee.email, attendee.seat_uid)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(email, id)| ((*email).to_owned(), (*id).to_owned())).collect()
}

#[test]
fn a_seated_booking_from_its_first_seat_to_its_end() {
    let those_left = |payload| BookingPayload {
        attendees: vec![person("a@a.example")],
        seats_per_time_slot: Some(12),
        reschedule_id: None,
        ..payload
    };
    let end = BookingPayload { start_time: Some(at(12)), end_time: Some(at(13)), ..cancel("u1") };
    let told = [
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingCreated, 2, seat("u1", "b@a.example", "s2")),
        tell(BookingCancelled, 3, leave("u1", "b@a.example")),
        tell(BookingRescheduled, 4, those_left(moved("u1", "u1"))),
        tell(BookingCancelled, 5, those_left(end)),
    ];
    let world = ends(&told);
    let one = vec![("a@a.example", "s1")];
    assert_eq!(
        seen(&world, "u1"),
        Seen { attendees: one, hours: Some((12, 13)), hours_before: Some((10, 11)), ..cancelled("u1") }
    );
    assert_eq!(world.get("u1").booking.cancellation_reason, "ill", "not what the leaver said");
    assert_eq!(world.rows.len(), 1);
}

#[test]
fn a_mark_is_left_with_the_seat() {
    let mut told = vec![
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingNoShowUpdated, 12, marks("u1", &[("a@a.example", true)])),
        tell(BookingCancelled, 13, leave("u1", "a@a.example")),
        tell(BookingCreated, 14, seat("u1", "a@a.example", "s9")),
    ];
    let marked = |told: &[Told]| ends(told).get("u1").booking.attendees[0].no_show;
    assert!(!marked(&told));
    let again = |hour| tell(BookingNoShowUpdated, hour, marks("u1", &[("a@a.example", true)]));
    let at_once = [told.as_slice(), &[again(13)]].concat();
    assert!(!marked(&at_once), "at one moment the leaving counts, as it does against a seat");
    told.push(again(15));
    assert!(marked(&told));
}

#[test]
fn a_mark_shows_nobody_who_has_left_since() {
    let marked = |hour| tell(BookingNoShowUpdated, hour, marks("u1", &[("a@a.example", true)]));
    let left = tell(BookingCancelled, 13, leave("u1", "a@a.example"));
    assert_eq!(ends(&[marked(12), left.clone()]).attendees("u1"), [""; 0]);
    assert_eq!(ends(&[marked(14), left]).attendees("u1"), ["a@a.example"]);
}

#[test]
fn all_seats_under_one_address_leave_together() {
    let world = ends(&[
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingCreated, 2, seat("u1", "a@a.example", "s2")),
        tell(BookingCreated, 3, seat("u1", "b@a.example", "s3")),
        tell(BookingCancelled, 4, leave("u1", "a@a.example")),
    ]);
    assert_eq!(seats(&world, "u1"), pairs(&[("b@a.example", "s3")]));
}

#[test]
fn a_leaving_alone_tells_an_accepted_booking() {
    let derived = ends(&[tell(BookingCancelled, 4, leave("u1", "a@a.example"))]).get("u1");
    assert_eq!((derived.booking.status(), derived.rule.as_str()), (BookingStatus::Scheduled, "accepted"));
}

#[test]
fn a_cancel_with_a_name_or_more_than_one_attendee_takes_the_whole() {
    let by_host = BookingPayload { cancelled_by: "host@a.example".into(), ..leave("u1", "a@a.example") };
    let of_two =
        BookingPayload { attendees: vec![person("a@a.example"), person("b@a.example")], ..leave("u1", "a@a.example") };
    let of_none = BookingPayload { attendees: Vec::new(), ..leave("u1", "a@a.example") };
    for whole in [by_host, of_two, of_none] {
        let world = ends(&[
            tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
            tell(BookingCreated, 2, seat("u1", "b@a.example", "s2")),
            tell(BookingCancelled, 3, whole),
        ]);
        assert_eq!(world.get("u1").rule.as_str(), "cancelled");
    }
}

#[test]
fn a_host_who_asks_for_another_time_takes_the_whole_though_one_alone_sits() {
    let ask = BookingPayload { request_reschedule: Some(true), ..leave("u1", "a@a.example") };
    let taken = tell(BookingCreated, 1, seat("u1", "a@a.example", "s1"));
    let derived = ends(&[taken, tell(BookingCancelled, 2, ask)]).get("u1");
    assert_eq!(derived.rule.as_str(), "cancelled");
    assert!(derived.booking.reschedule_requested);
    assert_eq!(derived.booking.cancellation_reason, "can't attend", "the reason is the booking's");
}

#[test]
fn an_unseated_cancel_with_one_attendee_takes_the_whole() {
    let cancelled = BookingPayload { cancelled_by: String::new(), ..cancel("u1") };
    for seats_per_time_slot in [None, Some(0)] {
        let cancelled = BookingPayload { seats_per_time_slot, ..cancelled.clone() };
        assert_eq!(ends(&[tell(BookingCancelled, 1, cancelled)]).status("u1"), BookingStatus::Cancelled);
    }
}

#[test]
fn only_who_moves_leaves_the_old_booking() {
    let mut mover = seat("u2", "a@a.example", "sA");
    mover.reschedule_uid = "u1".into();
    // Cal.com lists behind the mover those who sit in the new booking already.
    mover.attendees.push(person("b@a.example"));
    let world = ends(&[
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingCreated, 2, seat("u1", "b@a.example", "s2")),
        tell(BookingCreated, 3, seat("u2", "b@a.example", "s3")),
        tell(BookingRescheduled, 4, mover),
    ]);
    assert_eq!(world.status("u1"), BookingStatus::Scheduled);
    assert_eq!(seats(&world, "u1"), pairs(&[("b@a.example", "s2")]));
    assert_eq!(seats(&world, "u2"), pairs(&[("a@a.example", "sA"), ("b@a.example", "s3")]));
}

#[test]
fn whoever_left_without_an_address_leaves_the_booking_to_the_others() {
    let nameless = BookingPayload { attendees: vec![person("")], ..leave("u1", "") };
    let world = ends(&[tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")), tell(BookingCancelled, 2, nameless)]);
    assert_eq!(world.status("u1"), BookingStatus::Scheduled);
}

#[test]
fn without_an_id_every_listed_attendee_sits() {
    let both = BookingPayload {
        attendees: vec![person("a@a.example"), person("b@a.example")],
        ..seat("u1", "a@a.example", "")
    };
    let no_id = tell(BookingCreated, 1, both);
    assert_eq!(ends(std::slice::from_ref(&no_id)).attendees("u1"), ["a@a.example", "b@a.example"]);
    let world = ends(&[no_id, tell(BookingCreated, 2, seat("u1", "a@a.example", "s1"))]);
    assert_eq!(seats(&world, "u1"), pairs(&[("a@a.example", "s1"), ("b@a.example", "")]), "one seat, told twice");
}

#[test]
fn the_queue_tells_each_seat_beside_its_attendee() {
    let sitter = |email: &str, seat: &str| PersonPayload { seat_uid: seat.into(), ..person(email) };
    let two = BookingPayload {
        attendees: vec![sitter("a@a.example", "s1"), sitter("b@a.example", "s2"), sitter("b@a.example", "s3")],
        ..seat("u1", "a@a.example", "")
    };
    let world = ends(&[tell(BookingCreated, 1, two), tell(BookingCancelled, 2, leave("u1", "a@a.example"))]);
    assert_eq!(seats(&world, "u1"), pairs(&[("b@a.example", "s2"), ("b@a.example", "s3")]));
}

/// Whichever of them it names: the queue may name one besides, and list everybody.
#[test]
fn the_queue_gives_each_seat_to_whose_it_is() {
    let sitter = |(email, seat): (&str, &str)| PersonPayload { seat_uid: seat.into(), ..person(email) };
    let two = [("a@a.example", "s1"), ("b@a.example", "s2")];
    let first = tell(BookingCreated, 1, BookingPayload { attendees: vec![sitter(two[0])], ..seat("u1", "", "s1") });
    for named in ["s1", "s2"] {
        let second = BookingPayload { attendees: two.map(sitter).into(), ..seat("u1", "", named) };
        let told = [first.clone(), tell(BookingCreated, 2, second)];
        assert_eq!(seats(&ends(&told), "u1"), pairs(&two), "{named}");
        let left = [&told[..], &[tell(BookingCancelled, 3, leave("u1", "a@a.example"))]].concat();
        let world = ends(&left);
        assert_eq!(seats(&world, "u1"), pairs(&two[1..]));
        assert_ne!(world.get("u1").rule.as_str(), "no_seat_left", "{named}: somebody sits");
    }
    let mover = BookingPayload {
        attendees: vec![sitter(("b@a.example", "s3")), sitter(two[0])],
        reschedule_uid: "u1".into(),
        ..seat("u2", "", "s1")
    };
    let told = [first, tell(BookingCreated, 2, seat("u1", "c@a.example", "s4")), tell(BookingRescheduled, 3, mover)];
    let world = ends(&told);
    assert_eq!(seats(&world, "u1"), pairs(&[("c@a.example", "s4")]), "who moved left it");
    assert_eq!(seats(&world, "u2"), pairs(&[two[0], ("b@a.example", "s3")]), "and nobody has the seat of another");
}

/// The queue looks when it sends: by then whoever took the seat may have left, and others sit there.
#[test]
fn the_queue_gives_nobody_the_seat_of_who_has_left() {
    let sits = |email: &str, seat: &str| vec![PersonPayload { seat_uid: seat.into(), ..person(email) }];
    let first =
        tell(BookingCreated, 1, BookingPayload { attendees: sits("a@a.example", "s1"), ..seat("u1", "", "s1") });
    let gone = tell(BookingCreated, 2, BookingPayload { attendees: sits("a@a.example", "s1"), ..seat("u1", "", "s2") });
    assert_eq!(seats(&ends(&[first.clone(), gone]), "u1"), pairs(&[("a@a.example", "s1")]));

    let mover =
        BookingPayload { attendees: sits("c@a.example", "s7"), reschedule_uid: "u1".into(), ..seat("u2", "", "s9") };
    let told = [first, tell(BookingCreated, 2, seat("u1", "c@a.example", "s3")), tell(BookingRescheduled, 3, mover)];
    let world = ends(&told);
    assert_eq!(seats(&world, "u1"), pairs(&[("a@a.example", "s1"), ("c@a.example", "s3")]), "nobody known moved");
    assert_eq!(seats(&world, "u2"), pairs(&[("c@a.example", "s7")]));
}

#[test]
fn a_seat_that_moves_brings_no_row_number_along() {
    let target = BookingPayload { booking_id: Some(40), ..seat("u2", "b@a.example", "s3") };
    let mover = BookingPayload { reschedule_uid: "u1".into(), booking_id: Some(7), ..seat("u2", "a@a.example", "s4") };
    let world = ends(&[tell(BookingCreated, 1, target), tell(BookingRescheduled, 2, mover.clone())]);
    assert_eq!(world.get("u2").booking.calcom_booking_id, Some(40));
    let world = ends(&[tell(BookingRescheduled, 2, mover)]);
    assert_eq!(world.get("u2").booking.calcom_booking_id, Some(7), "better than nothing");
}

#[test]
fn a_seat_that_moves_only_fills_gaps_of_the_booking_that_it_left() {
    let mover = BookingPayload {
        reschedule_uid: "u1".into(),
        reschedule_id: Some(99),
        reschedule_start_time: Some(at(5)),
        reschedule_end_time: Some(at(6)),
        seats_per_time_slot: Some(3),
        ..seat("u2", "a@a.example", "s3")
    };
    let told = [
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingCreated, 2, seat("u1", "b@a.example", "s2")),
        tell(BookingRescheduled, 3, mover),
    ];
    let booking = ends(&told).get("u1").booking;
    assert_eq!((booking.calcom_booking_id, booking.seats_per_time_slot), (Some(7), Some(12)));
    assert_eq!((booking.start_time, booking.end_time), (Some(at(10)), Some(at(11))));
    let booking = ends(&told[2..]).get("u1").booking;
    assert_eq!((booking.calcom_booking_id, booking.seats_per_time_slot), (Some(99), Some(3)));
    assert_eq!((booking.start_time, booking.end_time), (Some(at(5)), Some(at(6))));
}

#[test]
fn of_a_taking_and_a_leaving_in_one_instant_the_leaving_holds() {
    let world = ends(&[
        tell(BookingCreated, 2, seat("u1", "a@a.example", "s1")),
        tell(BookingCreated, 2, seat("u1", "b@a.example", "s2")),
        tell(BookingCancelled, 2, leave("u1", "a@a.example")),
    ]);
    assert_eq!(seats(&world, "u1"), pairs(&[("b@a.example", "s2")]));
}

#[test]
fn no_hint_reschedules_a_seated_booking() {
    let timer_of_u2 = MeetingPayload { from_reschedule: "u1".into(), ical_uid: "u1@Cal.com".into(), ..timer("u2") };
    let unseated_path = BookingPayload { ical_uid: "u1@Cal.com".into(), ..payload("u3") };
    let world = ends(&[
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(MeetingStarted, 0, timer_of_u2),
        tell(BookingCreated, 2, unseated_path),
    ]);
    assert_eq!(world.status("u1"), BookingStatus::Scheduled);
    assert_eq!(world.get("u1").booking.rescheduled_to_uid, "");
}

#[test]
fn a_seated_booking_has_no_predecessor_by_hint() {
    let timer_of_u2 = MeetingPayload { from_reschedule: "u1".into(), ..timer("u2") };
    let world = ends(&[tell(BookingCreated, 1, seat("u2", "a@a.example", "s1")), tell(MeetingStarted, 0, timer_of_u2)]);
    assert_eq!(world.get("u2").booking.rescheduled_from_uid, "");
}

#[test]
fn a_list_is_shown_while_no_seat_is_known() {
    let request = BookingPayload { status: "PENDING".into(), ..seat("u1", "a@a.example", "") };
    let requested = tell(BookingRequested, 1, request);
    let place = tell(BookingLocationUpdated, 4, seat("u1", "z@a.example", ""));
    let world = ends(std::slice::from_ref(&requested));
    assert_eq!((world.status("u1"), world.attendees("u1")), (BookingStatus::Requested, vec!["a@a.example".into()]));
    let world = ends(&[requested, tell(BookingCreated, 2, seat("u1", "a@a.example", "s1")), place]);
    assert_eq!(seats(&world, "u1"), pairs(&[("a@a.example", "s1")]));
}

/// What approval or payment lets through has no `iCalUID`, and nothing says that there are seats.
fn let_through(uid: &str, listed: &[&str]) -> BookingPayload {
    let attendees = listed.iter().map(|email| person(email)).collect();
    BookingPayload { attendees, ical_uid: String::new(), ..payload(uid) }
}

#[test]
fn whom_approval_or_payment_lets_in_has_a_seat() {
    let (ann, bob) = ("ann@a.example", "bob@a.example");
    let asked = tell(BookingRequested, 1, BookingPayload { status: "PENDING".into(), ..seat("u1", ann, "") });
    let approved = tell(BookingCreated, 2, let_through("u1", &[ann]));
    let paid = BookingPayload { status: "ACCEPTED".into(), ..let_through("u1", &[ann]) };
    let waits = BookingPayload { status: "PENDING".into(), ..let_through("u1", &[ann]) };
    let second = tell(BookingCreated, 3, seat("u1", bob, "s2"));
    for lets_in in [approved.clone(), tell(BookingPaid, 2, paid)] {
        let mut told = vec![asked.clone(), lets_in, second.clone()];
        assert_eq!(seats(&ends(&told), "u1"), pairs(&[(ann, ""), (bob, "s2")]));
        told.push(tell(BookingCancelled, 4, leave("u1", bob)));
        let world = ends(&told);
        assert_eq!((world.status("u1"), seats(&world, "u1")), (BookingStatus::Scheduled, pairs(&[(ann, "")])));
        told.push(tell(BookingCancelled, 5, leave("u1", ann)));
        assert_eq!(ends(&told).get("u1").rule.as_str(), "no_seat_left");
        told.push(tell(BookingCreated, 6, let_through("u1", &[ann])));
        assert_eq!(seats(&ends(&told), "u1"), pairs(&[(ann, "")]), "and may come again");
    }
    let moved_by_host = BookingPayload { attendees: vec![person(ann)], ..seat("u1", ann, "") };
    let again = [
        tell(BookingRescheduled, 2, BookingPayload { reschedule_uid: "u1".into(), ..moved_by_host }),
        tell(BookingCancelled, 3, leave("u1", ann)),
        tell(BookingCreated, 5, let_through("u1", &[ann])),
    ];
    assert_eq!(
        seats(&ends(&again), "u1"),
        pairs(&[(ann, "")]),
        "though a webhook of the seats themselves had her before"
    );
    let told = [second, tell(BookingPaid, 2, waits)];
    assert_eq!(seats(&ends(&told), "u1"), pairs(&[(bob, "s2")]), "ann is not let in yet");

    let alone = ends(std::slice::from_ref(&approved)).get("u1").booking;
    assert_eq!((alone.attendees.len(), &*alone.attendees[0].seat_uid, alone.seats_per_time_slot), (1, "", None));
}

#[test]
fn a_host_who_is_let_in_with_the_guests_has_no_seat() {
    let team = TeamPayload { members: vec![person("host2@a.example")], ..Default::default() };
    let approved = BookingPayload { team: Some(team), ..let_through("u1", &["host2@a.example", "ann@a.example"]) };
    let told = [tell(BookingCreated, 2, approved), tell(BookingCreated, 3, seat("u1", "bob@a.example", "s2"))];
    assert_eq!(seats(&ends(&told), "u1"), pairs(&[("ann@a.example", ""), ("bob@a.example", "s2")]));
}

#[test]
fn whoever_left_is_on_no_older_list() {
    let everybody = BookingPayload {
        attendees: vec![person("a@a.example"), person("b@a.example")],
        ..seat("u1", "a@a.example", "")
    };
    let left = tell(BookingCancelled, 4, leave("u1", "A@a.example"));
    let place = |hour| tell(BookingLocationUpdated, hour, everybody.clone());
    let world = ends(&[place(3), left.clone()]);
    assert_eq!(world.attendees("u1"), ["b@a.example"]);
    let world = ends(&[place(5), left.clone()]);
    assert_eq!(world.attendees("u1"), ["a@a.example", "b@a.example"], "a sits again, though nobody told of it");
    let frozen = MeetingPayload { attendees: everybody.attendees.clone(), ..timer("u1") };
    let world = ends(&[tell(MeetingStarted, 0, frozen), left.clone()]);
    assert_eq!(world.attendees("u1"), ["b@a.example"]);

    let mover = BookingPayload { reschedule_uid: "u1".into(), ..seat("u2", "a@a.example", "s3") };
    let mut told = vec![place(3), tell(BookingRescheduled, 4, mover)];
    assert_eq!(ends(&told).attendees("u1"), ["b@a.example"]);
    told.push(tell(BookingNoShowUpdated, 12, marks("u1", &[("b@a.example", true)])));
    assert_eq!(ends(&told).status("u1"), BookingStatus::NoShow, "of those who stayed nobody came");
}

#[test]
fn no_show_counts_the_seats_that_stand() {
    let told = [
        tell(BookingCreated, 1, seat("u1", "a@a.example", "s1")),
        tell(BookingCreated, 2, seat("u1", "b@a.example", "s2")),
        tell(BookingNoShowUpdated, 12, marks("u1", &[("a@a.example", true)])),
        tell(MeetingEnded, 0, timer("u1")),
    ];
    assert_eq!(ends(&told).status("u1"), BookingStatus::Completed);
    let mut left = told.to_vec();
    left.push(tell(BookingCancelled, 3, leave("u1", "b@a.example")));
    assert_eq!(ends(&left).status("u1"), BookingStatus::NoShow);
}
