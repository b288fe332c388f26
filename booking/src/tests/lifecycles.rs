//! What happens to a uid, action by action, in every order with every duplicate.

use calbridge_proto::v1::{
    BookingPayload, BookingStatus, MeetingPayload, PaymentStatus,
    Trigger::{
        self, AfterGuestsCalVideoNoShow, AfterHostsCalVideoNoShow, BookingCancelled, BookingCreated,
        BookingLocationUpdated, BookingNoShowUpdated, BookingPaid, BookingPaymentInitiated, BookingReassigned,
        BookingRejected, BookingRequested, BookingRescheduled, InstantMeeting, InstantMeetingAccepted, MeetingEnded,
        MeetingStarted,
    },
};

use super::{
    histories::converge,
    world::{Told, World, at, cal_video, cancel, instant, marks, moved, payload, person, tell, timer},
};

fn ends(told: &[Told]) -> World {
    let (world, histories) = converge(told);
    println!("{histories} histories");
    world
}

fn requested(uid: &str) -> BookingPayload {
    BookingPayload { status: "PENDING".into(), ..payload(uid) }
}

#[test]
fn booked_without_approval() {
    let world = ends(&[tell(BookingCreated, 1, payload("u1"))]);
    let derived = world.get("u1");
    assert_eq!((derived.booking.status(), derived.rule.as_str()), (BookingStatus::Scheduled, "accepted"));
    assert_eq!(derived.booking.payment_status(), PaymentStatus::None);
    assert_eq!(derived.booking.create_time, Some(at(1)));
    assert_eq!(derived.booking.origin_uid, "u1");
}

#[test]
fn rescheduled_without_approval() {
    let world = ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingRescheduled, 2, moved("u2", "u1"))]);
    let old = world.get("u1").booking;
    assert_eq!((old.status(), old.rescheduled_to_uid.as_str()), (BookingStatus::Rescheduled, "u2"));
    assert_eq!((old.start_time, old.calcom_booking_id), (Some(at(10)), Some(7)));
    let new = world.get("u2").booking;
    assert_eq!((new.status(), new.rescheduled_from_uid.as_str()), (BookingStatus::Scheduled, "u1"));
    assert_eq!((new.start_time, new.previous_start_time), (Some(at(12)), Some(at(10))));
    assert_eq!((new.rescheduled_by.as_str(), new.origin_uid.as_str()), ("guest@a.example", "u1"));
}

#[test]
fn attendee_reschedules_an_approval_event() {
    let request = BookingPayload { status: "PENDING".into(), ..moved("u2", "u1") };
    let approval = BookingPayload { ical_uid: String::new(), ..payload("u2") };
    let mut told = vec![
        tell(BookingRequested, 1, requested("u1")),
        tell(BookingCreated, 2, payload("u1")),
        tell(BookingRequested, 3, request),
    ];
    let world = ends(&told);
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled);
    assert_eq!(world.status("u2"), BookingStatus::Requested);
    told.push(tell(BookingCreated, 4, approval));
    let world = ends(&told);
    assert_eq!(world.status("u2"), BookingStatus::Scheduled);
    assert_eq!(world.get("u2").booking.rescheduled_from_uid, "u1");
}

#[test]
fn rescheduling_request_is_declined_and_nothing_replaces_the_old_booking() {
    let request = BookingPayload { status: "PENDING".into(), ..moved("u2", "u1") };
    let rejection = BookingPayload { status: "REJECTED".into(), rejection_reason: "no time".into(), ..requested("u2") };
    let world = ends(&[
        tell(BookingCreated, 1, payload("u1")),
        tell(BookingRequested, 2, request),
        tell(BookingRejected, 3, rejection),
    ]);
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled);
    assert_eq!(world.status("u2"), BookingStatus::Rejected);
    assert_eq!(world.get("u2").booking.rejection_reason, "no time");
}

#[test]
fn host_asks_for_another_time_and_gets_it() {
    let ask = BookingPayload { request_reschedule: Some(true), ..cancel("u1") };
    let mut told = vec![tell(BookingCreated, 1, payload("u1")), tell(BookingCancelled, 2, ask)];
    let asked = ends(&told).get("u1").booking;
    assert_eq!((asked.status(), asked.reschedule_requested), (BookingStatus::Cancelled, true));
    assert_eq!((asked.cancelled_by.as_str(), asked.cancellation_reason.as_str()), ("host@a.example", "ill"));
    told.push(tell(BookingRescheduled, 3, moved("u2", "u1")));
    let world = ends(&told);
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled);
    assert_eq!(world.status("u2"), BookingStatus::Scheduled);
}

#[test]
fn host_asks_for_another_time_without_a_status_in_december_2025() {
    let ask = BookingPayload { status: String::new(), ..cancel("u1") };
    let booking = ends(&[tell(BookingCancelled, 2, ask)]).get("u1").booking;
    assert!(booking.reschedule_requested);
    let booking = ends(&[tell(BookingCancelled, 2, cancel("u1"))]).get("u1").booking;
    assert!(!booking.reschedule_requested);
}

#[test]
fn requested_and_approved() {
    let world = ends(&[tell(BookingRequested, 1, requested("u1")), tell(BookingCreated, 2, payload("u1"))]);
    assert_eq!(world.status("u1"), BookingStatus::Scheduled);
}

#[test]
fn requested_and_declined() {
    let rejection = BookingPayload { status: "REJECTED".into(), ..payload("u1") };
    let world = ends(&[tell(BookingRequested, 1, requested("u1")), tell(BookingRejected, 2, rejection)]);
    assert_eq!(world.status("u1"), BookingStatus::Rejected);
}

