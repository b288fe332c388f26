//! What the random histories tell: few tenants, uids, people and times, so that they meet often.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use calbridge_proto::v1::{
    BookingPayload, BookingStatus, MeetingPayload, NoShowPayload, PersonPayload, PingPayload, Trigger, UnknownPayload,
    booking_event::Payload,
};
use calbridge_service::store::{
    BookingCursor, BookingOrder, BookingQuery, ClockPolicies,
    Comparison::{self, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual},
    Condition, Filter, LogKeepers, Position, Retention, RetentionPolicies,
};
use prost_types::Timestamp;

use crate::{chance::Chance, support::*};

/// In one of them names begin with another's.
pub(super) type Tenants = [&'static str; 3];
/// They are told apart, and sorted, by their bytes.
pub(super) const UIDS: [&str; 10] = ["u1", "U1", "u10", "u2", "u 3", "u_4", "ü5", "Z6", "7", "u8"];
const PEOPLE: [&str; 5] = ["a@x.example", "B@x.example", " c@X.example ", "ä@x.example", "a@y.example"];
const TITLES: [&str; 3] = ["One", "Two", "Über"];
const CAMPAIGNS: [&str; 3] = ["spring", "Spring", ""];
/// Keys that one webhook in two brings: so many postings that those of one term come to lie in several of the runs that
/// the store in a file sorts them into, and that runs are merged.
const MANY_KEYS: u64 = 240;
/// When bookings begin, in seconds after 1970.
const STARTS: u64 = 5;

/// Any webhook of Cal.com's. Those of different names have different bodies.
pub(super) fn any_webhook(chance: &mut Chance, tenants: &Tenants, name: &str) -> Webhook {
    let tenant = chance.of(tenants);
    let (uid, created) = (chance.of(&UIDS), chance.seconds(60));
    let told = match chance.below(16) {
        0 => unparsed(b"false"),
        1 => webhook(Trigger::Ping, created, Some(Payload::Ping(PingPayload::default()))),
        2 => webhook(Trigger::Unspecified, created, Some(Payload::Unknown(UnknownPayload::default()))),
        3 => recording(uid, created),
        4 => no_show(chance, uid, created),
        5 | 6 => meeting(chance, uid, created),
        _ => any_booking(chance, uid, created),
    };
    let body = if told.payload.is_none() { told.body } else { body(chance, name) };
    Webhook { tenant, secret_id: chance.of(&["main", "second"]), body, ..told }
}

/// Short and long, of one that gets smaller and one that does not.
fn body(chance: &mut Chance, name: &str) -> Vec<u8> {
    let mut body = name.as_bytes().to_vec();
    match chance.below(4) {
        0 => body.extend((0..chance.below(600)).map(|_| chance.of(&[0_u8, 9, 77, 128, 255]))),
        1 => body = body.repeat(300),
        _ => {}
    }
    body
}

fn any_booking(chance: &mut Chance, uid: &str, created: i64) -> Webhook {
    let trigger = chance.of(&[
        Trigger::BookingCreated,
        Trigger::BookingCreated,
        Trigger::BookingCreated,
        Trigger::BookingRequested,
        Trigger::BookingRescheduled,
        Trigger::BookingCancelled,
        Trigger::BookingRejected,
        Trigger::BookingPaymentInitiated,
        Trigger::BookingPaid,
        Trigger::BookingLocationUpdated,
        Trigger::BookingReassigned,
    ]);
    booking(trigger, uid, created, |payload| vary(chance, trigger, uid, payload))
}

fn vary(chance: &mut Chance, trigger: Trigger, uid: &str, payload: &mut BookingPayload) {
    chance.of(&TITLES).clone_into(&mut payload.title);
    payload.start_time = (!chance.once_in(6)).then(|| start(chance));
    payload.end_time = (!chance.once_in(6)).then(|| end(chance));
    payload.organizer = (!chance.once_in(4)).then(|| person(chance));
    payload.attendees = (0..chance.below(3)).map(|_| person(chance)).collect();
    payload.event_type_id = (!chance.once_in(3)).then(|| chance.seconds(3));
    payload.metadata = metadata(chance);
    if trigger == Trigger::BookingRescheduled {
        payload.reschedule_uid = another(chance, uid);
    }
    if chance.once_in(12) {
        payload.ical_uid = format!("{}@Cal.com", another(chance, uid));
    }
    if chance.once_in(5) {
        payload.seats_per_time_slot = Some(3);
        payload.attendee_seat_id = format!("seat-{}", chance.below(3));
    }
}

/// Bookings of one series name one another, and some themselves.
fn another(chance: &mut Chance, uid: &str) -> String {
    let other = chance.of(&UIDS);
    if other == uid { "u0".to_owned() } else { other.to_owned() }
}

fn meeting(chance: &mut Chance, uid: &str, created: i64) -> Webhook {
    let trigger = chance.of(&[Trigger::MeetingStarted, Trigger::MeetingEnded]);
    let payload = MeetingPayload {
        uid: uid.to_owned(),
        start_time: chance.once_in(2).then(|| start(chance)),
        end_time: Some(end(chance)),
        from_reschedule: if chance.once_in(5) { another(chance, uid) } else { String::new() },
        metadata: metadata(chance),
        attendees: (0..chance.below(2)).map(|_| person(chance)).collect(),
        ..Default::default()
    };
    webhook(trigger, created, Some(Payload::Meeting(payload)))
}

fn no_show(chance: &mut Chance, uid: &str, created: i64) -> Webhook {
    let attendees = (0..=chance.below(2)).map(|_| PersonPayload { no_show: Some(chance.once_in(2)), ..person(chance) });
    let payload = NoShowPayload { booking_uid: uid.to_owned(), attendees: attendees.collect(), ..Default::default() };
    webhook(Trigger::BookingNoShowUpdated, created, Some(Payload::NoShow(payload)))
}

fn person(chance: &mut Chance) -> PersonPayload {
    PersonPayload { email: chance.of(&PEOPLE).to_owned(), ..PersonPayload::default() }
}

fn metadata(chance: &mut Chance) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    if chance.once_in(2) {
        metadata.insert("campaign".to_owned(), chance.of(&CAMPAIGNS).to_owned());
    }
    if chance.once_in(2) {
        metadata.extend((0..MANY_KEYS).map(|key| (format!("key {key}"), chance.below(2).to_string())));
    }
    metadata
}

