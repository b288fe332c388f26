//! What a booking goes through beside what people do to it: timers, marks, payment told alone, and a whole life; in
//! every order with every duplicate.

use calbridge_proto::v1::{
    BookingPayload, BookingStatus, MeetingPayload, PaymentStatus, TeamPayload,
    Trigger::{
        self, AfterGuestsCalVideoNoShow, AfterHostsCalVideoNoShow, BookingCancelled, BookingCreated,
        BookingLocationUpdated, BookingNoShowUpdated, BookingPaid, BookingPaymentInitiated, BookingReassigned,
        BookingRejected, BookingRequested, BookingRescheduled, InstantMeeting, InstantMeetingAccepted, MeetingEnded,
        MeetingStarted,
    },
};

use super::{
    histories::ends,
    seen::pending,
    world::{Told, World, at, cal_video, instant, marks, moved, payload, person, tell, timer},
};

#[test]
fn paid_tells_the_status_where_nothing_else_does() {
    for (sent, expected) in [
        ("ACCEPTED", BookingStatus::Scheduled),
        ("PENDING", BookingStatus::Requested),
        ("", BookingStatus::Requested),
        ("REJECTED", BookingStatus::Rejected),
        ("CANCELLED", BookingStatus::Cancelled),
    ] {
        let paid = BookingPayload { status: sent.into(), ..payload("u1") };
        let booking = ends(&[tell(BookingPaid, 1, paid)]).get("u1").booking;
        assert_eq!((booking.status(), booking.payment_status()), (expected, PaymentStatus::Paid), "{sent}");
    }
}

#[test]
fn timers_before_everything_else() {
    let world = ends(&[
        tell(BookingRequested, 1, pending(payload("u1"))),
        tell(BookingCreated, 2, payload("u1")),
        tell(MeetingStarted, 0, timer("u1")),
        tell(MeetingEnded, 0, timer("u1")),
    ]);
    assert_eq!(world.status("u1"), BookingStatus::Completed);
    let world = ends(&[tell(MeetingStarted, 0, timer("u1"))]);
    let derived = world.get("u1");
    assert_eq!((derived.booking.status(), derived.rule.as_str()), (BookingStatus::InProgress, "started"));
    assert_eq!(derived.booking.create_time, None, "a flat body has no envelope");
    assert_eq!(derived.booking.title, "Tea");
}

#[test]
fn enveloped_timers_have_a_time_and_still_only_fill_gaps() {
    let late = MeetingPayload { title: "Frozen".into(), enveloped: true, ..timer("u1") };
    let world = ends(&[tell(BookingCreated, 1, payload("u1")), tell(MeetingStarted, 9, late.clone())]);
    assert_eq!(world.get("u1").booking.title, "Tea");
    let booking = ends(&[tell(MeetingStarted, 9, late)]).get("u1").booking;
    assert_eq!((booking.title.as_str(), booking.create_time), ("Frozen", Some(at(9))));
}

#[test]
fn cal_video_marks_guests_and_hosts() {
    let mut absent = cal_video("u1");
    absent.guests = vec![person("guest@a.example")];
    let guests = tell(AfterGuestsCalVideoNoShow, 11, absent);
    let mut alone = cal_video("u1");
    alone.host_email = "host@a.example".into();
    alone.no_show_host = Some(true);
    alone.attendees[0].no_show = Some(true);
    let host = tell(AfterHostsCalVideoNoShow, 11, alone);
    let created = tell(BookingCreated, 1, payload("u1"));

    let world = ends(&[created.clone(), guests.clone()]);
    assert_eq!(world.status("u1"), BookingStatus::NoShow);
    let world = ends(&[created.clone(), host.clone()]);
    let booking = world.get("u1").booking;
    assert_eq!(booking.status(), BookingStatus::InProgress, "`noShow` of a leaked row is no mark");
    assert!(booking.organizer.unwrap().no_show && booking.hosts[0].no_show && !booking.attendees[0].no_show);
    assert_eq!(ends(&[created, guests, host]).status("u1"), BookingStatus::NoShow);
}

