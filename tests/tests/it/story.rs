//! Why a booking is what it is, told from outside: the timeline over the API and as the command line prints it, the
//! lineage, the lists, the clock and replays, through both programs.

use calbridge_calcom::golden::{self, Golden, Path};
use calbridge_e2e::{
    program::{Ended, Start},
    system::{Plan, SECRET, System, TENANT},
    v1::{
        BookingEvent, BookingStatus, LinkEvidence, ListBookingsRequest, SubmitEventRequest, SubmitOutcome,
        TimelineEntry, TimelineNote, TransitionSource, Trigger,
    },
    wait,
};
use jiff::Timestamp;

/// Minutes after a fixed time: when Cal.com sent, or when a booking is.
fn minute(number: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 / 60 * 60 + number * 60).unwrap()
}

fn golden(uid: &str) -> Golden {
    Golden::new(uid, 9_001, minute(0), minute(600))
}

async fn send(system: &System, trigger: Trigger, told: &Golden, outcome: &str) {
    let answer = system.sender().send(TENANT, SECRET, golden::body(trigger, told)).await;
    assert_eq!(answer.outcome(), outcome, "{:?}", answer.body);
}

/// Runs `calbridge` against the system's service.
async fn run(system: &System, arguments: &[&str]) -> Ended {
    let service = format!("http://{}", system.service.listening().grpc());
    let start = arguments.iter().fold(Start::new("calbridge"), |start, argument| start.arg(*argument));
    start.env("CALBRIDGE_SERVICE", service).run().await
}

/// A request, its approval by two subscriptions, a retry, a late copy of the request, and a move, each as it arrives.
async fn told_badly(system: &System) {
    let asked = golden("storyAAA");
    let approved = Golden { path: Path::Confirm, created_at: minute(2), ..asked.clone() };
    let copy = Golden { created_at: minute(3), ..approved.clone() };
    let moved = asked.moved("storyBBB", 9_002, minute(5), minute(700));
    send(system, Trigger::BookingCreated, &approved, "applied").await;
    send(system, Trigger::BookingCreated, &copy, "no_change").await;
    send(system, Trigger::BookingCreated, &approved, "duplicate").await;
    send(system, Trigger::BookingRescheduled, &moved, "applied").await;
    // It says what the approval left out, and no more.
    send(system, Trigger::BookingRequested, &asked, "applied").await;
}

#[tokio::test]
async fn a_timeline_tells_the_story_without_a_log() {
    let mut system = Plan::new().start().await;
    told_badly(&system).await;
    let api = system.api();
    // The note of a duplicate rides along with a later round; nobody waits for it.
    let entries = wait::until("the duplicate is noted", || async {
        Some(api.timeline(TENANT, "storyAAA").await).filter(|entries| entries.len() == 5)
    })
    .await;
    let mut told: Vec<_> = entries.iter().map(line).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "BOOKING_CREATED of storyAAA: applied, UNSPECIFIED to SCHEDULED by accepted",
            "BOOKING_CREATED of storyAAA: duplicate",
            "BOOKING_CREATED of storyAAA: no_change",
            "BOOKING_REQUESTED of storyAAA: applied, RESCHEDULED to RESCHEDULED by rescheduled",
            "BOOKING_RESCHEDULED of storyBBB: applied, SCHEDULED to RESCHEDULED by rescheduled",
        ]
    );
    for entry in &entries {
        assert_eq!((entry.source(), entry.secret_id.as_str()), (TransitionSource::Webhook, "literal:1"));
        assert_eq!((entry.notes.len(), entry.delivery_id.len()), (0, 36));
        if let Some(made) = &entry.transition {
            assert_eq!(made.source(), TransitionSource::Webhook);
            assert_eq!((&made.delivery_id, &made.trace_id), (&entry.delivery_id, &entry.trace_id));
        }
    }

    let shown = run(&system, &["timeline", "storyAAA"]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    for part in [
        "appeared as SCHEDULED\n  Cause:    BOOKING_CREATED\n  Rule:     accepted\n",
        "SCHEDULED → RESCHEDULED\n  Cause:    BOOKING_RESCHEDULED of storyBBB\n  Rule:     rescheduled\n",
        "duplicate: the same webhook again\n  Cause:    BOOKING_CREATED\n",
        "no change\n  Cause:    BOOKING_CREATED\n",
        "details changed, RESCHEDULED as before\n  Cause:    BOOKING_REQUESTED\n",
        "verified by literal:1",
    ] {
        assert!(shown.stdout.contains(part), "{part:?} is not in:\n{}", shown.stdout);
    }
    let nothing = run(&system, &["timeline", "nobody"]).await;
    assert_eq!((nothing.code, nothing.stdout.trim_end()), (Some(0), "nothing spoke of nobody"));
    system.stop().await;
}

