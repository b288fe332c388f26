//! The command line of a newcomer: the demo, a webhook of his own, and the booking read back.

use calbridge_e2e::{
    program::{Ended, Program, Start},
    system::{self, SECRET},
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

/// Runs a command against a running `up`.
async fn run(up: &Program, arguments: &[&str]) -> Ended {
    let service = format!("http://{}", up.listening().grpc());
    let start = arguments.iter().fold(Start::new("calbridge"), |start, argument| start.arg(*argument));
    start.env("CALBRIDGE_SERVICE", service).run().await
}

async fn json(up: &Program, arguments: &[&str]) -> Value {
    let ended = run(up, &[arguments, &["--output", "json"]].concat()).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|why| panic!("{} is no JSON: {why}", ended.stdout))
}

#[tokio::test]
async fn the_demo_needs_no_secret_and_shows_a_whole_life() {
    let folder = TempDir::new().unwrap();
    let mut up = system::up(folder.path()).arg("--demo").serve();
    wait::until("the demo has been played", || async { up.stdout().contains("Ctrl-C").then_some(()) }).await;
    let shown = up.stdout();
    for word in
        ["BOOKING_REQUESTED", "BOOKING_CREATED", "BOOKING_RESCHEDULED", "BOOKING_NO_SHOW_UPDATED", "duplicate", "401"]
    {
        assert!(shown.contains(word), "{word} is not in:\n{shown}");
    }
    let list = json(&up, &["list"]).await;
    let bookings = list["bookings"].as_array().or(list.as_array()).unwrap().clone();
    let stands = |booking: &Value| booking["status"].as_str().unwrap().to_owned();
    let mut found: Vec<_> = bookings.iter().map(stands).collect();
    found.sort();
    assert_eq!(found, ["BOOKING_STATUS_NO_SHOW", "BOOKING_STATUS_RESCHEDULED"]);
    let of = |wanted: &str| bookings.iter().find(|booking| stands(booking) == wanted).unwrap().clone();
    let (old, new) = (of("BOOKING_STATUS_RESCHEDULED"), of("BOOKING_STATUS_NO_SHOW"));
    let link = |booking: &Value, snake: &str, camel: &str| {
        booking[snake].as_str().or(booking[camel].as_str()).unwrap_or_default().to_owned()
    };
    assert_eq!(link(&old, "rescheduled_to_uid", "rescheduledToUid"), new["uid"].as_str().unwrap());
    assert_eq!(link(&new, "rescheduled_from_uid", "rescheduledFromUid"), old["uid"].as_str().unwrap());
    up.stop().await;
}

#[tokio::test]
async fn a_webhook_is_sent_and_read_back() {
    let folder = TempDir::new().unwrap();
    let mut up = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET).serve();
    let url = format!("http://{}/webhooks/calcom/default", up.listening().http());
    let webhook = ["send", "--url", &url, "--secret", SECRET, "--uid", "cliAAAAA"];
    let sent = run(&up, &[&webhook[..], &["--dup"]].concat()).await;
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    assert!(sent.stdout.contains("applied") && sent.stdout.contains("duplicate"), "{}", sent.stdout);
    let forged = run(&up, &[&webhook[..], &["--tamper"]].concat()).await;
    assert_ne!(forged.code, Some(0));
    assert!(forged.stdout.contains("401"), "{}", forged.stdout);
    let cancelled = run(&up, &[&webhook[..], &["--trigger", "BOOKING_CANCELLED"]].concat()).await;
    assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);

    let table = run(&up, &["get", "cliAAAAA"]).await;
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    assert!(table.stdout.contains("cliAAAAA") && table.stdout.contains("CANCELLED"), "{}", table.stdout);
    let booking = json(&up, &["get", "cliAAAAA"]).await;
    let booking = if booking["booking"].is_object() { booking["booking"].clone() } else { booking };
    assert_eq!(
        (booking["uid"].as_str(), booking["status"].as_str()),
        (Some("cliAAAAA"), Some("BOOKING_STATUS_CANCELLED"))
    );
    let timeline = run(&up, &["timeline", "cliAAAAA"]).await;
    assert_eq!(timeline.code, Some(0), "{}", timeline.stderr);
    for word in ["BOOKING_CREATED", "BOOKING_CANCELLED", "duplicate"] {
        assert!(timeline.stdout.to_lowercase().contains(&word.to_lowercase()), "{word}: {}", timeline.stdout);
    }
    let unknown = run(&up, &["get", "nobody"]).await;
    assert_ne!(unknown.code, Some(0));
    assert!(unknown.stderr.contains("BOOKING_NOT_FOUND") || unknown.stderr.contains("nobody"), "{}", unknown.stderr);
    for ended in [sent, forged, cancelled] {
        assert!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET));
    }
    up.stop().await;
}

#[tokio::test]
async fn a_service_that_hangs_is_passed_over_for_the_next() {
    let folder = TempDir::new().unwrap();
    let mut up = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET).serve();
    wait::until("it serves", || async { up.stdout().contains("/webhooks/calcom").then_some(()) }).await;
    // The system takes its connections.
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = format!("http://{}", hangs.local_addr().unwrap());
    let both = format!("{hanging},http://{}", up.listening().grpc());
    let listed = Start::new("calbridge").arg("list").flag("--service", both).run().await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let refused = Start::new("calbridge").arg("list").flag("--service", &hanging).run().await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("does not answer"), "{}", refused.stderr);
    up.stop().await;
}
