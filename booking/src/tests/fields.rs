//! Field by field: what writes, what fills a gap, what erases nothing, and where it ends.

use calbridge_proto::v1::{
    Attendee, Booking, BookingPayload, BookingStatus, MeetingPayload, Organizer, PaymentStatus, PersonPayload,
    ResponsePayload, TeamPayload,
    Trigger::{
        AfterGuestsCalVideoNoShow, BookingCreated, BookingPaid, BookingReassigned, BookingRequested,
        BookingRescheduled, MeetingStarted,
    },
};
use prost_types::{ListValue, Struct, Value, value::Kind};

use super::{
    histories::ends,
    world::{World, answer, at, cal_video, moved, payload, person, tell, timer},
};
use crate::{Subject, subject};

#[test]
fn each_field_of_a_webhook_shows_in_a_field_of_its_booking() {
    let full = BookingPayload {
        description: "to talk".into(),
        seats_per_time_slot: Some(4),
        attendee_seat_id: "s1".into(),
        attendees: vec![PersonPayload { phone_number: "+1 555".into(), ..person("guest@a.example") }],
        responses: [("rescheduleReason".to_owned(), answer("rain"))].into(),
        price_minor: Some(900),
        currency: "eur".into(),
        payment_id: Some(5),
        ..moved("u1", "u1")
    };
    let host = Organizer {
        id: Some(12),
        email: "host@a.example".into(),
        name: "host of the tests".into(),
        username: "host".into(),
        time_zone: "Europe/London".into(),
        language: "en".into(),
        no_show: false,
    };
    let guest = Attendee {
        email: "guest@a.example".into(),
        name: "guest of the tests".into(),
        time_zone: "Europe/London".into(),
        language: "en".into(),
        utc_offset_minutes: Some(60),
        phone_number: "+1 555".into(),
        seat_uid: "s1".into(),
        no_show: false,
    };
    let reason = Value { kind: Some(Kind::StringValue("rain".into())) };
    let booking = ends(&[tell(BookingRescheduled, 3, full)]).get("u1").booking;
    assert_eq!(
        booking,
        Booking {
            uid: "u1".into(),
            calcom_booking_id: Some(8),
            status: BookingStatus::Scheduled.into(),
            payment_status: PaymentStatus::None.into(),
            title: "Tea".into(),
            event_type_slug: "tea".into(),
            event_type_id: Some(3),
            start_time: Some(at(12)),
            end_time: Some(at(13)),
            location: "integrations:daily".into(),
            organizer: Some(host.clone()),
            attendees: vec![guest],
            ical_uid: "u1@Cal.com".into(),
            origin_uid: "u1".into(),
            previous_start_time: Some(at(10)),
            previous_end_time: Some(at(11)),
            rescheduled_by: "guest@a.example".into(),
            reschedule_reason: "rain".into(),
            description: "to talk".into(),
            hosts: vec![host],
            price_minor: Some(900),
            currency: "eur".into(),
            payment_id: Some(5),
            seats_per_time_slot: Some(4),
            metadata: [("room".to_owned(), "4".to_owned())].into(),
            responses: Some(Struct { fields: [("rescheduleReason".to_owned(), reason)].into() }),
            create_time: Some(at(3)),
            ..Booking::default()
        }
    );
}

#[test]
fn the_newest_telling_of_each_field_shows() {
    let later = BookingPayload { title: "Coffee".into(), location: String::new(), ..payload("u1") };
    let booking = ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingReassigned, 2, later)]).get("u1").booking;
    assert_eq!((booking.title.as_str(), booking.location.as_str()), ("Coffee", "integrations:daily"));
}

#[test]
fn what_is_left_out_erases_nothing() {
    let bare = BookingPayload { uid: "u1".into(), ..Default::default() };
    let full = payload("u1");
    let before = World::of([&tell(BookingCreated, 1, full.clone())]).get("u1");
    let after = ends(&[tell(BookingCreated, 1, full), tell(BookingCreated, 2, bare)]).get("u1");
    assert_eq!(before, after);
}

#[test]
fn a_lone_start_tears_no_pair_apart() {
    let lone = BookingPayload { start_time: Some(at(20)), end_time: None, ..payload("u1") };
    let booking =
        ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingCreated, 2, lone.clone())]).get("u1").booking;
    assert_eq!((booking.start_time, booking.end_time), (Some(at(10)), Some(at(11))));
    let booking = ends(&[tell(BookingCreated, 2, lone)]).get("u1").booking;
    assert_eq!((booking.start_time, booking.end_time), (Some(at(20)), None));
}

