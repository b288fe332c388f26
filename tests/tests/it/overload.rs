//! Rates at the edge of the built program, as an operator sets them and sees them.

use calbridge_e2e::{
    system::{Plan, SECRET, TENANT},
    wait,
};

#[tokio::test]
async fn what_comes_too_often_is_refused_and_counted() {
    let plan = Plan::new()
        .tenant("acme", "the_secret_of_acme")
        .with_spool()
        .adapter("--tenant-rate", "1")
        .adapter("--rate-status", "429");
    let mut system = plan.start().await;
    let sender = system.sender();
    let send =
        async |number: u32| sender.send(TENANT, SECRET, format!(r#"{{"triggerEvent":"PING","n":{number}}}"#)).await;
    let mut number = 0;
    let refused = async {
        loop {
            number += 1;
            let answer = send(number).await;
            if answer.status == 429 {
                return answer;
            }
            assert!(answer.status.is_success(), "{}", answer.status);
        }
    };
    let refused = wait::within("too many", refused).await;
    assert_eq!(refused.headers["retry-after"], "1");
    let other = sender.send("acme", "the_secret_of_acme", r#"{"triggerEvent":"PING"}"#).await;
    assert!(other.status.is_success(), "another tenant has its own: {}", other.status);
    let page = system.adapter_metrics().await;
    let counted = page.sum("calbridge_edge_refusals_total", &["calbridge_limit=\"tenant_rate\""]);
    assert!(counted >= 1.0, "{}", page.text());
    assert!(system.adapter.stderr().contains("more requests come than may"), "{}", system.adapter.stderr());
    system.stop().await;
}

#[tokio::test]
async fn rates_and_proxies_that_are_none_end_the_start_by_name() {
    for (flag, value, part) in [
        ("--tenant-rate", "0", "--tenant-rate = 0: must be 1 to 1000000"),
        ("--source-burst", "5", "say --source-rate too"),
        ("--rate-status", "200", "503 or 429"),
        ("--trusted-proxies", "proxy.internal", "--trusted-proxies = proxy.internal"),
    ] {
        let start = calbridge_e2e::program::Start::new("calbridge-adapter")
            .flag("--http", "127.0.0.1:0")
            .flag("--admin", "127.0.0.1:0")
            .flag("--spool-dir", "none")
            .flag(flag, value)
            .env("CALCOM_WEBHOOK_SECRET", SECRET);
        let ended = start.run().await;
        assert_eq!(ended.code, Some(78), "{flag}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{flag}: {}", ended.stderr);
    }
}
