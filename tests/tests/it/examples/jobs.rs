//! `jobs`: a job for each booking, of several tenants.

use calbridge_calcom::golden::Golden;
use calbridge_e2e::{
    program::{Program, Start},
    system::{Plan, SECRET, TENANT},
    v1::Trigger,
};
use tempfile::TempDir;

use super::{calbridge, dump, golden, minute, says, send_to, service, settled};

const JOBS: &str = "jobs";
const ACME: &str = "acme";

#[tokio::test]
async fn each_booking_is_a_job_of_its_tenant_through_all_that_happens_to_it() {
    let mut system = Plan::new().tenant(ACME, SECRET).start().await;
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("jobs.db");
    let start = Start::new(JOBS)
        .flag("--service", service(&system))
        .flag("--database", &database)
        .flag("--tenant", TENANT)
        .flag("--tenant", ACME);
    let mut jobs: Program = start.spawn();
    says(&jobs, "working off the consumer", 2).await;

    let first = golden("jobAAA");
    send_to(&system, TENANT, Trigger::BookingRequested, &first).await;
    // The same uid is another booking of another tenant.
    send_to(&system, ACME, Trigger::BookingCreated, &first).await;
    for tenant in [TENANT, ACME] {
        settled(&system, tenant, JOBS).await;
    }
    let list = || async { Start::new(JOBS).arg("list").flag("--database", &database).run().await.stdout };
    let at = |minutes| minute(minutes).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let line = |tenant: &str, uid: &str, status: &str, minutes| {
        format!("{tenant}\t{uid}\t{status}\t{}\t{}", at(minutes), "First talk between Mara Lindqvist and Tomas Okafor")
    };
    let created = [line(ACME, "jobAAA", "PLANNED", 600), line(TENANT, "jobAAA", "PENDING", 600)];
    assert_eq!(list().await.lines().collect::<Vec<_>>(), created);

    let moved = first.moved("jobBBB", 9_002, minute(5), minute(900));
    send_to(&system, TENANT, Trigger::BookingRescheduled, &moved).await;
    send_to(&system, ACME, Trigger::BookingCancelled, &Golden { created_at: minute(1), ..first }).await;
    for tenant in [TENANT, ACME] {
        settled(&system, tenant, JOBS).await;
    }
    let updated = [
        line(ACME, "jobAAA", "CANCELLED", 600),
        line(TENANT, "jobAAA", "SUPERSEDED", 600) + "\tsuperseded by jobBBB",
        line(TENANT, "jobBBB", "PLANNED", 900),
    ];
    assert_eq!(list().await.lines().collect::<Vec<_>>(), updated);

    let before = dump(&database);
    calbridge(&system, &["consumer", "seek", JOBS, "--to", "beginning"]).await;
    settled(&system, TENANT, JOBS).await;
    assert_eq!(dump(&database), before);
    jobs.stop().await;
    system.stop().await;
}
