//! An adapter whose token is not the right one: what it may not hand on waits in its spool, and that shows.

use calbridge_e2e::{
    metrics::Page,
    port,
    program::{Program, Start},
    system::{SECRET, TENANT},
    wait,
    webhook::Sender,
};

use super::{HOST, House, Who, golden, principals, token_of};

const EDGE: &str = "edge";

fn adapter(house: &House, service: u16) -> Program {
    Start::new("calbridge-adapter")
        .flag("--http", format!("{HOST}:0"))
        .flag("--admin", format!("{HOST}:0"))
        .flag("--service", format!("http://{HOST}:{service}"))
        .flag("--service-token-file", house.file("token", &token_of(EDGE)))
        .flag("--data-dir", house.path("edge"))
        .env("CALCOM_WEBHOOK_SECRET", SECRET)
        .serve()
}

#[tokio::test]
async fn what_a_tenant_s_token_may_not_hand_on_is_counted_and_ages() {
    let house = House::new(&principals(&[Who::new(EDGE, &["ingest"], &["another"])]));
    let mut service = house.service().serve();
    let mut adapter = adapter(&house, service.listening().grpc().port());
    let body = calbridge_calcom::golden::body(calbridge_e2e::v1::Trigger::BookingCreated, &golden("u1"));
    let kept = async || {
        let sent = Sender::new(adapter.listening().http()).send(TENANT, SECRET, body.clone()).await;
        (sent.status == 202).then_some(())
    };
    wait::until("it is kept", kept).await;
    let told = async || {
        let page = Page::read(adapter.listening().admin()).await;
        let sum = |name: &str| page.sum(name, &[]);
        let (depth, aside) = (sum("calbridge_spool_depth"), sum("calbridge_spool_aside"));
        (aside >= 1.0 && depth >= aside && sum("calbridge_spool_oldest_age_seconds") > 1.0).then_some(())
    };
    wait::until("it is told apart, and how old it is", told).await;
    assert!(adapter.stderr().contains("scope_missing"), "{}", adapter.stderr());
    adapter.stop().await;
    service.stop().await;
}

/// An outage is said once; that it is another one now, too.
#[tokio::test]
async fn a_token_that_may_do_nothing_is_said_though_the_service_was_away_before() {
    let house = House::new(&principals(&[Who::new(EDGE, &["read"], &["*"])]));
    let grpc = port::free();
    let mut adapter = adapter(&house, grpc);
    wait::until("it says that nobody is there", async || adapter.stderr().contains("UNAVAILABLE").then_some(())).await;
    let streams = Page::read(adapter.listening().admin()).await;
    assert!(streams.has("calbridge_forward_streams"), "there is one to be, and none is");
    let start = Start::new("calbridge-service")
        .flag("--grpc", format!("{HOST}:{grpc}"))
        .flag("--admin", format!("{HOST}:0"))
        .flag("--data-dir", house.path("data"))
        .flag("--config", house.path("calbridge.toml"));
    let mut service = start.serve();
    let denied = async || adapter.stderr().contains("PERMISSION_DENIED").then_some(());
    wait::until("it says what is wrong now", denied).await;
    adapter.stop().await;
    service.stop().await;
}
