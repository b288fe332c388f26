//! Recorded webhooks of Cal.com's own sender: each is let in or refused as it should be, and arrives byte for byte.

use std::{collections::BTreeMap, fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use calbridge_adapter::Settings;
use calbridge_e2e::wait;
use calbridge_process::{Secret, Tenant};
use serde_json::Value;

use crate::support::{
    Adapter, limits,
    sender::{Socket, post},
    service::Service,
    settings,
};

/// The folder of recorded webhooks; without it there is nothing to try.
const CORPUS: &str = "CALBRIDGE_CORPUS";

#[tokio::test]
async fn recorded_webhooks_get_their_answers() {
    let Some(folder) = calbridge_process::environment(CORPUS) else {
        println!("SKIPPED: {CORPUS} names no folder of recorded webhooks");
        return;
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let recorded: Vec<Value> =
        files.iter().map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect();
    assert!(!recorded.is_empty());
    // Each secret that occurs has a tenant of its own; what was sent without one goes to the first of them.
    let mut secrets: Vec<&str> = recorded.iter().filter_map(|webhook| webhook["secret"].as_str()).collect();
    secrets.sort_unstable();
    secrets.dedup();
    let tenant = |secret: &str| format!("t{}", secrets.iter().position(|known| *known == secret).unwrap_or(0));
    let tenants: BTreeMap<String, Tenant> = secrets
        .iter()
        .map(|secret| {
            let secrets = vec![Secret::always("recorded", *secret)];
            (tenant(secret), Tenant { secrets, allow_unsigned: false })
        })
        .collect();
    let service = Service::start().await;
    let settings = Settings { tenants, ..settings(&[format!("http://{}", service.address)], limits()) };
    let adapter = Adapter::start_with(settings).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;

    let mut socket = Socket::open(adapter.address).await;
    for webhook in &recorded {
        let body = STANDARD.decode(webhook["body_base64"].as_str().unwrap()).unwrap();
        let headers: Vec<(&str, &str)> = webhook["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .filter(|(name, _)| !["host", "connection", "content-length"].contains(&name.to_lowercase().as_str()))
            .collect();
        let secret = webhook["secret"].as_str();
        let path = format!("/webhooks/calcom/{}", tenant(secret.unwrap_or_default()));
        let before = service.arrivals().len();
        socket.send(post(&path, &headers, &body)).await;
        let answer = socket.answer().await;
        let signed =
            headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("x-cal-signature-256") && value.len() == 64);
        let expected = if secret.is_some() && signed { 200 } else { 401 };
        assert_eq!(answer.status, expected, "{}", webhook["name"]);
        let arrived = service.arrivals().split_off(before);
        match (arrived.as_slice(), expected) {
            ([arrival], 200) => assert_eq!(arrival.event.raw_body, body, "{}", webhook["name"]),
            ([], 401) => {}
            _ => panic!("{} arrived {} times", webhook["name"], arrived.len()),
        }
    }
}