/// Some differ by what is finer than a store keeps times.
fn start(chance: &mut Chance) -> Timestamp {
    Timestamp { seconds: chance.seconds(STARTS) * 60, nanos: chance.of(&[0, 0, 0, 1, 1_000, 1_999]) }
}

fn end(chance: &mut Chance) -> Timestamp {
    Timestamp { seconds: 10_500 + chance.seconds(6) * 1_500, nanos: 0 }
}

/// Policies, and a time at which some of the bookings are over.
pub(super) fn any_moment(chance: &mut Chance, tenants: &Tenants) -> (i64, Arc<ClockPolicies>) {
    let now = any_now(chance);
    let graces = [None, Some(Duration::ZERO), Some(Duration::from_mins(25))];
    let tenants =
        if chance.once_in(2) { [(chance.of(tenants).to_owned(), chance.of(&graces))].into() } else { [].into() };
    (now, Arc::new(ClockPolicies { otherwise: chance.of(&graces), tenants }))
}

/// About the time of an end: some clocks are a little behind it, and some by more than clocks differ.
pub(super) fn any_now(chance: &mut Chance) -> i64 {
    (9_000 + chance.seconds(8) * 1_500 + chance.of(&[-91, -31, 0, 31])) * 1_000_000 + chance.seconds(3)
}

/// For how long something is kept: between two of those times, or less, or more.
pub(super) fn any_period(chance: &mut Chance) -> Duration {
    chance.of(&[Duration::ZERO, Duration::from_mins(25), Duration::from_mins(50), Duration::from_mins(100)])
}

/// Who keeps the log for how long, and who has readers that came so far.
pub(super) fn any_keepers(chance: &mut Chance, tenants: &Tenants, floor: Position) -> LogKeepers {
    let any = |chance: &mut Chance| {
        let transitions = (!chance.once_in(4)).then(|| any_period(chance));
        Retention { transitions, ..Retention::default() }
    };
    let own = [(chance.of(tenants).to_owned(), any(chance))].into();
    let policies = RetentionPolicies { otherwise: any(chance), tenants: own };
    let floors = if chance.once_in(3) { [(chance.of(tenants).to_owned(), floor)].into() } else { BTreeMap::new() };
    LogKeepers { policies: Arc::new(policies), floors }
}

/// A page of any list.
pub(super) fn any_query(chance: &mut Chance, tenants: &Tenants) -> BookingQuery {
    let after = chance.once_in(6).then(|| BookingCursor { time: any_time(chance), uid: chance.of(&UIDS).to_owned() });
    BookingQuery {
        tenant: chance.of(tenants).into(),
        order: chance.of(&[BookingOrder::StartTime, BookingOrder::UpdateTime]),
        descending: chance.once_in(2),
        filter: Filter((0..chance.below(4)).map(|_| any_condition(chance)).collect()),
        after,
        limit: chance.of(&[1, 2, 5, 100]),
    }
}

fn any_condition(chance: &mut Chance) -> Condition {
    let email = |chance: &mut Chance| chance.of(&PEOPLE).trim().to_lowercase();
    match chance.below(8) {
        0 | 1 => Condition::Status(chance.of(&[Equal, Equal, NotEqual]), any_status(chance)),
        2 => Condition::StartTime(any_comparison(chance), any_time(chance)),
        3 => Condition::UpdateTime(any_comparison(chance), any_now(chance)),
        4 => Condition::OrganizerEmail(email(chance)),
        5 => Condition::AttendeeEmail(email(chance)),
        6 => Condition::EventTypeId(chance.seconds(4)),
        _ if chance.once_in(3) => Condition::Metadata("key 7".to_owned(), chance.below(3).to_string()),
        _ => Condition::Metadata("campaign".to_owned(), chance.of(&CAMPAIGNS).to_owned()),
    }
}

fn any_status(chance: &mut Chance) -> BookingStatus {
    chance.of(&[
        BookingStatus::Requested,
        BookingStatus::Scheduled,
        BookingStatus::Cancelled,
        BookingStatus::Rescheduled,
        BookingStatus::Completed,
    ])
}

fn any_comparison(chance: &mut Chance) -> Comparison {
    chance.of(&[Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual])
}

/// In microseconds: a start of some booking, or beside one.
fn any_time(chance: &mut Chance) -> i64 {
    match chance.below(12) {
        0 => i64::MIN,
        1 => i64::MAX,
        _ => chance.seconds(STARTS) * 60_000_000 + chance.seconds(3),
    }
}
