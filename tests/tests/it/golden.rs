//! Golden webhooks through both programs: every trigger on every path of the sender, and the lives that bookings lead,
//! told in order, backwards, and twice over. It needs no recording.

use calbridge_calcom::golden::{
    self, Golden, Path,
    lives::{self, Life, minute},
};
use calbridge_e2e::{
    system::{Plan, SECRET, System, TENANT},
    v1::{Booking, BookingStatus as Status, PaymentStatus as Payment, Trigger},
};

const PATHS: [Path; 4] = [Path::Direct, Path::Confirm, Path::Payment, Path::Queue];

fn golden(uid: &str) -> Golden {
    Golden::new(uid, 9_001, minute(0), minute(600))
}

/// What one webhook about a booking that nobody heard of before makes of it.
fn alone(trigger: Trigger, path: Path) -> Option<(Status, Payment)> {
    let (status, payment) = match trigger {
        Trigger::BookingCreated | Trigger::BookingRescheduled | Trigger::InstantMeetingAccepted => {
            (Status::Scheduled, Payment::None)
        }
        Trigger::BookingRequested => (Status::Requested, Payment::None),
        Trigger::BookingCancelled => (Status::Cancelled, Payment::None),
        Trigger::BookingRejected => (Status::Rejected, Payment::None),
        Trigger::BookingPaymentInitiated => (Status::Requested, Payment::Initiated),
        Trigger::BookingPaid => (Status::Scheduled, Payment::Paid),
        Trigger::BookingLocationUpdated | Trigger::BookingReassigned => (Status::Scheduled, Payment::None),
        // The mark names the one attendee, but says nothing of who else was invited.
        Trigger::BookingNoShowUpdated | Trigger::MeetingStarted | Trigger::AfterHostsCalVideoNoShow => {
            (Status::InProgress, Payment::None)
        }
        Trigger::MeetingEnded => (Status::Completed, Payment::None),
        // This one lists who was invited, and none of them came.
        Trigger::AfterGuestsCalVideoNoShow => (Status::NoShow, Payment::None),
        // The builder of 2026 sends a notification that names no booking.
        Trigger::InstantMeeting if path == Path::Queue => return None,
        Trigger::InstantMeeting => (Status::AwaitingHost, Payment::None),
        _ => return None,
    };
    Some((status, payment))
}

#[tokio::test]
async fn every_trigger_on_every_path_has_its_answer_and_its_booking() {
    let mut system = Plan::new().start().await;
    let (sender, api) = (system.sender(), system.api());
    let triggers = (0..).map_while(|number| Trigger::try_from(number).ok());
    let mut count = 0;
    for trigger in triggers {
        for path in PATHS {
            let name = golden::trigger_name(trigger);
            let uid = format!("alone{name}{path:?}");
            let told = Golden { path, ..golden(&uid) };
            let answer = sender.send(TENANT, SECRET, golden::body(trigger, &told)).await;
            let expected = alone(trigger, path);
            // What names no booking is the same body on each path, but for its shape.
            let outcomes: &[&str] = if expected.is_some() { &["applied"] } else { &["recorded", "duplicate"] };
            assert_eq!(answer.status, 200, "{name} {path:?}");
            assert!(outcomes.contains(&answer.outcome().as_str()), "{name} {path:?}: {:?}", answer.body);
            assert_eq!(answer.json()["event"], name, "{path:?}");
            let booking = api.booking(TENANT, &uid).await;
            let found = booking.map(|booking| (booking.status(), booking.payment_status()));
            assert_eq!(found, expected, "{name} {path:?}");
            count += 1;
        }
    }
    assert!(count >= 29 * PATHS.len(), "the schema has 28 triggers, and there are unknown ones");
    system.stop().await;
}

#[tokio::test]
async fn every_life_ends_where_it_should_in_whatever_order_it_is_told() {
    let lives = lives::all();
    let plan = lives.iter().fold(Plan::new(), |plan, life| {
        ["on", "back", "twice"].iter().fold(plan, |plan, way| plan.tenant(&tenant(life, way), SECRET))
    });
    let mut system = plan.start().await;
    for life in &lives {
        let in_order = tell(&system, life, "on", life.steps.iter()).await;
        let backwards = tell(&system, life, "back", life.steps.iter().rev()).await;
        let twice = tell(&system, life, "twice", life.steps.iter().chain(&life.steps)).await;
        for (uid, status, payment) in &life.ends {
            let booking = in_order.iter().find(|booking| booking.uid == *uid);
            let booking = booking.unwrap_or_else(|| panic!("{}: {uid} is not known", life.name));
            assert_eq!((booking.status(), booking.payment_status()), (*status, *payment), "{}: {uid}", life.name);
        }
        assert_eq!(in_order.len(), life.ends.len(), "{}: every booking is expected", life.name);
        assert_eq!(in_order, backwards, "{} told backwards", life.name);
        assert_eq!(in_order, twice, "{} told twice", life.name);
    }
    system.stop().await;
}

#[tokio::test]
async fn a_move_can_be_followed_from_the_old_booking_to_the_new_one_and_back() {
    let mut system = Plan::new().start().await;
    let (sender, api) = (system.sender(), system.api());
    let first = golden("moveAAAA");
    let second = first.moved("moveBBBB", 9_002, minute(2), minute(700));
    for (trigger, told) in [(Trigger::BookingCreated, &first), (Trigger::BookingRescheduled, &second)] {
        assert_eq!(sender.send(TENANT, SECRET, golden::body(trigger, told)).await.outcome(), "applied");
    }
    let old = api.booking(TENANT, "moveAAAA").await.unwrap();
    let new = api.booking(TENANT, "moveBBBB").await.unwrap();
    assert_eq!((old.rescheduled_to_uid.as_str(), old.origin_uid.as_str()), ("moveBBBB", "moveAAAA"));
    assert_eq!((new.rescheduled_from_uid.as_str(), new.origin_uid.as_str()), ("moveAAAA", "moveAAAA"));
    assert_eq!(new.previous_start_time.unwrap().seconds, first.start.as_second());
    assert_eq!(new.start_time.unwrap().seconds, second.start.as_second());
    let timeline = api.timeline(TENANT, "moveAAAA").await;
    let rules: Vec<_> =
        timeline.iter().map(|entry| entry.transition.as_ref().map_or("", |change| change.rule.as_str())).collect();
    assert_eq!(rules, ["accepted", "rescheduled"]);
    system.stop().await;
}

fn tenant(life: &Life, way: &str) -> String {
    format!("{way}-{}", life.name)
}

/// Sends the steps and says how the tenant's bookings stand, without what only tells when *we* learned.
async fn tell(
    system: &System,
    life: &Life,
    way: &str,
    steps: impl Iterator<Item = &(Trigger, Golden)>,
) -> Vec<Booking> {
    let tenant = tenant(life, way);
    let sender = system.sender();
    for (trigger, told) in steps {
        let answer = sender.send(&tenant, SECRET, golden::body(*trigger, told)).await;
        assert_eq!(answer.status, 200, "{tenant}: {:?}", answer.body);
    }
    let mut bookings = system.api().all_bookings(&tenant).await;
    bookings.sort_by(|one, other| one.uid.cmp(&other.uid));
    for booking in &mut bookings {
        let learned = Booking {
            tenant: String::new(),
            position: String::new(),
            etag: String::new(),
            update_time: None,
            ..booking.clone()
        };
        *booking = learned;
    }
    bookings
}
