//! `outreach`: six states for a meeting that is booked, however often it is told and whoever dies meanwhile.

use std::path::PathBuf;

use calbridge_e2e::{
    program::{Program, Start},
    relay::{Relay, Weather},
    system::{Plan, SECRET, TENANT},
    v1::Trigger,
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{calbridge, consumer, dump, golden, minute, says, send, service, settled};
use calbridge_calcom::golden::{self as sender, Golden};

const OUTREACH: &str = "outreach";
const OPENED: &str = "working off the consumer";

/// A booking of the contact who was seeded, from the sequence that reached him.
fn reached(uid: &str) -> Golden {
    let metadata = [("outreachSequenceId", "s-17"), ("contactId", "c-9")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Golden { metadata: metadata.into(), ..golden(uid) }
}

/// A folder with a database in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    async fn seeded() -> Self {
        let place = Self::new();
        place.seed().await;
        place
    }

    async fn seed(&self) {
        let ended = Start::new(OUTREACH).arg("seed").flag("--database", self.database()).run().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("outreach.db")
    }

    /// Works off the consumer of the service at this address.
    async fn run(&self, service: String) -> Program {
        let running = Start::new(OUTREACH).flag("--service", service).flag("--database", self.database()).spawn();
        says(&running, OPENED, 1).await;
        running
    }

    async fn states(&self, uid: &str) -> Value {
        let show =
            Start::new(OUTREACH).arg("show").arg(uid).flag("--output", "json").flag("--database", self.database());
        let ended = show.run().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    }
}

/// The six states of a booked meeting, one by one.
fn assert_booked(states: &Value, starts: &str) {
    assert_eq!(states["sequence"]["status"], "BOOKED", "the sequence: {states:#}");
    assert_eq!(of_each(&states["steps"], "status"), ["DONE", "BOOKED", "BOOKED"], "its open steps: {states:#}");
    assert_eq!(states["contact"]["status"], "CONVERTED", "the contact: {states:#}");
    assert_eq!(states["prospect"]["status"], "ENGAGED", "the prospect: {states:#}");
    assert_eq!(of_each(&states["log"], "entry"), ["BOOKED"], "one entry in the log: {states:#}");
    assert_eq!((&states["plan"]["status"], &states["plan"]["starts"]), (&"PLANNED".into(), &starts.into()), "the plan");
    let sections = states["plan"]["sections"].as_array().unwrap();
    let days: Vec<_> = sections.iter().map(|section| section["days"].as_i64().unwrap()).collect();
    assert_eq!(days, [30, 60, 90]);
}

