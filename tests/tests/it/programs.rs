//! The programs as an operator meets them: how they start, say where they are, tell how they feel, and stop.

mod cli;
mod config;
mod consumer;
mod grpc;
mod tail;

use std::process::Stdio;

use calbridge_e2e::{
    program::{self, Program, Start},
    system::{self, Plan, SECRET, TENANT, readiness_of},
    wait,
    webhook::{Sender, created},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

fn first_line(program: &Program) -> String {
    program.stdout().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_first_line_says_where_each_program_listens() {
    let folder = TempDir::new().unwrap();
    let mut up = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET).serve();
    let mut pair = Plan::new().start().await;
    for (program, parts) in [
        (&up, &["http", "grpc", "admin"][..]),
        (&pair.adapter, &["http", "admin"]),
        (&pair.service, &["grpc", "admin"]),
    ] {
        let line = first_line(program);
        let named: Vec<_> = line.split(' ').skip(1).map(|part| part.split_once("=127.0.0.1:").expect(&line)).collect();
        assert_eq!(named.iter().map(|(part, _)| *part).collect::<Vec<_>>(), parts, "{line}");
        assert!(named.iter().all(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)), "{line}");
    }
    // `up` says it when everything serves: nothing has to be waited for.
    let sender = Sender::new(up.listening().http());
    assert_eq!(sender.send(TENANT, SECRET, created("firstUid")).await.outcome(), "applied");
    let greeted = || async { Some(up.stdout()).filter(|shown| shown.contains("telemetry:")) };
    let greeting = wait::until("the greeting", greeted).await;
    assert!(greeting.contains(&format!("http://{}/webhooks/calcom/default", up.listening().http())), "{greeting}");
    assert!(greeting.contains(&folder.path().display().to_string()), "{greeting}");
    assert!(greeting.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{greeting}");
    assert!(!greeting.contains(SECRET), "{greeting}");
    up.stop().await;
    pair.stop().await;
}

#[tokio::test]
async fn a_server_serves_on_when_nobody_reads_its_stdout() {
    let folder = TempDir::new().unwrap();
    let mut server = Command::new(program::path("calbridge"))
        .args([
            "up",
            "--demo",
            "--http",
            "127.0.0.1:0",
            "--grpc",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--data-dir",
        ])
        .arg(folder.path())
        .env("CALCOM_WEBHOOK_SECRET", SECRET)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    // What a script does that wants the address alone.
    drop(lines);
    let http = first.split(' ').find_map(|part| part.strip_prefix("http=")).unwrap().parse().unwrap();
    for uid in ["one", "two", "three"] {
        assert_eq!(Sender::new(http).send(TENANT, SECRET, created(uid)).await.outcome(), "applied");
    }
    assert!(server.try_wait().unwrap().is_none(), "it has ended");
}

#[tokio::test]
async fn every_program_tells_how_it_feels() {
    let folder = TempDir::new().unwrap();
    let mut up = system::up(folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET).serve();
    let mut pair = Plan::new().start().await;
    for program in [&up, &pair.adapter, &pair.service] {
        system::ready(program).await;
        let admin = Sender::new(program.listening().admin());
        let alive = admin.get("/healthz").await;
        assert_eq!((alive.status.as_u16(), &alive.body[..]), (200, &br#"{"status":"alive"}"#[..]));
        let ready = admin.get("/readyz").await;
        assert_eq!((ready.status.as_u16(), &ready.body[..]), (200, &br#"{"status":"ready"}"#[..]));
        assert_eq!(ready.headers["content-type"], "application/json");
        let metrics = admin.get("/metrics").await;
        assert_eq!(metrics.status, 200);
        assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        assert_eq!(admin.get("/elsewhere").await.status, 404);
        let posted = admin.request(hyper::Method::POST, "/healthz", &[], "").await.unwrap();
        assert_eq!(posted.status, 405);
    }
    up.stop().await;
    pair.stop().await;
}

#[tokio::test]
async fn the_adapter_is_ready_exactly_while_a_webhook_can_be_made_durable() {
    let mut system = Plan::new().returning().start().await;
    let admin = Sender::new(system.adapter.listening().admin());
    system.service.stop().await;
    readiness_of(&system.adapter, 503).await;
    let answer = admin.get("/readyz").await;
    assert_eq!(answer.json()["waiting_for"], serde_json::json!(["service"]));
    assert_eq!(admin.get("/healthz").await.status, 200, "waiting is no illness");
    system.restart_service();
    readiness_of(&system.adapter, 200).await;
    system.service.freeze();
    readiness_of(&system.adapter, 503).await;
    system.service.thaw();
    readiness_of(&system.adapter, 200).await;
    system.stop().await;
}

#[tokio::test]
async fn an_adapter_starts_before_its_service() {
    let port = calbridge_e2e::port::free();
    let adapter = Start::new("calbridge-adapter")
        .flag("--http", "127.0.0.1:0")
        .flag("--admin", "127.0.0.1:0")
        .flag("--service", format!("http://127.0.0.1:{port}"))
        .flag("--spool-dir", "none")
        .env("CALCOM_WEBHOOK_SECRET", SECRET);
    let mut adapter = adapter.serve();
    readiness_of(&adapter, 503).await;
    let folder = TempDir::new().unwrap();
    let service = Start::new("calbridge-service")
        .flag("--grpc", format!("127.0.0.1:{port}"))
        .flag("--admin", "127.0.0.1:0")
        .flag("--data-dir", folder.path());
    let mut service = service.serve();
    readiness_of(&adapter, 200).await;
    let sender = Sender::new(adapter.listening().http());
    assert_eq!(sender.send(TENANT, SECRET, created("firstUid")).await.outcome(), "applied");
    adapter.stop().await;
    service.stop().await;
}

#[tokio::test]
async fn what_was_accepted_is_finished_before_the_end() {
    let mut system = Plan::new().start().await;
    let sender = system.sender();
    // The connection is open and known before the stop begins.
    assert_eq!(sender.send(TENANT, SECRET, created("before")).await.outcome(), "applied");
    system.service.freeze();
    let under_way = tokio::spawn(async move { sender.send(TENANT, SECRET, created("under way")).await });
    let active =
        || async { (system.adapter_metrics().await.sum("http_server_active_requests", &[]) > 0.0).then_some(()) };
    wait::until("the request is under way", active).await;
    system.adapter.terminate();
    // It takes no new connection from now on.
    let edge = system.adapter.listening().http();
    let refused = || async { tokio::net::TcpStream::connect(edge).await.is_err().then_some(()) };
    wait::until("the listener is closed", refused).await;
    system.service.thaw();
    let answer = under_way.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.outcome().as_str()), (200, "applied"));
    assert_eq!(system.adapter.exit().await.code(), Some(0));
    assert!(system.api().booking(TENANT, "under way").await.is_some());
    system.service.stop().await;
}

#[tokio::test]
async fn a_service_that_stops_answers_all_that_it_took() {
    let mut system = Plan::new().adapter("--forward-deadline", "2s").start().await;
    let edge = system.adapter.listening().http();
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..16 {
        senders.spawn(async move {
            let sender = Sender::new(edge);
            let mut promised = Vec::new();
            for webhook in 0..20 {
                let uid = format!("stop{number}x{webhook}");
                if sender.send(TENANT, SECRET, created(&uid)).await.status == 200 {
                    promised.push(uid);
                } else {
                    break;
                }
            }
            promised
        });
    }
    let flowing = || async {
        let page = system.service_metrics().await;
        (page.sum("calbridge_e2e_visible_duration_seconds_count", &[]) > 50.0).then_some(())
    };
    wait::until("webhooks flow", flowing).await;
    system.service.stop().await;
    let mut promised = Vec::new();
    while let Some(sender) = senders.join_next().await {
        promised.extend(sender.unwrap());
    }
    assert!(promised.len() > 50);
    system.restart_service();
    for uid in promised {
        assert!(system.api().booking(TENANT, &uid).await.is_some(), "{uid} was promised");
    }
    system.adapter.stop().await;
    system.service.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = TempDir::new().unwrap();
    for flag in ["--http", "--grpc", "--admin"] {
        let start = ["--http", "--grpc", "--admin"].iter().fold(Start::new("calbridge").arg("up"), |start, part| {
            start.flag(part, if *part == flag { &address } else { "127.0.0.1:0" })
        });
        let start = start.flag("--data-dir", folder.path()).env("CALCOM_WEBHOOK_SECRET", SECRET);
        let ended = start.run().await;
        assert_ne!(ended.code, Some(0), "{flag}");
        assert!(ended.stderr.contains(flag) && ended.stderr.contains(&address), "{flag}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{flag}");
    }
}
