//! Clocks that jump by hours and by years, forth and back, while everything runs: nothing is lost, nothing ends before
//! its time, and what was changed by a wrong clock is put right.

use std::time::Duration;

use calbridge_calcom::golden::{self, Golden};
use calbridge_e2e::{
    clock::Clock,
    system::{Plan, SECRET, System, TENANT},
    v1::{Booking, BookingStatus, Trigger},
    wait,
    webhook::created,
};
use jiff::Timestamp;
use tokio::time::sleep;

use super::Siege;

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;
/// Each is the clock's distance from the right time.
const JUMPS: [i64; 6] = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 30 * YEAR, 0];
/// Longer than anything waits that looks at the clock again and again: the quarantine's keeper, every five seconds.
const LOOKS: Duration = Duration::from_secs(6);

#[tokio::test]
async fn clocks_that_jump_lose_nothing_and_refuse_nobody() {
    let clock = Clock::new();
    let siege = Siege::begin(Plan::new().returning().env(clock.variables())).await;
    let refused = siege.system.sender().send(TENANT, "another secret", created("refused")).await;
    assert_eq!(refused.status, 401);
    in_quarantine(&siege.system).await;
    for ahead in JUMPS {
        clock.jump(ahead);
        answered(&siege, 25).await;
    }
    // The same while what comes in waits in the spool.
    let mut siege = siege;
    siege.system.service.kill();
    answered(&siege, 25).await;
    clock.jump(10 * YEAR);
    sleep(LOOKS).await;
    answered(&siege, 25).await;
    clock.jump(-YEAR);
    answered(&siege, 50).await;
    clock.jump(0);
    sleep(LOOKS).await;
    answered(&siege, 25).await;
    siege.system.restart_service();
    in_quarantine(&siege.system).await;
    siege.lift("clocks that jump", 0).await.service.stop().await;
}

/// Until so many more of the honest have their answer.
async fn answered(siege: &Siege, webhooks: usize) {
    let enough = siege.yardstick.answers() + webhooks;
    wait::until("the honest are answered", || async { (siege.yardstick.answers() >= enough).then_some(()) }).await;
}

async fn in_quarantine(system: &System) {
    wait::until("one webhook is in quarantine", || async {
        let depth = system.adapter_metrics().await.sum("calbridge_quarantine_depth", &[]);
        ((depth - 1.0).abs() < 0.5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_booking_that_a_wrong_clock_completed_is_put_right_by_its_next_webhook() {
    let clock = Clock::new();
    let mut system = Plan::new().with_clock().env(clock.variables()).start().await;
    #[expect(clippy::disallowed_methods, reason = "the programs under test have the machine's clock as well")]
    let now = Timestamp::now();
    let [begins, moved] = [24, 26].map(|hours| now + Duration::from_hours(hours));
    let send = async |trigger, starts| {
        let body = golden::body(trigger, &Golden::new("wrong", 6_001, now, starts));
        assert_eq!(system.sender().send(TENANT, SECRET, body).await.status, 200);
    };
    let is = async |what: &str, fits: fn(&Booking) -> bool| {
        wait::until(what, || async { system.api().booking(TENANT, "wrong").await.filter(fits) }).await;
    };
    send(Trigger::BookingCreated, begins).await;
    is("it is to come", |booking| booking.status() == BookingStatus::Scheduled).await;
    clock.jump(10 * YEAR);
    is("it is over", |booking| booking.status() == BookingStatus::Completed).await;
    clock.jump(0);
    send(Trigger::BookingPaid, moved).await;
    is("it is to come again", |booking| booking.status() == BookingStatus::Scheduled).await;
    system.stop().await;
    assert!(!system.service.stderr().contains("panicked"), "{}", system.service.stderr());
}
