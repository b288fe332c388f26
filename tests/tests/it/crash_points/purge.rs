//! A purge that is cut short: what is past its retention goes with the next one, and the bookings stay what they are.

use calbridge_e2e::{
    program::Start,
    system::{System, TENANT},
    wait,
};
use calbridge_process::crash::Point;

use super::{
    cell::{dies, plain},
    truth::Truth,
};

/// What a purge takes away.
const PURGED: [&str; 3] = ["bodies", "deliveries", "transitions"];

/// A delivery's id begins with the time at which it was kept, and a transition has one: both were long ago.
const AGED_SQLITE: &str = "
    UPDATE deliveries SET delivery_id = unhex('019000000000' || substr(hex(delivery_id), 13));
    UPDATE transitions SET commit_time = commit_time - 172800000000;";
const AGED_POSTGRES: &str = "
    UPDATE deliveries SET delivery_id = ('01900000-0000' || substr(delivery_id::text, 14))::uuid;
    UPDATE transitions SET commit_time = commit_time - 172800000000;";

/// Has all that a store keeps be past its retention, and a service die at the point over it.
pub(super) async fn survive(system: &mut System, truth: &Truth, point: Point, armed: (&str, String)) {
    let before = plain(system.api().all_bookings(TENANT).await);
    system.service.stop().await;
    truth.change(AGED_SQLITE, AGED_POSTGRES).await;
    let purges = |start: &Start| {
        ["--retention-bodies", "--retention-deliveries", "--retention-transitions"]
            .iter()
            .fold(start.clone(), |start, flag| start.flag(flag, "1h"))
    };
    let start = purges(system.service_plan());
    system.service = start.clone().env(armed.0, armed.1).spawn();
    dies(&mut system.service, point).await;
    system.service = start.serve();
    for table in PURGED {
        wait::until(&format!("{table} are purged"), || async { (truth.count(table).await == 0).then_some(()) }).await;
    }
    assert_eq!(plain(system.api().all_bookings(TENANT).await), before, "the bookings stay what they are");
}