#[test]
fn requested_and_withdrawn() {
    let world = ends(&[tell(BookingRequested, 1, requested("u1")), tell(BookingCancelled, 2, cancel("u1"))]);
    assert_eq!(world.status("u1"), BookingStatus::Cancelled);
}

#[test]
fn paid_without_approval_in_both_orders() {
    let initiated = BookingPayload { payment_id: Some(5), price_minor: Some(900), ..payload("u1") };
    for (created, paid) in [(2, 3), (3, 2)] {
        let told = [
            tell(BookingPaymentInitiated, 1, initiated.clone()),
            tell(BookingCreated, created, payload("u1")),
            tell(BookingPaid, paid, initiated.clone()),
        ];
        let waiting = World::of(&told[..1]).get("u1").booking;
        assert_eq!(
            (waiting.status(), waiting.payment_status()),
            (BookingStatus::Requested, PaymentStatus::Initiated),
            "ACCEPTED in that webhook is not yet true"
        );
        let booking = ends(&told).get("u1").booking;
        assert_eq!((booking.status(), booking.payment_status()), (BookingStatus::Scheduled, PaymentStatus::Paid));
        assert_eq!((booking.payment_id, booking.price_minor), (Some(5), Some(900)));
    }
}

#[test]
fn paid_with_approval() {
    let paid = BookingPayload { status: "PENDING".into(), ..payload("u1") };
    let mut told = vec![
        tell(BookingPaymentInitiated, 1, payload("u1")),
        tell(BookingPaid, 2, paid),
        tell(BookingRequested, 3, BookingPayload { status: String::new(), ..payload("u1") }),
    ];
    let booking = ends(&told).get("u1").booking;
    assert_eq!((booking.status(), booking.payment_status()), (BookingStatus::Requested, PaymentStatus::Paid));
    told.push(tell(BookingCreated, 4, payload("u1")));
    assert_eq!(ends(&told).status("u1"), BookingStatus::Scheduled);
}

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
fn location_and_host_change_under_the_same_uid() {
    let place = BookingPayload { location: "Main Street 1".into(), ..payload("u1") };
    let host = BookingPayload { organizer: Some(person("other@a.example")), location: String::new(), ..payload("u1") };
    let world = ends(&[
        tell(BookingCreated, 1, payload("u1")),
        tell(BookingLocationUpdated, 2, place),
        tell(BookingReassigned, 3, host),
    ]);
    let booking = world.get("u1").booking;
    let organizer = booking.organizer.unwrap();
    assert_eq!((booking.location.as_str(), organizer.email.as_str()), ("Main Street 1", "other@a.example"));
    assert_eq!(organizer.id, None, "the old host's id is not the new host's");

    for trigger in [BookingLocationUpdated, BookingReassigned] {
        assert_eq!(ends(&[tell(trigger, 1, payload("u1"))]).status("u1"), BookingStatus::Scheduled);
        assert_eq!(ends(&[tell(trigger, 1, requested("u1"))]).status("u1"), BookingStatus::Requested);
    }
}

#[test]
fn instant_meeting_is_accepted() {
    let asked = tell(InstantMeeting, 1, instant("u1"));
    let world = ends(std::slice::from_ref(&asked));
    assert_eq!((world.status("u1"), world.get("u1").rule.as_str()), (BookingStatus::AwaitingHost, "awaiting_host"));
    assert_eq!(world.get("u1").booking.title, "Tea");
    let world = ends(&[asked, tell(InstantMeetingAccepted, 2, payload("u1"))]);
    assert_eq!(world.status("u1"), BookingStatus::Scheduled);
}

#[test]
fn timers_before_everything_else() {
    let world = ends(&[
        tell(BookingRequested, 1, requested("u1")),
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
fn no_show_is_marked_and_taken_back() {
    let created = tell(BookingCreated, 1, payload("u1"));
    let marked = tell(BookingNoShowUpdated, 12, marks("u1", &[("guest@a.example", true)]));
    let unmarked = tell(BookingNoShowUpdated, 13, marks("u1", &[("GUEST@a.example", false)]));
    let world = ends(&[created.clone(), tell(MeetingEnded, 0, timer("u1")), marked.clone()]);
    assert_eq!((world.status("u1"), world.get("u1").rule.as_str()), (BookingStatus::NoShow, "no_show"));
    assert!(world.get("u1").booking.attendees[0].no_show);
    let world = ends(&[created, marked, unmarked]);
    assert_eq!(world.status("u1"), BookingStatus::InProgress);
    assert!(!world.get("u1").booking.attendees[0].no_show);
    assert_eq!(world.attendees("u1"), ["guest@a.example"], "one person, however spelled");
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
        tell(BookingRequested, 1, requested("u1")),
        tell(BookingCreated, 2, payload("u1")),
        tell(BookingRescheduled, 3, moved("u2", "u1")),
        tell(MeetingStarted, 0, MeetingPayload { start_time: Some(at(12)), end_time: Some(at(13)), ..timer("u2") }),
        tell(BookingNoShowUpdated, 14, marks("u2", &[("guest@a.example", true)])),
    ]);
    assert_eq!(world.status("u1"), BookingStatus::Rescheduled);
    assert_eq!(world.status("u2"), BookingStatus::NoShow);
}

#[test]
fn a_series_is_one_booking_an_occurrence() {
    let world = ends(&[
        tell(BookingCreated, 1, payload("u1")),
        tell(BookingCreated, 1, payload("u2")),
        tell(BookingCancelled, 2, BookingPayload { recurring: true, ..cancel("u2") }),
    ]);
    assert_eq!(world.status("u1"), BookingStatus::Scheduled, "siblings are cancelled silently");
    assert_eq!(world.status("u2"), BookingStatus::Cancelled);
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