#[test]
fn the_description_falls_back_to_the_notes() {
    let notes = BookingPayload { additional_notes: "bring tea".into(), ..payload("u1") };
    assert_eq!(ends(&[tell(BookingCreated, 1, notes.clone())]).get("u1").booking.description, "bring tea");
    let both = BookingPayload { description: "described".into(), ..notes };
    assert_eq!(ends(&[tell(BookingCreated, 1, both)]).get("u1").booking.description, "described");
}

#[test]
fn the_metadata_of_paid_only_fills_gaps() {
    let paid = BookingPayload {
        metadata: [("room".to_owned(), "cal.com".to_owned()), ("identifier".to_owned(), "cal.com".to_owned())].into(),
        ..payload("u1")
    };
    let metadata =
        ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingPaid, 2, paid)]).get("u1").booking.metadata;
    assert_eq!(metadata["room"], "4");
    assert_eq!(metadata["identifier"], "cal.com");
}

#[test]
fn a_reschedule_only_fills_gaps_of_the_old_booking() {
    let wrong = BookingPayload { reschedule_start_time: Some(at(5)), reschedule_id: Some(99), ..moved("u2", "u1") };
    let old = ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingRescheduled, 2, wrong)]).get("u1").booking;
    assert_eq!((old.start_time, old.calcom_booking_id), (Some(at(10)), Some(7)));
}

#[test]
fn what_a_timer_leaked_of_a_cancel_is_not_the_bookings() {
    let leaked = MeetingPayload {
        cancellation_reason: "moved".into(),
        rejection_reason: "no".into(),
        cancelled_by: "x@a.example".into(),
        ..timer("u1")
    };
    let booking = ends(&[tell(MeetingStarted, 0, leaked)]).get("u1").booking;
    assert_eq!((booking.cancellation_reason, booking.cancelled_by, booking.rejection_reason), Default::default());
}

#[test]
fn people_are_known_by_address_without_case() {
    let first = PersonPayload { phone_number: "+1".into(), ..person("Guest@A.example") };
    let second = PersonPayload { name: "Renamed".into(), ..person(" guest@a.example ") };
    let told = [
        tell(BookingRequested, 1, BookingPayload { attendees: vec![first], ..payload("u1") }),
        tell(BookingCreated, 2, BookingPayload { attendees: vec![second], ..payload("u1") }),
    ];
    let attendees = ends(&told).get("u1").booking.attendees;
    assert_eq!(attendees.len(), 1);
    assert_eq!((attendees[0].email.as_str(), attendees[0].name.as_str()), ("guest@a.example", "Renamed"));
    assert_eq!(attendees[0].phone_number, "+1", "a path without the number does not lose it");
}

#[test]
fn attendees_are_the_newest_list() {
    let others = vec![person("c@a.example"), person("b@a.example"), person("C@a.example"), PersonPayload::default()];
    let newer = BookingPayload { attendees: others, ..payload("u1") };
    let world = ends(&[tell(BookingCreated, 1, payload("u1")), tell(BookingCreated, 2, newer)]);
    // Each once, nobody without an address; of two spellings in one list the greater stands.
    assert_eq!(world.attendees("u1"), ["c@a.example", "b@a.example"]);
}

#[test]
fn an_attendees_row_number_is_nobodys_id() {
    let leaked = PersonPayload { id: Some(90_089), ..person("host@a.example") };
    let host = PersonPayload { id: None, ..person("host@a.example") };
    let told = [
        tell(AfterGuestsCalVideoNoShow, 9, {
            let mut absent = cal_video("u1");
            absent.attendees = vec![leaked];
            absent
        }),
        tell(BookingCreated, 1, BookingPayload { organizer: Some(host), ..payload("u1") }),
    ];
    assert_eq!(ends(&told).get("u1").booking.organizer.unwrap().id, None);
    let told = [told[1].clone(), tell(BookingRequested, 0, payload("u1"))];
    let organizer = ends(&told).get("u1").booking.organizer.unwrap();
    assert_eq!((organizer.id, organizer.username.as_str()), (Some(12), "host"), "a path without the id keeps it");
}

