//! What is in `client/` and `examples/`, against the built service: the loops that every reader shares, and two
//! services that live on the log.

mod client;
mod jobs;
mod outreach;

use std::path::Path;

use calbridge_calcom::golden::{self, Golden};
use calbridge_e2e::{
    api::Api,
    program::{Ended, Program, Start},
    system::{SECRET, System, TENANT},
    v1::{Consumer, GetConsumerRequest, Trigger, consumer_service_client::ConsumerServiceClient},
    wait,
};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, types::Value};
use tonic::transport::Channel;

/// Minutes after a fixed time: when Cal.com sent, or when a booking is.
fn minute(number: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 / 60 * 60 + number * 60).unwrap()
}

/// A booking that begins ten hours after it was made.
fn golden(uid: &str) -> Golden {
    Golden::new(uid, 9_001, minute(0), minute(600))
}

async fn send(system: &System, trigger: Trigger, told: &Golden) {
    send_to(system, TENANT, trigger, told).await;
}

/// Signs it and posts it to the HTTP edge.
async fn send_to(system: &System, tenant: &str, trigger: Trigger, told: &Golden) {
    let answer = system.sender().send(tenant, SECRET, golden::body(trigger, told)).await;
    assert_eq!(answer.outcome(), "applied", "{:?}", answer.body);
}

/// Runs `calbridge` against the system's service.
async fn calbridge(system: &System, arguments: &[&str]) -> Ended {
    let start = arguments.iter().fold(Start::new("calbridge"), |start, argument| start.arg(*argument));
    let ended = start.env("CALBRIDGE_SERVICE", service(system)).run().await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    ended
}

fn service(system: &System) -> String {
    format!("http://{}", system.service.listening().grpc())
}

fn consumers(api: &Api) -> ConsumerServiceClient<Channel> {
    ConsumerServiceClient::new(api.channel())
}

async fn consumer(system: &System, tenant: &str, name: &str) -> Option<Consumer> {
    let request = GetConsumerRequest { tenant: tenant.to_owned(), name: name.to_owned() };
    consumers(&system.api()).get_consumer(request).await.ok()?.into_inner().consumer
}

/// Waits until the consumer has settled all that is committed by now.
async fn settled(system: &System, tenant: &str, name: &str) {
    let bookings = system.api().all_bookings(tenant).await;
    // Positions are of one width.
    let last = bookings.into_iter().map(|booking| booking.position).max().unwrap();
    wait::until("the consumer has settled everything", || async {
        let consumer = consumer(system, tenant, name).await?;
        (consumer.cursor >= last && consumer.in_flight + consumer.waiting == 0).then_some(())
    })
    .await;
}

/// Waits until a program has said so, so many times.
async fn says(program: &Program, what: &str, times: usize) {
    let says = || async { (program.stderr().matches(what).count() >= times).then_some(()) };
    wait::until(&format!("it says {what:?}"), says).await;
}

/// Every row of every table.
fn dump(database: &Path) -> Vec<String> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    connection.busy_timeout(wait::PATIENCE).unwrap();
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let mut rows = Vec::new();
    for table in tables {
        let mut read = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = read.column_count();
        let cells = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
        let found: Vec<Vec<Value>> = read.query_map([], cells).unwrap().collect::<Result<_, _>>().unwrap();
        rows.extend(found.into_iter().map(|row| format!("{table} {row:?}")));
    }
    rows.sort();
    rows
}
