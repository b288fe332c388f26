//! Redis behind TLS: an authority of the operator's own, and servers that are not who they should be.

use std::path::Path;

use calbridge_e2e::{
    authority::{Authority, Identity, text},
    redis_server::{RedisServer, Setup},
    system::{Plan, System},
};

use super::{all_are, is_applied_once, is_asked, uids};

fn server(identity: &Identity) -> Setup {
    Setup::default().tls(&identity.certificate, &identity.key)
}

/// A system that reaches Redis by name and by TLS.
fn plan(redis: &RedisServer) -> Plan {
    Plan::new().service("--redis-url", format!("rediss://localhost:{}", redis.port()))
}

fn trusting(redis: &RedisServer, authority: &Path) -> Plan {
    plan(redis).service("--redis-ca-file", text(authority))
}

async fn works(system: &System, name: &str) {
    let known = uids(name, 10);
    all_are(&system.sender(), &known, "applied").await;
    all_are(&system.sender(), &known, "duplicate").await;
    is_applied_once(system, &known).await;
}

/// Redis counts as away for this reason, said once however often it is tried, and webhooks flow.
async fn is_away(mut system: System, redis: &RedisServer, reason: &str) {
    redis.is_tried(3).await;
    works(&system, "away").await;
    let output = system.service.stderr();
    let lines: Vec<&str> = output.lines().filter(|line| line.contains("Redis is away")).collect();
    assert!(lines.len() == 1 && lines[0].contains(reason), "{reason}: {lines:#?}");
    assert!(redis.keys().is_empty(), "it was told nothing");
    system.stop().await;
}

#[tokio::test]
async fn a_server_of_the_own_authority_is_used() {
    let authority = Authority::new();
    let mut redis = RedisServer::with(server(&authority.certify("localhost")));
    let mut system = trusting(&redis, &authority.file()).start().await;
    is_asked(&system).await;
    works(&system, "known").await;
    redis.kill();
    works(&system, "meanwhile").await;
    redis.restart();
    is_asked(&system).await;
    system.stop().await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_refused() {
    let redis = RedisServer::with(server(&Authority::new().certify("localhost")));
    is_away(plan(&redis).start().await, &redis, "TLS: invalid peer certificate: UnknownIssuer").await;
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let redis = RedisServer::with(server(&Authority::new().certify("localhost")));
    let system = trusting(&redis, &Authority::new().file()).start().await;
    is_away(system, &redis, "TLS: invalid peer certificate").await;
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let authority = Authority::new();
    let redis = RedisServer::with(server(&authority.certify("elsewhere.example")));
    let system = trusting(&redis, &authority.file()).start().await;
    is_away(system, &redis, "TLS: invalid peer certificate: certificate not valid for name").await;
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told() {
    let authority = Authority::new();
    let setup = server(&authority.certify("localhost")).clients_of(&authority.file());
    let redis = RedisServer::with(setup);
    let us = authority.certify("calbridge.example");
    let plan = trusting(&redis, &authority.file())
        .service("--redis-cert-file", text(&us.certificate))
        .service("--redis-key-file", text(&us.key));
    let mut system = plan.start().await;
    is_asked(&system).await;
    works(&system, "known").await;
    system.stop().await;
    redis.flush();
    is_away(trusting(&redis, &authority.file()).start().await, &redis, "Redis is away").await;
}