/// One entry in a line, without what differs from run to run.
fn line(entry: &TimelineEntry) -> String {
    let outcome = entry.outcome().as_str_name().trim_start_matches("SUBMIT_OUTCOME_").to_lowercase();
    let status = |status: BookingStatus| status.as_str_name().trim_start_matches("BOOKING_STATUS_");
    let change = entry.transition.as_ref().map_or_else(String::new, |made| {
        format!(", {} to {} by {}", status(made.from_status()), status(made.to_status()), made.rule)
    });
    format!("{} of {}: {outcome}{change}", entry.trigger_name, entry.booking_uid)
}

#[tokio::test]
async fn a_cancel_of_all_that_remains_says_that_siblings_may_have_changed() {
    let mut system = Plan::new().start().await;
    send(&system, Trigger::BookingCreated, &golden("seriesAA"), "applied").await;
    let cancel = Golden { recurring: true, created_at: minute(1), ..golden("seriesAA") };
    send(&system, Trigger::BookingCancelled, &cancel, "applied").await;
    let entries = system.api().timeline(TENANT, "seriesAA").await;
    let notes: Vec<_> = entries.iter().map(|entry| entry.notes().collect::<Vec<_>>()).collect();
    assert_eq!(notes, [vec![], vec![TimelineNote::SiblingsMayHaveChanged]]);
    let shown = run(&system, &["timeline", "seriesAA"]).await.stdout;
    assert!(shown.contains("the others may have changed without a word"), "{shown}");
    system.stop().await;
}

#[tokio::test]
async fn a_lineage_with_a_lost_link_says_how_it_is_known() {
    let mut system = Plan::new().start().await;
    let first = golden("lostAAAA");
    let second = first.moved("lostBBBB", 9_002, minute(2), minute(700));
    let third = second.moved("lostCCCC", 9_003, minute(3), minute(800));
    send(&system, Trigger::BookingCreated, &first, "applied").await;
    send(&system, Trigger::BookingRescheduled, &third, "applied").await;
    let known = |lineage: &str| {
        let hinted = lineage.lines().any(|line| line.contains("lostBBBB") && line.contains("iCalUID"));
        let said = lineage.lines().any(|line| line.contains("lostCCCC") && line.contains("rescheduleUid"));
        (hinted, said)
    };
    for uid in ["lostAAAA", "lostBBBB", "lostCCCC"] {
        let shown = run(&system, &["lineage", uid]).await;
        assert_eq!((shown.code, known(&shown.stdout)), (Some(0), (true, true)), "{}{}", shown.stdout, shown.stderr);
        let last = run(&system, &["get", uid, "--follow", "--output", "json"]).await;
        assert!(last.stdout.contains("\"uid\": \"lostCCCC\""), "{}", last.stdout);
    }
    assert_eq!(
        system.api().booking(TENANT, "lostAAAA").await.unwrap().rescheduled_to_evidence(),
        LinkEvidence::IcalUid
    );
    // The lost one comes late.
    send(&system, Trigger::BookingRescheduled, &second, "applied").await;
    assert_eq!(known(&run(&system, &["lineage", "lostAAAA"]).await.stdout), (false, true));
    let unknown = run(&system, &["lineage", "nobody"]).await;
    assert!(unknown.code != Some(0) && unknown.stderr.contains("BOOKING_NOT_FOUND"), "{}", unknown.stderr);
    system.stop().await;
}

