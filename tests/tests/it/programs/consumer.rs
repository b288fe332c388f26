//! `calbridge consumer` and `calbridge deadletter`.

use calbridge_e2e::{
    program::{Ended, Program, Start},
    system::{self, SECRET},
};
use serde_json::Value;
use tempfile::TempDir;

async fn run(up: &Program, arguments: &[&str]) -> Ended {
    let service = format!("http://{}", up.listening().grpc());
    let start = arguments.iter().fold(Start::new("calbridge"), |start, argument| start.arg(*argument));
    start.env("CALBRIDGE_SERVICE", service).run().await
}

async fn consumer(up: &Program, arguments: &[&str]) -> Value {
    let ended = run(up, &[&["consumer"], arguments, &["--output", "json"]].concat()).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[tokio::test]
async fn a_consumer_is_made_kept_and_deleted() {
    let folder = TempDir::new().unwrap();
    let mut up = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET).serve();
    let made = consumer(
        &up,
        &["create", "mails", "--filter", "status = SCHEDULED", "--ack-wait", "1min", "--backoff", "1s,10s"],
    )
    .await;
    assert_eq!((made["name"].as_str(), made["ack_wait"].as_str()), (Some("mails"), Some("60s")));
    let again = run(&up, &["consumer", "create", "mails"]).await;
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("CONSUMER_EXISTS"), "{}", again.stderr);

    let updated = consumer(&up, &["update", "mails", "--max-in-flight", "7", "--dead-letters", "block"]).await;
    assert_eq!(updated["max_in_flight"], 7);
    assert_eq!(updated["filter"], "status = SCHEDULED", "what was not said stays");
    assert_eq!(updated["dead_letter_policy"], "DEAD_LETTER_POLICY_BLOCK");
    assert_eq!(consumer(&up, &["pause", "mails"]).await["paused"], true);
    assert!(consumer(&up, &["resume", "mails"]).await["paused"].as_bool().is_none_or(|paused| !paused));
    for place in ["now", "beginning", "2026-09-01T00:00:00Z", "0000000000000000"] {
        assert_eq!(consumer(&up, &["seek", "mails", "--to", place]).await["name"], "mails", "{place}");
    }
    let table = run(&up, &["consumer", "list"]).await;
    assert!(table.stdout.contains("mails") && table.stdout.contains("0 of 7"), "{}", table.stdout);

    let none = run(&up, &["deadletter", "list", "mails"]).await;
    assert_eq!(none.code, Some(0), "{}", none.stderr);
    let replayed = run(&up, &["deadletter", "replay", "mails", "--all"]).await;
    assert!(replayed.stdout.starts_with("0 dead letters"), "{}", replayed.stdout);
    for command in [["deadletter", "replay", "mails", "--all"], ["deadletter", "delete", "mails", "--all"]] {
        let json = run(&up, &[&command[..], &["--output", "json"]].concat()).await;
        assert!(serde_json::from_str::<Value>(&json.stdout).unwrap().is_object(), "{command:?}: {}", json.stdout);
    }
    let deleted = run(&up, &["consumer", "delete", "mails", "--output", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&deleted.stdout).unwrap(), serde_json::json!({}));
    let gone = run(&up, &["consumer", "get", "mails"]).await;
    assert!(gone.stderr.contains("CONSUMER_NOT_FOUND"), "{}", gone.stderr);
    up.stop().await;
}