#[test]
fn hosts_are_the_organizer_and_the_team_each_once() {
    let members = vec![person("Host@a.example"), PersonPayload { id: Some(4), ..person("second@a.example") }];
    let team = Some(TeamPayload { id: Some(1), name: "Team".into(), members });
    let booking = ends(&[tell(BookingCreated, 1, BookingPayload { team, ..payload("u1") })]).get("u1").booking;
    let hosts: Vec<_> = booking.hosts.iter().map(|host| (host.email.to_lowercase(), host.id)).collect();
    assert_eq!(hosts, [("host@a.example".to_owned(), Some(12)), ("second@a.example".to_owned(), Some(4))]);
    assert_eq!(booking.organizer.as_ref(), booking.hosts.first());
}

#[test]
fn answers_stand_by_field_and_empty_ones_erase_nothing() {
    let value = |kind| ResponsePayload { value: Some(Value { kind: Some(kind) }), ..Default::default() };
    let place = Struct { fields: [("value".to_owned(), Value::from("phone"))].into() };
    let first = BookingPayload {
        responses: [
            ("name".to_owned(), answer("Guest")),
            ("guests".to_owned(), value(Kind::ListValue(ListValue { values: vec![Value::from("x")] }))),
            ("ok".to_owned(), value(Kind::BoolValue(false))),
            ("location".to_owned(), value(Kind::StructValue(place.clone()))),
            ("rescheduleReason".to_owned(), answer("train late")),
        ]
        .into(),
        user_fields_responses: [("colour".to_owned(), answer("red")), ("name".to_owned(), answer("Other"))].into(),
        ..payload("u1")
    };
    let second = BookingPayload {
        responses: [
            ("name".to_owned(), answer("")),
            ("guests".to_owned(), value(Kind::ListValue(ListValue::default()))),
            ("ok".to_owned(), value(Kind::NullValue(0))),
            ("rescheduleReason".to_owned(), ResponsePayload::default()),
            ("colour".to_owned(), value(Kind::StructValue(Struct::default()))),
        ]
        .into(),
        ..payload("u1")
    };
    let booking = ends(&[tell(BookingCreated, 1, first), tell(BookingCreated, 2, second)]).get("u1").booking;
    let answers = booking.responses.unwrap().fields;
    assert_eq!(answers["name"], Value::from("Guest"));
    assert_eq!(answers["ok"], Value::from(false));
    assert_eq!(answers["colour"], Value::from("red"));
    assert_eq!(answers["location"], Value { kind: Some(Kind::StructValue(place)) });
    let guests = Value { kind: Some(Kind::ListValue(ListValue { values: vec![Value::from("x")] })) };
    assert_eq!(answers["guests"], guests);
    assert_eq!(answers.len(), 6);
    assert_eq!(booking.reschedule_reason, "train late");
}

#[test]
fn a_long_text_is_cut_between_characters_and_a_long_nested_answer_left_out() {
    let long = "é".repeat(300 * 1024);
    let list = Value { kind: Some(Kind::ListValue(ListValue { values: vec![Value::from(long.clone())] })) };
    let nested = ResponsePayload { value: Some(list), ..Default::default() };
    let told = BookingPayload {
        description: long.clone(),
        responses: [("plain".to_owned(), answer(&long)), ("nested".to_owned(), nested)].into(),
        ..payload("u1")
    };
    let booking = ends(&[tell(BookingCreated, 1, told)]).get("u1").booking;
    assert_eq!(booking.description.len(), 256 * 1024);
    let answers = booking.responses.unwrap().fields;
    assert_eq!(answers["plain"], Value::from("é".repeat(128 * 1024)));
    assert!(!answers.contains_key("nested"));
}

#[test]
fn a_uid_that_no_index_would_hold_names_no_booking() {
    let long = "x".repeat(257);
    let own = tell(BookingCreated, 1, payload(&long));
    assert!(own.facts().is_empty());
    assert_eq!(subject(&own.event), Subject::Recorded { uid: None });
    let replaced = tell(BookingRescheduled, 1, moved("u2", &long));
    assert_eq!(World::of([&replaced]).rows.keys().collect::<Vec<_>>(), ["u2"]);
}

#[test]
fn a_plain_booking_is_about_a_kilobyte() {
    let size = World::of([&tell(BookingCreated, 1, payload("u1"))]).bytes()[0].1.len();
    println!("{size} bytes");
    assert!(size < 1_024, "{size}");
}