#[tokio::test]
async fn a_booking_is_found_by_the_bookers_own_key() {
    let mut system = Plan::new().start().await;
    for number in 0..5 {
        let own = [("outreachSequenceId".to_owned(), format!("s-{}", number % 2))].into();
        let told = Golden { metadata: own, ..golden(&format!("found{number:03}")) };
        send(&system, Trigger::BookingCreated, &told, "applied").await;
    }
    let shown = run(&system, &["list", "--filter", "metadata.outreachSequenceId = s-1"]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let uids: Vec<_> = (0..5).filter(|number| shown.stdout.contains(&format!("found{number:03}"))).collect();
    assert_eq!(uids, [1, 3], "{}", shown.stdout);
    let wrong = run(&system, &["list", "--filter", "metadata.outreachSequenceId ~ s-1"]).await;
    assert_ne!(wrong.code, Some(0));
    assert!(wrong.stderr.contains("character 29") && wrong.stderr.contains("FILTER_SYNTAX"), "{}", wrong.stderr);
    system.stop().await;
}

#[tokio::test]
async fn the_clock_completes_what_is_over_unless_the_tenant_says_otherwise() {
    // Golden bookings are of a year that has gone by.
    let mut on = Plan::new().with_clock().start().await;
    send(&on, Trigger::BookingCreated, &golden("clockAAA"), "applied").await;
    send(&on, Trigger::BookingRequested, &golden("clockBBB"), "applied").await;
    let api = on.api();
    assert_eq!(api.booking(TENANT, "clockAAA").await.unwrap().status(), BookingStatus::Completed);
    assert_eq!(api.booking(TENANT, "clockBBB").await.unwrap().status(), BookingStatus::Requested);
    let last = api.timeline(TENANT, "clockAAA").await.pop().unwrap();
    assert_eq!((last.source(), last.outcome()), (TransitionSource::Clock, SubmitOutcome::Unspecified));
    let shown = run(&on, &["timeline", "clockAAA"]).await.stdout;
    assert!(shown.contains("SCHEDULED → COMPLETED\n  Cause:    the clock"), "{shown}");
    let filter = "status = COMPLETED".to_owned();
    let request = ListBookingsRequest { tenant: TENANT.to_owned(), filter, ..Default::default() };
    let listed = api.bookings().list_bookings(request).await.unwrap().into_inner().bookings;
    assert_eq!(listed.iter().map(|booking| booking.uid.as_str()).collect::<Vec<_>>(), ["clockAAA"]);
    // A cancellation simply changes it.
    let cancel = Golden { created_at: minute(9), ..golden("clockAAA") };
    send(&on, Trigger::BookingCancelled, &cancel, "applied").await;
    assert_eq!(api.booking(TENANT, "clockAAA").await.unwrap().status(), BookingStatus::Cancelled);
    on.stop().await;

    let mut off = Plan::new().start().await;
    send(&off, Trigger::BookingCreated, &golden("clockAAA"), "applied").await;
    assert_eq!(off.api().booking(TENANT, "clockAAA").await.unwrap().status(), BookingStatus::Scheduled);
    off.stop().await;
}

#[tokio::test]
async fn what_an_older_release_did_not_understand_is_found_and_replayed() {
    let mut system = Plan::new().start().await;
    send(&system, Trigger::BookingCreated, &golden("replayAA"), "applied").await;
    let clean = run(&system, &["replay", "--all", "--dry-run"]).await;
    assert_eq!(clean.code, Some(0), "{}", clean.stderr);
    assert!(clean.stdout.contains("1 deliveries, 1 bookings compared: 0 would differ"), "{}", clean.stdout);

    // As an older adapter would hand it in.
    let cancel = Golden { created_at: minute(4), ..golden("replayAA") };
    let event = BookingEvent {
        tenant: TENANT.to_owned(),
        request_id: "0190aaaa-0000-7000-8000-000000000001".to_owned(),
        raw_body: golden::body(Trigger::BookingCancelled, &cancel).into(),
        ..BookingEvent::default()
    };
    let request = SubmitEventRequest { event: Some(event) };
    let kept = system.api().ingest().submit_event(request).await.unwrap().into_inner();
    assert_eq!(kept.outcome(), SubmitOutcome::Unparsed);

    let check = run(&system, &["replay", "--all", "--dry-run"]).await;
    assert_eq!(check.code, Some(3), "a difference is told by the exit code, too: {}", check.stderr);
    assert!(check.stdout.contains("default/replayAA  SCHEDULED → CANCELLED: status,"), "{}", check.stdout);
    assert!(check.stderr.contains("deliveries folded again"), "long work says how far it is: {}", check.stderr);
    let tried = run(&system, &["replay", &kept.delivery_id, "--dry-run"]).await;
    assert!(tried.stdout.contains("replayAA: SCHEDULED → CANCELLED (cancelled)"), "{}", tried.stdout);
    assert_eq!(system.api().booking(TENANT, "replayAA").await.unwrap().status(), BookingStatus::Scheduled);

    let done = run(&system, &["replay", "--all"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stderr.contains("2 deliveries replayed, 1 changed a booking, 0 failed"), "{}", done.stderr);
    assert_eq!(system.api().booking(TENANT, "replayAA").await.unwrap().status(), BookingStatus::Cancelled);
    assert_eq!(run(&system, &["replay", "--all", "--dry-run"]).await.code, Some(0));
    let shown = run(&system, &["timeline", "replayAA"]).await.stdout;
    assert!(shown.contains("Cause:    a replay of BOOKING_CANCELLED"), "{shown}");
    let neither = run(&system, &["replay"]).await;
    assert!(neither.code != Some(0) && neither.stderr.contains("DELIVERY_ID"), "{}", neither.stderr);
    system.stop().await;
}