fn of_each<'a>(values: &'a Value, key: &str) -> Vec<&'a str> {
    values.as_array().unwrap().iter().map(|value| value[key].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_booking_sets_six_states_and_telling_it_again_changes_nothing() {
    let mut system = Plan::new().start().await;
    let place = Place::seeded().await;
    let mut outreach = place.run(service(&system)).await;
    let booked = reached("outreach1");
    send(&system, Trigger::BookingCreated, &booked).await;
    settled(&system, TENANT, OUTREACH).await;
    let states = place.states("outreach1").await;
    assert_booked(&states, &minute(600).to_string());
    assert_eq!((&states["sequence"]["id"], &states["contact"]["id"]), (&"s-17".into(), &"c-9".into()));
    let shown = Start::new(OUTREACH).arg("show").arg("outreach1").flag("--database", place.database()).run().await;
    assert!(shown.stdout.contains("prospect  lighthouse ENGAGED\nlog "), "{}", shown.stdout);

    // The sender's own retry, then everything again from the beginning of the log.
    let before = dump(&place.database());
    let again = system.sender().send(TENANT, SECRET, sender::body(Trigger::BookingCreated, &booked)).await;
    assert_eq!(again.outcome(), "duplicate");
    let delivered = consumer(&system, TENANT, OUTREACH).await.unwrap().cursor;
    let moved = calbridge(&system, &["consumer", "seek", OUTREACH, "--to", "beginning"]).await;
    assert!(!moved.stdout.contains(&delivered), "{}", moved.stdout);
    settled(&system, TENANT, OUTREACH).await;
    assert_eq!(dump(&place.database()), before);

    // And by another run of the program.
    outreach.stop().await;
    calbridge(&system, &["consumer", "seek", OUTREACH, "--to", "beginning"]).await;
    let mut outreach = place.run(service(&system)).await;
    settled(&system, TENANT, OUTREACH).await;
    assert_eq!(dump(&place.database()), before);
    outreach.stop().await;
    system.stop().await;
}

#[tokio::test]
async fn killed_between_its_commit_and_its_ack_it_has_done_it_once() {
    let mut system = Plan::new().start().await;
    let place = Place::seeded().await;
    let wire = Relay::to(system.service.listening().grpc()).await;
    let mut outreach = place.run(format!("http://{}", wire.address())).await;
    wire.have(Weather::Deaf);
    send(&system, Trigger::BookingCreated, &reached("outreach1")).await;
    wait::until("its database shows the commit", || async {
        dump(&place.database()).iter().any(|row| row.starts_with("outreach_log")).then_some(())
    })
    .await;
    let before = dump(&place.database());
    assert_eq!(consumer(&system, TENANT, OUTREACH).await.unwrap().in_flight, 1, "the service has heard of no ack");
    outreach.kill();
    wait::until("the service takes it back", || async {
        let consumer = consumer(&system, TENANT, OUTREACH).await.unwrap();
        (consumer.in_flight == 0 && consumer.waiting == 1).then_some(())
    })
    .await;

    let mut outreach = place.run(service(&system)).await;
    settled(&system, TENANT, OUTREACH).await;
    assert_eq!(dump(&place.database()), before);
    assert_booked(&place.states("outreach1").await, &minute(600).to_string());
    outreach.stop().await;
    system.stop().await;
}

#[tokio::test]
async fn a_service_that_dies_between_the_commit_and_the_ack_changes_nothing_either() {
    let mut system = Plan::new().returning().start().await;
    let place = Place::seeded().await;
    // A service that is killed gives nothing back: what was out comes again when its lease ends.
    calbridge(&system, &["consumer", "create", OUTREACH, "--dead-letters", "block", "--ack-wait", "1s"]).await;
    let wire = Relay::to(system.service.listening().grpc()).await;
    let mut outreach = place.run(format!("http://{}", wire.address())).await;
    wire.have(Weather::Deaf);
    send(&system, Trigger::BookingCreated, &reached("outreach1")).await;
    wait::until("its database shows the commit", || async {
        dump(&place.database()).iter().any(|row| row.starts_with("outreach_log")).then_some(())
    })
    .await;
    let before = dump(&place.database());
    system.service.kill();
    says(&outreach, "going on in", 1).await;
    // It comes back on its port; the wire to it does not.
    system.restart_service();
    outreach.kill();
    let mut outreach = place.run(service(&system)).await;
    settled(&system, TENANT, OUTREACH).await;
    assert_eq!(dump(&place.database()), before);

    // Nor does one that goes away while nothing is out.
    system.service.kill();
    says(&outreach, "going on in", 1).await;
    system.restart_service();
    says(&outreach, OPENED, 2).await;
    system.ready().await;
    send(&system, Trigger::BookingCancelled, &Golden { created_at: minute(1), ..reached("outreach1") }).await;
    settled(&system, TENANT, OUTREACH).await;
    assert_eq!(of_each(&place.states("outreach1").await["log"], "entry"), ["BOOKED", "UNDONE"]);
    outreach.stop().await;
    system.stop().await;
}

#[tokio::test]
async fn a_move_moves_and_an_end_undoes() {
    let mut system = Plan::new().start().await;
    let place = Place::seeded().await;
    let mut outreach = place.run(service(&system)).await;
    let booked = reached("outreach1");
    let moved = booked.moved("outreach2", 9_002, minute(5), minute(900));
    send(&system, Trigger::BookingCreated, &booked).await;
    send(&system, Trigger::BookingRescheduled, &moved).await;
    settled(&system, TENANT, OUTREACH).await;
    for uid in ["outreach1", "outreach2"] {
        let states = place.states(uid).await;
        assert_booked(&states, &minute(900).to_string());
        assert_eq!(states["plan"]["booking"], "outreach2");
    }
    send(&system, Trigger::BookingCancelled, &Golden { created_at: minute(10), ..moved }).await;
    settled(&system, TENANT, OUTREACH).await;
    let states = place.states("outreach2").await;
    assert_eq!(states["sequence"]["status"], "ACTIVE");
    assert_eq!(of_each(&states["steps"], "status"), ["DONE", "OPEN", "OPEN"]);
    assert_eq!(states["contact"]["status"], "CONTACTED");
    assert_eq!(states["prospect"]["status"], "CONTACTED");
    assert_eq!(of_each(&states["log"], "entry"), ["BOOKED", "UNDONE"]);
    assert_eq!(states["plan"]["status"], "WITHDRAWN");

    // A stranger: found by nobody, so made.
    let mut stranger = Golden { metadata: [].into(), ..golden("outreach3") };
    stranger.attendees[0].email = "ada@new.example".to_owned();
    send(&system, Trigger::BookingCreated, &stranger).await;
    settled(&system, TENANT, OUTREACH).await;
    let states = place.states("outreach3").await;
    assert_eq!(states["contact"]["status"], "CONVERTED");
    assert_eq!((&states["sequence"], &states["prospect"]), (&Value::Null, &Value::Null));
    outreach.stop().await;
    system.stop().await;
}

#[tokio::test]
async fn a_sequence_that_nobody_knows_is_parked_and_works_once_it_is_known() {
    let mut system = Plan::new().start().await;
    let place = Place::new();
    let mut outreach = place.run(service(&system)).await;
    let booked = reached("outreach1");
    send(&system, Trigger::BookingCreated, &booked).await;
    send(&system, Trigger::BookingCancelled, &Golden { created_at: minute(1), ..booked }).await;
    wait::until("it is parked, and what came after it waits", || async {
        let consumer = consumer(&system, TENANT, OUTREACH).await?;
        (consumer.dead_letters == 1 && consumer.waiting == 1 && consumer.in_flight == 0).then_some(())
    })
    .await;
    let letters = calbridge(&system, &["deadletter", "list", OUTREACH]).await.stdout;
    assert!(letters.contains("metadata.outreachSequenceId names no sequence"), "{letters}");
    assert!(!letters.contains("s-17") && !letters.contains('@'), "{letters}");

    place.seed().await;
    calbridge(&system, &["deadletter", "replay", OUTREACH, "--all"]).await;
    wait::until("nothing waits", || async {
        let consumer = consumer(&system, TENANT, OUTREACH).await?;
        (consumer.dead_letters + consumer.waiting + consumer.in_flight == 0).then_some(())
    })
    .await;
    assert_eq!(of_each(&place.states("outreach1").await["log"], "entry"), ["BOOKED", "UNDONE"]);
    outreach.stop().await;
    system.stop().await;
}

#[tokio::test]
async fn it_works_off_no_consumer_that_would_lead_it_astray() {
    let mut system = Plan::new().start().await;
    let place = Place::new();
    for (option, value) in [("--dead-letters", "continue"), ("--filter", "status = SCHEDULED")] {
        let made = ["consumer", "create", "astray", "--dead-letters", "block", option, value];
        let made = if option == "--dead-letters" { &made[..3] } else { &made[..] };
        calbridge(&system, made).await;
        let run = Start::new(OUTREACH).flag("--service", service(&system)).flag("--database", place.database());
        let ended = run.flag("--consumer", "astray").run().await;
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(&format!("calbridge consumer update astray {option}")), "{}", ended.stderr);
        calbridge(&system, &["consumer", "delete", "astray"]).await;
    }
    system.stop().await;
}
