//! `calbridge tail`, beside a service that goes away and comes back.

use calbridge_e2e::{
    program::{Program, Start},
    system::{self, SECRET},
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

fn send(up: &Program, uid: &str, trigger: &str) -> Start {
    let url = format!("http://{}/webhooks/calcom/default", up.listening().http());
    let arguments = ["send", "--url", &url, "--secret", SECRET, "--uid", uid, "--trigger", trigger];
    arguments.into_iter().fold(Start::new("calbridge"), Start::arg)
}

fn tail(up: &Program) -> Start {
    Start::new("calbridge").arg("tail").env("CALBRIDGE_SERVICE", format!("http://{}", up.listening().grpc()))
}

#[tokio::test]
async fn it_shows_what_is_kept_as_far_as_asked_for() {
    let folder = TempDir::new().unwrap();
    let mut up = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET).serve();
    for (uid, trigger) in [("u1", "BOOKING_CREATED"), ("u2", "BOOKING_CREATED"), ("u1", "BOOKING_CANCELLED")] {
        assert_eq!(send(&up, uid, trigger).run().await.code, Some(0));
    }
    let ended = tail(&up).flag("--from", "beginning").arg("--stop-at-head").run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.stdout);
    assert!(lines[0].ends_with("u1  appeared as SCHEDULED"), "{}", lines[0]);
    assert!(lines[2].ends_with("u1  SCHEDULED → CANCELLED"), "{}", lines[2]);

    let position = lines[0].split_whitespace().next().unwrap();
    let filtered = tail(&up).flag("--from", position).flag("--filter", "uid = u1").flag("--output", "json");
    let ended = filtered.arg("--stop-at-head").run().await;
    let told: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 1, "{}", ended.stdout);
    assert_eq!(told[0]["transition"]["to_status"], "BOOKING_STATUS_CANCELLED");

    let ended = tail(&up).arg("--stop-at-head").run().await;
    assert_eq!(ended.stdout.lines().count(), 3, "from the beginning: {}", ended.stdout);
    let nothing = tail(&up).flag("--from", "now").arg("--stop-at-head").run().await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(1), ""));
    assert!(nothing.stderr.contains("nothing is kept between now and the end"), "{}", nothing.stderr);

    let refused = tail(&up).flag("--filter", "title = x").run().await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("FILTER_SYNTAX"), "{}", refused.stderr);
    up.stop().await;
}

#[tokio::test]
async fn it_goes_on_where_it_was_when_the_service_comes_back() {
    let folder = TempDir::new().unwrap();
    let mut up = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET).serve();
    assert_eq!(send(&up, "before", "BOOKING_CREATED").run().await.code, Some(0));
    let grpc = up.listening().grpc().to_string();
    let mut tail = tail(&up).flag("--from", "beginning").spawn();
    wait::until("the first is shown", async || tail.stdout().contains("before").then_some(())).await;
    up.kill();
    wait::until("it says that it waits", async || tail.stderr().contains("going on in").then_some(())).await;

    // The same place again, for it is where the other looks.
    let again = ["up", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--grpc", &grpc];
    let again = again.into_iter().fold(Start::new("calbridge"), Start::arg);
    let mut up = again.flag("--data-dir", folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET).serve();
    assert_eq!(send(&up, "after", "BOOKING_CREATED").run().await.code, Some(0));
    wait::until("the next is shown", async || tail.stdout().contains("after").then_some(())).await;
    assert_eq!(tail.stdout().lines().count(), 2, "each once: {}", tail.stdout());
    tail.kill();
    up.stop().await;
}