#[test]
fn members_of_the_team_are_hosts_though_they_are_listed() {
    let team = TeamPayload { members: vec![person("host@a.example"), person("b@a.example")], ..Default::default() };
    let listed = vec![person("guest@a.example"), person("b@a.example")];
    let created = BookingPayload { team: Some(team), attendees: listed, ..payload("u1") };
    let mut absent = cal_video("u1");
    absent.attendees = created.attendees.clone();
    absent.guests = vec![person("guest@a.example")];
    let world = ends(&[tell(BookingCreated, 1, created.clone()), tell(AfterGuestsCalVideoNoShow, 11, absent)]);
    assert_eq!(world.attendees("u1"), ["guest@a.example"]);
    assert_eq!(world.status("u1"), BookingStatus::NoShow, "whoever was invited did not come");

    let by_one = BookingPayload { attendees: created.attendees.iter().rev().cloned().collect(), ..created.clone() };
    let mark = |who: &[(&str, bool)]| tell(BookingNoShowUpdated, 11, marks("u1", who));
    let world = ends(&[tell(BookingCreated, 1, by_one), mark(&[("guest@a.example", true)])]);
    assert_eq!(world.attendees("u1"), ["b@a.example", "guest@a.example"], "the first of a list booked");
    assert_eq!(world.status("u1"), BookingStatus::InProgress, "and may have come");

    let among_them = BookingPayload { attendees: vec![person("b@a.example")], ..created };
    let world = ends(&[tell(BookingCreated, 1, among_them)]);
    assert_eq!(world.attendees("u1"), ["b@a.example"], "a booking of the team with itself has its guests");
}

#[test]
fn a_guest_who_came_is_not_missing_for_being_listed() {
    let created = BookingPayload { attendees: vec![person("a@a.example"), person("b@a.example")], ..payload("u1") };
    let mut absent = cal_video("u1");
    absent.attendees = created.attendees.clone();
    absent.guests = vec![person("a@a.example"), person("b@a.example")];
    absent.guests[0].no_show = Some(true);
    absent.guests[1].no_show = Some(false);
    let world = ends(&[tell(BookingCreated, 1, created), tell(AfterGuestsCalVideoNoShow, 11, absent)]);
    let marks: Vec<bool> = world.get("u1").booking.attendees.iter().map(|attendee| attendee.no_show).collect();
    assert_eq!((world.status("u1"), marks), (BookingStatus::InProgress, vec![true, false]));
}

#[test]
fn the_host_that_is_named_is_missing_whoever_the_organizer_is() {
    let mut alone = cal_video("u1");
    alone.host_email = "host@a.example".into();
    alone.no_show_host = Some(false);
    let world = ends(&[tell(BookingCreated, 1, payload("u1")), tell(AfterHostsCalVideoNoShow, 11, alone)]);
    assert!(world.get("u1").booking.organizer.unwrap().no_show);
}

#[test]
fn a_host_that_only_the_mark_names_is_shown() {
    let mut alone = cal_video("u1");
    alone.host_email = "other@a.example".into();
    let hosts = |world: &World| -> Vec<(String, bool)> {
        world.get("u1").booking.hosts.into_iter().map(|host| (host.email, host.no_show)).collect()
    };
    let mark = tell(AfterHostsCalVideoNoShow, 11, alone);
    let other = ("other@a.example".to_owned(), true);
    assert_eq!(hosts(&ends(std::slice::from_ref(&mark))), std::slice::from_ref(&other));
    let world = ends(&[tell(BookingCreated, 1, payload("u1")), mark]);
    assert_eq!(hosts(&world), [("host@a.example".to_owned(), false), other]);
}

#[test]
fn a_whole_life() {
    let world = ends(&[
        tell(BookingRequested, 1, pending(payload("u1"))),
        tell(BookingCreated, 2, payload("u1")),
        tell(BookingRescheduled, 3, moved("u2", "u1")),
        tell(MeetingStarted, 0, MeetingPayload { start_time: Some(at(12)), end_time: Some(at(13)), ..timer("u2") }),
        tell(BookingNoShowUpdated, 14, marks("u2", &[("guest@a.example", true)])),
    ]);
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled);
    assert_eq!(world.status("u2"), BookingStatus::NoShow);
}

#[test]
fn every_trigger_that_states_facts_shows_a_booking() {
    let booking: [Trigger; 10] = [
        BookingCreated,
        BookingRequested,
        BookingRescheduled,
        BookingCancelled,
        BookingRejected,
        BookingPaymentInitiated,
        BookingPaid,
        BookingLocationUpdated,
        BookingReassigned,
        InstantMeetingAccepted,
    ];
    let mut told: Vec<Told> =
        booking.map(|trigger| tell(trigger, 1, BookingPayload { uid: "u1".into(), ..Default::default() })).into();
    told.push(tell(MeetingStarted, 1, MeetingPayload { uid: "u1".into(), ..Default::default() }));
    told.push(tell(MeetingEnded, 1, MeetingPayload { uid: "u1".into(), ..Default::default() }));
    told.push(tell(BookingNoShowUpdated, 1, marks("u1", &[])));
    told.push(tell(AfterGuestsCalVideoNoShow, 1, cal_video("u1")));
    told.push(tell(AfterHostsCalVideoNoShow, 1, cal_video("u1")));
    told.push(tell(InstantMeeting, 1, instant("u1")));
    for told in told {
        assert!(World::of([&told]).find("u1").is_some(), "{:?}", told.event.trigger());
    }
}
