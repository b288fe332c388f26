//! A Redis without room, as an operator sees it: one line, one metric, and the same answers.

use calbridge_e2e::{redis_server::RedisServer, wait};

use super::{all_are, is_applied_once, is_asked, start, told_by_redis, uids};

#[tokio::test]
async fn a_full_redis_is_said_once_counted_and_still_asked() {
    let redis = RedisServer::start();
    let mut system = start(&redis).await;
    let set = |limit: &str| {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(limit).exec(&mut redis.connection()).unwrap();
    };
    set("1");
    let full = uids("full", 20);
    all_are(&system.sender(), &full, "applied").await;
    all_are(&system.sender(), &full, "duplicate").await;
    let labels = ["db_operation_name=\"PIPELINE SET\"", "error_type=\"full\""];
    let refused = || async {
        let page = system.service_metrics().await;
        // A busy machine may leave Redis aside for a moment, and some rounds untold.
        (page.sum("db_client_operation_duration_seconds_count", &labels) >= 5.0).then_some(())
    };
    wait::until("what Redis has no room for is counted", refused).await;
    // What it knew before, it still tells.
    let before = told_by_redis(&system).await;
    is_asked(&system).await;
    assert!(told_by_redis(&system).await > before);
    set("0");
    all_are(&system.sender(), &uids("roomy", 5), "applied").await;
    is_applied_once(&system, &full).await;
    system.stop().await;
    let output = system.service.stderr();
    let said = |words: &str| output.lines().filter(|line| line.contains(words)).count();
    assert_eq!((said("Redis takes no keys"), said("OOM")), (1, 1), "{output}");
}
